"""Group entitlements (AARC-G069 and G002) to Hub groups, by exact match only.

::

    urn:geant:umbrella.example:group:umbrella:demo:proposal:HG-123#umbrella.example
    \\___________ namespace ___/      \\___ root ___/ \\__ Hub group _/ \\__ authority /

A value counts only if namespace, root and authority are *exactly* those that the facility
configured, and if what stays in between is plain names. Everything else grants nothing: no
sub-namespace, no percent-encoding, no nested ``group``, no ``role`` and no ``res``. Membership
of ``proposal:HG-123:guests`` does not imply ``proposal:HG-123``.

The parser is our own on purpose. General AARC libraries answer "does this satisfy that", where a
subgroup, a role or another authority satisfies too; for the data of a proposal that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from panosc_hub.errors import NotAllowed

MAX_VALUE_LENGTH = 512
"""Longest entitlement that is looked at, in characters. Real ones have about 100."""

MAX_GROUP_LENGTH = 255
"""Longest Hub group name, in characters; the width of the Hub's database column."""

_COMPONENT = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_GROUP = re.compile(rf"{_COMPONENT}(?::{_COMPONENT})*")
_NAMESPACE = re.compile(r"urn:[a-z0-9][a-z0-9-]{0,31}(?::[A-Za-z0-9._-]{1,64})+")
_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
# Words with a meaning of their own in G069 and G027. Inside a group name they would let who may
# name a subgroup write a URN that other parsers read in another way.
_RESERVED = frozenset({"group", "role", "res", "act"})


class TooManyEntitlements(NotAllowed):
    """A person carries more entitlements than the facility is willing to look at."""

    reason = "too_many_entitlements"


def _is_group(text: str) -> bool:
    return (
        len(text) <= MAX_GROUP_LENGTH
        and _GROUP.fullmatch(text) is not None
        and not _RESERVED.intersection(text.casefold().split(":"))
    )


@dataclass(frozen=True, slots=True)
class EntitlementPolicy:
    """Which entitlements are groups of this facility; raises ValueError if it is not usable.

    ``namespace`` and ``authority`` are compared character by character. ``root`` is the group
    below which the facility's groups live, for example ``umbrella:demo``; it is taken off.
    ``root_group`` is the Hub group of people who are member of the root itself; empty means that
    such a membership grants nothing. ``limit`` is the number of values that are looked at.
    """

    namespace: str
    authority: str
    root: str
    root_group: str = ""
    limit: int = 1000

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError(f"namespace {self.namespace!r} is not like urn:geant:umbrella.example")
        if _RESERVED.intersection(self.namespace.casefold().split(":")):
            raise ValueError(f"namespace {self.namespace!r} must end before ':group:'")
        if not _AUTHORITY.fullmatch(self.authority):
            raise ValueError(f"authority {self.authority!r} is not like umbrella.example")
        if not _is_group(self.root):
            raise ValueError(f"group root {self.root!r} is not like umbrella:demo")
        if self.root_group and not _is_group(self.root_group):
            raise ValueError(f"root group {self.root_group!r} is not like members")
        if self.limit < 1:
            raise ValueError("the limit of entitlements must be 1 or more")

    def group_of(self, value: str) -> str | None:
        """The Hub group that one entitlement grants, or None if it grants none here."""
        if len(value) > MAX_VALUE_LENGTH:
            return None
        start, end = f"{self.namespace}:group:{self.root}", f"#{self.authority}"
        if not (value.startswith(start) and value.endswith(end)):
            return None
        rest = value[len(start) : len(value) - len(end)]
        if not rest:
            return self.root_group or None
        if not rest.startswith(":") or not _is_group(rest[1:]):
            return None
        return rest[1:]

    def groups(self, values: Iterable[str]) -> frozenset[str]:
        """All Hub groups of a person; raises TooManyEntitlements beyond ``limit`` values."""
        values = tuple(values)
        if len(values) > self.limit:
            raise TooManyEntitlements(
                f"Your login carries {len(values)} group memberships; at most {self.limit} can be "
                "used here. Please ask the support of this facility."
            )
        found = (self.group_of(value) for value in values)
        return frozenset(group for group in found if group is not None)
