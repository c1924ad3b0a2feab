"""Who asks: the one type that profiles, catalogue and plan know of a person."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the Hub knows them, after login and account mapping.

    ``name`` is the Hub's user name, ``groups`` its groups (for example ``proposal:HG-123``),
    ``subject`` the identity provider's stable key (empty where another authenticator is used),
    ``roles`` the JupyterHub roles of the person and of their groups.
    """

    name: str
    groups: frozenset[str] = field(default_factory=frozenset)
    admin: bool = False
    subject: str = ""
    display_name: str = ""
    email: str = ""
    roles: frozenset[str] = field(default_factory=frozenset)
