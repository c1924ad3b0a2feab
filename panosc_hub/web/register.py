"""The one place where our endpoints enter the Hub.

``JupyterHub.extra_handlers`` is deprecated and comes after JupyterHub's own routes; ours must
come first where they correct one of those. So they are put in front of the two lists that
the Hub reads when it sets up its application. Calling ``register`` again changes nothing.
"""

from __future__ import annotations

from typing import Any

from jupyterhub import apihandlers, handlers
from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler

from ..compat import log_refusals_in_one_line
from . import api, session
from .spawn import PanoscServerHandler, PanoscSpawnHandler

BATCH_ROUTE = r"/api/batchspawner"
"""batchspawner's own name for the port endpoint; ours serves it with the same strict rule."""


def _replace(routes: list[Any], ours: dict[type, type]) -> list[Any]:
    """The same patterns with our subclass, for every route of a class that we correct."""
    found = []
    for route in routes:
        replacement = ours.get(route[1])
        if replacement is not None:
            found.append((route[0], replacement, *route[2:]))
    return found


def register() -> None:
    """Put our routes in front of the Hub's; must run before the Hub's ``init_handlers``."""
    pages, rest = handlers.default_handlers, apihandlers.default_handlers
    if any(route[1] is PanoscSpawnHandler for route in pages):
        return
    log_refusals_in_one_line()
    ours: dict[type, type] = {
        SpawnHandler: PanoscSpawnHandler,
        UserServerAPIHandler: PanoscServerHandler,
    }
    pages[:0] = _replace(pages, ours)
    rest[:0] = [
        *_replace(rest, ours),
        *session.ROUTES,
        *api.ROUTES,
        (BATCH_ROUTE, session.PortHandler),
    ]
