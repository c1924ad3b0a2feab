"""A machine and its Hub for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.session.machine import Hub, Machine


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def machine(hub: Hub) -> Iterator[Machine]:
    # Not tmp_path: pytest keeps that closed to other users.
    top = Path(tempfile.mkdtemp(prefix="panosc-start-"))
    top.chmod(0o755)
    yield Machine(top, hub)
    shutil.rmtree(top)
