"""What an earlier Hub process still owed to a backend for servers that are stopped.

JupyterHub brings back only the servers that run. A job whose cancellation failed belongs to a
server that is stopped for the Hub, so nobody would think of it again before its user logs in.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable
from typing import Any

from jupyterhub import orm
from sqlalchemy import Text, inspect, literal_column, select

from ..core.state import load_state
from .base import Backend

_done: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def recall(
    anyone: orm.Spawner, backend: Callable[[str], type[Backend] | None], config: Any
) -> None:
    """Hand what stopped servers owe to their backends' ``recall``; once per process.

    ``anyone`` is some server of the Hub, for its database session.
    One query, by text, so that a Hub with many thousand stopped servers loads only the few.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return  # nobody could pay
    session = inspect(anyone).session
    if loop in _done or session is None:
        return
    _done.add(loop)
    spawner = orm.Spawner
    text = literal_column("spawners.state", Text)
    owing = text.like('%"owed"%')
    query = (
        select(text, orm.User.name)
        .select_from(spawner)
        .join(orm.User, spawner.user_id == orm.User.id)
    )
    with session.no_autoflush:
        found = session.execute(query.where(owing, spawner.server_id.is_(None))).all()
    for saved, username in found:
        for name, part in load_state(json.loads(saved)).backends.items():
            cls = backend(name)
            if cls is not None:
                cls.recall(config, username, part)
