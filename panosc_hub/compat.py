"""The one place that knows which JupyterHub is installed (5.5 and 6.1 are supported).

A refusal must reach the person who caused it, in the form, on the pending page and in the
JSON answer, and must never count toward ``consecutive_failure_limit``. JupyterHub 6 has
``SpawnException`` for that, but its pages read other attributes than it sets; JupyterHub 5
counts every failed spawn, whatever its kind. Both are evened out here.
"""

from __future__ import annotations

import html
import logging
from http.client import responses
from typing import Any

from tornado import web

from .errors import InvalidSelection, PanoscError

try:
    from jupyterhub.spawner import SpawnException

    COUNTS_REFUSALS = False
except ImportError:  # JupyterHub 5
    SpawnException = None
    COUNTS_REFUSALS = True


def _html(error: PanoscError) -> str:
    if isinstance(error, InvalidSelection) and len(error.problems) > 1:
        items = "".join(f"<li>{html.escape(str(p))}</li>" for p in error.problems)
        return f"<ul>{items}</ul>"
    return html.escape(error.sentence)


if SpawnException is not None:

    class SpawnRefused(SpawnException):
        """JupyterHub 6: carries the sentence in every attribute that some page reads."""

        def __init__(self, error: PanoscError) -> None:
            super().__init__(
                error.sentence,
                reason=error.reason,
                message_html=_html(error),
                status_code=error.status_code,
            )
            self.jupyterhub_message = error.sentence
            self.jupyterhub_html_message = _html(error)

else:

    class SpawnRefused(web.HTTPError):  # type: ignore[no-redef]
        """JupyterHub 5: an HTTP error with the attributes that its pages read."""

        def __init__(self, error: PanoscError) -> None:
            # The reason phrase must be one short line; the sentence goes into the message.
            phrase = responses.get(error.status_code, "Refused")
            super().__init__(error.status_code, error.sentence, reason=phrase)
            self.jupyterhub_message = error.sentence
            self.jupyterhub_html_message = _html(error)


class _RefusalsInOneLine(logging.Filter):
    """JupyterHub logs a refused form with a traceback, which no operator can use."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SpawnRefused) and error.status_code < 500:
            record.exc_info = record.exc_text = None
            record.msg, record.args = f"{record.getMessage()}: {error}", ()
        return True


_in_one_line = _RefusalsInOneLine()


def log_refusals_in_one_line() -> None:
    """For the Hub's own log; calling it again changes nothing."""
    logging.getLogger("JupyterHub").addFilter(_in_one_line)


def refused(error: PanoscError) -> Exception:
    """The exception to raise outside of a running spawn, for example in a handler."""
    return SpawnRefused(error)


def refused_in_spawn(error: PanoscError, handler: Any) -> Exception:
    """The exception to raise from inside ``User.spawn``; ``handler`` is ``Spawner.handler``.

    JupyterHub 5 will add one to ``failure_count`` for it; taking one off first keeps the sum
    where it was, so that refusals never stop the Hub. The count is in the handler's settings,
    not in the user's, which are another dictionary.
    """
    settings = getattr(handler, "settings", None)
    if COUNTS_REFUSALS and settings is not None:
        settings["failure_count"] = settings.get("failure_count", 0) - 1
    return SpawnRefused(error)
