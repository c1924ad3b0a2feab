"""Environments in the batch script: found, checked and copied on the node, told in sentences.

The scripts are run by bash as they are; ``tests/slurm/test_environments.py`` has them in jobs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.backends.slurm.script import shorten
from panosc_hub.backends.slurm.software import patterns
from panosc_hub.core.environments import path_allowed
from panosc_hub.core.plan import SessionPlan
from panosc_hub.core.profiles import Environment
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.errors import BackendError
from tests import apptainer
from tests.batch import TOKEN, Reports, launch, reports, run, text_of

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


@pytest.fixture
def heard() -> Iterator[Reports]:
    with reports() as found:
        yield found


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


# -- values ------------------------------------------------------------------------------------

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


# -- prefixes, modules, Python -----------------------------------------------------------------


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


# -- paths that users give ---------------------------------------------------------------------

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


@pytest.fixture
def software(tmp_path: Path) -> Path:
    """A place of which nobody else can change the way to it."""
    folder = tmp_path / "software"
    folder.mkdir(mode=0o755)
    return folder


def refusal(text: str, folder: Path, heard: Reports) -> str:
    done = run(text, folder, heard)
    assert done.returncode == 1, done.stdout
    assert "SEEN" not in done.stdout
    (sentence,) = heard.of("error")
    assert sentence.startswith("The environment /")
    assert sentence.endswith(". Choose another environment.")
    return sentence


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


@needs_root
def test_shared_software_may_belong_to_whoever_installs_it(software: Path, heard: Reports) -> None:
    prefix = make_prefix(software / "envs" / "shared")
    os.chown(prefix, 4711, 4711)
    assert seen(run(script(str(prefix), paths=[f"{software}/envs/*"]), software, heard))


def test_the_sites_own_path_needs_no_pattern(tmp_path: Path, heard: Reports) -> None:
    prefix = make_prefix(tmp_path / "env")
    text = script(prefix=str(prefix), paths=["/software/*"])
    assert seen(run(text, tmp_path, heard))["server"].startswith(str(prefix))


# -- packed environments -----------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's own storage."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder


def unpacked(node: Path) -> list[Path]:
    return sorted(node.glob("panosc-*/*"))


@pytest.mark.parametrize("name", ["env.tar", "env.tar.gz", "env.tgz", "env.tar.xz", "an env's.tar"])
def test_an_archive_is_unpacked_used_and_removed(
    name: str, tmp_path: Path, node: Path, heard: Reports
) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / name)
    text = script(archive=str(archive), unpack_to=str(node), title="Frozen")
    found = seen(run(text, tmp_path, heard))
    assert found["server"].startswith(f"{node}/panosc-{os.geteuid()}/")
    assert heard.of("ok")[0].startswith("The environment Frozen was copied to ")
    assert heard.of("progress")[0].startswith("Copying the environment Frozen to ")
    assert not list(node.iterdir())


def test_zstd_is_used_where_it_is(tmp_path: Path, node: Path, heard: Reports) -> None:
    plain = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in os.listdir("/usr/bin"):
        if name != "zstd":
            (tools / name).symlink_to(f"/usr/bin/{name}")
    packed = launch(archive=f"{plain}.zst", unpack_to=str(node))
    Path(f"{plain}.zst").write_bytes(b"")
    done = run(text_of(packed, path=str(tools)), tmp_path, heard)
    assert done.returncode == 1
    assert "there is no zstd on" in heard.of("error")[0]
    if zstd := shutil.which("zstd"):
        subprocess.run([zstd, "-qf", str(plain)], check=True)
        assert seen(run(script(archive=f"{plain}.zst", unpack_to=str(node)), tmp_path, heard))


def test_conda_unpack_runs_at_the_final_place(tmp_path: Path, node: Path, heard: Reports) -> None:
    prefix = make_prefix(tmp_path / "env")
    script_file = prefix / "bin" / "conda-unpack"
    script_file.write_text(
        "#!/usr/bin/env python3\nimport pathlib, sys\nhere = pathlib.Path(__file__).parent\n"
        '(here / "jupyterhub-singleuser").write_text("#!/bin/sh\\n# " + str(here) + sys.executable)'
    )
    script_file.chmod(0o755)
    archive = pack(prefix, tmp_path / "env.tar")
    start = START + "print(open(seen['server']).read())"
    done = run(script(start=start, archive=str(archive), unpack_to=str(node)), tmp_path, heard)
    where = str(Path(seen(done)["server"]).parent)
    assert f"# {where}{where}/python3" in done.stdout


def test_what_is_unpacked_is_the_users_alone(tmp_path: Path, node: Path) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    start = START + f"os.system('stat -c %a {node}/panosc-* {node}/panosc-*/*')"
    done = run(script(start=start, archive=str(archive), unpack_to=str(node)), tmp_path)
    assert re.findall(r"^\d+$", done.stdout, re.M) == ["700", "700"]


def test_a_folder_that_somebody_else_made_is_not_used(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    mine = node / f"panosc-{os.geteuid()}"
    text = script(archive=str(archive), unpack_to=str(node))
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o700)
    mine.symlink_to(trap)
    assert run(text, tmp_path, heard).returncode == 1
    mine.unlink()
    mine.mkdir(mode=0o777)
    mine.chmod(0o777)
    assert run(text, tmp_path, heard).returncode == 1
    assert ["is not yours alone" in sentence for sentence in heard.of("error")] == [True, True]
    assert not list(trap.iterdir())
    assert mine.exists()


def test_too_little_room_falls_back_to_the_plain_prefix_and_is_told(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    prefix = make_prefix(tmp_path / "env")
    archive = pack(prefix, tmp_path / "env.tar")
    with archive.open("r+b") as file:
        file.truncate(2 * shutil.disk_usage(node).free)  # a hole: it only says to be so large
    where = {"archive": str(archive), "unpack_to": str(node)}
    found = seen(run(script(prefix=str(prefix), **where), tmp_path, heard))
    assert found["server"] == f"{prefix}/bin/jupyterhub-singleuser"
    (sentence,) = heard.of("warning")
    assert "but used from where it is, which starts slower" in sentence
    assert f"GB in {node} on " in sentence
    done = run(script(**where), tmp_path, heard)
    assert done.returncode == 1
    assert "are free. Choose another environment" in heard.of("error")[0]
    assert not list(node.iterdir())


def test_memory_of_the_session_is_not_filled_by_more_than_half(
    tmp_path: Path, heard: Reports
) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    with archive.open("ab") as file:
        file.write(bytes(3 * 2**20))
    if subprocess.check_output(["stat", "-f", "-c", "%T", "/dev/shm"], text=True) != "tmpfs\n":
        pytest.skip("/dev/shm is not in memory here")
    text = script(archive=str(archive))
    done = run(text, tmp_path, heard, SLURM_MEM_PER_NODE="4")
    assert done.returncode == 1
    assert "more than half of this session's memory" in heard.of("error")[0]
    assert seen(run(text, tmp_path, heard, SLURM_MEM_PER_NODE="8"))


@pytest.mark.parametrize("damage", ["cut", "no bin", "absent", "conda-unpack"])
def test_an_archive_that_cannot_be_used_leaves_nothing(
    damage: str, tmp_path: Path, node: Path, heard: Reports
) -> None:
    prefix = make_prefix(tmp_path / "env")
    (prefix / "big").write_bytes(os.urandom(200_000))
    if damage == "conda-unpack":
        (prefix / "bin" / "conda-unpack").write_text("#!/bin/sh\necho broken\nexit 3\n")
        (prefix / "bin" / "conda-unpack").chmod(0o755)
    archive = pack(prefix.parent if damage == "no bin" else prefix, tmp_path / "env.tar.gz")
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:100_000])
    if damage == "absent":
        archive.unlink()
    done = run(script(archive=str(archive), unpack_to=str(node)), tmp_path, heard)
    assert done.returncode == 1
    words = {
        "cut": "could not be unpacked",
        "no bin": "no bin at its top",
        "absent": "is not there",
        "conda-unpack": "conda-unpack failed (broken)",
    }
    assert words[damage] in heard.of("error")[0]
    assert not list(node.iterdir())


SLOW = """#!/usr/bin/env python3
import os, sys, time
while part := os.read(0, 100_000):
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
    time.sleep(0.3)
