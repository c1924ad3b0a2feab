"""Whole queue or chosen jobs: the cheaper way by measured time, and how seldom that is checked."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from panosc_hub.backends.slurm.cost import AT_LATEST, SHARE, Costs, Way

Slurm = Callable[[Way, int], float]


def slurm(base: float, each: float, whole: float) -> Slurm:
    """Seconds of a look: a part that is the same, one for each id, one for the whole queue."""
    return lambda way, jobs: base + (each * jobs if way is Way.IDS else whole)


def run(costs: Costs, cluster: Slurm, jobs: int, looks: int) -> Counter[Way]:
    """How often each way was taken."""
    taken: Counter[Way] = Counter()
    for _ in range(looks):
        way = costs.choose(jobs)
        taken[way] += 1
        costs.took(way, jobs, cluster(way, jobs))
    return taken


@pytest.mark.parametrize(
    ("jobs", "in_queue", "cheaper"),
    [
        (1, 10_000, Way.IDS),
        (10, 10_000, Way.IDS),
        (25, 10_000, Way.IDS),
        (60, 10_000, Way.WHOLE),
        (500, 10_000, Way.WHOLE),
        (1, 1_000, Way.IDS),
        (10, 1_000, Way.WHOLE),
        (500, 1_000, Way.WHOLE),
        (200, 100_000, Way.IDS),
        (5, 20, Way.WHOLE),
    ],
)
def test_the_cheaper_way_is_taken(jobs: int, in_queue: int, cheaper: Way) -> None:
    """In a cluster where one id costs as much as some 300 jobs of the whole queue."""
    cluster = slurm(0.008, 0.0023, 7.5e-6 * in_queue)
    taken = run(Costs(1000), cluster, jobs, 1000)
    assert taken[cheaper] >= 900
    assert taken[cheaper.other] >= 1, "the other way is never checked again"


def test_checking_the_dearer_way_costs_a_twentieth_of_the_time() -> None:
    cluster = slurm(0.01, 0.001, 0.09)
    taken = run(Costs(1000), cluster, 10, 1000)
    time = {way: count * cluster(way, 10) for way, count in taken.items()}
    assert time[Way.WHOLE] <= time[Way.IDS] / (SHARE - 2)


def test_a_very_dear_way_is_checked_at_latest_after_two_hundred_looks() -> None:
    taken = run(Costs(1000), slurm(0.01, 0.001, 30), 1, 10 * AT_LATEST)
    assert 8 <= taken[Way.WHOLE] <= 12


@pytest.mark.parametrize("before", [Way.IDS, Way.WHOLE])
def test_the_choice_follows_the_cluster(before: Way) -> None:
    cheap = {Way.IDS: slurm(0.01, 0.001, 2), Way.WHOLE: slurm(0.01, 0.1, 0.001)}
    costs = Costs(1000)
    run(costs, cheap[before], 10, 100)
    assert costs.choose(10) is before
    run(costs, cheap[before.other], 10, 2 * AT_LATEST)
    assert run(costs, cheap[before.other], 10, 100)[before.other] >= 90


def test_the_choice_follows_the_number_of_our_sessions() -> None:
    costs, cluster = Costs(1000), slurm(0.01, 0.002, 0.1)
    assert run(costs, cluster, 5, 100)[Way.IDS] > 90
    assert run(costs, cluster, 500, 100)[Way.WHOLE] > 90
    assert run(costs, cluster, 5, 3 * AT_LATEST)[Way.IDS] > 2 * AT_LATEST


def test_two_ways_that_cost_the_same_do_not_alternate() -> None:
    costs = Costs(1000)
    run(costs, slurm(0.01, 0, 0), 3, 10)
    ways = []
    for number in range(100):
        ways.append(costs.choose(3))
        costs.took(ways[-1], 3, 0.01 + (number % 3) * 0.0005)
    changes = sum(one is not other for one, other in itertools.pairwise(ways))
    assert changes <= 12  # only to measure the other one


def test_one_slow_look_does_not_turn_the_choice() -> None:
    costs, cluster = Costs(1000), slurm(0.01, 0.001, 0.05)
    run(costs, cluster, 5, 50)
    usual = costs.choose(5)
    costs.took(usual, 5, 0.05)
    assert run(costs, cluster, 5, 20)[usual] >= 18


def test_after_a_failure_the_other_way_is_tried() -> None:
    """A queue that takes longer than the time limit still answers for a few jobs."""
    costs = Costs(50)
    run(costs, slurm(0.01, 0.1, 0.01), 10, 10)
    assert costs.choose(10) is Way.WHOLE
    costs.failed(Way.WHOLE)
    assert costs.choose(10) is Way.IDS
    costs.failed(Way.IDS)
    assert costs.choose(10) is Way.WHOLE


def test_a_list_of_ids_is_never_longer_than_its_limit() -> None:
    costs = Costs(50)
    run(costs, slurm(0.01, 0.00001, 5), 50, 20)
    assert costs.choose(50) is Way.IDS
    assert costs.choose(51) is Way.WHOLE
    costs.failed(Way.WHOLE)
    assert costs.choose(51) is Way.WHOLE
