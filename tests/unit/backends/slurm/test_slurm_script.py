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
from panosc_hub.backends.slurm.script import fill_path, job_comment, job_name, render, shorten
from panosc_hub.core.plan import SessionPlan
from panosc_hub.errors import BackendError, SiteError
from tests.batch import SCRIPT, launch, text_of


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


def test_shares_of_a_gpu_and_slices_are_asked_for_by_their_own_names() -> None:
    shards = launch(profile={"gpus": {"kind": "shard", "count": 2}})
    slices = launch(profile={"gpus": {"type": "1g.10gb", "count": 1}})
    assert "--gres=shard:2" in directives(text_of(shards))
    assert "--gres=gpu:1g.10gb:1" in directives(text_of(slices))


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