"""
"""A file system that takes its time, where tar would read the archive."""


def slow(tmp_path: Path, node: Path, start: str = START) -> str:
    """A job that copies slowly."""
    prefix = tmp_path / "env"
    if not prefix.exists():
        make_prefix(prefix)
        (prefix / "big").write_bytes(os.urandom(1_000_000))
        pack(prefix, tmp_path / "env.tar")
        (tmp_path / "cat").write_text(SLOW)
        (tmp_path / "cat").chmod(0o755)
    text = script(start=start, archive=str(tmp_path / "env.tar"), unpack_to=str(node))
    return text.replace("PATH=", f"PATH={tmp_path}:", 1)


def test_progress_is_told_while_it_is_copied(tmp_path: Path, node: Path, heard: Reports) -> None:
    assert seen(run(slow(tmp_path, node), tmp_path, heard))
    found = [re.search(r": (\d+) %, (\d+) MB of (\d+) MB$", each) for each in heard.of("progress")]
    numbers = [int(match[1]) for match in found if match]
    assert len(numbers) >= 2
    assert numbers == sorted(numbers)
    assert 0 < numbers[-1] <= 100


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


def test_two_sessions_share_one_copy_and_the_last_one_removes_it(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    where = {"archive": str(archive), "unpack_to": str(node)}
    one = begin(script(start=holding("one", tmp_path), **where), tmp_path, heard, "1")
    first = line_with(one, "SEEN")
    two = begin(script(start=holding("two", tmp_path), **where), tmp_path, heard, "2")
    assert line_with(two, "SEEN") == first
    assert [sentence.split()[3] for sentence in heard.of("ok")] == ["was", "is"]
    assert len(unpacked(node)) == 1
    let_go("one", tmp_path)
    assert one.wait(20) == 0
    assert (unpacked(node)[0] / "bin" / "jupyterhub-singleuser").exists()
    let_go("two", tmp_path)
    assert two.wait(20) == 0
    assert not list(node.iterdir())


def test_sessions_that_start_together_copy_once_and_never_see_half(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    names = ("one", "two", "three")
    jobs = [begin(slow(tmp_path, node, holding(n, tmp_path)), tmp_path, heard, n) for n in names]
    # The last file of the archive is the server: whoever sees half does not find it.
    places = {line_with(job, "SEEN") for job in jobs}
    assert len(places) == 1
    assert "jupyterhub-singleuser" in places.pop()
    assert sorted(sentence.split()[3] for sentence in heard.of("ok")) == ["is", "is", "was"]
    assert any("Waiting for another session of yours" in each for each in heard.of("progress"))
    for name in names:
        let_go(name, tmp_path)
    assert [job.wait(30) for job in jobs] == [0, 0, 0]
    assert not list(node.iterdir())


def test_another_version_of_the_archive_is_another_copy(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    prefix = make_prefix(tmp_path / "env")
    archive = pack(prefix, tmp_path / "env.tar")
    where = {"archive": str(archive), "unpack_to": str(node)}
    one = begin(script(start=holding("one", tmp_path), **where), tmp_path, heard, "1")
    first = line_with(one, "SEEN")
    (prefix / "new").write_text("x" * 20_000)
    pack(prefix, archive)
    second = run(script(**where), tmp_path, heard)
    assert f"SEEN{json.dumps(seen(second))}\n" != first
    let_go("one", tmp_path)
    assert one.wait(20) == 0
    assert not list(node.iterdir())


@pytest.mark.parametrize("moment", ["copying", "running"])
def test_a_cancelled_session_leaves_nothing(
    moment: str, tmp_path: Path, node: Path, heard: Reports
) -> None:
    """As Slurm does it: SIGTERM to every process of the job."""
    if moment == "copying":
        job = begin(slow(tmp_path, node), tmp_path, heard, "job")
        while not list(node.glob("panosc-*/.new.*/b*")):
            assert job.poll() is None
            time.sleep(0.01)
    else:
        archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
        start = holding("never", tmp_path)
        job = begin(
            script(start=start, archive=str(archive), unpack_to=str(node)), tmp_path, heard, "job"
        )
        line_with(job, "SEEN")
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(20) == 143
    assert not list(node.iterdir())


def test_what_a_killed_session_left_is_removed_by_the_next_one(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    where = {"archive": str(archive), "unpack_to": str(node)}
    job = begin(script(start=holding("never", tmp_path), **where), tmp_path, heard, "job")
    line_with(job, "SEEN")
    os.killpg(job.pid, signal.SIGKILL)
    job.wait(20)
    (left,) = unpacked(node)
    half = left.parent / ".new.0123456789abcdef"
    half.mkdir()
    other = pack(make_prefix(tmp_path / "env2"), tmp_path / "env2.tar")
    start = START + f"print(os.listdir({str(left.parent)!r}))"
    done = run(script(start=start, archive=str(other), unpack_to=str(node)), tmp_path, heard)
    assert left.name not in done.stdout.splitlines()[-1]
    assert half.name not in done.stdout.splitlines()[-1]
    assert not list(node.iterdir())


@needs_root
def test_the_epilog_removes_what_nobody_uses(tmp_path: Path, node: Path, heard: Reports) -> None:
    epilog = Path(__file__).parents[4] / "config" / "slurm" / "epilog"
    killed = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    used = pack(tmp_path / "env", tmp_path / "env2.tar")
    places = {}
    names: dict[str, Path] = {"killed": killed, "used": used}
    sessions = {}
    for name, archive in names.items():
        text = script(start=holding(name, tmp_path), archive=str(archive), unpack_to=str(node))
        sessions[name] = begin(text, tmp_path, heard, name)
        found = json.loads(line_with(sessions[name], "SEEN").partition("SEEN")[2])
        places[name] = Path(found["server"]).parents[1]
    os.killpg(sessions["killed"].pid, signal.SIGKILL)
    sessions["killed"].wait(20)
    assert places["killed"].exists()
    about = {"SLURM_JOB_UID": "0", "SLURM_JOB_USER": "root"}
    subprocess.run([str(epilog), str(node)], env=about, check=True)
    assert [name for name, where in places.items() if where.exists()] == ["used"]
    let_go("used", tmp_path)
    assert sessions["used"].wait(20) == 0
    assert not list(node.iterdir())
    subprocess.run([str(epilog), str(node)], env=about, check=True)


def test_a_copy_that_was_removed_by_halves_is_made_anew(
    tmp_path: Path, node: Path, heard: Reports
) -> None:
    """Without its mark it is not taken for whole, whatever it holds."""
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    where = {"archive": str(archive), "unpack_to": str(node)}
    job = begin(script(start=holding("never", tmp_path), **where), tmp_path, heard, "job")
    line_with(job, "SEEN")
    os.killpg(job.pid, signal.SIGKILL)
    job.wait(20)
    (left,) = unpacked(node)
    (left / ".panosc-ready").unlink()
    (left / "bin" / "jupyterhub-singleuser").unlink()
    assert seen(run(script(**where), tmp_path, heard))["server"]


def test_the_lock_is_on_the_copy_itself(tmp_path: Path, node: Path) -> None:
    """So that nothing is left beside it, and an administrator can see whether it is in use."""
    archive = pack(make_prefix(tmp_path / "env"), tmp_path / "env.tar")
    start = START + (
        "import fcntl\n"
        "place = os.path.dirname(os.path.dirname(seen['server']))\n"
        "try:\n    fcntl.flock(os.open(place, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n    print('HELD')\n"
    )
    done = run(script(start=start, archive=str(archive), unpack_to=str(node)), tmp_path)
    assert "HELD" in done.stdout


# -- containers --------------------------------------------------------------------------------

needs_bwrap = pytest.mark.skipif(bool(apptainer.why_not()), reason=apptainer.why_not() or "-")
LOOK = """
import json, os, sys
def attempt(action, path):
    try:
        return action(path) or "ok"
    except OSError as error:
        return error.strerror
