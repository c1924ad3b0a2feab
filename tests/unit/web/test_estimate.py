"""The estimate for the page: the scheduler's word, else the last look; never a long wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from panosc_hub.backends.base import Availability, Estimate
from panosc_hub.core.selection import Selection
from panosc_hub.errors import BackendError, NotFound
from panosc_hub.web import estimate as module
from tests.stage import Stage

LATER = Estimate(True, 1_800_000_000.0, "starts about 14:20 (in 25 min)")


class Asked(Stage):
    """A stage whose backend answers what the test says."""

    answer: Any = LATER

    def spare_child(self, name: str) -> Any:
        async def estimate(launch: Any) -> Estimate | None:
            if isinstance(self.answer, Exception):
                raise self.answer
            if isinstance(self.answer, float):
                await asyncio.sleep(self.answer)
            return self.answer if isinstance(self.answer, Estimate) else None

        return SimpleNamespace(estimate=estimate)


def stage(answer: Any = LATER, **looks: Availability) -> Asked:
    made = Asked()
    made.answer = answer
    made.looks = {**made.availability(), **looks}
    profile = made.facility.site.profile("small")
    facility: Any = made.facility
    made.allowed = lambda _: SimpleNamespace(profile=profile)  # type: ignore[attr-defined]
    facility.launch = lambda *_: None
    return made


async def ask(made: Asked) -> dict[str, Any]:
    return await module.estimate(made, Selection("small"))


async def test_the_schedulers_word_counts() -> None:
    assert await ask(stage()) == {
        "profile": "small",
        "source": "backend",
        "usable": True,
        "starts": LATER.starts,
        "words": LATER.words,
    }


async def test_without_one_the_last_look_must_do() -> None:
    found = await ask(stage(None))
    assert (found["source"], found["starts"], found["words"]) == ("look", None, "starts now")


async def test_nobody_is_asked_about_what_cannot_be_used() -> None:
    greyed = Availability(False, 0, "all its nodes are down or drained")
    found = await ask(stage(AssertionError("asked"), small=greyed))
    assert (found["usable"], found["words"]) == (False, greyed.words)


async def test_a_slow_scheduler_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    assert (await ask(stage(30.0)))["source"] == "look"


async def test_what_would_fail_at_the_start_is_said_before() -> None:
    why = "There is no UNIX account 'paula' on the Hub's machine."
    found = await ask(stage(BackendError(why)))
    assert (found["usable"], found["words"]) == (False, why)


async def test_profiles_of_absent_backends_are_not_there() -> None:
    made = stage()
    assert made.looks is not None
    del made.looks["small"]
    with pytest.raises(NotFound):
        await ask(made)
