"""How many sessions fit now: what is said to be free is free for certain. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...core.profiles import Profile, Resources, Wish, resolve
from ..base import Availability
from .limits import cpus_of, memory_of, offer, shards_per_gpu
from .look import Look, has_features, nodes_of, partitions_of
from .options import SlurmOptions
from .parse_nodes import NodeRow, Reservation


@dataclass(frozen=True, slots=True)
class _Room:
    """What fits on one node: at least ``least`` sessions; ``exact``: and no more."""

    least: int
    exact: bool = True


def fit(profile: Profile, options: SlurmOptions, look: Look, now: float) -> Availability:
    """How many sessions with the profile's defaults would start at ``now``.

    Counted node by node. Nodes that are down, drained, in maintenance, in a reservation of
    others during the session, or planned for a waiting job are not free. Where Slurm does not
    say enough to count (a constraint of the less simple kind, shared CPUs), ``free`` is None.
    """
    offered = offer(profile, options, look)
    if isinstance(offered, str):
        there = any(look.by_partition.get(name) for name in partitions_of(options))
        return Availability(False, 0 if there else None, offered)
    rows = nodes_of(options, look)
    assert not isinstance(rows, str)  # or there were no offer
    resources, _ = resolve(offered, Wish())
    constraint = options.fixed("constraint")
    rows = tuple(r for r in rows if has_features(constraint, r.features) is not False)
    if not any(_could_hold(row, resources, offered, look) for row in rows):
        return Availability(True, 0, "no node that is up has all of it together: choose less")
    if constraint and any(has_features(constraint, row.features) is None for row in rows):
        return Availability(True, None)  # which nodes that leaves is Slurm's to say
    own = [
        r
        for name in options.fixed("reservation").split(",")
        if (r := (look.reservations or {}).get(name))
    ]
    if own and not any(r.active for r in own):
        return Availability(True, 0, "its reservation has not begun yet")
    if any(look.holds_part(r) for r in own) or (options.fixed("reservation") and not own):
        return Availability(True, None)
    blocked, lent = _reserved(look, own, now, resources.walltime or _usual_time(rows, look))
    rooms: dict[str, _Room] = {}
    for row in rows:
        if row.planned or (row.held and not own) or row.name in blocked:
            rooms.setdefault(row.name, _Room(0))
            continue
        if row.reserved and look.reservations is None:
            rooms.setdefault(row.name, _Room(0, exact=False))  # for whom, and how much of it?
            continue
        room = _room(row, resources, offered, options, look, lent.get(row.name, 0))
        best = rooms.get(row.name, _Room(0))
        rooms[row.name] = max(best, room, key=lambda r: (r.least, not r.exact))
    idle = _idle(rows, {name for name in rooms if name not in blocked}, bool(own), lent)
    return _told(list(rooms.values()), options.nodes, idle)


def _told(rooms: list[_Room], nodes: int, idle: Mapping[str, int]) -> Availability:
    if nodes > 1:
        free = sum(1 for room in rooms if room.least) // nodes
    else:
        free = sum(room.least for room in rooms)
    if free:
        return Availability(True, free, "starts now", idle=idle)
    if not all(room.exact for room in rooms):
        return Availability(True, None, idle=idle)
    return Availability(True, 0, "none free now: it will queue", idle=idle)


def _could_hold(row: NodeRow, resources: Resources, profile: Profile, look: Look) -> bool:
    counts = _gpu_counts(row, profile)
    wanted = resources.gpus
    there = counts.get(wanted.type, 0) if wanted.type else sum(counts.values())
    return (
        cpus_of(row, look) >= resources.cpus
        and memory_of(row, look) >= resources.memory
        and there >= wanted.count
    )


def _gpu_counts(row: NodeRow, profile: Profile) -> Mapping[str, int]:
    return shards_per_gpu(row) if profile.gpus and profile.gpus.kind == "shard" else row.gpus


def _usual_time(rows: Iterable[NodeRow], look: Look) -> int | None:
    """How long a job may run that says nothing; None where that has no end."""
    times = [(p := look.partition(row)).default_time or p.max_time for row in rows]
    return None if None in times else max(time for time in times if time is not None)


def _reserved(
    look: Look, own: list[Reservation], now: float, walltime: int | None
) -> tuple[set[str], dict[str, int]]:
    """Nodes that others' reservations hold during the session, and CPUs that they hold of nodes
    which they do not hold as a whole (all of them on each: where they are is not told)."""
    blocked: set[str] = set()
    lent: dict[str, int] = {}
    until = now + walltime if walltime else float("inf")
    for other in (look.reservations or {}).values():
        if other in own or other.start >= until or other.end <= now:
            continue
        if look.holds_part(other):
            for name in other.nodes:
                lent[name] = lent.get(name, 0) + other.cpus
        else:
            blocked |= other.nodes
    return blocked, lent


def _room(
    row: NodeRow,
    resources: Resources,
    profile: Profile,
    options: SlurmOptions,
    look: Look,
    lent: int,
) -> _Room:
    partition = look.partition(row)
    empty = row.cpus_idle == row.cpus
    if options.exclusive is True or partition.whole:
        held = _could_hold(row, resources, profile, look)
        return _Room(int(held and empty and not lent))
    idle = max(0, row.cpus_idle - lent)
    exact = not lent
    if partition.max_cpus is not None:
        # How many of the CPUs in use are this partition's is not told.
        exact = exact and (empty or row.cpus <= partition.max_cpus)
        idle = min(idle, max(0, partition.max_cpus - (row.cpus - row.cpus_idle)))
    if options.exclusive and not empty:
        return _Room(0, exact=False)  # it may be the user's own jobs that are there
    fits = [idle // resources.cpus, row.memory_idle // resources.memory]
    if partition.sharing > 1 and (partition.forced or options.oversubscribe):
        fits[0] *= partition.sharing
        exact = exact and (empty or not fits[1])  # CPUs in use may take more jobs
    if resources.gpus.count:
        gpus = _gpu_room(row, resources, profile)
        fits.append(gpus.least)
        exact = exact and gpus.exact
    return _Room(min(fits), exact or (fits[1] == 0))


def _gpu_room(row: NodeRow, resources: Resources, profile: Profile) -> _Room:
    wanted, shared = resources.gpus, bool(profile.gpus and profile.gpus.kind == "shard")
    kinds = [wanted.type] if wanted.type else list(row.shards if shared else row.gpus)
    if not shared:
        # A GPU of which shares are in use is not free as a whole; how many these are is not told.
        torn = any(row.shards_used.get(kind, 0) for kind in kinds)
        free = sum(
            max(0, row.gpus.get(k, 0) - row.gpus_used.get(k, 0) - row.shards_used.get(k, 0))
            for k in kinds
        )
        return _Room(free // wanted.count, exact=not torn)
    per = shards_per_gpu(row)
    least, exact = 0, True
    for kind in kinds:
        used = row.shards_used.get(kind, 0)
        whole = row.gpus.get(kind, 0) if kind else sum(row.gpus.values())
        gone = row.gpus_used.get(kind, 0) if kind else sum(row.gpus_used.values())
        untouched = max(0, whole - gone - used)
        least += untouched * (per.get(kind, 0) // wanted.count)
        exact = exact and not used  # the rest of a GPU in use may do
    return _Room(least, exact)


def _idle(
    rows: Iterable[NodeRow], names: set[str], own: bool, lent: Mapping[str, int]
) -> dict[str, int]:
    """Idle CPUs and GPUs by type on the nodes that take such a session now."""
    idle: dict[str, int] = {"cpus": 0}
    for row in {r.name: r for r in rows if r.name in names}.values():
        if row.planned or (row.held and not own):
            continue
        if row.reserved and not lent.get(row.name) and not own:
            continue
        idle["cpus"] += max(0, row.cpus_idle - lent.get(row.name, 0))
        for kind, count in row.gpus.items():
            used = row.gpus_used.get(kind, 0) + row.shards_used.get(kind, 0)
            name = f"gpu:{kind}" if kind else "gpu"
            idle[name] = idle.get(name, 0) + max(0, count - used)
    return idle
