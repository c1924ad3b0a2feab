"""However a catalogue fails, what comes out is an answer, a refusal or a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from panosc_hub.catalogue.patience import patiently
from panosc_hub.errors import CatalogueSlow, CatalogueUnavailable, NotFound, PanoscError


async def answers() -> str:
    return "an answer"


async def never() -> str:
    await asyncio.Event().wait()
    return "too late"


async def stumbles() -> str:
    raise ZeroDivisionError("inside the catalogue")


async def loses_its_connection() -> str:
    raise TimeoutError("of its own socket")


async def refuses() -> str:
    raise NotFound("Proposal X-1 is not among yours.")


async def test_an_answer_passes() -> None:
    assert await patiently(answers(), 30, "no answer") == "an answer"


async def test_a_refusal_passes_as_it_is() -> None:
    with pytest.raises(NotFound, match="not among yours"):
        await patiently(refuses(), 30, "no answer")


@pytest.mark.parametrize(
    ("catalogue", "seconds", "error", "logged"),
    [
        (never, 0.01, CatalogueSlow, "did not answer within"),
        (loses_its_connection, 30, CatalogueSlow, "did not answer within"),
        (stumbles, 30, CatalogueUnavailable, "ZeroDivisionError"),
    ],
)
async def test_a_failing_catalogue_is_a_sentence_for_the_person_and_a_line_for_the_operator(
    catalogue: Callable[[], Awaitable[str]],
    seconds: float,
    error: type[PanoscError],
    logged: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(error, match=r"^try again later$"):
        await patiently(catalogue(), seconds, "try again later")
    assert logged in caplog.text


async def test_who_stops_waiting_is_not_told_of_an_outage() -> None:
    waiting = asyncio.ensure_future(patiently(never(), 30, "no answer"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
