"""Starting the demonstration where another one runs already."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from examples.demo import Demo, DemoError, folder_for, free_port


def test_a_second_demo_says_which_port_is_taken_and_leaves_the_first_alone(tmp_path: Path) -> None:
    proxy = subprocess.Popen(["sleep", "60"])
    (tmp_path / "proxy.pid").write_text(str(proxy.pid))
    try:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            demo = Demo(tmp_path, port)
            with pytest.raises(DemoError, match=rf"Port {port} .* make demo PORT="):
                demo.prepare()
            demo.stop()
        assert proxy.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            proxy.wait(0.3)
    finally:
        proxy.kill()
        proxy.wait()


def test_demos_on_two_ports_share_no_folder() -> None:
    assert folder_for(8000) != folder_for(8010)


def test_a_folder_in_use_is_refused_and_free_again_when_the_other_demo_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What comes after the claim is not this test's business.
    monkeypatch.setattr("examples.demo.make_data", stop_here)
    first, second = Demo(tmp_path, free_port()), Demo(tmp_path, free_port())
    with pytest.raises(Claimed):
        first.prepare()
    with pytest.raises(DemoError, match=r"in use by another demonstration"):
        second.prepare()
    first.stop()
    with pytest.raises(Claimed):
        second.prepare()
    second.stop()


class Claimed(Exception):
    """Raised where the data would be made: the folder was claimed."""


def stop_here(folder: Path) -> None:
    raise Claimed(folder)
