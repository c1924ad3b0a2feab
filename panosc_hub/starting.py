"""Small steps of a start that need the child, the database or both."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from jupyterhub.utils import exponential_backoff, maybe_future
from sqlalchemy import inspect, select
from sqlalchemy.exc import SQLAlchemyError

from .errors import BackendError, PanoscError
from .progress import Progress

_routing: set[asyncio.Task[None]] = set()
"""The event loop itself keeps only weak references to tasks."""


async def run_childs_hook(outer: Any, child: Any) -> None:
    """A hook of the backend's own class (``c.KubeSpawner.pre_spawn_hook``) sees the child.

    One that is set for all spawners has run with the outer spawner already.
    """
    hook = child.pre_spawn_hook
    if hook is not None and hook is not outer.pre_spawn_hook:
        await maybe_future(hook(child))


async def follow(child: Any, events: Progress) -> None:
    """Add the child's own progress, where its class has more than JupyterHub's default."""
    if type(child).progress is Spawner.progress:
        return
    async with aclosing(child.progress()) as lines:
        async for event in lines:
            events.add(str(event.get("message", "")), event.get("progress"))


def token_id(orm_spawner: orm.Spawner, user_id: int, api_token: str) -> int:
    """Database id of the session's token; 0 if the database does not know it."""
    kind, session = orm.APIToken, inspect(orm_spawner).session
    prefix = api_token[: kind.prefix_length]
    # Loading and hashing would cost more than the rest of this start; nearly always the
    # user has one token with this prefix, the one that JupyterHub made for this start.
    query = select(kind.id).where(kind.prefix == prefix, kind.user_id == user_id)
    found: list[int] = list(session.scalars(query))
    if len(found) == 1:
        return found[0]
    token = kind.find(session, api_token)
    return token.id if token else 0


def commit(outer: Any) -> None:
    """Write what changed. Raises :class:`BackendError` when the database does not take it."""
    session = inspect(outer.orm_spawner).session
    if session is None:
        return
    try:
        session.commit()
    except SQLAlchemyError as error:
        # Left as it is, it would refuse every later question of the whole Hub.
        session.rollback()
        # Not the error itself: it quotes the values of the row.
        outer.log.error("The database does not take %s: %s", outer._log_name, _short(error))
        raise BackendError(
            "The Hub's database cannot be written at the moment. Try again in some minutes; "
            "tell the facility's support if it stays so.",
            reason="database",
        ) from None


def _short(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or type(error).__name__)[:200]


def in_its_words(error: PanoscError, complaint: str) -> PanoscError:
    """A start's failure, after what the session itself had to say of it."""
    if not complaint or not isinstance(error, BackendError):
        return error
    return BackendError(f"{complaint} {error.sentence}", reason=error.reason)


def note_adoption(outer: Any, child: Any) -> None:
    """What the child's ``get_url`` found out about a start that an earlier Hub began."""
    if child.ended:
        outer.state.ended = child.ended
        outer.http_timeout = 1  # nobody listens there; JupyterHub stops it after this time
    elif outer.state.phase == "starting":
        outer.state.phase = "running"
        outer.save_state()
        task = asyncio.ensure_future(add_route(outer))
        _routing.add(task)
        task.add_done_callback(_routing.discard)


async def add_route(outer: Any) -> None:
    """Bring an adopted server to its owner as soon as JupyterHub has seen it answer.

    JupyterHub itself adds routes when it has looked at every server, and another one may wait
    in a queue for long.
    """
    name, patience = outer._log_name, outer.http_timeout + 60
    try:
        await exponential_backoff(lambda: outer.pending != "check", name, timeout=patience)
        if outer.ready:
            await outer.user.settings["proxy"].add_user(outer.user, outer.name)
    except Exception:
        outer.log.exception("No route for %s yet; JupyterHub will add it", name)
