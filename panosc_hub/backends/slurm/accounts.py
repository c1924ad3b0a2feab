"""Which accounts and QOS people have, as ``sacctmgr`` tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .parse import Garbled
from .parse_nodes import parse_limit

ASSOCIATIONS = ("Account", "User", "Partition", "QOS", "DefaultQOS", "ParentName")
USERS = ("User", "DefaultAccount")
QOS = ("Name", "MaxWall")


@dataclass(frozen=True, slots=True)
class Association:
    """One account of one user (``user`` empty: the account itself), perhaps in one partition."""

    account: str
    user: str
    partition: str
    qos: tuple[str, ...]
    default_qos: str
    parent: str


def _rows(text: str, columns: int, command: str) -> Iterable[list[str]]:
    """Rows below the header of ``sacctmgr --parsable``, which ends each one with a bar."""
    lines = text.splitlines()
    if not text.endswith("\n") or not lines:
        raise Garbled(f"{command}: the answer is empty or cut off")
    shaped = [line.split("|") for line in lines if line.count("|") == columns]
    if not shaped or shaped[0][-1] or not {"User", "Name"} & set(shaped[0]):
        raise Garbled(f"{command}: no header in the answer, which begins {text[:80]!r}")
    for cells in shaped[1:]:
        if cells[-1]:
            raise Garbled(f"{command}: odd row {'|'.join(cells)[:80]!r}")
        yield [cell.strip() for cell in cells[:-1]]


def parse_associations(text: str) -> tuple[Association, ...]:
    """``sacctmgr --parsable show associations format=ASSOCIATIONS``. Raises :class:`Garbled`."""
    return tuple(
        Association(
            account=account,
            user=user,
            partition=partition,
            qos=tuple(q.lstrip("+") for q in qos.split(",") if q and not q.startswith("-")),
            default_qos=default,
            parent=parent,
        )
        for account, user, partition, qos, default, parent in _rows(
            text, len(ASSOCIATIONS), "sacctmgr"
        )
    )


def parse_users(text: str) -> dict[str, str]:
    """Default account by user. Raises :class:`Garbled`."""
    return dict(row for row in _rows(text, len(USERS), "sacctmgr"))


def parse_qos(text: str) -> dict[str, int]:
    """The longest wall time of each QOS that has one, in seconds. Raises :class:`Garbled`."""
    try:
        times = {
            name: parse_limit(wall) for name, wall in _rows(text, len(QOS), "sacctmgr") if wall
        }
    except ValueError as error:
        raise Garbled(f"sacctmgr: odd QOS: {error}") from None
    return {name: time for name, time in times.items() if time is not None}


class Accounts:
    """Who has what. ``enforced``: Slurm refuses jobs of other accounts than these, and with
    ``qos_enforced`` of other QOS.

    ``longest``: the wall time that a QOS allows, where Slurm enforces that.
    ``complete`` is False where Slurm may have told only a part: nothing is known then of a
    user who is not listed.
    """

    def __init__(
        self,
        rows: Iterable[Association] = (),
        defaults: Mapping[str, str] | None = None,
        *,
        enforced: bool = False,
        qos_enforced: bool = False,
        longest: Mapping[str, int] | None = None,
        complete: bool = True,
    ) -> None:
        self.enforced = enforced
        self.qos_enforced = qos_enforced
        self.longest = dict(longest or {})
        self.complete = complete
        self._defaults = dict(defaults or {})
        self._mine: dict[str, list[Association]] = {}
        self._parents: dict[str, str] = {}
        for row in rows:
            if row.user:
                self._mine.setdefault(row.user, []).append(row)
            elif row.parent:
                self._parents[row.account] = row.parent

    def knows(self, user: str) -> bool:
        """Whether it is told what ``user`` has (which may be nothing)."""
        return self.complete or user in self._mine

    def accounts(self, user: str, partitions: Iterable[str] = ()) -> tuple[str, ...]:
        """The accounts of ``user``, the default first; those for other partitions left out."""
        wanted = {name for name in partitions if name}
        found = {
            row.account: None
            for row in sorted(self._mine.get(user, ()), key=lambda row: row.account)
            if not row.partition or not wanted or row.partition in wanted
        }
        default = self._defaults.get(user, "")
        return tuple(sorted(found, key=lambda name: (name != default, name)))

    def default(self, user: str) -> str:
        """The account of jobs that name none."""
        return self._defaults.get(user, "")

    def qos(self, user: str, accounts: Iterable[str]) -> tuple[str, ...]:
        """QOS that ``user`` has in any of ``accounts``, the default first."""
        wanted = set(accounts)
        found: dict[str, None] = {}
        first = ""
        for row in self._mine.get(user, ()):
            if row.account in wanted:
                found |= dict.fromkeys(row.qos)
                first = first or row.default_qos
        first = first or ("normal" if "normal" in found else "")
        return tuple(sorted(found, key=lambda name: (name != first, name)))

    def default_qos(self, user: str, account: str) -> str:
        """The QOS of jobs of ``account`` that name none; empty if that is not told."""
        return next(
            (row.default_qos for row in self._mine.get(user, ()) if row.account == account), ""
        )

    def within(self, account: str, wanted: Iterable[str]) -> bool:
        """Whether ``account`` is one of ``wanted``, or below one."""
        names = set(wanted)
        seen: set[str] = set()
        while account and account not in seen:
            if account in names:
                return True
            seen.add(account)
            account = self._parents.get(account, "")
        return False
