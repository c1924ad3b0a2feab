"""The arithmetic of the benchmarks: medians, ratios, targets, exit status. Nothing is timed."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.__main__ import measure
from bench.report import write_json
from bench.rows import (
    KEYS,
    Benchmark,
    LeftOut,
    PeerMissing,
    Row,
    Target,
    exit_status,
    import_peer,
    in_turns,
    rounded,
)

THIRD = Target.parse("<= 0.333")
MOST = Target.parse(">= 0.9")


@pytest.mark.parametrize(
    ("text", "ratio", "held"),
    [
        ("<= 0.333", 0.333, True),
        ("<= 0.333", 0.334, False),
        (">= 0.9", 0.9, True),
        (">= 0.9", 0.899, False),
        (">= 0.9", 1.2, True),
        ("<= 0", 0.0, True),
        ("<= 0", 0.05, False),
    ],
)
def test_the_target_includes_its_limit(text: str, ratio: float, held: bool) -> None:
    assert Target.parse(text).held(ratio) is held


@pytest.mark.parametrize("text", ["", "0.9", "< 0.9", ">=0.9", "<= x", "<= -1", "<= 1.", "== 0"])
def test_an_odd_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no target"):
        Target.parse(text)


def test_what_was_not_measured_is_not_held() -> None:
    assert not THIRD.held(None)
    assert not MOST.held(None)


def test_the_ratio_is_that_of_the_medians_so_one_slow_round_changes_nothing() -> None:
    row = Row("x", "ms", THIRD, ours=(1.0, 2.0, 900.0), peer=(8.0, 8.0, 8.0))
    assert row.ratio == 0.25
    assert row.held
    assert row.spread == (0.125, 112.5)


def test_a_peer_of_zero_has_no_ratio_and_holds_nothing() -> None:
    row = Row("x", "", Target.parse("<= 0"), ours=(0.0,), peer=(0.0,))
    assert row.ratio is None
    assert not row.held


def test_a_row_in_json_has_exactly_the_seven_keys(tmp_path: Path) -> None:
    rows = [
        Row("page", "ms", THIRD, ours=(1.23456,), peer=(10.0,)),
        Row("page", "ms", THIRD, problem="no peer"),
    ]
    write_json(tmp_path / "results.json", rows)
    measured, missing = json.loads((tmp_path / "results.json").read_text())
    assert tuple(measured) == tuple(missing) == KEYS
    assert measured == {
        "name": "page",
        "ours": 1.235,
        "peer": 10.0,
        "unit": "ms",
        "ratio": 0.1235,
        "target": "<= 0.333",
        "held": True,
    }
    assert missing["name"] == "page (not measured: no peer)"
    assert missing["ours"] is missing["peer"] is missing["ratio"] is None
    assert missing["held"] is False
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_held_is_told_of_the_ratio_before_it_is_rounded() -> None:
    row = Row("x", "ms", THIRD, ours=(0.33304,), peer=(1.0,))
    assert row.to_dict()["ratio"] == 0.333
    assert row.to_dict()["held"] is False


def test_rows_that_were_not_asked_for_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, [GOOD, SLOW, GONE])
    again = Row("slow", "ms", THIRD, ours=(1.0,), peer=(10.0,))
    write_json(path, [again], kept={"gone"})
    saved = json.loads(path.read_text())
    assert [(row["name"], row["held"]) for row in saved] == [
        ("gone (not measured: no peer)", False),
        ("slow", True),
    ]


GOOD = Row("good", "ms", THIRD, ours=(1.0,), peer=(10.0,))
SLOW = Row("slow", "ms", THIRD, ours=(9.0,), peer=(10.0,))
GONE = Row("gone", "ms", THIRD, problem="no peer")


@pytest.mark.parametrize(
    ("rows", "status"),
    [([GOOD], 0), ([GOOD, SLOW], 3), ([GOOD, GONE], 1), ([SLOW, GONE], 1), ([], 1)],
)
def test_the_exit_status_tells_missed_targets_from_missing_numbers(
    rows: list[Row], status: int
) -> None:
    assert exit_status(rows) == status


async def test_rounds_are_taken_in_turns_and_the_first_is_not_counted() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[], Awaitable[float]]:
        async def measure() -> float:
            order.append(name)
            return float(order.count(name))

        return measure

    ours, peer = await in_turns(2, side("A"), side("B"))
    assert order == ["A", "B", "A", "B", "A", "B"]
    assert ours == peer == (2.0, 3.0)


def test_a_peer_that_is_not_installed_is_named() -> None:
    with pytest.raises(PeerMissing, match=r"no_such_peer.*extra 'bench'"):
        import_peer("no_such_peer")


def test_what_the_host_cannot_run_is_left_out_and_said_so() -> None:
    async def no_slurm(_: int) -> list[Row]:
        raise LeftOut("a real Slurm needs root")

    said = Console(file=io.StringIO(), width=200)
    benchmark = Benchmark("slurm", 1, (Row("a", "s", THIRD),), no_slurm)
    assert measure(benchmark, None, said) == []
    assert "Left out: slurm: a real Slurm needs root" in said.file.getvalue()


async def test_a_failed_benchmark_still_has_all_its_rows() -> None:
    async def run(rounds: int) -> list[Row]:
        return []

    plan = (Row("a", "ms", THIRD), Row("b", "1/s", MOST))
    rows = Benchmark("x", 5, plan, run).failed("no peer")
    assert [(r.name, r.unit, r.target, r.problem) for r in rows] == [
        ("a", "ms", THIRD, "no peer"),
        ("b", "1/s", MOST, "no peer"),
    ]


@pytest.mark.parametrize(("number", "shown"), [(0.0, 0.0), (1.23456, 1.235), (123456.0, 123500.0)])
def test_numbers_have_four_significant_digits(number: float, shown: float) -> None:
    assert rounded(number) == shown
