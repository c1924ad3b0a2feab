"""``--env-file``: variables that no description of a pod holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.session.machine import TOKEN, Machine, make_plan


def env_file(machine: Machine, content: Any, raw: bytes | None = None) -> str:
    path: Path = machine.top / "env.json"
    path.write_bytes(json.dumps(content).encode() if raw is None else raw)
    path.chmod(0o644)
    return str(path)


def without_hub(machine: Machine) -> dict[str, str]:
    """What a pod knows of itself."""
    return {"HOME": str(machine.home), "PATH": "/usr/bin:/bin", "KEPT": "by the image"}


def test_variables_of_a_file_count_from_the_first_moment(machine: Machine) -> None:
    home = machine.own(machine.top / "other-home")
    variables = {
        "HOME": str(home),
        "JUPYTERHUB_API_URL": machine.hub.url,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "TEXT": "ünï $HOME $(id) {x}\nsecond line",
    }
    options = ["--env-file", env_file(machine, variables)]
    result = machine.run(make_plan(), *options, env=without_hub(machine))
    assert result.code == 0, result.err
    assert result.env.items() >= variables.items()
    assert result.env["KEPT"] == "by the image"
    assert result.shown["cwd"] == str(home)
    assert (home / "panosc/demo/HG-123/saxs-1.0.0/saxs.ipynb").read_text() == "one"
    ((_, headers, _),) = machine.hub.posts
    assert headers["Authorization"] == f"token {TOKEN}"


def test_the_plan_does_not_lose_to_the_file_and_the_port_is_told_with_its_token(
    machine: Machine,
) -> None:
    variables = {
        "JUPYTERHUB_API_URL": machine.hub.url,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "PANOSC_PROPOSAL": "of an earlier session",
    }
    options = ["--env-file", env_file(machine, variables), "--pick-port"]
    result = machine.run(make_plan(), *options, env=without_hub(machine))
    assert result.code == 0, result.err
    assert result.env["PANOSC_PROPOSAL"] == "HG-123"
    assert len(machine.hub.bodies("port")) == 1


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{not json: s3cr3t", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"", "cannot be read"),
        (b"[1]", "no JSON object"),
        (b'{"A": 5}', "'A'"),
        (b'{"A": null}', "'A'"),
        (b'{"": "s3cr3t"}', "''"),
        (b'{"A=B": "s3cr3t"}', "'A=B'"),
        (b'{"A": "s3cr3t\\u0000"}', "'A'"),
        (b'{"A": "s3cr3t\\ud800"}', "'A'"),
    ],
)
def test_unusable_variables_end_the_session_and_are_not_repeated(
    machine: Machine, raw: bytes, said: str
) -> None:
    result = machine.run(make_plan(), "--env-file", env_file(machine, None, raw))
    assert result.code == 1
    assert said in result.err
    assert "s3cr3t" not in result.err
    assert "Traceback" not in result.err
    assert not machine.space.exists()


def test_a_missing_file_of_variables_is_named(machine: Machine) -> None:
    result = machine.run(make_plan(), "--env-file", "/run/panosc/env.json")
    assert result.code == 1
    assert "FileNotFoundError in /run/panosc/env.json" in result.err
