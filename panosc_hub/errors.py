"""The exceptions of panosc_hub, each with a sentence for the user and a metric ``reason``.

::

    PanoscError
      x Refusal                   a person asked for what cannot be had (4xx)
        - InvalidSelection          the selection does not parse or breaks a limit
        - NotAllowed                this person may not use it
        - NotFound                  no such profile, proposal, dataset or template
      x Unavailable               something we depend on does not answer (503)
        - CatalogueUnavailable
          + CatalogueSlow
        - BackendUnavailable
      x BackendError              the backend took the request and failed (500)
      x SiteError                 site.yaml cannot be used (admins only)

A *refusal* never counts toward the Hub's consecutive-failure limit. The sentence says what,
why and what to do; it must be safe to show to the person who caused it, and is escaped like
any other text on a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class PanoscError(Exception):
    """Base of all; ``sentence`` is shown to the user, ``reason`` labels the metric."""

    reason = "error"
    status_code = 500

    def __init__(self, sentence: str, *, reason: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        if reason is not None:
            self.reason = reason


class Refusal(PanoscError):
    """The request is refused; nothing was started."""

    reason = "refused"
    status_code = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a selection: which field, and a sentence."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class InvalidSelection(Refusal):
    """The selection is wrong; ``problems`` holds every mistake, not only the first."""

    reason = "invalid_selection"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(p) for p in self.problems))


class NotAllowed(Refusal):
    """The person may not use this profile, proposal or dataset."""

    reason = "not_allowed"
    status_code = 403


class NotFound(Refusal):
    """There is no such profile, proposal, dataset or template."""

    reason = "not_found"
    status_code = 404


class Unavailable(PanoscError):
    """Something we depend on does not answer; unknown is not dead."""

    reason = "unavailable"
    status_code = 503


class CatalogueUnavailable(Unavailable):
    """The catalogue does not answer, so nothing can be authorised."""

    reason = "catalogue_unavailable"


class CatalogueSlow(CatalogueUnavailable):
    """The catalogue took longer than somebody can wait; it may answer yet."""


class BackendUnavailable(Unavailable):
    """Slurm or the Kubernetes API does not answer."""

    reason = "backend_unavailable"


class BackendError(PanoscError):
    """The backend could not start or keep the session."""

    reason = "backend_error"


class SiteError(PanoscError):
    """``site.yaml`` cannot be used; the sentence names file, line and what to write."""

    reason = "site"
