"""The most that one session can get on the nodes that Slurm has now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...core.profiles import Limits, Profile, tighten
from ...core.quantities import show_memory
from .look import Look, nodes_of
from .options import SlurmOptions
from .parse_nodes import NodeRow


def offer(profile: Profile, options: SlurmOptions, look: Look) -> Profile | str:
    """``profile`` within what there is; a text says why nothing of it fits."""
    rows = nodes_of(options, look)
    if isinstance(rows, str):
        return rows
    limits = limits_of(profile, rows, look)
    found = limits if isinstance(limits, str) else tighten(profile, limits)
    if isinstance(found, str) or any(_holds_least(profile, row, look) for row in rows):
        return found
    cpus, memory = profile.cpus.min, show_memory(profile.memory.min)
    return f"no node that is up has {cpus} CPUs and {memory} memory together"


def limits_of(profile: Profile, rows: Iterable[NodeRow], look: Look) -> Limits | str:
    """The limits on ``rows``; a text says why none of them is of use.

    Limits are per node, for a session never spans two, and a node of another kind in the same
    partition lends nothing: for a profile with GPUs only the nodes that have them count.
    """
    able = [row for row in rows if _has_gpus(profile, row)]
    if not able:
        return _no_gpus(profile)
    useful = [row for row in able if _holds_least(profile, row, look)] or able
    times = [look.partition(row).max_time for row in useful]
    longest = None
    if look.partitions is not None and None not in times:
        longest = max(time for time in times if time is not None)
    return Limits(
        cpus=max(cpus_of(row, look) for row in useful),
        memory=max(memory_of(row, look) for row in useful),
        gpus=gpus_of(useful) if profile.gpus else None,
        walltime=longest,
    )


def cpus_of(row: NodeRow, look: Look) -> int:
    """The most CPUs of the node that one job of the partition gets."""
    most = look.partition(row).max_cpus
    return row.cpus if most is None else min(row.cpus, most)


def memory_of(row: NodeRow, look: Look) -> int:
    """The most memory of the node that one job of the partition gets, in bytes."""
    partition = look.partition(row)
    sizes = [row.memory]
    if partition.max_memory is not None:
        sizes.append(partition.max_memory)
    if partition.memory_per_cpu is not None:
        sizes.append(partition.memory_per_cpu * cpus_of(row, look))
    return min(sizes)


def gpus_of(rows: Iterable[NodeRow]) -> dict[str, int]:
    """The most GPUs of each type that one node has, shares of them under ``shard:`` and the type;
    the empty type is the most of all types together."""
    most: dict[str, int] = {}
    for row in rows:
        here = {**row.gpus, "": sum(row.gpus.values())}
        shares = shards_per_gpu(row)
        here |= {f"shard:{kind}": count for kind, count in shares.items()}
        here["shard:"] = max(shares.values(), default=0)
        for kind, count in here.items():
            most[kind] = max(count, most.get(kind, 0))
    return most


def shards_per_gpu(row: NodeRow) -> dict[str, int]:
    """Shares of one GPU by type: all shares of a job are of the same GPU."""
    return {
        kind: count // max(1, row.gpus.get(kind, 0) if kind else sum(row.gpus.values()))
        for kind, count in row.shards.items()
    }


def _holds_least(profile: Profile, row: NodeRow, look: Look) -> bool:
    """Whether one node has the least of everything that the profile asks for."""
    return (
        _has_gpus(profile, row)
        and cpus_of(row, look) >= profile.cpus.min
        and memory_of(row, look) >= profile.memory.min
    )


def _has_gpus(profile: Profile, row: NodeRow) -> bool:
    gpus = profile.gpus
    if gpus is None or not gpus.count.min:
        return True
    return any(count_of(row, kind, gpus.kind) >= gpus.count.min for kind in gpus.types)


def count_of(row: NodeRow, kind: str, what: str = "gpu") -> int:
    """GPUs of the type on the node (any type for ""), or shares of one of them."""
    counts: Mapping[str, int] = shards_per_gpu(row) if what == "shard" else row.gpus
    if kind:
        return counts.get(kind, 0)
    return max(counts.values(), default=0) if what == "shard" else sum(counts.values())


def _no_gpus(profile: Profile) -> str:
    assert profile.gpus is not None  # only these are ever missing
    named = " or ".join(filter(None, profile.gpus.types))
    what = "GPU" if profile.gpus.kind == "gpu" else "GPU shards"
    of_type = f" of type {named}" if named else ""
    return f"no node that is up has {profile.gpus.count.min} {what}{of_type}"
