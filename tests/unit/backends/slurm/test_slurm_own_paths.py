"""Paths that users give, looked at by the batch script where they are used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from panosc_hub.backends.slurm.software import patterns
from panosc_hub.core.environments import path_allowed
from panosc_hub.core.profiles import Environment
from tests.batch import (
    START,
    Reports,
    launch,
    make_prefix,
    needs_root,
    refusal,
    run,
    script,
    seen,
    text_of,
)

PATTERNS = ("/home/{username}/**", "/software/*/envs/*", "/sw/**/env-*.d", "/opt/one", "/**/x")


PATHS = [
    "/home/paula/env", "/home/paula/a/b", "/home/paula", "/home/paul/env", "/home/paula2/env",
    "/software/a/envs/b", "/software/a/envs/b/c", "/software/a/b/envs/c", "/software/envs/b",
    "/sw/env-1.d", "/sw/a/b/env-1.d", "/sw/env-1xd", "/sw/a/env-1/b.d", "/opt/one", "/opt/one/x",
    "/opt/onex", "/etc", "/home/paula/[a]", "/home/p.ula/env",
]  # fmt: skip


@pytest.mark.parametrize("username", ["paula", "p.ula", "a+b", "*", "[a-z]*"])
@pytest.mark.parametrize("pattern", PATTERNS[:-1])
def test_bash_allows_the_same_paths_as_the_hub(pattern: str, username: str) -> None:
    environment = Environment.model_validate({"id": "e", "title": "E", "paths": [pattern]})
    words = patterns(environment, username)
    paths = [*PATHS, f"/home/{username}/env"]
    code = f"set -- {' '.join(words)}\n" + (
        "while read -r p; do\n"
        '[ $# = 3 ] && [[ $p == "${2%/}"/* ]] && [[ ${p#"${2%/}"/} =~ ^($3)$ ]] && echo "$p"\n'
        "done"
    )
    done = subprocess.run(
        ["bash", "-c", code], input="\n".join(paths) + "\n", text=True, capture_output=True
    )
    assert done.stdout.split("\n")[:-1] == [
        p for p in paths if path_allowed(p, [pattern], username)
    ]


def test_a_path_within_the_allowed_ones_is_used(software: Path, heard: Reports) -> None:
    prefix = make_prefix(software / "envs" / "mine")
    found = seen(run(script(str(prefix), paths=[f"{software}/envs/*"]), software, heard))
    assert found["server"] == f"{prefix}/bin/jupyterhub-singleuser"
    assert not heard.events


def test_a_place_that_is_itself_a_link_is_no_way_out(software: Path, heard: Reports) -> None:
    """Homes are often links to where they really are."""
    make_prefix(software / "real" / "env")
    (software / "home").symlink_to(software / "real")
    found = seen(run(script(f"{software}/home/env", paths=[f"{software}/home/*"]), software, heard))
    assert found["server"] == f"{software}/real/env/bin/jupyterhub-singleuser"


def test_a_link_out_of_the_allowed_paths_is_refused(software: Path, heard: Reports) -> None:
    elsewhere = make_prefix(software / "elsewhere")
    (software / "envs").mkdir()
    (software / "envs" / "mine").symlink_to(elsewhere)
    text = script(f"{software}/envs/mine", paths=[f"{software}/envs/*"])
    assert f"it really is {elsewhere}, which is not where" in refusal(text, software, heard)


def test_a_path_that_is_not_there_is_refused(software: Path, heard: Reports) -> None:
    text = script(f"{software}/envs/mine", paths=[f"{software}/envs/*"])
    assert "it is not there on " in refusal(text, software, heard)


def test_a_folder_that_is_no_environment_is_refused(software: Path, heard: Reports) -> None:
    (software / "envs" / "mine" / "bin").mkdir(parents=True)
    text = script(f"{software}/envs/mine", paths=[f"{software}/envs/*"])
    assert "there is no bin/jupyterhub-singleuser in it" in refusal(text, software, heard)


def test_a_file_that_is_no_image_is_refused(software: Path, heard: Reports) -> None:
    (software / "mine.sif").write_text("#!/bin/sh\necho evil\n" * 9)
    text = script(f"{software}/mine.sif", paths=[f"{software}/*"])
    assert "it is not a .sif image" in refusal(text, software, heard)


@pytest.mark.parametrize("what", [".", "bin", "bin/jupyterhub-singleuser", ".."])
def test_what_everybody_may_change_is_refused(what: str, software: Path, heard: Reports) -> None:
    prefix = make_prefix(software / "envs" / "mine")
    (prefix / what).resolve().chmod(0o777)
    text = script(str(prefix), paths=[f"{software}/**"])
    assert "everybody may write to" in refusal(text, software, heard)


@needs_root
@pytest.mark.parametrize("what", [".", "bin", "bin/jupyterhub-singleuser", ".."])
@pytest.mark.parametrize("place", ["home", "sticky"])
def test_what_belongs_to_another_person_is_refused(
    place: str, what: str, software: Path, heard: Reports
) -> None:
    """S3: an environment is code that runs as whoever starts it."""
    home = software / "paula"
    prefix = make_prefix(home / "envs" / "mine")
    os.chown((prefix / what).resolve(), 4711, 4711)
    if place == "sticky":  # as /scratch or /tmp, where everybody may begin a folder
        home.chmod(0o1777)
    allowed = f"{software}/{{username}}/**" if place == "home" else f"{home}/**"
    sentence = refusal(script(str(prefix), paths=[allowed]), software, heard)
    assert "belongs to another account" in sentence


def test_nothing_of_a_refused_path_is_run_not_even_to_say_so(
    software: Path, heard: Reports
) -> None:
    """A node without curl says it with a Python: not with that one."""
    evil = make_prefix(software / "evil")
    for name in ("python3", "python", "jupyterhub-singleuser"):
        (evil / "bin" / name).unlink(missing_ok=True)
        (evil / "bin" / name).write_text(f"#!/bin/sh\ntouch {software}/ran\n")
        (evil / "bin" / name).chmod(0o755)
    (software / "tools").mkdir()
    for name in ("base64", "gzip", "hostname", "readlink", "stat"):
        (software / "tools" / name).symlink_to(str(shutil.which(name)))
    (software / "tools" / "python3").symlink_to(sys.executable)
    (software / "envs").mkdir()
    (software / "envs" / "mine").symlink_to(evil)
    (evil / "bin").chmod(0o777)
    for allowed in ("envs/*", "**"):
        job = launch(given=f"{software}/envs/mine", paths=[f"{software}/{allowed}"])
        refusal(text_of(job, start=START, path=str(software / "tools")), software, heard)
        heard.events.clear()
    assert not (software / "ran").exists()


@needs_root
def test_shared_software_may_belong_to_whoever_installs_it(software: Path, heard: Reports) -> None:
    prefix = make_prefix(software / "envs" / "shared")
    os.chown(prefix, 4711, 4711)
    assert seen(run(script(str(prefix), paths=[f"{software}/envs/*"]), software, heard))


def test_the_sites_own_path_needs_no_pattern(tmp_path: Path, heard: Reports) -> None:
    prefix = make_prefix(tmp_path / "env")
    text = script(prefix=str(prefix), paths=["/software/*"])
    assert seen(run(text, tmp_path, heard))["server"].startswith(str(prefix))
