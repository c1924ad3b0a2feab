"""Shipping the session start-up with any spawner and nothing installed on the other side."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from panosc_hub import session

SHOW = "import json,os,sys;print(json.dumps([dict(os.environ),sys.argv[1:]]))"


def make_plan(text: str) -> dict[str, Any]:
    sha = hashlib.sha256(text.encode()).hexdigest()
    return {
        "v": 1,
        "workspace": "panosc/demo",
        "files": [{"path": "a.ipynb", "sha256": sha, "text": text}],
        "open": "a.ipynb",
    }


def start(home: Path, plan: dict[str, Any] | None) -> tuple[dict[str, str], list[str]]:
    argv = session.bootstrap_argv([sys.executable, "-c", SHOW, "$HOME {x} 'y'"])
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        **session.bootstrap_environment(plan),
    }
    done = subprocess.run(argv, env=environment, cwd="/", capture_output=True, check=True)
    shown, args = json.loads(done.stdout)
    return shown, args


def test_the_loader_prepares_the_workspace_and_becomes_the_command(tmp_path: Path) -> None:
    shown, args = start(tmp_path, make_plan("é" * 1000))
    assert (tmp_path / "panosc/demo/a.ipynb").read_text(encoding="utf-8") == "é" * 1000
    assert shown["JUPYTERHUB_DEFAULT_URL"] == "/lab/tree/panosc/demo/a.ipynb"
    assert args == ["$HOME {x} 'y'"]
    assert not {"PANOSC_SESSION", "PANOSC_PLAN"} & set(shown)


def test_without_a_plan_the_loader_only_starts_the_command(tmp_path: Path) -> None:
    shown, _ = start(tmp_path, None)
    assert "JUPYTERHUB_DEFAULT_URL" not in shown
    assert list(tmp_path.iterdir()) == []


def test_options_go_before_the_command() -> None:
    argv = session.bootstrap_argv(["jupyterhub-singleuser", "--debug"], options=["--pick-port"])
    assert argv[:3] == ["python3", "-I", "-c"]
    assert argv[4:] == ["--pick-port", "--", "jupyterhub-singleuser", "--debug"]


def test_the_loader_survives_spawners_that_format_or_expand_it() -> None:
    loader = session.bootstrap_argv(["x"])[3]
    assert not set(loader) & set('{}$%\n"`\\')


def test_the_source_is_the_file_with_the_extension_inside_and_fits_into_one_variable() -> None:
    folder = Path(session.__file__).parent
    written = (folder / "start.py").read_text("utf-8").splitlines()
    sent = session.source().splitlines()
    ((old, new),) = [pair for pair in zip(written, sent, strict=True) if pair[0] != pair[1]]
    head, packed, tail = new.split('"', 2)
    assert old == head + '""' + tail
    files = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert files == {p.name: p.read_text("utf-8") for p in (folder / "lab").iterdir()}
    value = session.bootstrap_environment()["PANOSC_SESSION"]
    assert len(value) < session.MAX_ENVIRONMENT_VALUE // 4


def test_the_largest_plan_can_be_started_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    def sized(size: int) -> dict[str, Any]:
        noise = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(size // 32))
        return make_plan(noise.hex())

    assert len(session.encode_plan(sized(84_000))) > 0.9 * session.MAX_ENVIRONMENT_VALUE
    shown, _ = start(tmp_path, sized(84_000))
    assert shown["JUPYTERHUB_DEFAULT_URL"] == "/lab/tree/panosc/demo/a.ipynb"
    with pytest.raises(ValueError, match="pass a file"):
        session.encode_plan(sized(120_000))
