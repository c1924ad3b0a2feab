"""What the Hub's database knows of a person: who they are, and what they chose last."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from jupyterhub import orm
from sqlalchemy import or_, select
from sqlalchemy.orm import object_session

from .core.identity import Person
from .core.selection import Selection, parse
from .errors import InvalidSelection


def person_of(user: Any, *, roles: bool = False) -> Person:
    """``user`` is JupyterHub's; groups are those of now, and the roles if they are asked for."""
    orm_user = user.orm_user
    return Person(
        name=user.name,
        groups=frozenset(group.name for group in orm_user.groups),
        admin=bool(orm_user.admin),
        roles=_roles(orm_user) if roles else frozenset(),
    )


def _roles(orm_user: Any) -> frozenset[str]:
    """With those of the groups; one question to the database, however many groups there are."""
    db = object_session(orm_user)
    assert db is not None  # whoever asks is in the Hub's database
    mine = orm.Role.users.any(orm.User.id == orm_user.id)
    through = orm.Role.groups.any(orm.Group.users.any(orm.User.id == orm_user.id))
    return frozenset(db.scalars(select(orm.Role.name).where(or_(mine, through))))


def remembered_of(user: Any) -> Selection:
    """The last valid choice on any of the user's servers; the defaults if there is none."""
    saved = [s for s in user.orm_user._orm_spawners if s.user_options]
    saved.sort(key=lambda s: (s.last_activity is not None, s.last_activity), reverse=True)
    for orm_spawner in saved:
        # What an older version saved may not parse any more; then it is just not remembered.
        with suppress(InvalidSelection):
            return parse(orm_spawner.user_options)
    return Selection()
