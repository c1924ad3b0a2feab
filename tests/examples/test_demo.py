"""Starting the demonstration where another one runs already."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from examples.demo import Demo, DemoError


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
