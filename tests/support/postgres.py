"""A PostgreSQL of the tests' own: in a temporary folder, on a free port, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """Return the folder with initdb and pg_ctl: Debian keeps them off PATH."""
    for folder in (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), shutil.which("initdb")):
        if folder is None:
            continue
        found = Path(folder) if Path(folder).is_dir() else Path(folder).resolve().parent
        if (found / "initdb").exists() and (found / "pg_ctl").exists():
            return found
    return None


def _as_user(folder: Path) -> list[str]:
    """PostgreSQL does not run as root: give the folder to `postgres`, or `nobody`, and run as that."""
    if os.geteuid():
        return []
    for user in ("postgres", "nobody"):
        try:
            shutil.chown(folder, user)
        except LookupError:
            continue
        return ["setpriv", f"--reuid={user}", f"--regid={Path(folder).stat().st_gid}", "--clear-groups"]
    raise OSError("no user to run PostgreSQL as")


@contextmanager
def server(binaries: Path) -> Iterator[str]:
    """Run a server; yields the URL of its default database, without the database's name."""
    # not under pytest's folder, which other users may not enter
    folder = Path(tempfile.mkdtemp(prefix="taxbreak-pg-", dir="/tmp"))
    try:
        user = _as_user(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = folder / "data"

        def run(*command: str) -> None:
            done = subprocess.run(
                [*user, *command], cwd=folder, capture_output=True, text=True, check=False, timeout=120,
                env=os.environ | {"LC_ALL": "C.UTF-8"},
            )  # fmt: skip
            if done.returncode:
                raise OSError(f"{command[0]}: {done.stdout[-500:]}{done.stderr[-500:]}")

        run(str(binaries / "initdb"), "-D", str(data), "-U", "taxbreak", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control = str(binaries / "pg_ctl")
        run(control, "-D", str(data), "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"postgresql://taxbreak@127.0.0.1:{port}"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
