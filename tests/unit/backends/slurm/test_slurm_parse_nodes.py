"""Nodes, partitions and reservations as Slurm tells them; half an answer is no answer."""

from __future__ import annotations

from datetime import datetime

import pytest

from panosc_hub.backends.slurm.parse import Garbled
from panosc_hub.backends.slurm.parse_nodes import (
    expand_nodes,
    parse_gres,
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from tests.slurm_answers import NODES, PARTITIONS, RESERVATIONS

NODE_HEADER = NODES.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(null)", {}),
        ("gpu:0", {"": 0}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:4", {"a100": 4}),
        ("gpu:a100:2(IDX:0-1)", {"a100": 2}),
        ("gpu:modelA:6(S:0-1),gpu:1g.10gb:28(S:0-1)", {"modelA": 6, "1g.10gb": 28}),
        ("gpu:a100:1(IDX:0,2),gpu:v100:1(IDX:3)", {"a100": 1, "v100": 1}),
        ("nvme:2,gpu:h100:8,shard:64", {"h100": 8}),
    ],
)
def test_gpus_of_a_gres_cell(text: str, expected: dict[str, int]) -> None:
    assert parse_gres(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu:t4:1,shard:t4:8", {"t4": 8}),
        ("gpu:h100:8,shard:64", {"": 64}),
        ("gpu:t4:0(IDX:N/A),shard:t4:1(IDX:0)", {"t4": 1}),
        ("gpu:a100:4", {}),
    ],
)
def test_shards_of_a_gres_cell(text: str, expected: dict[str, int]) -> None:
    assert parse_gres(text, "shard") == expected


def node(state: str, partition: str = "cpu*", avail: str = "up") -> str:
    return f"{partition}|n1|{state}|1/7/0/8|16000|1024|gpu:2|gpu:1|10.0.0.1|{avail}|(null)|"


@pytest.mark.parametrize(
    ("state", "usable"),
    [
        ("idle", True),
        ("mixed", True),
        ("allocated", True),
        ("idle+cloud+powered_down", True),
        ("idle+planned", True),
        ("idle+drain", False),
        ("mixed+drain", False),
        ("down", False),
        ("down*", False),
        ("idle*", False),
        ("idle+not_responding", False),
        ("idle+maintenance", False),
        ("idle+reserved", False),
        ("idle+reboot_requested", False),
        ("unknown", False),
        ("something_new", False),
    ],
)
def test_nodes_that_take_jobs(state: str, usable: bool) -> None:
    (row,) = parse_nodes(f"{NODE_HEADER}\n{node(state)}\n")
    assert row.usable is usable
    assert (row.partition, row.default, row.memory_idle) == ("cpu", True, 14976 * 2**20)


@pytest.mark.parametrize(
    ("state", "held", "reserved"),
    [
        ("idle+maintenance", True, False),
        ("mixed+reserved", False, True),
        ("idle+reserved+planned", False, True),
    ],
)
def test_a_reserved_node_is_up_but_not_all_of_it_for_everybody(
    state: str, held: bool, reserved: bool
) -> None:
    (row,) = parse_nodes(f"{NODE_HEADER}\n{node(state)}\n")
    assert (row.up, row.held, row.reserved, row.usable) == (True, held, reserved, False)


def test_a_closed_partition_has_no_usable_node() -> None:
    (row,) = parse_nodes(f"{NODE_HEADER}\n{node('idle', avail='down')}\n")
    assert not row.usable


@pytest.mark.parametrize(
    "text", ["", NODE_HEADER, f"{NODE_HEADER}\ncpu|n1|idle|\n", f"{NODE_HEADER}\n{node('idle')}"]
)
def test_half_a_look_at_the_nodes_is_an_error(text: str) -> None:
    with pytest.raises(Garbled):
        parse_nodes(text)


