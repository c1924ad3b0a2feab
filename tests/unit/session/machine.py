"""A machine as one user sees it, with a Hub, for the session start-up as a real process.

``PANOSC_TEST_PYTHON`` names the interpreter to run it with, for instance a Python 3.8.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

START = Path(__file__).parents[3] / "panosc_hub" / "session" / "start.py"
TOKEN = "s3cr3t-token-of-the-server"
NOBODY = 65534
WORKSPACE = "panosc/demo/HG-123/saxs-1.0.0"
SHOW = (
    "import json,os;print(json.dumps({'env':dict(os.environ),'cwd':os.getcwd(),"
    "'cmdline':open('/proc/self/cmdline').read()}))"
)


def as_user() -> dict[str, Any]:
    """Process options that drop root, which no permission would stop."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def find_python() -> str:
    """An interpreter that the unprivileged user can run too."""
    asked = os.environ.get("PANOSC_TEST_PYTHON")
    for path in [asked] if asked else [sys.executable, "/usr/bin/python3"]:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([path, "-I", "-c", "import ssl"], check=True, env={}, **as_user())
            return path
    raise RuntimeError("no Python that an unprivileged user can run; set PANOSC_TEST_PYTHON")


PYTHON = find_python()


class Hub:
    """Records what is posted; answers from ``script``, then with 204."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.script: list[tuple[int, Any]] = []
        self.on_post: Callable[[], None] = lambda: None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hub.posts.append((self.path, dict(self.headers), body))
                hub.on_post()
                wanted = self.path.endswith("/port") and hub.script
                status, answer = hub.script.pop(0) if wanted else (204, None)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", answer)
                    answer = None
                data = json.dumps(answer).encode() if answer is not None else b""
                if status != 204:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                """Tests look at ``posts``."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hub/api"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def bodies(self, what: str) -> list[Any]:
        return [body for path, _, body in self.posts if path == f"/hub/api/panosc/{what}"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Result:
    code: int
    err: str
    shown: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        return self.shown["env"]


class Machine:
    """A home directory, data areas and a Hub, as one user sees them."""

    def __init__(self, top: Path, hub: Hub) -> None:
        self.top, self.hub = top, hub
        self.home, self.data = self.own(top / "home"), self.own(top / "data")
        self.space = self.home / WORKSPACE
        self.start = top / "start.py"
        self.start.write_text(START.read_text())
        self.start.chmod(0o644)

    def own(self, path: Path) -> Path:
        """A directory of the user."""
        path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        return path

    def put(self, path: Path, text: str) -> Path:
        """A file of the user, also in place of one that is there."""
        path.write_text(text)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        return path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "JUPYTERHUB_API_URL": self.hub.url,
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ada/",
            **more,
        }

    def run(
        self,
        plan: Any = None,
        *options: str,
        cmd: list[str] | None = None,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> Result:
        env = self.environment() if env is None else env
        if plan is not None:
            env["PANOSC_PLAN"] = packed(plan)
        argv = [PYTHON, "-I", str(self.start), *options, "--"]
        done = subprocess.run(
            argv + ([PYTHON, "-c", SHOW] if cmd is None else cmd),
            env=env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            **as_user(),
            **more,
        )
        return Result(done.returncode, done.stderr, json.loads(done.stdout or "{}"))

    @property
    def events(self) -> list[dict[str, str]]:
        return [event for body in self.hub.bodies("report") for event in body["events"]]

    def said(self, status: str) -> str:
        return "\n".join(e["message"] for e in self.events if e["status"] == status)


def packed(plan: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(plan).encode())).decode()


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def file(text: str, path: str = "saxs.ipynb") -> dict[str, str]:
    return {"path": path, "sha256": sha(text), "text": text}


def make_plan(**parts: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "facility": "demo",
        "proposal": "HG-123",
        "workspace": WORKSPACE,
        "links": [],
        "files": [file("one")],
        "open": "saxs.ipynb",
        "environment": {"PANOSC_PROPOSAL": "HG-123"},
        "provenance": {"template": "saxs"},
        **parts,
    }
