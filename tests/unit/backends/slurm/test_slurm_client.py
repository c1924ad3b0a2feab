"""Slurm's commands: argument lists, accounts and environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.errors import BackendError, BackendUnavailable


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """A command that prints its arguments, environment and standard input."""
    path = tmp_path / "echo"
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "print(json.dumps([sys.argv[1:], dict(os.environ), sys.stdin.read()]))\n"
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "name", ["", "-u", "a b", "$(id)", "a;id", "../root", "a\nroot", "#0", "é", "x" * 65, "{}"]
)
async def test_what_is_no_account_name_never_reaches_a_command(name: str, echo: str) -> None:
    client = SlurmClient(sbatch=echo, scancel=echo, run_as=[echo, "{username}", "--"])
    with pytest.raises(BackendError, match="cannot be the name of an account"):
        await client.submit("", {}, name)
    with pytest.raises(BackendError, match="cannot be the name of an account"):
        await client.cancel("job", "1", name)


async def test_names_are_arguments_and_never_shell_words(echo: str) -> None:
    client = SlurmClient(squeue=echo)
    odd = "--name=$(touch /tmp/x);`id`\n'\""
    arguments, _, _ = json.loads(await client.query("squeue", odd))
    assert arguments == [odd]


async def test_sbatch_gets_the_jobs_environment_alone(
    echo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_QOS", "vip")
    monkeypatch.setenv("HUB_SECRET", "x")
    client = SlurmClient(sbatch=echo)
    answer = await client.submit("#!/bin/bash\n", {"JUPYTERHUB_API_TOKEN": "t"}, "paula")
    arguments, environment, script = json.loads(answer.out)
    assert arguments == ["--parsable", "--export=ALL"]
    assert script == "#!/bin/bash\n"
    assert environment["JUPYTERHUB_API_TOKEN"] == "t"
    assert not {"SBATCH_QOS", "HUB_SECRET"} & set(environment)


async def test_a_missing_command_is_no_answer() -> None:
    with pytest.raises(BackendUnavailable, match="cannot be run"):
        await SlurmClient(squeue="/nonexistent/squeue").query("squeue")
