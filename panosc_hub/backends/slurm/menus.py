"""What a person may choose in a profile besides amounts: account, QOS, reservation … Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...core.choices import Menu, Option
from .look import has_features, partitions_of
from .options import CHOOSABLE, NAME, ByProposal, Mine, SlurmOptions
from .standing import Standing, span

TITLES = {
    "partition": "Partition",
    "account": "Account",
    "qos": "Quality of service",
    "reservation": "Reservation",
    "constraint": "Kind of node",
}
_BY_PROPOSAL = "that of the proposal, if there is one"
_NONE = "no reservation"
_DEFAULT = "SLURM's own default"


@dataclass(frozen=True, slots=True)
class OpenMenu(Menu):
    """A list that Slurm has not told yet: any plain name is passed on, and Slurm decides."""

    def offers(self, value: str) -> bool:
        """Whether it is a name at all."""
        return not value or re.fullmatch(NAME, value) is not None


def menus(options: SlurmOptions, standing: Standing) -> tuple[Menu, ...]:
    """One for each option that ``site.yaml`` leaves to the user."""
    found = (menu(name, options, standing) for name in CHOOSABLE)
    return tuple(each for each in found if each is not None)


def menu(
    name: str, options: SlurmOptions, standing: Standing, partition: str | None = None
) -> Menu | None:
    """The list for one option; None where there is nothing to choose.

    ``partition`` is the one that was chosen, where that is known already.
    """
    value, rule = getattr(options, name), False
    if isinstance(value, ByProposal):
        value, rule = value.otherwise, True
    if isinstance(value, str):
        return None
    mine = isinstance(value, Mine)
    places = partitions_of(options, partition)
    told = _offered(name, () if mine else value, options, standing, places)
    if told is None:
        there = (Option("", _BY_PROPOSAL if rule else _NO_ANSWER[name]),)
        return OpenMenu(name, TITLES[name], there)
    if mine and not told and not rule:
        return None
    first = [Option("", _BY_PROPOSAL)] if rule else []
    if name == "reservation" and mine and not rule:
        first = [Option("", _NONE)]
    lines = (*first, *told)
    return Menu(name, TITLES[name], lines, lines[0].value) if lines else None


_NO_ANSWER = {"account": _DEFAULT, "qos": _DEFAULT, "reservation": _NONE}


def _offered(
    name: str,
    listed: tuple[str, ...],
    options: SlurmOptions,
    standing: Standing,
    places: tuple[str, ...],
) -> tuple[Option, ...] | None:
    """The lines; of those that the file lists (none: ``{mine: true}``) the ones that may be.

    None: Slurm did not tell what the user has, and the file does not say either.
    """
    look = standing.look
    if name == "partition":
        known = look.by_partition if look else None
        there = [n for n in listed if known is None or any(p in known for p in n.split(","))]
        return _options(there or listed)
    if name == "constraint":
        rows = look.rows if look else ()
        there = [
            n
            for n in listed
            if look is None or any(has_features(n, r.features) is not False for r in rows)
        ]
        return _options(there or listed)
    if name == "reservation":
        return _reservations(listed, standing)
    if name == "account":
        accounts = standing.my_accounts(places)
        if not listed:
            return None if accounts is None else _options(accounts)
        return _options(n for n in listed if standing.has_account(n, places) is not False)
    qos = my_qos(options, standing, places)
    if not listed:
        return None if qos is None else _options(qos)
    enforced = standing.accounts is not None and standing.accounts.qos_enforced
    return _options(n for n in listed if qos is None or n in qos or not enforced)


def my_qos(
    options: SlurmOptions, standing: Standing, places: tuple[str, ...], account: str = ""
) -> tuple[str, ...] | None:
    """QOS of the account, or of any that the profile may use, that the partitions take."""
    mine = standing.my_accounts(places)
    if mine is None:
        return None
    value = options.account
    own = (account,) if account else (value,) if isinstance(value, str) and value else mine
    doors = standing.partitions(places)
    return tuple(
        name
        for name in standing.my_qos(own) or ()
        if not doors or any(door.takes_qos(name) for door in doors)
    )


def _reservations(listed: tuple[str, ...], standing: Standing) -> tuple[Option, ...] | None:
    if not standing.tells_reservations:
        return _options(listed) if listed else None
    mine = {r.name: r for r in standing.my_reservations()}
    if not listed:
        return tuple(Option(n, note=span(r, standing.now)) for n, r in mine.items())
    lines = []
    for names in listed:
        there = [mine[n] for n in names.split(",") if n in mine]
        if there:
            last = max(there, key=lambda r: r.end)
            lines.append(Option(names, note=span(last, standing.now)))
    return tuple(lines)


def _options(names: Iterable[str]) -> tuple[Option, ...]:
    return tuple(Option(name) for name in names)
