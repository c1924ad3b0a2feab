"""A Hub that listens, and places on a node, for batch scripts that are run without Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch import Reports, reports


@pytest.fixture
def heard() -> Iterator[Reports]:
    with reports() as found:
        yield found


@pytest.fixture
def software(tmp_path: Path) -> Path:
    """A place of which nobody else can change the way to it."""
    folder = tmp_path / "software"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's own storage."""
    folder = tmp_path / "node"
    folder.mkdir()
    return folder
