"""The session start-up, run as a real process of an unprivileged user against a real HTTP Hub."""

from __future__ import annotations

import ast
import base64
import contextlib
import errno
import importlib.util
import json
import os
import resource
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.session.machine import (
    NOBODY,
    PYTHON,
    SHOW,
    START,
    TOKEN,
    WORKSPACE,
    Hub,
    Machine,
    as_user,
    file,
    make_plan,
    packed,
    sha,
)


def load() -> Any:
    """The file as a module, for what no process can be brought to do."""
    spec = importlib.util.spec_from_file_location("panosc_start", START)
    assert spec is not None
    assert spec.loader is not None
    start = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(start)
    return start


def area(machine: Machine, name: str = "raw", mode: str = "ro") -> dict[str, str]:
    target = machine.own(machine.data / "HG-123" / name)
    return {"name": name, "target": str(target), "root": str(machine.data), "mode": mode}


# The good case


def test_the_workspace_is_prepared_and_the_notebook_opens(machine: Machine) -> None:
    result = machine.run(make_plan(links=[area(machine)]))
    assert result.code == 0
    assert (machine.space / "saxs.ipynb").read_text() == "one"
    assert os.readlink(machine.space / "raw") == str(machine.data / "HG-123" / "raw")
    assert result.env["JUPYTERHUB_DEFAULT_URL"] == f"/lab/tree/{WORKSPACE}/saxs.ipynb"
    assert result.env["PANOSC_PROPOSAL"] == "HG-123"
    assert result.shown["cwd"] == str(machine.home)
    for folder in (machine.home / "panosc", machine.space, machine.space / ".panosc"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert {e["status"] for e in machine.events} == {"ok"}
    # That variables were set is no news for the person who waits.
    steps = {e["step"] for e in machine.events}
    assert steps == {"workspace", "links", "files", "provenance"}
    assert all(set(e) == {"step", "status", "message"} for e in machine.events)
    ((_, headers, body),) = machine.hub.posts
    assert headers["Authorization"] == f"token {TOKEN}"
    assert body["v"] == 1


def test_without_a_plan_the_server_just_starts(machine: Machine) -> None:
    result = machine.run()
    assert result.code == 0
    assert "JUPYTERHUB_DEFAULT_URL" not in result.env
    assert list(machine.home.iterdir()) == []
    assert machine.hub.posts == []


def test_the_plan_may_come_as_a_file_or_a_descriptor(machine: Machine) -> None:
    path = machine.put(machine.top / "plan.json", json.dumps(make_plan()))
    assert machine.run(None, "--plan-file", str(path)).code == 0
    assert (machine.space / "saxs.ipynb").read_text() == "one"
    reader, writer = os.pipe()
    os.write(writer, json.dumps(make_plan(files=[file("two")])).encode())
    os.close(writer)
    assert machine.run(None, "--plan-fd", str(reader), pass_fds=[reader]).code == 0
    os.close(reader)
    assert (machine.space / "saxs.ipynb").read_text() == "two"


@pytest.mark.parametrize("form", ["-", "-c"])
def test_the_text_can_be_piped_or_given_as_an_argument(machine: Machine, form: str) -> None:
    text = START.read_text()
    env = machine.environment(PANOSC_PLAN=packed(make_plan()))
    done = subprocess.run(
        [PYTHON, "-I", form, *([text] if form == "-c" else []), "--", "/bin/echo", "started"],
        input=text if form == "-" else "",
        env=env,
        cwd="/",
        capture_output=True,
        text=True,
        **as_user(),
    )
    assert done.stdout == "started\n"
    assert (machine.space / "saxs.ipynb").read_text() == "one"


def test_a_plan_on_standard_input_leaves_the_server_a_standard_input(machine: Machine) -> None:
    done = subprocess.run(
        [PYTHON, "-I", str(machine.start), "--plan-fd", "0", "--", "/bin/cat"],
        input=json.dumps(make_plan()),
        env=machine.environment(),
        capture_output=True,
        text=True,
        **as_user(),
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert (machine.space / "saxs.ipynb").read_text() == "one"


def test_signals_that_python_ignores_are_restored_for_the_server(machine: Machine) -> None:
    done = subprocess.run(
        [PYTHON, "-I", str(machine.start), "--", "/bin/grep", "SigIgn", "/proc/self/status"],
        env=machine.environment(),
        cwd="/",
        capture_output=True,
        text=True,
        **as_user(),
    )
    # Others may be ignored already where the tests run, SIGHUP under nohup for one.
    ours = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert int(done.stdout.split()[1], 16) & ours == 0


# Links


def test_a_correct_link_is_kept_and_an_old_one_of_ours_is_replaced(machine: Machine) -> None:
    machine.run(make_plan(links=[area(machine)]))
    machine.run(make_plan(links=[area(machine)]))
    other = {**area(machine, "other"), "name": "raw"}
    machine.run(make_plan(links=[other]))
    assert os.readlink(machine.space / "raw") == other["target"]
    assert machine.said("error") == ""


def test_what_the_user_put_in_place_of_a_link_is_kept_and_reported(machine: Machine) -> None:
    machine.run(make_plan())
    mine = machine.own(machine.space / "raw")
    os.symlink("/etc", machine.space / "processed")
    machine.run(make_plan(links=[area(machine), area(machine, "processed")]))
    assert mine.is_dir()
    assert not mine.is_symlink()
    assert os.readlink(machine.space / "processed") == "/etc"
    assert "something of yours named raw" in machine.said("error")
    assert "something of yours named processed" in machine.said("error")


def test_a_link_that_the_user_made_is_never_taken_for_ours(machine: Machine) -> None:
    machine.run(make_plan())
    link = area(machine)
    os.symlink(link["target"], machine.space / "raw")
    machine.run(make_plan(links=[link]))
    assert machine.said("error") == ""
    machine.run(make_plan(links=[{**area(machine, "other"), "name": "raw"}]))
    assert os.readlink(machine.space / "raw") == link["target"]
    assert "something of yours named raw" in machine.said("error")


def test_an_area_that_leaves_its_root_by_a_link_is_not_linked(machine: Machine) -> None:
    os.symlink("/etc", machine.data / "evil")
    link = {**area(machine), "target": str(machine.data / "evil")}
    dots = {**area(machine), "name": "dots", "target": f"{machine.data}/../../etc"}
    near = machine.own(Path(f"{machine.data}-2"))
    machine.run(make_plan(links=[link, dots, {**link, "name": "near", "target": str(near)}]))
    assert sorted(p.name for p in machine.space.iterdir()) == [".panosc", "saxs.ipynb"]
    assert machine.said("error").count("leads out of the facility's data") == 3


def test_a_root_that_is_itself_a_link_is_fine(machine: Machine) -> None:
    os.symlink(machine.data, machine.top / "gpfs")
    link = {**area(machine), "root": str(machine.top / "gpfs")}
    machine.run(make_plan(links=[{**link, "target": str(machine.top / "gpfs/HG-123/raw")}]))
    assert (machine.space / "raw").is_dir()


@pytest.mark.parametrize("where", ["target", "parent"])
def test_an_unreadable_area_is_reported_and_the_session_goes_on(
    machine: Machine, where: str
) -> None:
    link = area(machine)
    closed = Path(link["target"] if where == "target" else machine.data / "HG-123")
    closed.chmod(0)
    result = machine.run(make_plan(links=[link]))
    closed.chmod(0o700)
    assert result.code == 0
    assert "data area raw of HG-123 exists but your account may not read it" in machine.said(
        "error"
    )
    assert not (machine.space / "raw").is_symlink()
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/saxs.ipynb")


def test_an_unreadable_area_does_not_leave_the_data_of_an_earlier_session(
    machine: Machine,
) -> None:
    machine.run(make_plan(links=[area(machine)]))
    other = {**area(machine, "other"), "name": "raw"}
    Path(other["target"]).chmod(0)
    machine.run(make_plan(links=[other]))
    assert not (machine.space / "raw").is_symlink()
    assert json.loads((machine.space / ".panosc/manifest.json").read_text())["links"] == {}


def test_an_area_that_may_only_be_read_is_a_warning_for_rw(machine: Machine) -> None:
    link = area(machine, "scratch", "rw")
    Path(link["target"]).chmod(0o500)
    machine.run(make_plan(links=[link, area(machine, "processed", "rw")]))
    assert (machine.space / "scratch").is_dir()
    assert "may not write into the data area scratch" in machine.said("warning")
    assert "processed" not in machine.said("warning")


def test_missing_areas_and_files_are_told_apart(machine: Machine) -> None:
    link = area(machine)
    plain = machine.put(machine.data / "plain", "")
    machine.run(
        make_plan(
            links=[
                {**link, "name": "gone", "target": str(machine.data / "gone")},
                {**link, "name": "plain", "target": str(plain)},
            ]
        )
    )
    assert "data area gone of HG-123 is not there" in machine.said("error")
    assert "data area plain of HG-123 is not a folder" in machine.said("error")


def test_a_mount_that_does_not_answer_is_given_up() -> None:
    start = load()
    began = time.monotonic()
    assert start.in_child(lambda: str(time.sleep(60)), seconds=0.2) == ""
    assert time.monotonic() - began < 10
    assert start.in_child(lambda word: word, "ok", seconds=10) == "ok"


# Files


def test_the_same_notebook_is_reused(machine: Machine) -> None:
    machine.run(make_plan())
    before = os.stat(machine.space / "saxs.ipynb")
    result = machine.run(make_plan())
    after = os.stat(machine.space / "saxs.ipynb")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/saxs.ipynb")


def test_a_notebook_that_was_not_edited_is_replaced_by_the_new_one(machine: Machine) -> None:
    machine.run(make_plan())
    machine.run(make_plan(files=[file("two")]))
    assert (machine.space / "saxs.ipynb").read_text() == "two"
    assert [p.name for p in machine.space.glob("*.ipynb")] == ["saxs.ipynb"]


def test_an_edited_notebook_is_kept_and_opened(machine: Machine) -> None:
    machine.run(make_plan())
    machine.put(machine.space / "saxs.ipynb", "mine")
    result = machine.run(make_plan())
    assert (machine.space / "saxs.ipynb").read_text() == "mine"
    assert [p.name for p in machine.space.glob("*.ipynb")] == ["saxs.ipynb"]
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/saxs.ipynb")
    assert "You edited saxs.ipynb" in machine.said("ok")


def test_a_new_notebook_goes_beside_an_edited_one(machine: Machine) -> None:
    machine.run(make_plan())
    machine.put(machine.space / "saxs.ipynb", "mine")
    beside = f"saxs-{sha('two')[:8]}.ipynb"
    result = machine.run(make_plan(files=[file("two")]))
    assert (machine.space / "saxs.ipynb").read_text() == "mine"
    assert (machine.space / beside).read_text() == "two"
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/" + beside)
    assert f"the new version is {beside}" in machine.said("ok")
    machine.put(machine.space / beside, "mine too")
    result = machine.run(make_plan(files=[file("two")]))
    assert (machine.space / beside).read_text() == "mine too"
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/" + beside)
    assert len(list(machine.space.glob("*.ipynb"))) == 2


def test_a_file_of_unknown_origin_is_taken_as_the_users(machine: Machine) -> None:
    machine.run(make_plan(files=[]))
    machine.put(machine.space / "saxs.ipynb", "mine")
    machine.run(make_plan())
    assert (machine.space / "saxs.ipynb").read_text() == "mine"
    assert (machine.space / f"saxs-{sha('one')[:8]}.ipynb").read_text() == "one"


def test_a_lost_or_damaged_manifest_never_costs_an_edit(machine: Machine) -> None:
    for damage in ["{", "[]", '{"files": [], "links": 3}', '{"files": {"saxs.ipynb": 5}}']:
        machine.run(make_plan())
        machine.put(machine.space / "saxs.ipynb", "mine")
        machine.put(machine.space / ".panosc/manifest.json", damage)
        assert machine.run(make_plan(files=[file("two")])).code == 0
        assert (machine.space / "saxs.ipynb").read_text() == "mine"
    assert "manifest.json was damaged" in machine.said("warning")


def test_a_notebook_as_a_planted_link_is_not_followed(machine: Machine) -> None:
    machine.run(make_plan(files=[]))
    victim = machine.put(machine.home / "victim", "one")
    os.symlink(victim, machine.space / "saxs.ipynb")
    result = machine.run(make_plan(files=[file("two")]))
    assert victim.read_text() == "one"
    assert (machine.space / "saxs.ipynb").is_symlink()
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith(f"/saxs-{sha('two')[:8]}.ipynb")


def test_a_named_pipe_or_folder_in_its_place_does_not_block(machine: Machine) -> None:
    machine.run(make_plan(files=[]))
    os.mkfifo(machine.space / "saxs.ipynb")
    machine.own(machine.space / "other.ipynb")
    result = machine.run(make_plan(files=[file("one"), file("one", "other.ipynb")]))
    assert result.code == 0
    assert (machine.space / f"saxs-{sha('one')[:8]}.ipynb").read_text() == "one"
    assert (machine.space / f"other-{sha('one')[:8]}.ipynb").read_text() == "one"


def test_files_in_folders_are_made_but_not_through_a_data_area(machine: Machine) -> None:
    link = area(machine, "scratch", "rw")
    machine.run(
        make_plan(links=[link], files=[file("a", "lib/a.poni"), file("b", "scratch/b.poni")])
    )
    assert (machine.space / "lib/a.poni").read_text() == "a"
    assert list(Path(link["target"]).iterdir()) == []
    assert "scratch is a symbolic link or a file" in machine.said("error")


def test_a_damaged_text_is_not_written(machine: Machine) -> None:
    result = machine.run(make_plan(files=[{**file("one"), "text": "on"}]))
    assert not (machine.space / "saxs.ipynb").exists()
    assert result.env["JUPYTERHUB_DEFAULT_URL"] == f"/lab/tree/{WORKSPACE}"
    assert "arrived damaged" in machine.said("error")


def test_two_sessions_at_once_make_one_notebook(machine: Machine) -> None:
    for round_ in range(5):
        env = machine.environment(
            PANOSC_PLAN=packed(make_plan(workspace=f"w{round_}", links=[area(machine)]))
        )
        argv = [PYTHON, "-I", str(machine.start), "--", "/bin/true"]
        both = [
            subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, **as_user()) for _ in range(4)
        ]
        assert [process.wait(30) for process in both] == [0] * 4
        for process in both:
            process.communicate()
        space = machine.home / f"w{round_}"
        assert sorted(p.name for p in space.iterdir()) == [".panosc", "raw", "saxs.ipynb"]
        assert not list(space.glob(".panosc/tmp-*"))


def test_a_file_system_without_hard_links_gets_its_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    start = load()
    monkeypatch.setattr(start.os, "link", no_link)
    report = start.Report()
    start.Workspace(str(tmp_path), make_plan(), report).fill()
    assert (tmp_path / WORKSPACE / "saxs.ipynb").read_text() == "one"
    assert {event["status"] for event in report.events} == {"ok"}
    space = start.Workspace(str(tmp_path), make_plan(), report)
    with pytest.raises(FileExistsError):
        start.write(space.ours, space.folder, "saxs.ipynb", b"two", [])
    assert (tmp_path / WORKSPACE / "saxs.ipynb").read_text() == "one"
    assert not list((tmp_path / WORKSPACE).glob(".panosc/tmp-*"))


def test_an_edit_at_the_last_moment_is_kept(tmp_path: Path) -> None:
    start = load()
    space = start.Workspace(str(tmp_path), make_plan(), start.Report())
    space.fill()
    (tmp_path / WORKSPACE / "saxs.ipynb").write_text("mine")
    with pytest.raises(FileExistsError):
        start.write(space.ours, space.folder, "saxs.ipynb", b"two", [sha("one")])
    assert (tmp_path / WORKSPACE / "saxs.ipynb").read_text() == "mine"


def test_a_notebook_that_another_session_just_made_is_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = load()
    report = start.Report()
    start.Workspace(str(tmp_path), make_plan(), report).fill()
    look, looks = start.digest, []

    def late(folder: int, name: str) -> str | None:
        looks.append(name)
        found: str | None = None if len(looks) == 1 else look(folder, name)
        return found

    monkeypatch.setattr(start, "digest", late)
    start.Workspace(str(tmp_path), make_plan(), report).fill()
    assert {event["status"] for event in report.events} == {"ok"}
    assert [p.name for p in (tmp_path / WORKSPACE).glob("*.ipynb")] == ["saxs.ipynb"]


# Homes


@pytest.mark.parametrize("place", ["panosc", "panosc/demo", WORKSPACE, f"{WORKSPACE}/.panosc"])
def test_a_planted_link_in_the_path_is_refused(machine: Machine, place: str) -> None:
    outside = machine.own(machine.top / "outside")
    (machine.home / place).parent.mkdir(parents=True, exist_ok=True)
    for folder in (machine.home / place).parents:
        if machine.home in folder.parents:
            machine.own(folder)
    os.symlink(outside, machine.home / place)
    result = machine.run(make_plan())
    assert result.code == 0
    assert list(outside.iterdir()) == []
    assert "is a symbolic link or a file where a folder is needed" in machine.said("error")
    assert "JUPYTERHUB_DEFAULT_URL" not in result.env
    assert result.env["PANOSC_PROPOSAL"] == "HG-123"


@pytest.mark.parametrize(("name", "text"), [("manifest.json", "{}"), ("provenance.json", "[]")])
def test_planted_links_as_our_records_are_not_followed(
    machine: Machine, name: str, text: str
) -> None:
    machine.run(make_plan())
    victim = machine.put(machine.home / "victim", text)
    (machine.space / ".panosc" / name).unlink()
    os.symlink(victim, machine.space / ".panosc" / name)
    assert machine.run(make_plan()).code == 0
    assert victim.read_text() == text
    assert not (machine.space / ".panosc" / name).is_symlink()
    assert f"{name} was damaged" in machine.said("warning")


def test_a_home_without_write_permission_is_a_sentence(machine: Machine) -> None:
    machine.home.chmod(0o500)
    result = machine.run(make_plan())
    assert result.code == 0
    assert "JUPYTERHUB_DEFAULT_URL" not in result.env
    assert "could not be prepared: Permission denied" in machine.said("error")


@pytest.mark.parametrize("home", ["/nonexistent/home", ""])
def test_no_home_is_a_sentence(machine: Machine, home: str) -> None:
    env = machine.environment(HOME=home)
    result = machine.run(make_plan(), env=env)
    assert result.code == 0
    assert "The workspace in your home directory could not be prepared" in machine.said("error")


@pytest.fixture
def small_home(machine: Machine) -> Iterator[Path]:
    """A home on a file system of its own, which root may make full or read-only."""
    options = f"size=64k,uid={NOBODY},gid={NOBODY},mode=700"
    argv = ["mount", "-t", "tmpfs", "-o", options, "panosc-test", str(machine.home)]
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this account may not mount a tmpfs")
    yield machine.home
    subprocess.run(["umount", str(machine.home)], check=True)


def test_a_full_home_is_one_sentence_and_half_a_file_is_never_left(
    machine: Machine, small_home: Path
) -> None:
    machine.run(make_plan(files=[file("mine")]))
    filler = machine.put(small_home / "filler", "")
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    result = machine.run(make_plan(files=[file("n" * 9000), file("m" * 9000, "more.ipynb")]))
    assert result.code == 0
    assert (machine.space / "saxs.ipynb").read_text() == "mine"
    assert not (machine.space / "more.ipynb").exists()
    assert machine.said("error").count("Your home directory is full") == 1
    assert not list(machine.space.glob(".panosc/tmp-*"))
    assert result.env["JUPYTERHUB_DEFAULT_URL"] == f"/lab/tree/{WORKSPACE}"


def test_a_file_size_limit_leaves_no_half_file(machine: Machine) -> None:
    result = machine.run(
        make_plan(files=[file("n" * 9000)]),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert result.code == 0
    assert not (machine.space / "saxs.ipynb").exists()
    assert not list(machine.space.glob(".panosc/tmp-*"))
    assert "Your home directory is full" in machine.said("error")


def test_a_read_only_home_still_opens_what_is_there(machine: Machine, small_home: Path) -> None:
    plan = make_plan(links=[area(machine)])
    machine.run(plan)
    subprocess.run(["mount", "-o", "remount,ro", str(small_home)], check=True)
    result = machine.run(plan)
    assert result.code == 0
    assert result.env["JUPYTERHUB_DEFAULT_URL"].endswith("/saxs.ipynb")
    assert machine.said("error").count("Your home directory is read-only") == 1
    result = machine.run(make_plan(workspace="panosc/new"))
    assert result.code == 0
    assert "JUPYTERHUB_DEFAULT_URL" not in result.env


# Provenance


def test_provenance_is_appended_and_capped(machine: Machine) -> None:
    machine.run(make_plan())
    machine.run(make_plan(provenance={"template": "second"}))
    path = machine.space / ".panosc/provenance.json"
    first, second = json.loads(path.read_text())
    assert first["provenance"] == {"template": "saxs"}
    assert second["provenance"] == {"template": "second"}
    assert second["started"].endswith("Z")
    assert second["opened"] == "saxs.ipynb"
    machine.put(path, json.dumps([{"n": n} for n in range(100)]))
    machine.run(make_plan())
    past = json.loads(path.read_text())
    assert len(past) == 100
    assert past[0] == {"n": 1}
    assert past[-1]["provenance"] == {"template": "saxs"}


def test_damaged_provenance_is_kept_aside(machine: Machine) -> None:
    machine.run(make_plan())
    machine.put(machine.space / ".panosc/provenance.json", "not json")
    machine.run(make_plan())
    (aside,) = machine.space.glob(".panosc/provenance.json.damaged-*")
    assert aside.read_text() == "not json"
    assert len(json.loads((machine.space / ".panosc/provenance.json").read_text())) == 1


# Plans that cannot be used


@pytest.mark.parametrize("plan", [make_plan(v=2), make_plan(v=None), [], "text", 7])
def test_an_unknown_plan_version_is_a_sentence_and_the_server_starts(
    machine: Machine, plan: Any
) -> None:
    result = machine.run(plan)
    assert result.code == 0
    assert list(machine.home.iterdir()) == []
    assert "version or form that this start-up does not understand" in machine.said("error")
    assert "PANOSC_PROPOSAL" not in result.env


@pytest.mark.parametrize("value", ["not base64!", "bm90IHpsaWI=", packed(make_plan())[:-40]])
def test_an_unreadable_plan_is_a_sentence_and_the_server_starts(
    machine: Machine, value: str
) -> None:
    result = machine.run(env=machine.environment(PANOSC_PLAN=value))
    assert result.code == 0
    assert "plan of this session cannot be read" in machine.said("error")
    assert machine.run(None, "--plan-file", "/nonexistent").code == 0


def test_a_decompression_bomb_is_refused(machine: Machine) -> None:
    bomb = base64.b64encode(zlib.compress(b" " * (40 * 2**20), 9)).decode()
    result = machine.run(env=machine.environment(PANOSC_PLAN=bomb))
    assert result.code == 0
    assert "does not understand" in machine.said("error")


BAD_PATHS = ["../x", "/etc/x", "a/../../x", "a//b", ".", "..", "a\0b", "a\nb", ".panosc/x", 5]


@pytest.mark.parametrize("path", [*BAD_PATHS, "x\ud800"])
def test_a_workspace_outside_home_is_refused(machine: Machine, path: Any) -> None:
    result = machine.run(make_plan(workspace=path))
    assert result.code == 0
    assert list(machine.home.iterdir()) == []
    assert sorted(p.name for p in machine.top.iterdir()) == ["data", "home", "start.py"]
    assert len(machine.said("error").splitlines()) == 1
    assert "JUPYTERHUB_DEFAULT_URL" not in result.env


@pytest.mark.parametrize("path", [*BAD_PATHS, "", None])
def test_files_and_links_outside_the_workspace_are_refused(machine: Machine, path: Any) -> None:
    link = {**area(machine), "name": path}
    result = machine.run(make_plan(files=[{**file("x"), "path": path}], links=[link]))
    assert result.code == 0
    assert sorted(p.name for p in machine.space.iterdir()) == [".panosc"]
    assert sorted(p.name for p in machine.home.iterdir()) == ["panosc"]
    assert len(machine.said("error").splitlines()) == 2


@pytest.mark.parametrize(
    "parts",
    [
        {"links": 5},
        {"files": {"a": 1}},
        {"links": [None, {}, {"name": "x", "target": 1, "root": 2}]},
        {"links": [{"name": "a/b", "target": "/x", "root": "/x"}]},
        {"links": [{"name": "x", "target": "relative", "root": "/"}]},
        {"links": [{"name": "x", "target": "", "root": ""}]},
        {"environment": [1]},
        {"files": [{"path": "x", "sha256": 5, "text": None}]},
        {"open": ["x"]},
    ],
)
def test_a_plan_with_wrong_types_never_stops_the_server(
    machine: Machine, parts: dict[str, Any]
) -> None:
    result = machine.run(make_plan(**parts))
    assert result.code == 0
    assert "Traceback" not in result.err
    assert "open" in parts or machine.said("error")


# Environment and address


def test_settings_that_change_what_code_runs_are_refused(machine: Machine) -> None:
    bad = {
        "LD_PRELOAD": "/tmp/x.so",
        "PYTHONPATH": "/tmp",
        "PYTHONSTARTUP": "/tmp/x",
        "PATH": "/tmp",
        "HOME": "/tmp",
        "BASH_ENV": "/tmp/x",
        "JUPYTERHUB_API_URL": "http://evil",
        "lower": "x",
        "A B": "x",
        "A=B": "x",
        "A\n": "x",
        "": "x",
        "NUL": "a\0b",
        "NUMBER": 5,
    }
    result = machine.run(make_plan(environment={**bad, "PANOSC_OK": "ü", "PATHS": "1"}))
    assert result.code == 0
    for name, value in bad.items():
        assert result.env.get(name) != value
        assert " ".join(name.split()) in machine.said("error")
    assert result.env["PANOSC_OK"] == "ü"
    assert result.env["PATHS"] == "1"
    assert "PANOSC_PLAN" not in result.env


def test_the_url_is_quoted(machine: Machine) -> None:
    name = "mes données #1?.ipynb"
    result = machine.run(make_plan(files=[file("x", name)], open=name))
    url = result.env["JUPYTERHUB_DEFAULT_URL"]
    assert url == f"/lab/tree/{WORKSPACE}/mes%20donn%C3%A9es%20%231%3F.ipynb"


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("{home}", f"/lab/tree/{WORKSPACE}/saxs.ipynb"),
        ("~/panosc", f"/lab/tree/{WORKSPACE[7:]}/saxs.ipynb"),
        ("/", "/lab/tree{home}/" + f"{WORKSPACE}/saxs.ipynb"),
        ("/etc", None),
        ("~/elsewhere", None),
    ],
)
def test_the_url_is_relative_to_the_servers_root(
    machine: Machine, root: str, url: str | None
) -> None:
    env = machine.environment(JUPYTERHUB_ROOT_DIR=root.format(home=machine.home))
    result = machine.run(make_plan(), env=env)
    expected = url and url.format(home=os.path.realpath(machine.home))
    assert result.env.get("JUPYTERHUB_DEFAULT_URL") == expected


