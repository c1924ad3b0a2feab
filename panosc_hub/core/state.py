"""The saved state of one server: which backend holds it, and each backend's own part.

Shape::

    {"v": 1, "active": "slurm", "phase": "starting|running",
     "backends": {"slurm": {...}, "kubernetes": {...}},
     "summary": {"profile": "Small", ...}, "ended": "why it stopped", "token_id": 12}

Parts of backends that are not configured any more are kept as they are: a server must never
be dropped because an admin renamed a backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VERSION = 1

MAX_NOTICES = 20
"""Sentences of one session; more would not be read."""


@dataclass(slots=True)
class ServerState:
    """One server's state between Hub restarts; secrets have no place here."""

    active: str = ""
    phase: str = ""
    backends: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    token_id: int = 0
    """Database id of the server's API token (never the token), to know its posts again."""

    def note(self, message: str) -> bool:
        """Keep a sentence for the home page; False if it is there or there are too many."""
        notices = self.summary.setdefault("notices", [])
        if message in notices or len(notices) >= MAX_NOTICES:
            return False
        notices.append(message)
        return True

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; empty parts are left out so that a never-started server saves ``{}``."""
        body: dict[str, Any] = {}
        for key in ("active", "phase", "backends", "summary", "ended", "token_id"):
            value = getattr(self, key)
            if value:
                body[key] = value
        return {"v": VERSION, **body} if body else {}


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the Hub's database that is not stopped; ``state`` as it is saved there."""

    user: str
    name: str
    state: Any


def load_state(saved: Mapping[str, Any] | None) -> ServerState:
    """Read what an earlier Hub saved; odd parts are dropped, whole ones are kept.

    Never raises: an exception here would make JupyterHub think that the server is dead.
    """
    if not saved or not isinstance(saved, Mapping):
        return ServerState()
    if "v" not in saved and "kubespawner_version" in saved:
        # A Hub that moves over from KubeSpawner keeps its running servers and people's volumes.
        return ServerState("kubernetes", "running", {"kubernetes": dict(saved)})
    if saved.get("v") != VERSION:
        return ServerState()
    backends = saved.get("backends")
    summary = saved.get("summary")
    return ServerState(
        active=str(saved.get("active") or ""),
        phase=str(saved.get("phase") or ""),
        backends={
            str(name): dict(part)
            for name, part in (backends.items() if isinstance(backends, Mapping) else ())
            if isinstance(part, Mapping)
        },
        summary=dict(summary) if isinstance(summary, Mapping) else {},
        ended=str(saved.get("ended") or ""),
        token_id=saved["token_id"] if isinstance(saved.get("token_id"), int) else 0,
    )
