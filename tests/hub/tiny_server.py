"""The smallest single-user server: answers everything below its base URL, in half a second.

Real enough for the Hub (it listens where JUPYTERHUB_SERVICE_URL says and answers ``/api``)
and quick enough for a hundred spawns. Tests of JupyterLab use JupyterLab.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        shown = {k: v for k, v in os.environ.items() if k.startswith(("PANOSC_", "MEM_", "CPU_"))}
        shown["PATH"] = os.environ["PATH"]
        shown["JUPYTERHUB_DEFAULT_URL"] = os.environ.get("JUPYTERHUB_DEFAULT_URL", "")
        body = json.dumps({"environment": shown, "cwd": os.getcwd(), "pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
ThreadingHTTPServer((url.hostname or "127.0.0.1", url.port or 80), Handler).serve_forever()
