"""``panosc-hub explain``: what would be done, in words; hostile selections are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from panosc_hub.cli.main import main
from tests.hostile import HOSTILE, TYPES, as_json

SECRET = "a-secret-that-only-the-hub-knows"
SITE = """
facility: {id: test, title: Test facility}
variables: {data: /data}
areas:
  raw: {path: "{data}/{instrument}/{proposal}/raw", mode: ro}
  processed: {path: "{data}/{instrument}/{proposal}/processed", mode: rw}
catalogue: {kind: static, file: proposals.yaml}
environments:
  - {id: analysis, title: Analysis, prefix: /opt/analysis, variables: {THREADS: "1"}}
  - {id: own, title: Own, paths: ["/sw/{username}/*"], backends: [slurm]}
profiles:
  - id: gpu
    title: GPU
    backend: slurm
    cpus: {min: 1, max: 8, default: 4}
    memory: {min: 1G, max: 64G, default: 8G}
    gpus: {type: a100, count: {min: 1, max: 2, default: 1}}
    walltime: {min: 10m, max: 8h, default: 4h}
    options: {partition: gpu, account: beam, qos: normal}
  - {id: here, title: Here, backend: local, memory: 2G}
  - {id: staff, title: Staff only, backend: local, memory: 2G, allow: {groups: [staff]}}
  - id: choice
    title: Choice
    backend: slurm
    memory: 1G
    gpus: {type: [a100, h100], count: {max: 2}}
    options: {account: [a, b]}
  - {id: pod, title: Pod, backend: elsewhere, memory: 2G}
"""
PROPOSALS = """
proposals:
  - id: HG-123
    title: AgBh
    instrument: ID02
    start: 2026-01-12
    members: {groups: ["proposal:HG-123"]}
    datasets: []
"""
CONFIG = f"""
c.PanoscSpawner.site = "site.yaml"
c.PanoscSpawner.site_variables = {{"data": "/of-the-config"}}
c.Spawner.environment = {{"PASSWORD": {SECRET!r}}}
c.JupyterHub.services = [{{"name": "x", "api_token": {SECRET!r}}}]
c.SlurmBackend.home_template = "/home/{{username}}"
c.SlurmBackend.hub_name = "beamline"
c.SlurmClient.sinfo = c.SlurmClient.scontrol = c.SlurmClient.sacctmgr = "/nowhere/slurm"
c.LocalBackend.home_template = "/home/{{username}}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "proposals.yaml").write_text(PROPOSALS)
    (tmp_path / "jupyterhub_config.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", SECRET)
    return tmp_path


def explain(selection: object, *arguments: str) -> Result:
    text = selection if isinstance(selection, str) else json.dumps(selection)
    call = ["explain", "--selection", text, "--user", "paula", *arguments]
    return CliRunner().invoke(main, call)


WITH_CONFIG = ("--config", "jupyterhub_config.py")


def test_the_script_has_exactly_the_directives_of_the_profile(folder: Path) -> None:
    result = explain({"profile": "gpu", "gpus": 2, "walltime": "30m"}, *WITH_CONFIG)
    assert result.exit_code == 0, result.output
    lines = [ln for ln in result.output.splitlines() if ln.startswith("#SBATCH")]
    assert sorted(lines) == [
        "#SBATCH --account=beam",
        "#SBATCH --chdir=/",
        "#SBATCH --comment=panosc:hub=beamline,user=paula,server=",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --gres=gpu:a100:2",
        "#SBATCH --job-name=panosc-beamline-paula-default-dry-run",
        "#SBATCH --mem=8192M",
        "#SBATCH --no-requeue",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --open-mode=truncate",
        "#SBATCH --output=/dev/null",
        "#SBATCH --partition=gpu",
        "#SBATCH --qos=normal",
        "#SBATCH --time=0-00:30:00",
    ]
    assert "export THREADS=1" in result.output


def test_the_plan_is_told_in_words(folder: Path) -> None:
    result = explain(
        {"profile": "gpu", "proposal": "HG-123"}, *WITH_CONFIG, "--group", "proposal:HG-123"
    )
    assert result.exit_code == 0, result.output
    for line in (
        "For paula: GPU on backend slurm",
        "Resources: 4 CPUs, 8 GB memory, GPU a100:1, 4 h",
        "Environment: Analysis (analysis)",
        "Workspace: ~/panosc/test/HG-123/workspace",
        "Data area raw: /of-the-config/ID02/HG-123/raw (read only)",
        "Data area processed: /of-the-config/ID02/HG-123/processed (read and write)",
        "Variable: PANOSC_PROPOSAL=HG-123",
    ):
        assert line in result.output.splitlines(), line


def test_there_is_no_secret_in_it(folder: Path) -> None:
    for profile in ("gpu", "here"):
        for form in ((), ("--json",)):
            result = explain({"profile": profile}, *WITH_CONFIG, *form)
            assert result.exit_code == 0, result.output
            assert SECRET not in result.output


