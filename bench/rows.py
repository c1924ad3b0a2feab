"""What a benchmark is and what it reports: rounds, medians, targets. Pure, apart from ``rounds``.

Ours and the peer are measured in turns (A B A B …) so that whatever else the host does falls on
both; the median of each side is reported, and only their ratio is compared with the target.
"""

from __future__ import annotations

import importlib
import re
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": lambda ratio, limit: ratio <= limit,
    ">=": lambda ratio, limit: ratio >= limit,
}
_TARGET = re.compile(r"(<=|>=) ([0-9]+(?:\.[0-9]+)?)")

UNMEASURED = " (not measured"
"""Follows the name of a row that has no numbers."""

KEYS = ("name", "ours", "peer", "unit", "ratio", "target", "held")
"""The keys of one row in ``results.json``, in this order."""


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for ours ÷ peer, written ``<= 0.333`` or ``>= 0.9``."""

    sign: str
    limit: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ``ValueError`` for anything but a sign, a space and a number."""
        match = _TARGET.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no target; write '<= 0.5' or '>= 0.9'")
        return cls(match[1], float(match[2]), text)

    def held(self, ratio: float | None) -> bool:
        """Whether ``ratio`` is within the limit; what was not measured is not held."""
        return ratio is not None and COMPARE[self.sign](ratio, self.limit)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: one number of each side, with its rounds.

    ``problem`` says why there are no numbers; such a row is never held.
    """

    name: str
    unit: str
    target: Target
    ours: tuple[float, ...] = ()
    peer: tuple[float, ...] = ()
    problem: str = ""

    @property
    def measured(self) -> bool:
        """Whether both sides have numbers."""
        return bool(self.ours and self.peer)

    @property
    def ratio(self) -> float | None:
        """Median of ours ÷ median of the peer; None without numbers or with a peer of zero."""
        if not self.measured or not (peer := statistics.median(self.peer)):
            return None
        return statistics.median(self.ours) / peer

    @property
    def held(self) -> bool:
        """Whether the target is."""
        return self.target.held(self.ratio)

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest ratio of one round: how far to trust the middle."""
        ratios = [a / b for a, b in zip(self.ours, self.peer, strict=True) if b]
        return (min(ratios), max(ratios)) if ratios else None

    def to_dict(self) -> dict[str, Any]:
        """For ``results.json``: the keys are :data:`KEYS`."""
        problem = f"{UNMEASURED}: {self.problem})" if self.problem else ""
        values = (
            f"{self.name}{problem}",
            rounded(statistics.median(self.ours)) if self.ours else None,
            rounded(statistics.median(self.peer)) if self.peer else None,
            self.unit,
            None if self.ratio is None else rounded(self.ratio),
            self.target.text,
            self.held,
        )
        return dict(zip(KEYS, values, strict=True))


class PeerMissing(Exception):
    """The peer is not installed, so there is nothing to compare with."""


class LeftOut(Exception):
    """This host cannot run what is measured at all (no Slurm, not root); the text says why."""


def import_peer(name: str) -> ModuleType:
    """The peer's module; raises :class:`PeerMissing`, with what to do."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise PeerMissing(f"{error}; install the packages of the extra 'bench'") from error


def rounded(number: float) -> float:
    """Four significant digits; more would claim a precision that no run has."""
    return float(f"{number:.4g}")


def exit_status(rows: Sequence[Row]) -> int:
    """0: all measured and held. 3: all measured, a target is not held. 1: not all measured."""
    if not rows or not all(row.measured for row in rows):
        return 1
    return 0 if all(row.held for row in rows) else 3


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One module's contribution. ``rounds`` is the usual number of rounds.

    ``plan`` gives name, unit and target of each row, for the case that nothing can be measured;
    ``run`` measures them; :class:`PeerMissing` says that the peer is not installed, and
    :class:`LeftOut` that the host has no such thing: then its rows are left out.
    """

    name: str
    rounds: int
    plan: tuple[Row, ...]
    run: Callable[[int], Awaitable[list[Row]]]

    def failed(self, problem: str) -> list[Row]:
        """The rows when it could not be run."""
        return [Row(r.name, r.unit, r.target, problem=problem) for r in self.plan]


async def in_turns(
    rounds: int, ours: Callable[[], Awaitable[float]], peer: Callable[[], Awaitable[float]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """``rounds`` numbers of each side, A B A B …, after one round that is not counted."""
    await ours()
    await peer()
    a, b = [], []
    for _ in range(rounds):
        a.append(await ours())
        b.append(await peer())
    return tuple(a), tuple(b)