def test_no_workspace_leaves_the_servers_own_url(machine: Machine) -> None:
    env = machine.environment(JUPYTERHUB_DEFAULT_URL="/tree")
    assert machine.run(make_plan(workspace=None), env=env).env["JUPYTERHUB_DEFAULT_URL"] == "/tree"


# Port


def test_the_port_is_announced_and_the_path_of_the_url_kept(machine: Machine) -> None:
    result = machine.run(None, "--pick-port")
    ((path, headers, body),) = machine.hub.posts
    assert path == "/hub/api/panosc/port"
    assert headers["Authorization"] == f"token {TOKEN}"
    assert set(body) == {"port"}
    assert result.env["JUPYTERHUB_SERVICE_URL"] == f"http://127.0.0.1:{body['port']}/user/ada/"


def test_the_report_comes_before_the_port(machine: Machine) -> None:
    machine.run(make_plan(), "--pick-port")
    assert [path for path, _, _ in machine.hub.posts] == [
        "/hub/api/panosc/report",
        "/hub/api/panosc/port",
    ]


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("http://0.0.0.0:8888/user/ada/s1/", [], "http://0.0.0.0:{port}/user/ada/s1/"),
        ("http://:0/user/ada/", [], "http://:{port}/user/ada/"),
        ("https://0.0.0.0:1/u/", ["--host", "127.0.0.1"], "https://127.0.0.1:{port}/u/"),
        ("http://127.0.0.1:0/u/", ["--host", "::"], "http://[::]:{port}/u/"),
        ("", [], "http://0.0.0.0:{port}/"),
    ],
)
def test_the_host_comes_from_the_url_or_the_option(
    machine: Machine, url: str, options: list[str], expected: str
) -> None:
    env = machine.environment(JUPYTERHUB_SERVICE_URL=url)
    result = machine.run(None, "--pick-port", *options, env=env)
    ((_, _, body),) = machine.hub.posts
    assert result.env["JUPYTERHUB_SERVICE_URL"] == expected.format(port=body["port"])


