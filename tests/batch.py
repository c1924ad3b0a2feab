"""Batch scripts as the backend would write them, for tests that need no Slurm."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from panosc_hub.backends.slurm.options import validate_options
from panosc_hub.backends.slurm.script import Script, render
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import Launch, SessionPlan
from panosc_hub.core.profiles import Environment, Profile, Wish, resolve
from panosc_hub.core.selection import Selection

SCRIPT = Script(
    name="panosc-hub-paula-default-0a1b2c3d",
    comment="panosc:hub=hub,user=paula,server=",
    home="/home/paula",
    output="/home/paula/.panosc-default.log",
    path="/usr/bin:/bin",
    command=("jupyterhub-singleuser", "--debug"),
    start="print('start')\n",
)


def launch(
    plan: SessionPlan | None = None, profile: Any = None, given: str = "", **environment: Any
) -> Launch:
    """A launch of paula's; ``given`` is a path that she chose."""
    made = Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", **(profile or {})}
    )
    software = Environment.model_validate({"id": "e", "title": "E", **environment})
    return Launch(
        plan=plan or SessionPlan(facility="test"),
        profile=made,
        resources=resolve(made, Wish())[0],
        environment=software.at(given) if given else software,
        selection=Selection(profile="p", choices=(("path", given),) if given else ()),
        person=Person("paula"),
    )


def text_of(job: Launch, options: dict[str, Any] | None = None, **script: Any) -> str:
    """The script, which bash can read."""
    text = render(dataclasses.replace(SCRIPT, **script), job, validate_options(options or {}))
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return text


TOKEN = "token-of-the-session-0123456789abcdef"


@dataclass
class Reports:
    """The Hub's end for what a starting session has to say."""

    url: str = ""
    events: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def of(self, status: str) -> list[str]:
        """The sentences of one status."""
        return [message for each, message in self.events if each == status]


@contextmanager
def reports() -> Iterator[Reports]:
    """A Hub that takes reports, and nothing else."""
    heard = Reports()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/hub/api/panosc/report"
            heard.tokens.add(self.headers["Authorization"])
            heard.events += [(e["status"], e["message"]) for e in body["events"]]
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_port}/hub/api"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield heard
    finally:
        server.shutdown()
        server.server_close()


def run(
    text: str, folder: Path, heard: Reports | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in ``folder`` as Slurm would, with no more than a job's environment."""
    file = folder / "job.sh"
    file.write_text(text)
    about = {"JUPYTERHUB_API_URL": heard.url} if heard else {}
    return subprocess.run(
        ["bash", str(file)],
        cwd=folder,
        env={"PATH": os.defpath, "JUPYTERHUB_API_TOKEN": TOKEN, **about, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
