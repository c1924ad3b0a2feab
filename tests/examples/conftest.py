"""The example facility's data, made once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.data.make_data import make_data


@pytest.fixture(scope="session")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The facility's data root."""
    root: Path = tmp_path_factory.mktemp("facility")
    make_data(root)
    return root
