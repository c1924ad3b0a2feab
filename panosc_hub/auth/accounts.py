"""From a person of the provider to an account of the facility.

The key of a person is the pair (issuer, subject). E-mail, ``preferred_username`` and display name
are never used: people can choose or change them. The account name is the *result* of a mapper
and never a claim.

Mappers are asked in order and the first that knows the person decides, so a list of exceptions
goes before a general rule. The login fails closed if nobody knows the person, if the deciding
mapper names more than one account, or if a mapper cannot answer. A facility adds its own, for
example for LDAP, as a subclass of :class:`AccountMapper`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from traitlets import Dict, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from panosc_hub.auth.problems import AccountsUnavailable, NotLinked

ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""A POSIX account name: at most 32 characters, ASCII, no upper case. Used with fullmatch."""

RESERVED = frozenset(
    {"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy"}
    | {"www-data", "backup", "list", "irc", "nobody", "messagebus", "sshd", "slurm", "munge"}
    | {"postgres", "mysql", "operator", "halt", "shutdown", "ftp", "jupyterhub"}
)
"""Names of system accounts; no person is ever mapped to one, whatever a mapper says."""

MAX_FILE = 16 << 20
"""Largest account file, in bytes; about 100 000 people."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as the provider knows them; ``claims`` are normalised and verified."""

    issuer: str
    subject: str
    claims: Mapping[str, Any] = field(default_factory=dict)


class AccountMapper(LoggingConfigurable):
    """One way to find the account of a person."""

    @abstractmethod
    async def accounts_of(self, identity: Identity) -> frozenset[str]:
        """The account names of a person; empty if this mapper does not know them.

        Raises AccountsUnavailable if it cannot tell. That is not the same as empty: it fails a
        login and keeps a session that is open.
        """


async def find_account(mappers: Iterable[AccountMapper], identity: Identity) -> str:
    """The one account of a person; raises NotLinked or AccountsUnavailable."""
    for mapper in mappers:
        names = await mapper.accounts_of(identity)
        if not names:
            continue
        who = f"{type(mapper).__name__} maps {identity.subject}"
        if len(names) > 1:
            raise NotLinked(f"{who} to {len(names)} accounts", subject=identity.subject)
        (name,) = names
        if not ACCOUNT.fullmatch(name) or name in RESERVED:
            raise NotLinked(f"{who} to the unusable name {name!r}", subject=identity.subject)
        return name
    raise NotLinked(f"no account is known for {identity.subject}", subject=identity.subject)


def _table_problem(table: Mapping[Any, Any]) -> str | None:
    """Why a table from subject to account cannot be trusted, or None."""
    seen: dict[str, str] = {}
    for subject, account in table.items():
        if not isinstance(subject, str) or not isinstance(account, str):
            return f"{subject!r}: {account!r} must be text on both sides; put it in quotes"
        if not ACCOUNT.fullmatch(account) or account in RESERVED:
            return f"{account!r} cannot be the account of a person"
        if account in seen:
            return f"{subject!r} and {seen[account]!r} have the same account {account!r}"
        seen[account] = subject
    return None


class StaticMapper(AccountMapper):
    """Accounts written into the configuration; for a demonstration or a handful of people."""

    accounts = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="""
        Account by subject, for example ``{"1f3a…@eduteams.org": "paula"}``.

        The subject is the ``sub`` claim and is compared character by character. Two subjects
        with the same account are refused at start.
        """,
    )

    @validate("accounts")
    def _valid_accounts(self, proposal: Any) -> dict[str, str]:
        if problem := _table_problem(proposal.value):
            raise TraitError(f"StaticMapper.accounts: {problem}")
        table: dict[str, str] = proposal.value
        return table

    async def accounts_of(self, identity: Identity) -> frozenset[str]:
        account = self.accounts.get(identity.subject)
        return frozenset({account} if account else ())


class HashMapper(AccountMapper):
    """An opaque account for everybody; for facilities whose sessions need no UNIX account.

    The name is ``u`` and 31 hexadecimal digits (124 bits) of SHA-256 over issuer and subject:
    stable, 32 characters as POSIX allows at most, and it tells nothing about the person.
    """

    async def accounts_of(self, identity: Identity) -> frozenset[str]:
        text = f"{identity.issuer}\0{identity.subject}".encode()
        return frozenset({"u" + hashlib.sha256(text).hexdigest()[:31]})


@dataclass(frozen=True, slots=True)
class _AccountFile:
    """One reading of the account file; ``stamp`` is inode, change time and size."""

    stamp: tuple[int, int, int]
    issuer: str
    table: Mapping[str, str]


def _read_accounts(path: str, before: _AccountFile | None) -> _AccountFile:
    # All checks are made on the open file, so it cannot be exchanged in between. O_NONBLOCK: a
    # pipe in its place must not hold us up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE:
            raise ValueError(f"not a regular file of at most {MAX_FILE} bytes")
        if info.st_uid not in (0, os.geteuid()):
            raise ValueError("it belongs neither to root nor to the user of the Hub")
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others than its owner may write it; use chmod go-w")
        stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
        if before and stamp == before.stamp:
            return before
        # ruamel refuses a key given twice, where other readers silently take the last one.
        data = YAML(typ="safe", pure=True).load(file.read(MAX_FILE + 1))
    if not isinstance(data, dict) or set(data) != {"issuer", "accounts"}:
        raise ValueError("it must have exactly the keys issuer and accounts")
    issuer, table = data["issuer"], data["accounts"]
    if not isinstance(issuer, str) or not isinstance(table, dict):
        raise ValueError("issuer must be text and accounts must be a mapping")
    if problem := _table_problem(table):
        raise ValueError(problem)
    return _AccountFile(stamp, issuer, table)


class FileMapper(AccountMapper):
    """Accounts from a YAML file, which is read again when it changes.

    ::

        issuer: https://proxy.eduteams.org
        accounts:
          "1f3a…@eduteams.org": paula
    """

    path = Unicode(
        config=True,
        help="""
        Absolute path of the account file.

        It must belong to root or to the user of the Hub, and only the owner may write it: who
        can write it can become anybody. It has ``issuer`` and ``accounts`` (account by subject).
        A subject or an account given twice, or any other mistake, makes the whole file unusable.
        """,
    )

    _read: _AccountFile | None = None

    async def accounts_of(self, identity: Identity) -> frozenset[str]:
        try:
            self._read = await asyncio.to_thread(_read_accounts, self.path, self._read)
        except (OSError, ValueError, YAMLError, RecursionError) as error:
            self._read = None
            raise AccountsUnavailable(f"account file {self.path}: {error}") from error
        if identity.issuer != self._read.issuer:
            return frozenset()
        account = self._read.table.get(identity.subject)
        return frozenset({account} if account else ())
