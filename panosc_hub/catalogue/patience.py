"""The one guard around a catalogue: for the page, the JSON endpoints and the spawn alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import CatalogueSlow, CatalogueUnavailable, PanoscError

_log = logging.getLogger(__name__)

T = TypeVar("T")


async def patiently(answer: Awaitable[T], seconds: float, otherwise: str) -> T:
    """``answer``, if the catalogue gives one within ``seconds``.

    However else a catalogue fails, a page needs a sentence and a spawn must fail closed: then
    ``CatalogueUnavailable`` is raised with the sentence ``otherwise`` (``CatalogueSlow`` when it
    took too long), and the log has the reason. What the catalogue itself refuses passes as it is.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except PanoscError:
        raise
    except TimeoutError as error:
        _log.warning("The catalogue did not answer within %.1f seconds", seconds)
        raise CatalogueSlow(otherwise) from error
    except Exception as error:
        _log.exception("The catalogue failed")
        raise CatalogueUnavailable(otherwise) from error
