"""As whom a session runs: uid, gid and groups of a person, and where these are known.

``KubernetesBackend.account`` names a source: something that is called with the person and the
proposal's id (or None) and answers an :class:`Account`, or None for somebody it does not know.
Here are :func:`from_nss` and :class:`AccountFile`; a facility may write its own.
"""

from __future__ import annotations

import asyncio
import grp
import inspect
import os
import pwd
import re
import stat
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ...core.identity import Person
from ...errors import BackendError, BackendUnavailable

MOST_GROUPS = 16
"""NFS with AUTH_SYS tells a server no more than these of a process, and silently."""

MAX_ID = 2**31 - 1
"""The largest number that Kubernetes takes for a uid or gid."""

MAX_FILE = 16 << 20
"""Bytes of the largest file of accounts; about 100 000 people."""

PATIENCE = 15.0
"""Seconds that a source may take, for it may be a directory far away."""

_PROPOSAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """A UNIX account. ``groups``: the gid of each further group by its name."""

    uid: int
    gid: int
    groups: Mapping[str, int] = field(default_factory=dict)


Source = Callable[[Person, str | None], Account | Awaitable[Account | None] | None]


async def find_account(source: Source, person: Person, proposal: str | None) -> Account:
    """The account of ``person``.

    Raises :class:`BackendError` if nobody knows it or it is none for a session, such as root's,
    and :class:`BackendUnavailable` if the source does not answer.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            answer = source(person, proposal)
            found = await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        raise BackendUnavailable(
            "The facility's list of accounts does not answer, so the session cannot get your "
            "user and group. Try again in a few minutes.",
            reason="accounts_unavailable",
        ) from None
    if found is None:
        raise BackendError(
            f"The account {person.name} is not known to the facility's list of accounts, so a "
            "session cannot get its user and group. Ask your local contact.",
            reason="no_account",
        )
    ids = (found.uid, found.gid, *found.groups.values())
    if not all(type(number) is int and 0 < number <= MAX_ID for number in ids):
        raise BackendError(
            f"The account {person.name} has a user or group number that no session may have. "
            "Ask your local contact.",
            reason="no_account",
        )
    return found


def supplemental(
    account: Account, proposal: str | None, template: str, configured: Iterable[int] = ()
) -> tuple[int, ...]:
    """The further gids of a session: of the account's own that of the chosen proposal's group
    alone, then those that ``c.KubeSpawner.supplemental_gids`` gives to everybody.

    ``template`` is the group's name; ``{proposal}`` and ``{proposal_lower}`` are replaced as
    text. No group without a proposal, for an account that is not in it, or for an odd id.
    """
    found: list[int] = []
    if proposal and _PROPOSAL.fullmatch(proposal) and ".." not in proposal:
        name = template.replace("{proposal_lower}", proposal.lower())
        gid = account.groups.get(name.replace("{proposal}", proposal))
        found = [gid] if gid is not None else []
    gids = dict.fromkeys(gid for gid in (*found, *configured) if gid != account.gid)
    return tuple(gids)[:MOST_GROUPS]


async def from_nss(person: Person, proposal: str | None) -> Account | None:
    """What the Hub's machine knows of the account: files, LDAP, sssd (``nsswitch.conf``)."""
    return await asyncio.to_thread(_ask_nss, person.name)


def _ask_nss(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups: dict[str, int] = {}
    for gid in os.getgrouplist(name, entry.pw_gid):
        try:
            groups[grp.getgrgid(gid).gr_name] = gid
        except KeyError:
            continue  # a number without a name is no proposal's group
    return Account(entry.pw_uid, entry.pw_gid, groups)


class AccountFile:
    """Accounts from a YAML or JSON file, which is read again when it changes.

    ::

        users:
          paula: {uid: 20001, gid: 20000, groups: [hg123, mx2417]}
        groups:
          hg123: 40123
          mx2417: 42417

    It must belong to root or to the Hub's user, and only its owner may write it: who can write
    it can become anybody. Example:
    ``c.KubernetesBackend.account = AccountFile("/etc/panosc-hub/uids.yaml")``
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._accounts: Mapping[str, Account] = {}

    async def __call__(self, person: Person, proposal: str | None) -> Account | None:
        """The account of ``person``. Raises :class:`BackendUnavailable` for an unusable file."""
        try:
            accounts = await asyncio.to_thread(self._read)
        except (OSError, ValueError, YAMLError, RecursionError) as error:
            raise BackendUnavailable(
                "The facility's list of accounts cannot be read, so the session cannot get your "
                "user and group. Tell the facility's support.",
                reason="accounts_unavailable",
            ) from error
        return accounts.get(person.name)

    def _read(self) -> Mapping[str, Account]:
        # All checks are made on the open file, so it cannot be exchanged in between. O_NONBLOCK:
        # a pipe in its place must not hold us up.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file, self._lock:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE:
                raise ValueError(f"not a regular file of at most {MAX_FILE} bytes")
            if info.st_uid not in (0, os.geteuid()):
                raise ValueError("it belongs neither to root nor to the user of the Hub")
            if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ValueError("others than its owner may write it; use chmod go-w")
            stamp = (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)
            if stamp != self._stamp:
                # JSON is YAML, too; and ruamel refuses a key that is given twice.
                data = YAML(typ="safe", pure=True).load(file.read(MAX_FILE + 1))
                self._accounts, self._stamp = read_accounts(data), stamp
            return self._accounts


def read_accounts(data: Any) -> dict[str, Account]:
    """The accounts that a file has, by name. Raises ValueError naming the first mistake."""
    if not isinstance(data, dict) or not set(data) <= {"users", "groups"}:
        raise ValueError("it must have the keys users and groups, and no other")
    groups, users = data.get("groups") or {}, data.get("users") or {}
    if not isinstance(groups, dict) or not isinstance(users, dict):
        raise ValueError("users and groups must be mappings")
    numbers = {str(name): _number(f"group {name!r:.60}", gid) for name, gid in groups.items()}
    found = {}
    for name, body in users.items():
        who = f"user {name!r:.60}"
        if not isinstance(body, dict) or not {"uid", "gid"} <= set(body) <= {
            "uid",
            "gid",
            "groups",
        }:
            raise ValueError(f"{who}: needs uid and gid, and may have groups")
        own = body.get("groups") or []
        if not isinstance(own, list) or any(str(g) not in numbers for g in own):
            raise ValueError(f"{who}: groups must be a list of names that 'groups' has")
        found[str(name)] = Account(
            _number(f"{who}, uid", body["uid"]),
            _number(f"{who}, gid", body["gid"]),
            {str(g): numbers[str(g)] for g in own},
        )
    return found


def _number(what: str, value: Any) -> int:
    if type(value) is not int or not 0 < value <= MAX_ID:
        raise ValueError(f"{what}: {value!r:.40} is not a whole number from 1 to {MAX_ID}")
    return value