def test_the_port_lies_in_the_range_and_is_free(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        if port == 65535:
            pytest.fail("no port above the one taken")
        only = machine.run(None, "--pick-port", "--port-range", f"{port}-{port}")
        both = machine.run(None, "--pick-port", "--port-range", f"{port}-{min(port + 20, 65535)}")
    assert only.code == 1
    assert f"no port from {port} to {port} is free" in only.err
    assert both.code == 0
    assert port < machine.hub.bodies("port")[0]["port"] <= port + 20


@pytest.mark.parametrize("value", ["80-90", "9000-8000", "1-99999", "x", "9000"])
def test_a_bad_range_is_refused(machine: Machine, value: str) -> None:
    assert machine.run(None, "--pick-port", "--port-range", value).code == 2


def test_the_port_is_announced_again_after_503_and_429(machine: Machine) -> None:
    machine.hub.script = [(503, None), (429, None), (200, {})]
    result = machine.run(None, "--pick-port")
    assert result.code == 0
    ports = machine.hub.bodies("port")
    assert len(ports) == 3
    assert ports[0] == ports[1] == ports[2]


def test_a_refused_port_ends_the_session_with_the_hubs_message(machine: Machine) -> None:
    machine.hub.script = [(403, {"status": 403, "message": "This server is not starting."})]
    result = machine.run(make_plan(), "--pick-port")
    assert result.code == 1
    assert result.shown == {}
    assert "403 This server is not starting." in result.err
    assert len(machine.hub.bodies("port")) == 1


def test_a_redirect_is_not_followed_with_the_token(machine: Machine) -> None:
    other = Hub()
    machine.hub.script = [(302, other.url)]
    result = machine.run(None, "--pick-port")
    other.close()
    assert result.code == 1
    assert other.posts == []


def test_patience_ends(machine: Machine) -> None:
    machine.hub.script = [(503, {"message": "restarting"})] * 50
    result = machine.run(None, "--pick-port", "--port-patience", "1.5")
    assert result.code == 1
    assert "in time: 503 restarting" in result.err
    assert len(machine.hub.bodies("port")) >= 2


def test_no_answer_at_all_ends_when_patience_ends(machine: Machine) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/hub/api"
        env = machine.environment(JUPYTERHUB_API_URL=url)
        result = machine.run(None, "--pick-port", "--port-patience", "1", env=env)
    assert result.code == 1
    assert "Connection refused" in result.err


# Report, secrets, exec


def test_without_a_hub_the_session_still_starts(machine: Machine) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/hub/api"
        result = machine.run(make_plan(), env=machine.environment(JUPYTERHUB_API_URL=url))
    assert result.code == 0
    assert "the session goes on" in result.err
    env = machine.environment()
    del env["JUPYTERHUB_API_URL"], env["JUPYTERHUB_API_TOKEN"]
    assert machine.run(make_plan(), env=env).code == 0


def test_a_proxy_of_the_environment_is_not_used(machine: Machine) -> None:
    dead = "http://127.0.0.1:9"
    env = machine.environment(http_proxy=dead, HTTP_PROXY=dead, all_proxy=dead, ALL_PROXY=dead)
    assert machine.run(make_plan(), "--pick-port", env=env).code == 0
    assert len(machine.hub.posts) == 2


def test_reports_are_bounded_and_troubles_come_first(machine: Machine) -> None:
    files = [file("x", f"f{n}") for n in range(60)] + [{**file("x", "y" * 900), "sha256": "0"}]
    machine.run(make_plan(files=files))
    assert len(machine.events) == 50
    assert machine.events[0]["status"] == "error"
    assert max(len(event["message"]) for event in machine.events) == 500


def test_the_token_is_never_in_arguments_or_log(machine: Machine) -> None:
    seen: list[bytes] = []
    started = threading.Event()

    def look() -> None:
        assert started.wait(30)
        seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())

    machine.hub.on_post = look
    machine.hub.script = [(503, None)]
    env = machine.environment(PANOSC_PLAN=packed(make_plan()))
    process = subprocess.Popen(
        [PYTHON, "-I", str(machine.start), "--pick-port", "--", PYTHON, "-c", SHOW],
        env=env,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **as_user(),
    )
    started.set()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(seen) == 3
    assert all(TOKEN.encode() not in line for line in seen)
    assert TOKEN not in json.loads(out)["cmdline"]
    assert TOKEN not in err
    for path in machine.home.rglob("*"):
        assert path.is_dir() or TOKEN not in path.read_text()


