"""Whoever imports batchspawner, and when: the Hub answers its path with our strict endpoint."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = """
from jupyterhub import apihandlers
routes = [route for route in apihandlers.default_handlers if route[0].endswith("/batchspawner")]
print(len(routes), routes[0][1].__module__)
"""
OURS = "import panosc_hub.spawner"
THEIRS = "import batchspawner"


@pytest.mark.parametrize(
    ("first", "then"),
    [(OURS, THEIRS), (THEIRS, OURS), (OURS, "import panosc_hub.backends.slurm")],
)
def test_the_first_route_of_batchspawners_path_is_ours(first: str, then: str) -> None:
    # A process of its own: what is imported stays imported.
    said = subprocess.run(
        [sys.executable, "-c", f"{first}\n{then}\n{SHOW}"],
        capture_output=True,
        text=True,
        check=True,
    )
    count, module = said.stdout.split()
    assert int(count) >= 2, "batchspawner registers a route of its own"
    assert module == "panosc_hub.web.session"
