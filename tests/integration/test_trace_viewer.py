"""`trace --open`: the viewer's page fetches the trace from the program once; a browser is played by a script."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from taxbreak_nsys.cli.trace_viewer import PORT, VIEWER
from tests.support.program import one_line, run_program

pytest.importorskip("google.protobuf", reason="trace needs the extra: pip install 'taxbreak-nsys[trace]'")

BROWSER = """#!{python}
import json, sys, urllib.error, urllib.request
from pathlib import Path

page, address = sys.argv[1].split("/#!/?url=")
host = address.split("/", 3)[:3]

def status(address, method="GET"):
    asked = urllib.request.Request(address, headers={{"Origin": page}}, method=method)
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {{}}, b""

said = {{"page": page, "address": address}}
said["guess"] = status("/".join(host) + "/run.pftrace")[0]
said["preflight"] = status(address, "OPTIONS")[1]
said["status"], said["headers"], content = status(address)
Path({folder!r}, "fetched").write_bytes(content)
Path({folder!r}, "said.json").write_text(json.dumps(said))
"""


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@pytest.mark.skipif(in_use(PORT), reason=f"port {PORT} of this machine is in use")
def test_the_viewer_gets_the_trace_that_was_written(report, tmp_path: Path) -> None:
    """One test, because the port is the same for all: no browser, the port in use, and then the viewer."""
    target = tmp_path / "run of a day.pftrace"
    arguments = ("trace", report("null-kernel"), "-o", target, "--open", "--force-overwrite")
    nothing = os.environ | {"BROWSER": "false", "PATH": str(tmp_path)}
    assert one_line(run_program(*arguments, "-q", env=nothing)) == (
        f"taxbreak-nsys: {target}: written, but not shown: open it at ui.perfetto.dev (there is no browser here)\n"
    )
    assert target.stat().st_size > 0
    target.unlink()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", PORT))
        other.listen()
        assert f"(port {PORT} of this machine: " in one_line(run_program(*arguments, "-q", env=nothing))
    assert target.stat().st_size > 0

    browser = tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable, folder=str(tmp_path)))
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    done = run_program(*arguments, env=os.environ | {"BROWSER": str(browser)})
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"wrote {target}\n"
    said = json.loads((tmp_path / "said.json").read_text())
    assert (tmp_path / "fetched").read_bytes() == target.read_bytes()
    assert said["page"] == VIEWER
    assert said["address"].startswith(f"http://127.0.0.1:{PORT}/")
    assert said["address"].endswith("/run%20of%20a%20day.pftrace")
    assert (said["guess"], said["status"]) == (404, 200)
    assert said["headers"]["Access-Control-Allow-Origin"] == VIEWER
    assert said["preflight"]["Access-Control-Allow-Private-Network"] == "true"
