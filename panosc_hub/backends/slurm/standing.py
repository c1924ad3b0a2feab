"""What one person may use of accounts, QOS and reservations, as far as Slurm told. Pure.

Three answers everywhere: yes, no, and None for "Slurm did not tell": then Slurm decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from .accounts import Accounts
from .look import Look
from .parse_nodes import Partition, Reservation


@dataclass(frozen=True)
class Standing:
    """One UNIX ``user`` at the moment ``now``. ``wait``: how long a job may stay in the queue.

    ``accounts`` and ``look`` are None as long as Slurm did not tell.
    """

    user: str
    accounts: Accounts | None
    look: Look | None
    now: float
    wait: float

    def my_accounts(self, partitions: Iterable[str] = ()) -> tuple[str, ...] | None:
        """The accounts that count in ``partitions``, the default first."""
        if self.accounts is None or not self.accounts.knows(self.user):
            return None
        names = tuple(partitions)
        doors = self.partitions(names)
        found = self.accounts.accounts(self.user, {*names, *(door.name for door in doors)})
        if not doors:
            return found
        return tuple(name for name in found if any(door.takes_account(name) for door in doors))

    def spelled(self, account: str, partitions: Iterable[str] = ()) -> str:
        """The user's account of that name, as Slurm spells it; empty if there is none."""
        mine = self.my_accounts(tuple(partitions)) or ()
        return next((name for name in mine if name.lower() == account.lower()), "")

    def has_account(self, account: str, partitions: Iterable[str] = ()) -> bool | None:
        """Whether jobs of ``account`` are accepted from the user, in any of ``partitions``."""
        if self.accounts is None or not self.accounts.knows(self.user):
            return None
        names = {*partitions, *(door.name for door in self.partitions(partitions))}
        if account.lower() in (a.lower() for a in self.accounts.accounts(self.user, names)):
            return True
        return False if self.accounts.enforced else None

    def my_qos(self, accounts: Iterable[str]) -> tuple[str, ...] | None:
        """QOS that the user has in any of ``accounts``, the default first."""
        if self.accounts is None or not self.accounts.knows(self.user):
            return None
        return self.accounts.qos(self.user, accounts)

    def partitions(self, names: Iterable[str]) -> tuple[Partition, ...]:
        """The partitions of these names that Slurm has; "" is the default one."""
        known = (self.look.partitions if self.look else None) or {}
        return tuple(
            p for n in names for p in known.values() if n == p.name or (not n and p.default)
        )

    def reservation(self, name: str) -> Reservation | None:
        """The reservation of that name, whatever its letters; None also if nothing is known."""
        known: Mapping[str, Reservation] = (self.look and self.look.reservations) or {}
        return known.get(name) or next(
            (r for r in known.values() if r.name.lower() == name.lower()), None
        )

    @property
    def tells_reservations(self) -> bool:
        """Whether Slurm told which reservations there are."""
        return self.look is not None and self.look.reservations is not None

    def soon(self, reservation: Reservation) -> bool:
        """Whether a job that waits no longer than it may gets into it."""
        begins = 0.0 if reservation.active else reservation.start
        return begins <= self.now + self.wait and reservation.end > self.now

    def may_use(self, reservation: Reservation) -> bool | None:
        """Whether the user, or an account of theirs, is let in."""
        if not _let_in(self.user, reservation.users):
            return False
        if not reservation.accounts:
            return True
        if self.accounts_for(reservation):
            return True
        enforced = self.accounts is not None and self.accounts.enforced
        return False if enforced and self.my_accounts() is not None else None

    def accounts_for(self, reservation: Reservation) -> tuple[str, ...]:
        """Those of the user's accounts with which a job gets into it, the default first."""
        mine = self.my_accounts() or ()
        kept_out = {name[1:] for name in reservation.accounts if name.startswith("-")}
        wanted = {name for name in reservation.accounts if not name.startswith("-")}
        if self.accounts is None:
            return mine
        return tuple(
            name
            for name in mine
            if (not wanted or self.accounts.within(name, wanted))
            and not self.accounts.within(name, kept_out)
        )

    def my_reservations(self) -> tuple[Reservation, ...]:
        """What the user may use now or soon, by the time when it ends."""
        known = (self.look and self.look.reservations) or {}
        mine = (r for r in known.values() if self.soon(r) and self.may_use(r) is not False)
        return tuple(sorted(mine, key=lambda r: (r.end, r.name)))

    def left(self, reservation: Reservation) -> int:
        """Seconds that a job can have in it."""
        return max(0, int(reservation.end - max(self.now, reservation.start)))


def _let_in(user: str, users: frozenset[str]) -> bool:
    wanted = {name for name in users if not name.startswith("-")}
    return f"-{user}" not in users and (not wanted or user in wanted)


def when(moment: float, now: float) -> str:
    """``18:00``, or ``Sun 22 Nov, 18:00`` on another day."""
    there, here = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
    day = "" if there.date() == here.date() else f"{there:%a} {there.day} {there:%b}, "
    return f"{day}{there:%H:%M}"


def span(reservation: Reservation, now: float) -> str:
    """``until 18:00``, with the beginning if that is still to come."""
    until = f"until {when(reservation.end, now)}"
    return until if reservation.active else f"from {when(reservation.start, now)} {until}"
