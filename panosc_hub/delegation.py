"""What passes between the outer spawner and its child: a short, explicit list.

Blanket links between two spawners hide what is set where; here only runtime fields go down,
plus what hooks or group overrides set on the outer one after it was made. Time limits come up.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any

from jupyterhub.spawner import Spawner

from .children import Children
from .core.state import ServerState

RUNTIME_TRAITS = (
    "api_token",
    "oauth_client_id",
    "admin_access",
    "cert_paths",
    "user_options",
    "handler",
)
"""Set by JupyterHub on the outer spawner in the course of every spawn."""

OWN_TRAITS = frozenset(
    {
        *RUNTIME_TRAITS,
        "apply_user_options",
        "auth_state_hook",
        "environment",
        "http_timeout",
        "ip",
        "options_form",
        "options_from_form",
        "poll_interval",
        "port",
        "post_stop_hook",
        "pre_spawn_hook",
        "start_timeout",
    }
)
"""Never pushed: the outer spawner's own business, or handled one by one."""

PULLED_TRAITS = ("start_timeout", "http_timeout", "poll_interval")
"""JupyterHub reads these from the outer spawner after the hooks, so the child's values count."""


def pull(child: Any, outer: Any) -> None:
    """Take over the child's time limits, so that ``c.KubeSpawner.start_timeout`` works."""
    for name in PULLED_TRAITS:
        setattr(outer, name, getattr(child, name))


def push(
    outer: Any,
    child: Any,
    dirty: Set[str],
    initial_environment: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> None:
    """Bring to the child what was set on the outer spawner since it was made.

    ``dirty`` holds the names of traits that changed; ``environment`` is compared entry by
    entry, for hooks change that dictionary in place. ``overrides`` are group overrides whose
    traits only the child has.
    """
    for name in RUNTIME_TRAITS:
        setattr(child, name, getattr(outer, name))
    for name in dirty - OWN_TRAITS:
        if child.has_trait(name) and outer.has_trait(name) and name in _shared_traits(outer):
            setattr(child, name, copy.copy(getattr(outer, name)))
    changed = {
        key: value
        for key, value in outer.environment.items()
        if initial_environment.get(key) != value
    }
    if changed:
        child.environment = {**child.environment, **changed}
    if overrides:
        child._apply_overrides(dict(overrides))


def _shared_traits(outer: Any) -> Set[str]:
    return frozenset(Spawner.class_trait_names(config=True)) & frozenset(outer.trait_names())


class Delegates:
    """The rare requests of JupyterHub that go to the child as they are."""

    log: Any
    state: ServerState
    backends: Any
    _children: Children
    _dirty: frozenset[str] = frozenset()
    _overrides: Mapping[str, Any] = MappingProxyType({})
    _log_name: str
    _active_child: Any

    def _classes(self) -> Any:
        return self.backends

    def _note_change(self, change: Mapping[str, Any]) -> None:
        if not change["name"].startswith("_"):
            self._dirty |= {change["name"]}

    def give_up(self) -> bool:
        """End a start that an earlier Hub began and this one waits for; False: there is none."""
        child = self._active_child()
        return bool(child and child.give_up())

    async def create_certs(self) -> dict[str, str]:
        """Certificates as the backend wants them (host names differ)."""
        child = self._active_child()
        made = child.create_certs() if child else super().create_certs()  # type: ignore[misc]
        return await made

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Bring certificates to where the backend's session reads them."""
        child = self._active_child()
        moved = child.move_certs(paths) if child else super().move_certs(paths)  # type: ignore[misc]
        return await moved if asyncio.iscoroutine(moved) else moved

    async def rename(self, old_name: str, new_name: str) -> None:
        """JupyterHub 6: every backend with saved state may keep names of its own."""
        for name in self.state.backends:
            if (child := self._children.existing(name)) is not None:
                await child.rename(old_name, new_name)

    async def delete_forever(self) -> None:
        """The server is removed for good: let every backend with saved state clean up."""
        for name in list(self.state.backends):
            child = self._children.existing(name)
            if child is None:
                self.log.warning("%s leaves state of backend %r behind", self._log_name, name)
                continue
            done = child.delete_forever()
            if asyncio.iscoroutine(done):
                await done
