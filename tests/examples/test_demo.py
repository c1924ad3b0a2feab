"""Starting the demonstration where another one runs already."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from examples.demo import Demo, DemoError, folder_for, free_port, why_not_port


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


def test_a_port_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"Port 80000 .* ports end at 65535"):
        Demo(tmp_path, 80000).prepare()


@pytest.mark.demo
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda s: s.name)
def test_make_demo_says_where_to_look_and_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("the proxy and the identity provider need Node.js and npm")
    port = free_port()
    command = [sys.executable, "-m", "examples.demo", "--port", str(port), "--var", str(tmp_path)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout
        said = []
        for line in demo.stdout:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        else:
            raise AssertionError(f"it ended: {said}\n{(tmp_path / 'log/hub.log').read_text()}")
        assert any(f"Open http://127.0.0.1:{port}" in line for line in said)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hub/login") as page:
            assert b"Sign in with" in page.read()
        demo.send_signal(number)
        assert demo.wait(100) == 0
    finally:
        demo.kill()
        demo.wait()
    assert not why_not_port(port)
    assert not [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "") == str(tmp_path)]


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


def stop_here(folder: Path, *, shared: bool) -> None:
    raise Claimed(folder)