seen = {"env": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv[1:], "uid": os.getuid()}
seen["python"], seen["stdin"] = sys.executable, len(sys.stdin.read())
seen["write"] = {p: attempt(lambda p: open(p + "/new", "w").close(), p) for p in PLACES}
seen["list"] = {p: attempt(lambda p: sorted(os.listdir(p)), p) for p in PLACES}
print("SEEN" + json.dumps(seen))
"""


@dataclass
class Place:
    """A facility in a directory that is not below /tmp, which every container shows."""

    folder: Path
    image: Path
    command: str

    def areas(self) -> tuple[Area, ...]:
        data = str(self.folder / "data")
        return (
            Area("raw", f"{data}/HG-1", data, Mode.READ_ONLY),
            Area("processed", f"{data}/HG-1/processed", data, Mode.READ_WRITE),
            Area("gone", f"{data}/HG-1/gone", data, Mode.READ_ONLY),
        )

    def look(self, job: Any, heard: Reports | None = None, **env: str) -> dict[str, Any]:
        """Run it, and see what the session start-up sees."""
        places = [str(self.folder / "data" / each) for each in ("HG-1", "HG-1/processed", "HG-2")]
        start = f"PLACES = {places!r}\n{LOOK}"
        home = self.folder / "home"
        text = text_of(job, start=start, apptainer=(self.command,), home=str(home))
        return seen(run(text, home, heard, **env))


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if not os.access("/srv", os.W_OK):
        pytest.skip("/srv is not writable")
    with tempfile.TemporaryDirectory(prefix="panosc-", dir="/srv") as name:
        folder = Path(name)
        for each in ("home", "data/HG-1/processed", "data/HG-2"):
            (folder / each).mkdir(parents=True)
        (folder / "data/HG-1/scan.h5").touch()
        command = apptainer.install(folder / "bin", getattr(request, "param", "apptainer"))
        yield Place(folder, apptainer.make_image(folder / "image.sif"), command)


@needs_bwrap
def test_a_container_sees_the_areas_of_the_proposal_and_no_others(place: Place) -> None:
    plan = SessionPlan(facility="t", areas=place.areas())
    found = place.look(launch(plan, apptainer=str(place.image)))
    raw, processed, other = found["write"]
    assert found["write"] == {
        raw: "Read-only file system",
        processed: "ok",
        other: "No such file or directory",
    }
    assert found["list"] == {
        raw: ["processed", "scan.h5"],
        processed: ["new"],
        other: "No such file or directory",
    }
    # One area is not on this machine: the session's start-up says so, and the container starts.
    assert found["cwd"] == found["env"]["HOME"] == str(place.folder / "home")
    assert found["stdin"] > 50  # the plan
    assert found["argv"][:3] == ["--plan-fd", "0", "--pick-port"]


@needs_bwrap
@pytest.mark.parametrize("place", ["apptainer", "singularity"], indirect=True)
@pytest.mark.parametrize("clean", ["", "1"])
def test_a_container_gets_the_hubs_variables_and_none_as_code(place: Place, clean: str) -> None:
    image = apptainer.make_image(place.image, JUPYTERHUB_API_TOKEN="of the image")
    job = launch(
        apptainer=str(image),
        prefix="/in/the/image",
        variables={"GREETING": "it's", "CODE": "$(id)"},
    )
    found = place.look(job, CUDA_VISIBLE_DEVICES="2", APPTAINER_CLEANENV=clean)["env"]
    assert found["JUPYTERHUB_API_TOKEN"] == TOKEN
    assert (found["GREETING"], found["CUDA_VISIBLE_DEVICES"]) == ("it's", "2")
    assert found.get("CODE") == (None if clean else "$(id)")
    assert found["PATH"].startswith("/in/the/image/bin:/usr/local/sbin:")


@needs_bwrap
def test_no_token_is_in_an_argument_of_a_container(place: Place) -> None:
    command = Path(place.command)
    command.rename(f"{command}.real")
    command.write_text(f'#!/bin/bash\necho "$@" >{place.folder}/argv\nexec {command}.real "$@"\n')
    command.chmod(0o755)
    place.look(launch(profile={"gpus": {"count": 1}}, apptainer=str(place.image)))
    words = (place.folder / "argv").read_text()
    assert words.startswith(f"exec --home {place.folder}/home --nv {place.image} /bin/sh -c ")
    assert TOKEN not in words


@needs_bwrap
def test_a_container_uses_what_was_unpacked_for_it(place: Place, node: Path) -> None:
    archive = pack(make_prefix(place.folder / "env"), place.folder / "env.tar")
    job = launch(apptainer=str(place.image), archive=str(archive), unpack_to=str(place.folder))
    first = place.look(job)["env"]["PATH"].partition(":")[0]
    assert first.startswith(f"{place.folder}/panosc-")
    assert not Path(first).exists()


@needs_bwrap
def test_an_image_without_python_is_told(place: Place, heard: Reports) -> None:
    tools = [
        "/usr/bin/dash",
        "/usr/bin/sh",
        "/usr/bin/env",
        "/usr/lib",
        "/bin",
        "/lib",
        "/lib64",
        "/usr/lib64",
    ]
    apptainer.make_image(place.image, [t for t in tools if os.path.lexists(t)])
    text = text_of(launch(apptainer=str(place.image)), apptainer=(place.command,), home="/root")
    done = run(text, place.folder, heard)
    assert done.returncode == 1
    assert heard.of("error")[0].startswith("There is no Python 3.8 or later in the image of ")


@pytest.mark.parametrize("missing", ["command", "image"])
def test_a_missing_container_command_or_image_is_told(
    missing: str, tmp_path: Path, heard: Reports
) -> None:
    text = script(apptainer="/nowhere/image.sif")
    if missing == "image":
        text = text.replace("panosc_container apptainer", "panosc_container true")
    assert run(text, tmp_path, heard).returncode == 1
    words = {
        "command": "there is no apptainer on",
        "image": "The image of the environment E is not",
    }
    assert words[missing] in heard.of("error")[0]


@needs_bwrap
def test_a_container_ends_before_the_job_does(place: Place, heard: Reports) -> None:
    """As Slurm does it: SIGTERM to every process, and the rest is killed once the script ended."""
    start = (
        "import os, signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.5)\n"  # what a server needs to shut down
        "    os.write(1, b'ENDED\\n')\n"  # print may be what the signal interrupts
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('SEEN', flush=True)\n"
        "signal.pause()\n"
    )
    job = launch(apptainer=str(place.image))
    text = text_of(job, start=start, apptainer=(place.command,), home=str(place.folder / "home"))
    process = begin(text, place.folder / "home", heard, "job")
    line_with(process, "SEEN")
    os.killpg(process.pid, signal.SIGTERM)
    assert line_with(process, "ENDED")
    assert process.wait(20) == 143  # and not by the signal, before the container was done


@needs_bwrap
def test_an_image_that_the_user_gave_is_used(place: Place, heard: Reports) -> None:
    mine = apptainer.make_image(place.folder / "home" / "mine.sif")
    allowed = [f"{place.folder}/home/*"]
    assert place.look(launch(given=str(mine), paths=allowed), heard)["env"]["PATH"]
    if os.geteuid() == 0:
        os.chown(mine, 4711, 4711)
        (place.folder / "paula").symlink_to(place.folder / "home")
        allowed = [f"{place.folder}/{{username}}/*"]
        text = script(f"{place.folder}/paula/mine.sif", paths=allowed)
        assert "belongs to another account" in refusal(text, place.folder, heard)
