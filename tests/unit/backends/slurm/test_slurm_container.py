"""Containers: what the batch script makes of a plan, with real bind mounts."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.core.plan import SessionPlan
from panosc_hub.core.proposals import Area, Mode
from tests import apptainer
from tests.batch import (
    TOKEN,
    Reports,
    begin,
    launch,
    line_with,
    make_prefix,
    pack,
    refusal,
    run,
    script,
    seen,
    text_of,
)

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
