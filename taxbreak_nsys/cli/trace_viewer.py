"""Opens a trace in the Perfetto viewer: the browser fetches it once from this process, and from nowhere else."""

from __future__ import annotations

import secrets
import shutil
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

from taxbreak_nsys.errors import TaxbreakError

VIEWER = "https://ui.perfetto.dev"
PORT = 9001
"""The only port of the own machine from which the viewer's Content-Security-Policy lets it fetch a trace."""
SECONDS_TO_ASK = 60
"""The viewer asks within this time, or the program gives up."""
SECONDS_TO_SEND = 600


class _TraceServer(ThreadingHTTPServer):
    """Serves one file under a path that cannot be guessed; `asked` and `sent` say how far a client got."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, trace: Path) -> None:
        super().__init__(("127.0.0.1", PORT), _TraceRequest)
        self.trace = trace
        self.path = f"/{secrets.token_urlsafe(16)}/{quote(trace.name)}"
        self.asked, self.sent = Event(), Event()


class _TraceRequest(BaseHTTPRequestHandler):
    """Answers the viewer's page alone: to a page of another origin the browser does not give the file."""

    server: _TraceServer

    def do_OPTIONS(self) -> None:
        """Permit the viewer, a public page, to ask a server on this machine."""
        self.send_response(204)
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.end_headers()

    def do_GET(self) -> None:
        """Send the trace."""
        if self.path != self.server.path:
            self.send_error(404)
            return
        self.server.asked.set()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(self.server.trace.stat().st_size))
        self.end_headers()
        with self.server.trace.open("rb") as trace:
            shutil.copyfileobj(trace, self.wfile)
        self.server.sent.set()

    def end_headers(self) -> None:
        """Add what every answer has."""
        self.send_header("Access-Control-Allow-Origin", VIEWER)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


def show_trace(trace: Path) -> None:
    """Open a trace in the browser, and return when the viewer has fetched it.

    Raises TaxbreakError if there is no browser, the port is in use, or the viewer does not fetch the trace.
    """
    by_hand = f"{trace}: written, but not shown: open it at ui.perfetto.dev"
    try:
        server = _TraceServer(trace)
    except OSError as error:
        raise TaxbreakError(f"{by_hand} (port {PORT} of this machine: {error.strerror})") from error
    with server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            if not webbrowser.open(f"{VIEWER}/#!/?url=http://127.0.0.1:{PORT}{server.path}"):
                raise TaxbreakError(f"{by_hand} (there is no browser here)")
            if not server.asked.wait(SECONDS_TO_ASK):
                raise TaxbreakError(f"{by_hand} (the viewer did not fetch it within {SECONDS_TO_ASK} s)")
            if not server.sent.wait(SECONDS_TO_SEND):
                raise TaxbreakError(f"{by_hand} (the viewer did not fetch all of it)")
        finally:
            server.shutdown()
