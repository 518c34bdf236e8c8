"""A folder as a site of this machine, for a browser without a network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Of Chromium.
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run")
FLAGS += ("--disable-background-networking",)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@contextmanager
def address_of(folder: Path) -> Iterator[str]:
    """Where the folder is served while the context is open."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
