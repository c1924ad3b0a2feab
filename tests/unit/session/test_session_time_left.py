"""What the start-up leaves for JupyterLab so that it shows when the session ends."""

from __future__ import annotations

import json
import os
import resource
import stat
import time
from pathlib import Path

import pytest

from panosc_hub import session
from tests.unit.session.machine import Machine, Result, make_plan

EXTENSION = "labextensions/panosc-session-end"


@pytest.fixture
def cluster_node(machine: Machine) -> Machine:
    """A machine where the start-up comes as backends send it, and a temporary directory."""
    machine.start.write_text(session.source())
    machine.own(machine.top / "tmp")
    return machine


def run(machine: Machine, end: float | str, **more: str) -> Result:
    more.setdefault("TMPDIR", str(machine.top / "tmp"))
    env = machine.environment(
        PANOSC_END_TIME=str(end), JUPYTERHUB_SERVICE_PREFIX="/user/ada/", **more
    )
    return machine.run(make_plan(), env=env)


def told(result: Result) -> dict[str, object]:
    """What JupyterLab would read, where it would look."""
    path = result.env["JUPYTER_PATH"].split(os.pathsep)[-1]
    found: dict[str, object] = json.loads((Path(path) / EXTENSION / "end.json").read_text())
    return found


def test_the_extension_is_found_by_jupyter_path_and_knows_the_end(cluster_node: Machine) -> None:
    end = int(time.time()) + 3600
    result = run(cluster_node, end, JUPYTER_PATH="/site/share/jupyter")
    first, ours = result.env["JUPYTER_PATH"].split(os.pathsep)
    assert first == "/site/share/jupyter"
    folder = Path(ours) / EXTENSION
    assert told(result) == {"end": end, "warn": [900, 300]}
    source = Path(session.__file__).parent / "lab"
    for name in ("main.js", "package.json"):
        assert (folder / name).read_text() == (source / name).read_text()
    assert json.loads((folder / "package.json").read_text())["name"] == folder.name
    assert cluster_node.said("error") == ""


def test_nobody_else_can_change_what_jupyterlab_runs(cluster_node: Machine) -> None:
    result = run(cluster_node, time.time() + 3600)
    folder = Path(result.env["JUPYTER_PATH"]) / EXTENSION
    assert folder.is_relative_to(cluster_node.home / ".panosc")
    while folder != cluster_node.home:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        folder = folder.parent


def test_the_next_session_uses_the_same_folder_and_has_its_own_end(cluster_node: Machine) -> None:
    first = run(cluster_node, time.time() + 3600)
    end = int(time.time()) + 7200
    second = run(cluster_node, end)
    assert first.env["JUPYTER_PATH"] == second.env["JUPYTER_PATH"]
    assert told(second)["end"] == end
    other = cluster_node.run(
        env=cluster_node.environment(
            PANOSC_END_TIME=str(end + 60), JUPYTERHUB_SERVICE_PREFIX="/user/ada/second/"
        )
    )
    assert told(other)["end"] == end + 60
    assert told(second)["end"] == end
    left = [p.name for p in cluster_node.home.rglob("tmp-*")]
    assert left == []


@pytest.mark.parametrize(
    ("minutes", "warn"), [("30, 10,2", [1800, 600, 120]), ("", []), ("never", [])]
)
def test_a_site_says_when_to_warn(cluster_node: Machine, minutes: str, warn: list[int]) -> None:
    result = run(cluster_node, time.time() + 3600, PANOSC_WARN_MINUTES=minutes)
    assert told(result)["warn"] == warn


def test_slurms_own_variable_is_enough(cluster_node: Machine) -> None:
    env = cluster_node.environment(SLURM_JOB_END_TIME=str(int(time.time()) + 600))
    assert told(cluster_node.run(make_plan(), env=env))["warn"] == [900, 300]


@pytest.mark.parametrize(
    "end", ["", "0", "1000000000", "nan", "inf", f"{time.time() + 366 * 86400}"]
)
def test_without_an_end_nothing_is_added(cluster_node: Machine, end: str) -> None:
    result = run(cluster_node, end)
    assert "JUPYTER_PATH" not in result.env
    assert not (cluster_node.home / ".panosc").exists()
    assert cluster_node.said("error") == ""


def test_an_end_that_is_no_number_hinders_nothing(cluster_node: Machine) -> None:
    result = run(cluster_node, "tomorrow")
    assert result.code == 0
    assert "JUPYTER_PATH" not in result.env
    assert cluster_node.said("error").startswith("The display of the time left could not")


def test_in_a_home_that_cannot_be_written_the_temporary_directory_serves(
    cluster_node: Machine,
) -> None:
    cluster_node.home.chmod(0o500)
    result = run(cluster_node, time.time() + 3600)
    path = Path(result.env["JUPYTER_PATH"])
    assert path.parent == cluster_node.top / "tmp"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert told(result)["warn"] == [900, 300]


def test_a_link_in_the_home_is_not_followed(cluster_node: Machine) -> None:
    elsewhere = cluster_node.own(cluster_node.top / "elsewhere")
    (cluster_node.home / ".panosc").symlink_to(elsewhere)
    result = run(cluster_node, time.time() + 3600)
    assert list(elsewhere.iterdir()) == []
    assert Path(result.env["JUPYTER_PATH"]).parent == cluster_node.top / "tmp"


def test_a_home_with_a_colon_is_no_path_for_jupyter(cluster_node: Machine) -> None:
    cluster_node.home = cluster_node.own(cluster_node.top / "odd:home")
    result = run(cluster_node, time.time() + 3600)
    assert Path(result.env["JUPYTER_PATH"]).parent == cluster_node.top / "tmp"


def test_where_nothing_can_be_written_the_session_starts_and_says_so(
    cluster_node: Machine,
) -> None:
    env = cluster_node.environment(
        PANOSC_END_TIME=str(time.time() + 3600), TMPDIR=str(cluster_node.top / "tmp")
    )
    result = cluster_node.run(
        env=env, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    )
    assert result.code == 0
    assert "JUPYTER_PATH" not in result.env
    assert "cannot show the time that is left" in cluster_node.said("error")
    # Half of an extension would be worse than none: JupyterLab would not start.
    assert list(cluster_node.top.rglob("package.json")) == []
