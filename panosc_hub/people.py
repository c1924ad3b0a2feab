"""What the Hub's database knows of a person: who they are, and what they chose last."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .core.identity import Person
from .core.selection import Selection, parse
from .errors import InvalidSelection


def person_of(user: Any) -> Person:
    """``user`` is JupyterHub's; groups are those of now."""
    orm_user = user.orm_user
    return Person(
        name=user.name,
        groups=frozenset(group.name for group in orm_user.groups),
        admin=bool(orm_user.admin),
    )


def remembered_of(user: Any) -> Selection:
    """The last valid choice on any of the user's servers; the defaults if there is none."""
    saved = [s for s in user.orm_user._orm_spawners if s.user_options]
    saved.sort(key=lambda s: (s.last_activity is not None, s.last_activity), reverse=True)
    for orm_spawner in saved:
        # What an older version saved may not parse any more; then it is just not remembered.
        with suppress(InvalidSelection):
            return parse(orm_spawner.user_options)
    return Selection()