def test_the_local_backend_shows_its_command_line(folder: Path) -> None:
    result = explain({"profile": "here"}, *WITH_CONFIG)
    assert result.exit_code == 0, result.output
    assert "--plan-fd 0 -- jupyterhub-singleuser" in result.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("selection", "lines"),
    [
        ({"profile": "choice"}, ["--account=a", "--gres=gpu:a100:1"]),
        ({"profile": "choice", "choices": {"account": "b"}}, ["--account=b"]),
        ({"profile": "choice", "choices": {"gpu": "h100"}}, ["--gres=gpu:h100:1"]),
        ({"profile": "choice", "choices": {"gpu": "h100"}, "gpus": 2}, ["--gres=gpu:h100:2"]),
    ],
)
def test_what_was_chosen_is_in_the_script(
    folder: Path, selection: dict[str, Any], lines: list[str]
) -> None:
    result = explain(selection, *WITH_CONFIG)
    assert result.exit_code == 0, result.output
    assert {f"#SBATCH {line}" for line in lines} <= set(result.output.splitlines())
    for name, value in selection.get("choices", {}).items():
        assert f"Chosen {name}: {value}" in result.output.splitlines()


def test_an_environment_of_ones_own_is_in_the_script(folder: Path) -> None:
    selection = {"profile": "choice", "environment": "own", "choices": {"path": "/sw/paula/env"}}
    result = explain(selection, *WITH_CONFIG)
    assert result.exit_code == 0, result.output
    assert "/sw/paula/env" in result.output.partition("What slurm would be given")[2]


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"account": "c"}, "c is not offered on Choice; there is a, b"),
        ({"qos": "vip"}, "is not to be chosen on Choice"),
        ({"gpu": "v100"}, "v100 is not offered on Choice; there is a100, h100"),
        ({"path": "/sw/ingo/env"}, "/sw/paula/"),
    ],
)
def test_what_is_not_offered_is_refused(folder: Path, choices: dict[str, str], why: str) -> None:
    selection = {"profile": "choice", "environment": "own", "choices": choices}
    result = explain(selection, *WITH_CONFIG)
    assert result.exit_code == 1
    assert why in result.output


def test_nothing_is_started_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a process was started: {args}")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    before = sorted(folder.rglob("*"))
    for profile in ("gpu", "here"):
        assert explain({"profile": profile}, *WITH_CONFIG).exit_code == 0
    assert sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts) == before


def test_json_holds_the_same(folder: Path) -> None:
    result = explain(
        {"profile": "gpu", "proposal": "HG-123"},
        *("--site", "site.yaml", "--set", "data=/elsewhere", "--group", "proposal:HG-123"),
        *(*WITH_CONFIG, "--json"),
    )
    body = json.loads(result.output)
    assert body["ok"]
    assert body["backend"] == "slurm"
    assert body["resources"] == {
        "cpus": 4,
        "memory": 8 * 2**30,
        "gpus": "a100:1",
        "walltime": 14400,
    }
    assert body["plan"]["links"][0]["target"] == "/elsewhere/ID02/HG-123/raw"
    assert "#SBATCH --gres=gpu:a100:1" in body["backend_text"]


@pytest.mark.parametrize(
    "options",
    [pytest.param(as_json(o), id=name) for name, o in HOSTILE]
    + [pytest.param(o, id=name) for name, o in TYPES],
)
def test_hostile_selections_are_refused(folder: Path, options: object) -> None:
    result = explain(options, *WITH_CONFIG)
    assert result.exit_code == 1
    assert "#SBATCH" not in result.output
    assert "Traceback" not in result.output
    assert result.output.strip()


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        ("{", "selection: is not JSON"),
        ({"profile": "staff"}, "Staff only: not for your group"),
        ({"profile": "nope"}, "'nope' is not offered here"),
        ({"profile": "gpu", "walltime": "99h"}, "must be between 10m and 8h"),
        ({"profile": "here", "proposal": "HG-123"}, "Proposal HG-123 is not among yours"),
        ({"profile": "pod"}, "'elsewhere' is not configured here"),
    ],
)
def test_refusals_print_the_sentence(folder: Path, selection: object, sentence: str) -> None:
    result = explain(selection, *WITH_CONFIG)
    assert result.exit_code == 1
    assert sentence in result.output
    body = json.loads(explain(selection, *WITH_CONFIG, "--json").output)
    assert not body["ok"]
    assert sentence in body["message"]


def test_what_the_files_cannot_be_used_for_is_said(folder: Path) -> None:
    assert explain({"profile": "here"}).exit_code == 2
    assert explain({"profile": "here"}, "--site", "missing.yaml").exit_code == 1
    Path("broken.py").write_text("c.X.y = os.environ['NOT_THERE']")
    result = explain({"profile": "here"}, "--config", "broken.py")
    assert result.exit_code == 1
    assert "broken.py cannot be run here" in result.output


def test_an_account_that_does_not_exist_is_refused(folder: Path) -> None:
    config = CONFIG.replace("c.SlurmBackend.home_template", "c.SlurmClient.run_as = ['sudo']\n#")
    Path("jupyterhub_config.py").write_text(config)
    result = explain({"profile": "gpu"}, *WITH_CONFIG, "--user", "nobody-of-that-name")
    assert result.exit_code == 1
    assert "There is no UNIX account" in result.output