def test_sizes_features_and_shards_of_real_nodes() -> None:
    rows = {row.name: row for row in parse_nodes(NODES) if row.partition == "mixed"}
    assert {n: (r.cpus, r.memory // 2**20) for n, r in rows.items()} == {
        "gpu1": (16, 64000),
        "mix1": (32, 128000),
        "mix2": (4, 8000),
    }
    assert rows["mix1"].gpus == {"a100": 2, "1g.10gb": 4}
    assert rows["mix1"].features == {"nvlink", "avx512"}
    assert (rows["mix2"].shards, rows["mix2"].shards_used) == ({"t4": 8}, {"t4": 1})
    assert rows["gpu1"].features == frozenset()


def test_limits_of_real_partitions() -> None:
    found = parse_partitions(PARTITIONS)
    assert list(found) == ["cpu", "gpu", "small", "mixed", "over", "excl"]
    assert (found["cpu"].default, found["cpu"].max_time) == (True, 8 * 3600)
    assert found["small"].max_time == 600
    mixed = found["mixed"]
    assert (mixed.max_time, mixed.default_time) == (2 * 86400, 3600)
    assert (mixed.accounts, mixed.qos) == ({"beam", "staff"}, {"normal", "express"})
    over = found["over"]
    assert (over.max_time, over.max_cpus, over.memory_per_cpu) == (None, 4, 1000 * 2**20)
    assert (over.sharing, over.forced, over.whole) == (4, True, False)
    assert (found["excl"].whole, found["excl"].state) == (True, "DRAIN")


def test_partitions_let_in_by_account_and_qos_whatever_the_letters() -> None:
    found = parse_partitions(PARTITIONS)
    mixed = found["mixed"]
    assert [mixed.takes_account(a) for a in ("beam", "BEAM", "hg123", "")] == [
        True,
        True,
        False,
        True,
    ]
    assert [mixed.takes_qos(q) for q in ("express", "long", "")] == [True, False, True]
    denying = parse_partitions("PartitionName=x AllowQos=ALL DenyAccounts=guest DenyQos=long\n")[
        "x"
    ]
    assert [denying.takes_account(a) for a in ("guest", "beam")] == [False, True]
    assert [denying.takes_qos(q) for q in ("long", "normal")] == [False, True]


def test_real_reservations() -> None:
    found = parse_reservations(RESERVATIONS)
    assert list(found) == ["b2", "maint", "notroot", "tr"]
    later = found["b2"]
    assert (later.active, later.nodes, later.users) == (False, {"mix2"}, {"root"})
    assert later.end - later.start == 7200
    assert later.start == datetime(2026, 11, 21, 11, 6, 40).timestamp()
    assert found["maint"].nodes == {"cpu1", "cpu2", "gpu1", "gpu2", "mix1", "mix2"}
    assert "MAINT" in found["maint"].flags
    assert (found["notroot"].users, found["notroot"].partition) == ({"-root"}, "over")
    assert (found["tr"].active, found["tr"].cpus, found["tr"].accounts) == (True, 1, set())


def test_a_comment_changes_no_field_of_a_reservation() -> None:
    line = next(line for line in RESERVATIONS.splitlines() if "=b2 " in line)
    found = parse_reservations(f"{line} Comment=all Users=eve Accounts=x State=ACTIVE\n")["b2"]
    assert (found.users, found.accounts, found.active) == ({"root"}, set(), False)


def test_no_reservation_is_an_answer_and_half_of_one_is_not() -> None:
    assert parse_reservations("No reservations in the system\n") == {}
    for text in ("", "scontrol: error\n", RESERVATIONS.rstrip("\n"), "ReservationName=x\n"):
        with pytest.raises(Garbled):
            parse_reservations(text)
    for text in ("", PARTITIONS.rstrip("\n"), "PartitionName=x MaxTime=soon\n"):
        with pytest.raises(Garbled):
            parse_partitions(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(null)", []),
        ("cpu1", ["cpu1"]),
        ("cpu[1-2],gpu1", ["cpu1", "cpu2", "gpu1"]),
        ("n[08-10,20]-ib", ["n08-ib", "n09-ib", "n10-ib", "n20-ib"]),
        ("r[1-2]n[0-1]", ["r1n0", "r1n1", "r2n0", "r2n1"]),
    ],
)
def test_lists_of_nodes(text: str, expected: list[str]) -> None:
    assert expand_nodes(text) == expected


@pytest.mark.parametrize("text", ["n[1-999999999]", "n[a-b]", "n[1"])
def test_odd_lists_of_nodes_are_an_error(text: str) -> None:
    with pytest.raises(Garbled):
        expand_nodes(text)
