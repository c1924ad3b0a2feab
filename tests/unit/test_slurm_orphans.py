"""``panosc-hub slurm orphans`` where Slurm does not show all jobs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from panosc_hub.backends.slurm import facts
from panosc_hub.cli import slurm as module
from tests.scripted_slurm import Scripted

HEADER = "JOBID|STATE|USER|START_TIME|NAME|COMMENT|.\n"


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "hub.sqlite"
    with sqlite3.connect(path) as made:
        made.execute("create table users (id integer, name text)")
        made.execute(
            "create table spawners (id integer, user_id integer, server_id integer, name text, "
            "state text)"
        )
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("private", "level", "status", "said"),
    [
        ("none", "None", 0, "No orphan"),
        ("jobs", "Operator", 0, "No orphan"),
        ("jobs", "None", 2, "hides other people's jobs from hub; run this as"),
    ],
)
def test_no_orphans_is_never_said_of_jobs_that_cannot_be_seen(
    private: str,
    level: str,
    status: int,
    said: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Scripted(HEADER)
    client.private, client.level, client.accounting = private, level, "slurmdbd"
    monkeypatch.setattr(module, "SlurmClient", lambda **_: client)
    monkeypatch.setattr(module, "own_account", lambda: "hub")
    monkeypatch.setattr(facts, "own_account", lambda: "hub")
    monkeypatch.setattr(facts.os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(module.slurm, ["orphans", "--db", database, "--hub-name", "h"])
    assert done.exit_code == status, done.output
    assert said.lower() in done.output.lower().replace("\n", " ")
