"""Environments in the batch script: values, prefixes, modules, Python, and sentences.

The scripts are run by bash as they are; ``tests/slurm/test_environments.py`` has them in jobs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.backends.slurm.script import shorten
from panosc_hub.core.plan import SessionPlan
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.errors import BackendError
from tests.batch import (
    START,
    TOKEN,
    Reports,
    launch,
    make_prefix,
    run,
    script,
    seen,
    text_of,
)

NASTY = [
    "/x\n#SBATCH --qos=vip",
    "/x\n",
    "/x\r",
    "/x\x00",
    "/x\x7f",
]


SHELL = "/x $(touch oops)`touch oops`;touch oops & touch oops | \"; touch oops #'; touch oops $HOME"


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("key", ["prefix", "apptainer", "archive", "unpack_to"])
def test_control_characters_in_a_path_are_refused(key: str, value: str) -> None:
    made = launch(archive="/a.tar")
    for odd in (value, value.strip() + "\x1b"):
        environment = made.environment.model_copy(update={key: odd})
        with pytest.raises(BackendError, match="not a usable path"):
            text_of(type(made)(**{**vars_of(made), "environment": environment}))


def vars_of(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in type(made).__slots__}


@pytest.mark.parametrize("key", ["prefix", "apptainer", "unpack_to"])
def test_a_path_that_would_be_two_is_refused(key: str) -> None:
    with pytest.raises(BackendError, match="not a usable path"):
        text_of(launch(**{"archive": "/a.tar", key: "/software/env:/tmp/evil"}))


@pytest.mark.parametrize(
    "key", ["prefix", "apptainer", "archive", "unpack_to", "title", "variable"]
)
def test_what_reads_like_code_stays_text(key: str, tmp_path: Path, heard: Reports) -> None:
    environment: dict[str, Any] = {
        "archive": {"archive": f"{SHELL}.tar"},
        "unpack_to": {"archive": "/a.tar", "unpack_to": SHELL},
        "title": {"prefix": "/nowhere", "title": SHELL[:80]},
        "variable": {"variables": {"NASTY": SHELL}},
    }.get(key, {key: SHELL})
    text = script(**environment).replace("panosc_container apptainer", "panosc_container true")
    done = run(text, tmp_path, heard)
    assert [path.name for path in tmp_path.iterdir()] == ["job.sh"]
    if key in ("prefix", "apptainer", "title"):  # they are in the sentence, as they are
        assert SHELL[:80] in heard.of("error")[0]
    assert "command not found" not in done.stderr
    assert "syntax error" not in done.stderr


@pytest.mark.parametrize("key", ["path", "site_profile", "port_range", "apptainer", "command"])
def test_settings_of_the_hub_stay_text_too(key: str, tmp_path: Path) -> None:
    value: Any = (SHELL,) if key in ("apptainer", "command") else SHELL
    software: dict[str, Any] = {"apptainer": "/i.sif"} if key == "apptainer" else {}
    software |= {"modules": ["none"]} if key == "site_profile" else {}
    done = run(text_of(launch(**software), start=START, **{key: value}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["job.sh"]
    assert "syntax error" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"variables": {"A=B; id": "x"}},
        {"variables": {"": "x"}},
        {"variables": {"A": "x\0y"}},
        {"modules": ["x; id"]},
        {"modules": ["x\n"]},
        {"modules": ["-x"]},
        {"modules": ["$(id)"]},
    ],
)
def test_names_that_are_no_names_are_refused(environment: dict[str, Any]) -> None:
    with pytest.raises(BackendError):
        text_of(launch(**environment))


def test_a_path_that_would_be_another_bind_is_refused() -> None:
    for path in ("/d:/etc", "/d,/etc", "/d\\", "/d\n"):
        plan = SessionPlan(facility="t", areas=(Area("r", path, "/d", Mode.READ_ONLY),))
        with pytest.raises(BackendError, match="--bind"):
            text_of(launch(plan, apptainer="/i.sif"))


def test_an_area_inside_another_one_is_bound_after_it() -> None:
    areas = (
        Area("processed", "/data/p/processed", "/data", Mode.READ_WRITE),
        Area("all", "/data/p", "/data", Mode.READ_ONLY),
        Area("raw", "/data/p/processed/raw", "/data", Mode.READ_ONLY),
    )
    text = text_of(launch(SessionPlan(facility="t", areas=areas), apptainer="/i.sif"))
    assert re.findall(r"(?m)^panosc_bind (\S+) (\S+)$", text) == [
        ("/data/p", "ro"),
        ("/data/p/processed", "rw"),
        ("/data/p/processed/raw", "ro"),
    ]


AREAS = (
    Area("raw", "/data/a b/raw", "/data", Mode.READ_ONLY),
    Area("processed", "/data/p", "/data", Mode.READ_WRITE),
)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {"prefix": "/opt/env s/x", "modules": ["a", "b/1"], "variables": {"A": "b c"}},
    "archive": {"archive": "/sw/a.tar.gz"},
    "archive with a prefix": {"archive": "/sw/a.tar.gz", "prefix": "/sw/a"},
    "image": {"apptainer": "/i/x y.sif", "variables": {"A": "b"}},
    "image with a prefix": {"apptainer": "/i/x.sif", "prefix": "/sw/a"},
    "image with an archive": {"apptainer": "/i/x.sif", "archive": "/a.tar"},
    "own prefix": {"given": "/home/paula/e", "paths": ["/home/{username}/**", "/a/b-*.c/**/d"]},
    "own image": {"given": "/home/paula/e.sif", "paths": ["/home/{username}/**"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_shellcheck_finds_nothing_in_the_script(kind: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    plan = SessionPlan(facility="t", areas=AREAS)
    for profile in ({}, {"gpus": {"count": 1}, "walltime": "1h"}):
        text = text_of(launch(plan, profile, **KINDS[kind]), {"prologue": "echo hello"})
        # SC2016: "$x is not replaced in single quotes" is what quoting is for.
        done = subprocess.run(
            [shellcheck, "--exclude=SC2016", "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_shows_what_counts_and_leaves_helpers_out(kind: str) -> None:
    text = text_of(launch(SessionPlan(facility="t", areas=AREAS), **KINDS[kind]))
    short = shorten(text)
    assert len(short.splitlines()) < 75
    for name, value in KINDS[kind].items():
        for each in [value] if isinstance(value, str) else value if name != "paths" else ():
            assert each in short
    if "paths" in KINDS[kind]:
        assert "panosc_allowed yes /home/paula '[^/]+(/[^/]+)*'" in short
    assert "panosc_say() {" not in short
    assert "# how a sentence reaches the log" in short


def test_a_prefix_comes_first_and_its_own_python_is_used(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "an env's")
    found = seen(run(script(prefix=str(prefix)), tmp_path))
    assert found["PATH"].startswith(f"{prefix}/bin:")
    assert found["server"] == f"{prefix}/bin/jupyterhub-singleuser"
    assert found["python"].startswith(f"{prefix}/bin/")
    assert found["CONDA_PREFIX"] is None


def test_a_conda_prefix_is_activated(tmp_path: Path) -> None:
    prefix = make_prefix(tmp_path / "env")
    (prefix / "conda-meta").mkdir()
    scripts = prefix / "etc" / "conda" / "activate.d"
    scripts.mkdir(parents=True)
    (scripts / "data.sh").write_text('export ACTIVATED="$CONDA_PREFIX/share"\n')
    found = seen(run(script(prefix=str(prefix)), tmp_path))
    assert (found["CONDA_PREFIX"], found["ACTIVATED"]) == (str(prefix), f"{prefix}/share")


def test_a_prefix_that_is_not_there_is_told(tmp_path: Path, heard: Reports) -> None:
    done = run(script(prefix="/nowhere/env", title="Data analysis"), tmp_path, heard)
    assert done.returncode == 1
    (sentence,) = heard.of("error")
    assert sentence.startswith("The environment Data analysis is not on ")
    assert sentence in done.stderr
    assert heard.tokens == {f"token {TOKEN}"}


def test_a_module_that_is_not_there_is_told(tmp_path: Path, heard: Reports) -> None:
    done = run(script(modules=["no/such"]), tmp_path, heard)
    assert done.returncode == 1
    assert heard.of("error")[0].startswith("The module no/such of the environment E cannot be ")


def test_an_environment_without_python_is_told_and_an_old_one_is_passed_over(
    tmp_path: Path, heard: Reports
) -> None:
    old = make_prefix(tmp_path / "old")
    python = old / "bin" / "python3"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 1\n")  # what an old one answers when asked for its version
    python.chmod(0o755)
    found = seen(run(script(prefix=str(old)), tmp_path, heard))
    assert not found["python"].startswith(str(old))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("base64", "gzip", "hostname", "curl"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (old / "bin" / "python").symlink_to(python)
    text = text_of(launch(prefix=str(old)), start=START, path=str(tools))
    done = run(text, tmp_path, heard)
    assert done.returncode == 1
    assert heard.of("error")[0].startswith("There is no Python 3.8 or later on ")


@pytest.mark.parametrize("sender", ["curl", "python3", "nothing"])
def test_a_sentence_is_sent_by_what_there_is_and_the_token_is_no_argument(
    sender: str, tmp_path: Path, heard: Reports
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("hostname", "base64", "gzip"):
        (tools / name).symlink_to(str(shutil.which(name)))
    real = {"curl": shutil.which("curl"), "python3": sys.executable}.get(sender)
    if real:
        (tools / sender).write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/argv\nexec {real} "$@"\n')
        (tools / sender).chmod(0o755)
    title = 'quotes " \\ and {"v": 2}\tü'
    text = text_of(launch(prefix="/nowhere", title=title), path=str(tools))
    done = run(text, tmp_path, heard)
    assert done.returncode == 1
    assert "panosc: environment: error: The environment quotes" in done.stderr
    if sender == "nothing":
        assert not heard.events
        return
    (sentence,) = heard.of("error")
    assert f"The environment {title} is not on".replace("\t", " ") in sentence
    assert heard.tokens == {f"token {TOKEN}"}
    assert TOKEN not in (tmp_path / "argv").read_text()
    assert TOKEN not in text


def test_a_hub_that_does_not_listen_changes_nothing(tmp_path: Path) -> None:
    done = run(script(prefix="/nowhere"), tmp_path, JUPYTERHUB_API_URL="http://127.0.0.1:1/hub/api")
    assert done.returncode == 1
    assert "is not on" in done.stderr
