"""When a session would start, before anybody presses Start: for the page and for portals."""

from __future__ import annotations

import asyncio
from typing import Any

from ..backends.base import Backend, Estimate
from ..core.plan import SessionPlan
from ..core.selection import Selection
from ..errors import NotFound, PanoscError
from ..facility import Choice

PATIENCE = 8.0
"""Seconds; a page that waits longer for a guess is better off without it."""


async def estimate(spawner: Any, selection: Selection) -> dict[str, Any]:
    """``usable``, ``starts`` (seconds since the epoch or null), ``words`` and ``source``.

    ``source`` is ``backend`` when the scheduler itself was asked, else ``look``: then the words
    are those of the last look. Raises a ``Refusal`` for what may not be started at all.
    """
    choice = spawner.allowed(selection)
    look = spawner.availability().get(choice.profile.id)
    if look is None:
        raise NotFound(f"{choice.profile.title} is not available at the moment.")
    found = await _asked(spawner, choice) if look.usable else None
    return {
        "profile": choice.profile.id,
        "source": "look" if found is None else "backend",
        "usable": look.usable if found is None else found.usable,
        "starts": None if found is None else found.starts,
        "words": look.words if found is None else found.words,
    }


async def _asked(spawner: Any, choice: Choice) -> Estimate | None:
    facility = spawner.facility
    child: Backend = spawner.spare_child(choice.profile.backend)
    plan = SessionPlan(facility=facility.site.facility.id)
    try:
        async with asyncio.timeout(PATIENCE):
            return await child.estimate(facility.launch(choice, plan, spawner.person()))
    except TimeoutError:
        return None
    except PanoscError as error:
        return Estimate(False, None, error.sentence)
