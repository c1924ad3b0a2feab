"""The shared look at the nodes: computed once per look, never older than the look."""

from __future__ import annotations

from typing import Any

import pytest

from panosc_hub.backends.slurm import nodes
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.nodes import NodeWatcher
from panosc_hub.core.profiles import Profile

HEADER = (
    "PARTITION|NODELIST|STATECOMPLETE|CPUS(A/I/O/T)|MEMORY|ALLOCMEM|GRES|GRES_USED|NODE_ADDR|AVAIL|"
    "AVAIL_FEATURES|"
)


class Cluster(SlurmClient):
    """One node, of which ``idle`` CPUs are free."""

    idle = 4

    async def query(self, command: str, *arguments: str) -> str:
        return f"{HEADER}\ncpu*|cn1|mixed|0/{self.idle}/0/8|64000|0|(null)|gpu:0|cn1|up|(null)|\n"


def profile(cpus: int = 1) -> Profile:
    return Profile.model_validate(
        {"id": "small", "title": "Small", "backend": "slurm", "cpus": cpus, "memory": "1G"}
    )


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The profiles that were fitted to the nodes, in order."""
    asked: list[str] = []
    real = nodes.fit

    def fit(profile: Profile, *rest: Any) -> Any:
        asked.append(profile.id)
        return real(profile, *rest)

    monkeypatch.setattr(nodes, "fit", fit)
    return asked


async def test_pages_of_one_look_share_one_computation(fitted: list[str]) -> None:
    watcher, small = NodeWatcher(Cluster()), profile()
    await watcher.refresh()
    assert [watcher.availability(small).free for _ in range(5)] == [4] * 5
    assert fitted == ["small"]


async def test_the_next_look_is_computed_anew(fitted: list[str]) -> None:
    cluster = Cluster()
    watcher, small = NodeWatcher(cluster), profile()
    await watcher.refresh()
    assert watcher.availability(small).free == 4
    cluster.idle = 1
    await watcher.refresh()
    assert watcher.availability(small).free == 1
    assert len(fitted) == 2


async def test_a_profile_that_the_site_changed_is_computed_anew() -> None:
    watcher = NodeWatcher(Cluster())
    await watcher.refresh()
    # Made and dropped one after the other, they may well get the same id().
    assert [watcher.availability(profile(n)).free for n in (1, 2, 4)] == [4, 2, 1]
