"""What one look at the cluster told, and which nodes of it a profile may use. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .options import SlurmOptions
from .parse_nodes import NodeRow, Partition, Reservation

_FEATURE = r"[A-Za-z0-9_.\-]+"


@dataclass(frozen=True)
class Look:
    """Nodes, partitions and reservations of one moment; None: Slurm did not tell."""

    rows: tuple[NodeRow, ...]
    partitions: Mapping[str, Partition] | None = None
    reservations: Mapping[str, Reservation] | None = None

    @cached_property
    def by_partition(self) -> Mapping[str, tuple[NodeRow, ...]]:
        """The rows of each partition; those of the default one also under ""."""
        found: dict[str, list[NodeRow]] = {}
        for row in self.rows:
            found.setdefault(row.partition, []).append(row)
            if row.default:
                found.setdefault("", []).append(row)
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def cpus(self) -> Mapping[str, int]:
        """CPUs of each node."""
        return {row.name: row.cpus for row in self.rows}

    def partition(self, row: NodeRow) -> Partition:
        """The partition that the row is a member of; one without limits if Slurm did not tell."""
        return (self.partitions or {}).get(row.partition) or Partition(row.partition)

    def holds_part(self, reservation: Reservation) -> bool:
        """Whether it holds some CPUs of its nodes, and not all."""
        return 0 < reservation.cpus < sum(self.cpus.get(n, 0) for n in reservation.nodes)


def partitions_of(options: SlurmOptions, name: str | None = None) -> tuple[str, ...]:
    """The partitions of a profile, "" for Slurm's default one; ``name``: the one chosen."""
    texts = options.texts("partition") if name is None else (name,)
    return tuple(dict.fromkeys(part for text in texts for part in text.split(",")))


def has_features(constraint: str, features: frozenset[str]) -> bool | None:
    """Whether a node satisfies ``a``, ``a&b`` or ``a|b``; None for the rest of Slurm's syntax."""
    if not constraint:
        return True
    for sign, together in (("&", all), ("|", any)):
        if re.fullmatch(rf"{_FEATURE}(\{sign}{_FEATURE})*", constraint):
            return together(name in features for name in constraint.split(sign))
    return None


def nodes_of(options: SlurmOptions, look: Look) -> tuple[NodeRow, ...] | str:
    """The nodes of which a profile could get one, free or not; a text says why there are none.

    A node that is a member of several of its partitions comes once for each.
    """
    names = partitions_of(options)
    mine = [row for name in names for row in look.by_partition.get(name, ())]
    what = f"partition {', '.join(names)}" if any(names) else "default partition"
    if not mine:
        return f"SLURM has no {what}"
    able = [row for row in mine if row.opened]
    if not able:
        return f"{what} takes no jobs at the moment"
    able = [row for row in able if row.up]
    if not able:
        return "all its nodes are down or drained"
    texts = options.texts("constraint")
    # What only Slurm can read rules out nothing.
    able = [r for r in able if any(has_features(t, r.features) is not False for t in texts)]
    if not able:
        return f"no node that is up has the features {' or '.join(texts)}"
    if (reserved := options.fixed("reservation")) and look.reservations is not None:
        if len(options.texts("reservation")) > 1:
            return tuple(able)
        theirs = [r for n in reserved.split(",") if (r := look.reservations.get(n))]
        if not theirs:
            return f"SLURM has no reservation {reserved} at the moment"
        able = [row for row in able if any(row.name in r.nodes for r in theirs)]
        if not able:
            return f"no node of the reservation {reserved} is up in {what}"
    return tuple(able)
