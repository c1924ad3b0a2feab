"""The batch script: what goes in, and that nothing hostile does."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re
import subprocess
from typing import Any

import pytest

from panosc_hub.backends.slurm.options import SlurmOptions, validate_options
from panosc_hub.backends.slurm.script import (
    Script,
    fill_path,
    job_comment,
    job_name,
    render,
    shorten,
)
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import Launch, SessionPlan
from panosc_hub.core.profiles import Environment, Profile, Wish, resolve
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.core.selection import Selection
from panosc_hub.errors import BackendError, SiteError

SCRIPT = Script(
    name="panosc-hub-paula-default-0a1b2c3d",
    comment="panosc:hub=hub,user=paula,server=",
    home="/home/paula",
    output="/home/paula/.panosc-default.log",
    path="/usr/bin:/bin",
    command=("jupyterhub-singleuser", "--debug"),
    start="print('start')\n",
)


def launch(plan: SessionPlan | None = None, profile: Any = None, **environment: Any) -> Launch:
    made = Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", **(profile or {})}
    )
    return Launch(
        plan=plan or SessionPlan(facility="test"),
        profile=made,
        resources=resolve(made, Wish())[0],
        environment=Environment.model_validate({"id": "e", "title": "E", **environment}),
        selection=Selection(profile="p"),
        person=Person("paula"),
    )


def text_of(job: Launch, options: dict[str, Any] | None = None, **script: Any) -> str:
    text = render(dataclasses.replace(SCRIPT, **script), job, validate_options(options or {}))
    check = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert check.returncode == 0, check.stderr
    return text


def directives(text: str) -> list[str]:
    return re.findall(r"(?m)^#SBATCH (.*)$", text)


def unpack(text: str, mark: str) -> str:
    packed = re.search(rf"(?ms)<<'{mark}'[^\n]*\n(.*?)^{mark}$", text)
    assert packed
    return gzip.decompress(base64.b64decode(packed[1])).decode()


def test_one_task_on_one_node_with_the_profiles_resources() -> None:
    job = launch(
        profile={
            "cpus": 4,
            "memory": "1.5G",
            "walltime": "1d2h",
            "gpus": {"type": "a100", "count": 2},
        }
    )
    lines = directives(text_of(job, {"partition": "gpu,short", "account": "hg123", "qos": "n"}))
    assert {
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=4",
        "--mem=1536M",
        "--time=1-02:00:00",
        "--gres=gpu:a100:2",
        "--partition=gpu,short",
        "--account=hg123",
        "--qos=n",
        "--no-requeue",
    } <= set(lines)


def test_memory_is_rounded_up_and_untyped_gpus_have_no_type() -> None:
    job = launch(profile={"memory": 2**20 + 1, "gpus": {"count": 3}})
    assert {"--mem=2M", "--gres=gpu:3"} <= set(directives(text_of(job)))


def test_nothing_that_was_not_asked_for() -> None:
    names = {line.partition("=")[0] for line in directives(text_of(launch()))}
    assert names == {
        *("--job-name", "--comment", "--chdir", "--output", "--nodes", "--ntasks", "--mem"),
        *("--cpus-per-task", "--no-requeue", "--open-mode"),
    }


def test_all_options() -> None:
    options = {
        "reservation": "beamtime_1",
        "constraint": "(a100&nvlink)|h100",
        "exclusive": "user",
        "oversubscribe": True,
        "requeue": True,
        "extra": ["--switches=1", "--hint=nomultithread"],
    }
    lines = directives(text_of(launch(), options))
    assert {
        "--reservation=beamtime_1",
        "--constraint=(a100&nvlink)|h100",
        "--exclusive=user",
        "--oversubscribe",
        "--requeue",
        "--switches=1",
        "--hint=nomultithread",
    } <= set(lines)


HOSTILE = [
    "r --exclusive",
    "a\n#SBATCH --qos=vip",
    "a\n",
    "$(id)",
    "`id`",
    "a;b",
    "a'b",
    'a"b',
    "é",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["partition", "account", "qos", "reservation", "constraint"])
def test_options_of_odd_characters_are_refused_at_load(key: str, value: str) -> None:
    with pytest.raises(SiteError, match=key):
        validate_options({key: value})


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("key", ["name", "comment", "home", "output"])
def test_values_of_odd_characters_never_reach_a_directive(key: str, value: str) -> None:
    with pytest.raises(BackendError):
        render(dataclasses.replace(SCRIPT, **{key: value}), launch(), SlurmOptions())


def test_unknown_and_reserved_options_are_refused() -> None:
    with pytest.raises(SiteError, match="partitoin"):
        validate_options({"partitoin": "gpu"})
    for extra in ("--job-name=x", "--export=ALL", "--wrap=id", "-p gpu", "--x=a b", "--x=a\n"):
        with pytest.raises(SiteError, match="extra"):
            validate_options({"extra": [extra]})


def test_values_for_bash_are_quoted(tmp_path: Any) -> None:
    nasty = "a'b\"c $(touch oops) `touch oops` \\ \n #SBATCH --qos=vip"
    shown = "import os,sys;open('out','w').write(os.environ['NASTY']+'|'+sys.argv[-1])"
    job = launch(variables={"NASTY": nasty})
    text = text_of(job, start=shown, command=("server", nasty), path="/usr/local/bin:/usr/bin:/bin")
    assert not [line for line in directives(text.partition("\nset")[0]) if "vip" in line]
    subprocess.run(["bash", "-s"], input=text, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_text() == f"{nasty}|{nasty}"
    assert not (tmp_path / "oops").exists()


def test_a_directive_in_a_value_is_behind_the_first_command() -> None:
    """sbatch stops reading directives at the first command, so none can be smuggled in later."""
    text = text_of(launch(variables={"A": "x\n#SBATCH --qos=vip"}))
    assert text.index("unset SUDO_COMMAND") < text.index("--qos=vip")


@pytest.mark.parametrize("environment", [{"variables": {"A=B; id": "x"}}, {"modules": ["x; id"]}])
def test_names_that_are_no_names_are_refused(environment: dict[str, Any]) -> None:
    with pytest.raises(BackendError):
        text_of(launch(**environment))


def test_environment_is_activated() -> None:
    text = text_of(launch(prefix="/opt/env s/x", modules=["Python/3.11"]))
    assert "export PATH='/opt/env s/x'/bin:\"$PATH\"" in text
    assert "module load Python/3.11 ||" in text


def test_container_gets_binds_and_gpus() -> None:
    areas = (
        Area("raw", "/data/a b/raw", "/data", Mode.READ_ONLY),
        Area("processed", "/data/p", "/data", Mode.READ_WRITE),
    )
    job = launch(
        SessionPlan(facility="t", areas=areas), {"gpus": {"count": 1}}, apptainer="/i/x y.sif"
    )
    assert (
        "exec apptainer exec --nv --bind '/data/a b/raw:/data/a b/raw:ro' "
        "--bind /data/p:/data/p:rw '/i/x y.sif' \"$python\""
    ) in text_of(job)


def test_a_path_that_would_be_another_bind_is_refused() -> None:
    plan = SessionPlan(facility="t", areas=(Area("r", "/d:/etc", "/d", Mode.READ_ONLY),))
    with pytest.raises(BackendError):
        text_of(launch(plan, apptainer="/i.sif"))


def test_plan_and_start_up_travel_whole() -> None:
    plan = SessionPlan(facility="PANOSC_PLAN\n'`$", proposal="HG-1")
    text = text_of(launch(plan))
    assert json.loads(unpack(text, "PANOSC_PLAN")) == plan.to_dict()
    assert unpack(text, "PANOSC_START") == SCRIPT.start
    assert len(shorten(text)) < len(text)
    assert "characters)" in shorten(text)


def test_names_are_short_plain_and_unique() -> None:
    names = {job_name("hub.example.org", "Ünï@eduteams.org" * 9, "my server" * 9) for _ in "ab"}
    assert len(names) == 2
    for name in names:
        assert re.fullmatch(r"[a-z0-9-]{1,64}", name)
    assert re.fullmatch(r"[A-Za-z0-9_.:,=@-]+", job_comment("h", "a b\n;x", "é"))


def test_log_path_is_filled_in_as_plain_text() -> None:
    path = fill_path("{home}/{server}-{username.x}.log", home="/h", username="u", server="a/../b")
    assert path == "/h/a_.._b-{username.x}.log"
