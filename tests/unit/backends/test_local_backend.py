"""The local backend without a Hub: its log's place, and how it knows its process again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from panosc_hub.backends import local
from panosc_hub.backends.local import LocalBackend


@pytest.mark.parametrize("name", ["../../outside", "..", "a/b", "/etc/x", "line\nbreak"])
def test_a_servers_name_does_not_lead_out_of_the_log_folder(tmp_path: Path, name: str) -> None:
    logs = tmp_path / "below" / "log"
    backend: Any = SimpleNamespace(
        log_template=f"{logs}/{{username}}-{{servername}}.log", name=name, _name=lambda: "paula"
    )
    output = LocalBackend._output(backend)
    assert output is not None
    os.close(output)
    assert [p.parent for p in tmp_path.rglob("*.log")] == [logs]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose name looks like the fields that follow it in ``/proc``."""
    program = tmp_path / "x) Z 0 0 0"
    shutil.copy(shutil.which("sleep") or "", program)
    child = subprocess.Popen([program, "60"])
    yield child
    child.kill()
    child.wait()


def after_a_restart(state: dict[str, Any]) -> LocalBackend:
    backend = LocalBackend()
    backend.load_state(state)
    return backend


async def test_a_process_is_known_again_by_pid_and_start_whatever_its_name(
    process: subprocess.Popen[bytes],
) -> None:
    ticks = float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")
    started = local._start_time(process.pid)
    # Counted from the machine's start, so that setting its clock changes nothing.
    assert ticks - 3000 < started <= ticks + 100
    state = {"pid": process.pid, "started_at": started, "port": 1234}
    assert await after_a_restart(state).poll() is None
    assert await after_a_restart(state | {"started_at": started - 1}).poll() == 0
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert await after_a_restart(state).poll() == 0, "a zombie is no session"
