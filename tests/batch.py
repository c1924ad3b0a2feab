"""Batch scripts as the backend would write them, for tests that need no Slurm."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

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


START = """
import json, os, shutil, sys
names = ("PATH", "CONDA_PREFIX", "ACTIVATED")
seen = {name: os.environ.get(name) for name in names}
seen["server"] = shutil.which("jupyterhub-singleuser")
seen["python"] = sys.executable
print("SEEN" + json.dumps(seen))
"""
"""Stands where the session start-up stands, and tells what it found."""


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of another account need root")


def script(given: str = "", start: str = START, profile: Any = None, **environment: Any) -> str:
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return text_of(launch(given=given, profile=profile, **environment), start=start, path=path)


def seen(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    found = re.search(r"^SEEN(.*)$", done.stdout, re.M)
    assert found, done.stderr
    content: dict[str, str] = json.loads(found[1])
    return content


def make_prefix(folder: Path) -> Path:
    """The least that is an environment: a command to start, and a Python."""
    (folder / "bin").mkdir(parents=True)
    server = folder / "bin" / "jupyterhub-singleuser"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    (folder / "bin" / "python3").symlink_to(sys.executable)
    return folder


def pack(prefix: Path, archive: Path) -> Path:
    how: Any = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(archive.suffix, "w")
    with tarfile.open(archive, how) as tar:
        for each in sorted(prefix.iterdir()):
            tar.add(each, each.name)
    return archive


def refusal(text: str, folder: Path, heard: Reports) -> str:
    done = run(text, folder, heard)
    assert done.returncode == 1, done.stdout
    assert "SEEN" not in done.stdout
    (sentence,) = heard.of("error")
    assert sentence.startswith("The environment /")
    assert sentence.endswith(". Choose another environment.")
    return sentence


def begin(text: str, folder: Path, heard: Reports, name: str) -> subprocess.Popen[str]:
    file = folder / f"{name}.sh"
    file.write_text(text)
    env = {"PATH": os.defpath, "JUPYTERHUB_API_TOKEN": TOKEN, "JUPYTERHUB_API_URL": heard.url}
    return subprocess.Popen(
        ["bash", str(file)],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def line_with(job: subprocess.Popen[str], mark: str) -> str:
    """The job's next line that has ``mark``."""
    assert job.stdout
    for line in job.stdout:
        if mark in line:
            return line
    raise AssertionError(f"the job ended without {mark!r}")


def holding(name: str, tmp_path: Path) -> str:
    """A start-up that goes on until somebody opens its named pipe and closes it."""
    os.mkfifo(tmp_path / name)
    hold = f"open({str(tmp_path / name)!r}).read()"
    return START + f"sys.stdout.flush()\n{hold}\n"


def let_go(name: str, tmp_path: Path) -> None:
    (tmp_path / name).open("w").close()
