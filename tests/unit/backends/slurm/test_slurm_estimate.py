"""Estimates before a start: shared, limited, and never more certain than Slurm is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import pytest
from traitlets.config import Config

from panosc_hub.backends.slurm.client import Answer, SlurmClient
from panosc_hub.backends.slurm.estimate import StartEstimator, read_test
from panosc_hub.errors import BackendUnavailable

NOW = datetime(2026, 11, 21, 13, 55).timestamp()
STARTS = "sbatch: Job 42 to start at {} using 4 processors on nodes cpu1 in partition cpu\n"


@pytest.mark.parametrize(
    ("status", "err", "usable", "words"),
    [
        (0, STARTS.format("2026-11-21T13:55:00"), True, "starts now"),
        (0, STARTS.format("2026-11-21T13:54:58"), True, "starts now"),
        (0, STARTS.format("2026-11-21T14:20:00"), True, "starts about 14:20 (in 25 min)"),
        (
            0,
            "sbatch: warning: odd\n" + STARTS.format("2026-11-22T09:00:00"),
            True,
            "starts about Sun 22 Nov, 09:00 (in 19 h)",
        ),
        (
            1,
            "allocation failure: Requested node configuration is not available\n",
            False,
            "Slurm would refuse this: Requested node configuration is not available.",
        ),
        (
            1,
            "sbatch: error: Batch job submission failed: Invalid account or account/partition "
            "combination specified\n",
            False,
            "Slurm would refuse this: Invalid account or account/partition combination specified.",
        ),
    ],
)
def test_slurms_words_become_ours(status: int, err: str, usable: bool, words: str) -> None:
    found = read_test(Answer(status, "", err), NOW)
    assert found is not None
    assert (found.usable, found.words) == (usable, words)


@pytest.mark.parametrize(
    ("status", "err"),
    [
        (0, ""),
        (0, STARTS.format("Unknown")),
        (1, "allocation failure: Unable to contact slurm controller (connect failure)\n"),
        (1, "allocation failure: Zero Bytes were transmitted or received\n"),
    ],
)
def test_no_answer_is_no_estimate(status: int, err: str) -> None:
    assert read_test(Answer(status, "", err), NOW) is None


class Asked(SlurmClient):
    """Counts the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []
        self.fails = False

    async def try_out(self, options: Sequence[str], username: str) -> Answer:
        self.asked.append((username, *options))
        await asyncio.sleep(0.01)
        if self.fails:
            raise BackendUnavailable("SLURM does not answer.")
        return Answer(0, "", STARTS.format("2020-01-01T00:00:00"))


def make(**settings: float) -> tuple[StartEstimator, Asked]:
    client = Asked()
    return StartEstimator(client, config=Config({"StartEstimator": settings})), client


async def test_many_who_ask_the_same_are_one_question() -> None:
    starts, client = make()
    found = await asyncio.gather(*(starts.estimate(["--mem=1M"], "", f"p{i}") for i in range(50)))
    assert {e.words for e in found if e} == {"starts now"}
    assert await starts.estimate(["--mem=1M"], "", "later") is not None
    assert len(client.asked) == 1


async def test_other_resources_and_other_accounts_are_other_questions() -> None:
    starts, client = make()
    for options, account in ((["--mem=1M"], ""), (["--mem=2M"], ""), (["--mem=1M"], "paula")):
        await starts.estimate(options, account, "paula")
    assert len(client.asked) == 3


async def test_an_old_estimate_is_asked_for_again() -> None:
    starts, client = make(keep=0.05)
    await starts.estimate(["--mem=1M"], "", "paula")
    await asyncio.sleep(0.06)
    await starts.estimate(["--mem=1M"], "", "paula")
    assert len(client.asked) == 2


async def test_slurm_is_not_asked_more_often_than_the_limit() -> None:
    starts, client = make(per_minute=6)
    mine = [await starts.estimate([f"--mem={i}M"], "", "paula") for i in range(1, 20)]
    assert len(client.asked) == 2  # a third
    assert mine[2:] == [None] * 17
    for i in range(100):
        await starts.estimate([f"--mem={i}G"], "", f"person{i}")
    assert len(client.asked) == 6


async def test_one_who_goes_away_does_not_take_the_answer_from_others() -> None:
    starts, client = make()
    first = asyncio.create_task(starts.estimate(["--mem=1M"], "", "paula"))
    second = asyncio.create_task(starts.estimate(["--mem=1M"], "", "piotr"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert len(client.asked) == 1


async def test_slurm_away_is_no_estimate() -> None:
    starts, client = make()
    client.fails = True
    assert await starts.estimate(["--mem=1M"], "", "paula") is None
