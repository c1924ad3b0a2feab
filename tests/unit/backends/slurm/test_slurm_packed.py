"""Packed environments: copied to the node, shared, and removed again, by the batch script."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.batch import (
    START,
    Reports,
    begin,
    holding,
    launch,
    let_go,
    line_with,
    make_prefix,
    needs_root,
    pack,
    run,
    script,
    seen,
    text_of,
)


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
    time.sleep(0.5)
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
