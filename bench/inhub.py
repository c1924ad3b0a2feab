"""What the benchmarks put into a Hub: a proxy that only remembers, and servers that cost nothing.

Imported by the Hub's own process, through the configuration that ``bench.hub`` writes.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import utils
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from traitlets import Unicode

from panosc_hub.backends.base import Backend

STOPPED = 0


class MemoryProxy(Proxy):  # type: ignore[misc]
    """Routes in a dictionary: no proxy process, so that only the Hub is measured."""

    should_start = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.routes: dict[str, dict[str, Any]] = {}

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Remember it."""
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec: str) -> None:
        """Forget it."""
        self.routes.pop(routespec, None)

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """What was remembered."""
        return dict(self.routes)


class NoopSpawner(Spawner):  # type: ignore[misc]
    """Starts nothing: every server is the same tiny HTTP server, which is there already."""

    url = Unicode(config=True, help="Address of the tiny server.")
    running = False

    async def start(self) -> str:
        """At once."""
        self.running = True
        return str(self.url)

    async def poll(self) -> int | None:
        """Whether it was started."""
        return None if self.running else STOPPED

    async def stop(self, now: bool = False) -> None:
        """At once."""
        self.running = False


class NoopBackend(Backend, NoopSpawner):
    """The same as a backend of ``PanoscSpawner``."""

    backend_name = "noop"


def look_often() -> None:
    """Let the Hub look for a starting server every 50 ms at most.

    Its usual waits are random and reach five seconds, so that a start of four seconds would be
    measured as anything between four and nine. Both sides get the same waits.
    """
    defaults = list(utils.exponential_backoff.__defaults__)
    names = utils.exponential_backoff.__code__.co_varnames[2 : 2 + len(defaults)]
    for name, seconds in (("start_wait", 0.05), ("max_wait", 0.05)):
        defaults[names.index(name)] = seconds
    utils.exponential_backoff.__defaults__ = tuple(defaults)
