"""Limits and free room from one look: what is said to be there is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from panosc_hub.backends.base import Availability
from panosc_hub.backends.slurm.fit import fit
from panosc_hub.backends.slurm.limits import offer
from panosc_hub.backends.slurm.look import Look, has_features
from panosc_hub.backends.slurm.options import validate_options
from panosc_hub.backends.slurm.parse_nodes import (
    NodeRow,
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from panosc_hub.core.profiles import Profile
from tests.slurm_answers import NODES, PARTITIONS, RESERVATIONS

NOW = datetime(2026, 11, 21, 9, 10).timestamp()
REAL = Look(parse_nodes(NODES), parse_partitions(PARTITIONS), {})


def profile(**fields: Any) -> Profile:
    return Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", **fields}
    )


def offered(look: Look = REAL, **fields: Any) -> Profile | str:
    made = profile(**fields)
    return offer(made, validate_options(made.options), look)


def look_at(look: Look = REAL, **fields: Any) -> Availability:
    made = profile(**fields)
    return fit(made, validate_options(made.options), look, NOW)


def changed(look: Look, name: str, **fields: Any) -> Look:
    rows = tuple(replace(r, **fields) if r.name == name else r for r in look.rows)
    return Look(rows, look.partitions, look.reservations)


def top(found: Profile | str) -> tuple[int, int]:
    assert isinstance(found, Profile), found
    return found.cpus.max, found.memory.max // 2**20


OPEN = {"cpus": {"min": 1}, "memory": {"min": "1G"}}


def test_limits_are_those_of_the_largest_node_that_is_up() -> None:
    mixed = {"options": {"partition": "mixed"}}
    assert top(offered(**OPEN, **mixed)) == (32, 128000)
    down = changed(REAL, "mix1", up=False)
    assert top(offered(down, **OPEN, **mixed)) == (16, 64000)
    none = changed(changed(down, "gpu1", up=False), "mix2", up=False)
    assert offered(none, **OPEN, **mixed) == "all its nodes are down or drained"


@pytest.mark.parametrize("flag", ["held", "reserved", "planned"])
def test_a_reserved_node_still_counts_for_limits(flag: str) -> None:
    held = changed(REAL, "mix1", **{flag: True})
    assert top(offered(held, **OPEN, options={"partition": "mixed"})) == (32, 128000)


@pytest.mark.parametrize(
    ("gpus", "most", "count"),
    [
        ({"type": "a100", "count": {"min": 1}}, (32, 128000), 4),
        ({"type": "1g.10gb", "count": {"min": 1}}, (32, 128000), 4),
        ({"type": "t4", "count": {"min": 1}}, (4, 8000), 1),
        ({"type": "a100", "count": 3}, (16, 64000), 3),
        ({"count": {"min": 1}}, (32, 128000), 6),
        ({"type": "t4", "kind": "shard", "count": {"min": 1}}, (4, 8000), 8),
        ({"kind": "shard", "count": {"min": 1}}, (4, 8000), 8),
    ],
)
def test_a_mixed_partition_is_told_by_type_of_gpu(
    gpus: dict[str, Any], most: tuple[int, int], count: int
) -> None:
    found = offered(**OPEN, gpus=gpus, options={"partition": "mixed"})
    assert top(found) == most
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.count.max == count


def test_untyped_gpus_are_gpus() -> None:
    found = offered(gpus={"count": {"min": 1}}, options={"partition": "gpu"})
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.count.max == 4
    only = changed(REAL, "gpu1", up=False)
    found = offered(only, gpus={"count": {"min": 1}}, options={"partition": "gpu"})
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.count.max == 2


def test_several_types_are_cut_one_by_one() -> None:
    gpus = {"type": ["a100", "t4", "h100"], "count": {"min": 1}}
    found = offered(gpus=gpus, options={"partition": "mixed"})
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.types == ("a100", "t4")
    assert (found.gpus.largest("a100"), found.gpus.largest("t4")) == (4, 1)


def test_the_shares_of_one_gpu_are_the_limit_of_a_session() -> None:
    look = changed(REAL, "mix2", gpus={"t4": 2})
    found = offered(
        look,
        gpus={"type": "t4", "kind": "shard", "count": {"min": 1}},
        options={"partition": "mixed"},
    )
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.count.max == 4


def test_wall_time_is_the_partitions() -> None:
    def time(partition: str, **walltime: Any) -> int:
        found = offered(walltime=walltime, options={"partition": partition})
        assert isinstance(found, Profile), found
        assert found.walltime is not None
        return found.walltime.max

    assert time("cpu", min="1m", max="99h", default="1m") == 8 * 3600
    assert time("small", min="1m", default="1m") == 600
    assert time("small,cpu", min="1m", default="1m") == 8 * 3600
    # No limit of Slurm's: the site's own holds, and an open range ends at its default.
    assert time("over", min="1m", max="99h", default="1m") == 99 * 3600
    assert time("over", min="1m", default="2h") == 2 * 3600
    assert offered(walltime={"min": "1h", "max": "4h"}, options={"partition": "small"}) == (
        "1 h asked for, 10 min possible now"
    )


def test_limits_of_a_partition_narrow_those_of_its_nodes() -> None:
    assert top(offered(**OPEN, options={"partition": "over"})) == (4, 4000)


def test_without_the_partitions_the_nodes_still_tell() -> None:
    look = Look(REAL.rows)
    assert top(offered(look, **OPEN, options={"partition": "over"})) == (8, 16000)
    found = offered(look, walltime={"min": "1m", "default": "2h"})
    assert isinstance(found, Profile)
    assert found.walltime is not None
    assert found.walltime.max == 7200


def test_why_nothing_of_a_profile_can_be_had() -> None:
    assert offered(options={"partition": "gone"}) == "SLURM has no partition gone"
    assert offered(options={"partition": ["gone", "lost"]}) == "SLURM has no partition gone, lost"
    assert isinstance(offered(options={"partition": ["gone", "cpu"]}), Profile)
    assert offered(options={"partition": "excl"}) == "partition excl takes no jobs at the moment"
    assert offered(gpus={"type": "h100"}, options={"partition": "gpu"}) == (
        "no node that is up has 1 GPU of type h100"
    )
    assert offered(cpus=64) == "64 CPUs asked for, 8 CPUs possible now"
    assert offered(options={"constraint": "ib&nvlink"}) == (
        "no node that is up has the features ib&nvlink"
    )
    assert offered(options={"reservation": "r"}) == "SLURM has no reservation r at the moment"


def test_one_node_must_have_it_all() -> None:
    # cpu1: many CPUs; cpu2: much memory.
    look = changed(changed(REAL, "cpu1", cpus=64), "cpu2", memory=2**40)
    assert offered(look, cpus=32, memory="500G") == (
        "no node that is up has 32 CPUs and 500 GB memory together"
    )
    # A choice of less is left, so it is offered, and nothing is claimed of its default.
    found = look_at(
        look,
        cpus={"min": 1, "max": 64, "default": 32},
        memory={"min": "1G", "max": "600G", "default": "500G"},
    )
    assert (found.usable, found.free) == (True, 0)
    assert "choose less" in found.words


@pytest.mark.parametrize(
    ("constraint", "features", "answer"),
    [
        ("", "", True),
        ("a", "a b", True),
        ("a&b", "a b", True),
        ("a&c", "a b", False),
        ("a|c", "a b", True),
        ("c|d", "a b", False),
        ("a&b|c", "a b", None),
        ("[a*2&b*1]", "a b", None),
        ("!c", "a b", None),
        ("(a&b)", "a b", None),
    ],
)
def test_simple_constraints_are_understood_and_others_are_not_guessed(
    constraint: str, features: str, answer: bool | None
) -> None:
    assert has_features(constraint, frozenset(features.split())) is answer


def test_constraints_narrow_limits_and_free_room() -> None:
    assert top(offered(**OPEN, options={"partition": "mixed", "constraint": "avx2"})) == (4, 8000)
    assert look_at(options={"constraint": "avx2&ib"}).free == 8  # cpu1 alone
    assert look_at(options={"constraint": "!ib"}).free is None
    assert look_at(options={"constraint": "!ib"}).usable


def test_free_slots_are_counted_node_by_node() -> None:
    assert look_at(cpus=4).free == 3  # cpu1: two; cpu2: four of eight are idle
    assert look_at(cpus=5).free == 1
    assert look_at(cpus=1, memory="15G").free == 2
    assert look_at(cpus=8, memory="1G", options={"partition": "small"}).free == 0
    found = look_at(cpus=4)
    assert (found.words, found.idle) == ("starts now", {"cpus": 12})


def test_gpus_in_use_are_not_free() -> None:
    found = look_at(gpus={"type": "a100"}, options={"partition": "gpu"})
    assert (found.free, found.idle["gpu:a100"], found.idle["gpu"]) == (3, 3, 2)
    assert look_at(gpus={"type": "a100", "count": 2}, options={"partition": "gpu"}).free == 1
    # mix1 is planned for another job.
    assert look_at(gpus={"type": "1g.10gb"}, options={"partition": "mixed"}).free == 0


def test_shares_and_their_gpu_are_not_free_twice() -> None:
    mixed = {"options": {"partition": "mixed"}}
    # Of the t4, some shares are in use: Slurm 22.05 tells that, but not how many.
    assert look_at(gpus={"type": "t4"}, **mixed).free is None
    assert look_at(gpus={"type": "t4", "kind": "shard", "count": 2}, **mixed).free is None
    idle = changed(REAL, "mix2", shards_used={}, cpus_idle=4)
    assert look_at(idle, gpus={"type": "t4", "kind": "shard", "count": 2}, **mixed).free == 4
    assert look_at(idle, gpus={"type": "t4"}, **mixed).free == 1
    taken = changed(REAL, "mix2", shards_used={}, gpus_used={"t4": 1})
    assert look_at(taken, gpus={"type": "t4", "kind": "shard"}, **mixed).free == 0


def test_an_exclusive_session_needs_an_empty_node() -> None:
    assert look_at(options={"exclusive": True}).free == 1  # cpu1; cpu2 is half used
    opened = Look(tuple(replace(r, opened=True) for r in REAL.rows), REAL.partitions, {})
    assert look_at(opened, options={"partition": "excl"}).free == 1  # by the partition's rule
    both = changed(REAL, "cpu1", cpus_idle=7)
    assert look_at(both, options={"exclusive": True}).free == 0
    # It may be the user's own jobs that are there.
    assert look_at(both, cpus=1, options={"exclusive": "user"}).free is None


def test_shared_cpus_are_counted_where_that_is_certain() -> None:
    # FORCE:4, at most 4 CPUs of the node: an idle node takes four such sessions.
    empty = changed(REAL, "cpu2", cpus_idle=8, memory_idle=16000 * 2**20)
    assert look_at(empty, cpus=4, options={"partition": "over"}).free == 4
    found = look_at(cpus=4, options={"partition": "over"})
    assert (found.free, found.words) == (None, "")
    full = changed(REAL, "cpu2", memory_idle=0)
    assert look_at(full, cpus=4, options={"partition": "over"}).free == 0


def test_sessions_of_several_nodes() -> None:
    assert look_at(cpus=4, options={"nodes": 2}).free == 1
    assert look_at(cpus=8, options={"nodes": 2}).free == 0


def reserved(*names: str, **fields: Any) -> Look:
    found = parse_reservations(RESERVATIONS)
    kept = {n: replace(found[n], **fields) for n in names}
    return Look(REAL.rows, REAL.partitions, kept)


def test_nodes_of_a_reservation_are_free_for_it_alone() -> None:
    # "notroot" has all of cpu2, which three jobs share.
    look = reserved("notroot")
    assert look_at(look, cpus=4).free == 2  # cpu1
    assert look_at(look, cpus=4, options={"reservation": "notroot"}).free == 1  # cpu2
    held = changed(look, "cpu2", reserved=True)
    assert look_at(held, cpus=4, options={"reservation": "notroot"}).free == 1
    assert look_at(held, cpus=4).free == 2
    # Reserved, but nobody knows for whom: nothing is claimed of cpu2.
    unknown = changed(Look(REAL.rows, REAL.partitions), "cpu2", reserved=True)
    assert look_at(unknown, cpus=4).free == 2
    assert look_at(changed(unknown, "cpu1", reserved=True), cpus=4).free is None
    assert top(offered(look, **OPEN, options={"partition": "cpu", "reservation": "notroot"})) == (
        8,
        16000,
    )


def test_a_reservation_that_begins_during_the_session_takes_its_nodes() -> None:
    later = reserved("notroot", active=False, start=NOW + 3600, end=NOW + 7200)
    assert look_at(later, cpus=4, walltime="30m").free == 3
    assert look_at(later, cpus=4, walltime="2h").free == 2
    assert look_at(later, cpus=4).free == 2  # at most 8 h, by the partition
    waits = look_at(later, cpus=4, options={"reservation": "notroot"})
    assert (waits.free, waits.words) == (0, "its reservation has not begun yet")


def test_a_reservation_of_some_cpus_leaves_the_others() -> None:
    look = changed(reserved("tr"), "gpu1", reserved=True)  # one core of it
    found = look_at(look, gpus={"type": "a100"}, cpus=15, options={"partition": "gpu"})
    assert found.free is None  # 14 or 15 of its CPUs are free
    assert look_at(look, cpus=7, gpus={"type": "a100"}, options={"partition": "gpu"}).free == 2
    own = look_at(look, options={"partition": "gpu", "reservation": "tr"})
    assert (own.usable, own.free) == (True, None)


def test_what_is_called_free_never_exceeds_what_there_is() -> None:
    row: NodeRow = REAL.rows[0]
    for idle in range(9):
        look = Look((replace(row, cpus_idle=idle),), REAL.partitions, {})
        for cpus in (1, 2, 3, 8):
            assert look_at(look, cpus=cpus).free == idle // cpus