@pytest.mark.parametrize("token", ["sekret\nx", "sekret€"])
def test_a_token_that_cannot_be_sent_is_not_logged(machine: Machine, token: str) -> None:
    result = machine.run(make_plan(), env=machine.environment(JUPYTERHUB_API_TOKEN=token))
    assert result.code == 0
    assert "sekret" not in result.err


def test_a_missing_command_is_127_with_a_sentence_for_the_hub(machine: Machine) -> None:
    result = machine.run(make_plan(), cmd=["jupyterhub-nowhere"])
    assert result.code == 127
    assert "The notebook server jupyterhub-nowhere cannot be started" in result.err
    assert len(machine.hub.bodies("report")) == 2
    assert machine.hub.bodies("report")[1]["events"][0]["step"] == "server"
    assert machine.run(cmd=["/etc/passwd"]).code == 126
    assert machine.run(cmd=[]).code == 2


def test_internal_tls_is_used_both_ways(machine: Machine) -> None:
    certipy = pytest.importorskip("certipy").Certipy(store_dir=str(machine.top / "certs"))
    certipy.create_ca("hub-ca")
    alt = ["IP:127.0.0.1"]
    pairs = {n: certipy.create_signed_pair(n, "hub-ca", alt_names=alt) for n in ("hub", "user")}
    subprocess.run(["chmod", "-R", "a+rX", str(machine.top / "certs")], check=True)
    ca = pairs["hub"]["files"]["ca"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pairs["hub"]["files"]["cert"], pairs["hub"]["files"]["key"])
    server = machine.hub.server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    machine.hub.url = machine.hub.url.replace("http:", "https:")
    for path in (machine.top / "certs").rglob("*"):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    keys = {
        "JUPYTERHUB_SSL_CLIENT_CA": ca,
        "JUPYTERHUB_SSL_CERTFILE": pairs["user"]["files"]["cert"],
        "JUPYTERHUB_SSL_KEYFILE": pairs["user"]["files"]["key"],
    }
    result = machine.run(make_plan(), "--pick-port", env=machine.environment(**keys))
    assert result.code == 0, result.err
    assert len(machine.hub.posts) == 2
    short = ["--pick-port", "--port-patience", "0"]
    ca_only = {"JUPYTERHUB_SSL_CLIENT_CA": ca}
    assert machine.run(None, *short, env=machine.environment(**ca_only)).code == 1
    assert machine.run(None, *short, env=machine.environment()).code == 1
    assert len(machine.hub.posts) == 2


# The file itself


def test_the_file_is_python_38_and_needs_only_the_standard_library() -> None:
    tree = ast.parse(START.read_text(), feature_version=(3, 8))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(str(node.module).split(".")[0])
    assert modules <= set(sys.stdlib_module_names)
    assert modules.isdisjoint({"tomllib", "zoneinfo", "graphlib"})  # newer than Python 3.8
