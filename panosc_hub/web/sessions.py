"""The home page's list: one person's sessions, running or not, in words. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ..core.state import load_state
from . import words

SOON = 15 * 60
"""Seconds before the end from which the page warns: time to save, and to finish a plot."""

_STATES = {
    "spawn": ("starting", "Starting"),
    "stop": ("stopping", "Stopping"),
    "check": ("checking", "Being checked"),
    "rename": ("checking", "Being renamed"),
}


@dataclass(frozen=True, slots=True)
class SessionView:
    """One row; ``state`` is running, starting, stopping, checking or stopped."""

    name: str
    title: str
    state: str
    state_words: str
    backend: str
    place: str
    profile: str
    proposal: str
    dataset: str
    template: str
    resources: str
    choices: str
    age: str
    since: str
    ended: str
    notices: tuple[str, ...]
    ends_at: float | None
    ends: str
    ends_soon: bool
    open_url: str
    start_url: str
    stop_url: str

    @property
    def active(self) -> bool:
        """Whether there is something to stop."""
        return self.state != "stopped"


def _segment(text: str) -> str:
    # JupyterHub's url_escape_path, which leaves '@' and '~' as they are.
    return quote(text, safe="@~")


def server_path(base: str, user: str, server: str) -> str:
    """``base/user`` or ``base/user/server``, escaped."""
    return "/".join((base.rstrip("/"), _segment(user), *([_segment(server)] if server else [])))


def stop_path(hub: str, user: str, server: str) -> str:
    """The REST address whose DELETE stops *this* server, named or not."""
    which = f"servers/{_segment(server)}" if server else "server"
    return f"{hub.rstrip('/')}/api/users/{_segment(user)}/{which}"


def _seconds(start: datetime, now: datetime) -> float:
    # JupyterHub's database holds UTC without saying so.
    aware = start if start.tzinfo else start.replace(tzinfo=UTC)
    return (now - aware).total_seconds()


def age_of(orm_spawner: Any) -> float:
    """Seconds since the last start began; 0 when it is not known."""
    started = getattr(orm_spawner, "started", None)
    return max(0.0, _seconds(started, datetime.now(UTC))) if started else 0.0


def _facts(spawner: Any, orm_spawner: Any) -> tuple[Mapping[str, Any], str]:
    """The session in words and why it ended, from the live spawner or from the saved state."""
    saved = load_state(getattr(orm_spawner, "state", None))
    live = getattr(spawner, "session_summary", None) if spawner is not None else None
    facts = live if isinstance(live, Mapping) and live else saved.summary
    return facts, saved.ended


def _notices(found: Any) -> tuple[str, ...]:
    return tuple(str(n) for n in found) if isinstance(found, (list, tuple)) else ()


def _ends_at(facts: Mapping[str, Any], state: str) -> float | None:
    at = facts.get("ends_at") if state == "running" else None
    return float(at) if isinstance(at, (int, float)) else None


def session_view(item: Any, user: str, hub: str, prefix: str, now: datetime) -> SessionView:
    """A row from what ``User.all_spawners`` yields: a live spawner or the database's row."""
    live = item if hasattr(item, "orm_spawner") else None
    row = item.orm_spawner if live is not None else item
    pending = getattr(live, "pending", None)
    ready = bool(getattr(live, "ready", False))
    if pending:
        state, state_words = _STATES.get(pending, ("checking", "Being checked"))
    elif ready:
        state, state_words = "running", "Running"
    else:
        state, state_words = "stopped", "Stopped"
    facts, ended = _facts(live, row)
    ends_at = _ends_at(facts, state)
    left = None if ends_at is None else ends_at - now.timestamp()
    start = row.started if state != "stopped" else row.last_activity
    page = server_path(f"{prefix.rstrip('/')}/user", user, row.name)
    return SessionView(
        name=row.name,
        title=getattr(row, "display_name", None) or row.name or "My session",
        state=state,
        state_words=state_words,
        backend=words.backend_title(str(facts["backend"])) if facts.get("backend") else "",
        place=words.place(str(facts["backend"])) if facts.get("backend") else "",
        profile=str(facts.get("profile", "")),
        proposal=str(facts.get("proposal", "")),
        dataset=str(facts.get("dataset", "")),
        template=str(facts.get("template", "")),
        resources=str(facts.get("resources", "")),
        choices=str(facts.get("choices", "")),
        age=words.ago(_seconds(start, now)) if start else "",
        since=start.isoformat(timespec="seconds") if start else "",
        ended=ended if state == "stopped" else "",
        notices=_notices(facts.get("notices")),
        ends_at=ends_at,
        ends="" if left is None else words.ends_in(left),
        ends_soon=left is not None and left < SOON,
        open_url=f"{page}/" if ready else server_path(f"{hub}spawn-pending", user, row.name),
        start_url=server_path(f"{hub}spawn", user, row.name),
        stop_url=stop_path(hub, user, row.name),
    )


def sessions(
    items: Iterable[Any], user: str, hub: str, prefix: str, now: datetime | None = None
) -> list[SessionView]:
    """All rows: what runs first, then the others, each by name; the default session leads.

    ``hub`` is the Hub's own address (``/hub/``), ``prefix`` what all addresses start with.
    """
    at = now or datetime.now(UTC)
    rows = [session_view(item, user, hub, prefix, at) for item in items]
    return sorted(rows, key=lambda r: (not r.active, r.name))
