"""Why a login or a refresh fails; each with a sentence for the person and a detail for the log.

The *sentence* never contains a token, a claim of another person or text of the provider. The
*detail* is for the Hub's log; it holds no token either.

Two kinds must not be mixed up: what proves something about the person (``LoginRefused`` and
below) ends a session, what proves nothing (``ProviderUnavailable``, ``AccountsUnavailable``)
keeps it for a bounded time.
"""

from __future__ import annotations

from panosc_hub.errors import NotAllowed, Unavailable

TRY_AGAIN = "The login could not be completed. Please log in again."


class LoginRefused(NotAllowed):
    """The login, or its renewal, is not valid."""

    reason = "login_refused"

    def __init__(self, detail: str, *, sentence: str = TRY_AGAIN) -> None:
        super().__init__(sentence)
        self.detail = detail


class LoginExpired(LoginRefused):
    """The provider no longer accepts what it gave us; a new login mends it."""

    reason = "login_expired"


class NotLinked(LoginRefused):
    """The person is who they say, but this facility does not know them."""

    reason = "not_linked"

    def __init__(self, detail: str, *, subject: str) -> None:
        super().__init__(
            detail,
            sentence="Your login worked, but it is not linked to an account or a group here.",
        )
        self.subject = subject


class BrokenLogin(LoginRefused):
    """The browser came back without what we gave it: an old tab, a replay or an attack."""

    reason = "broken_login"
    status_code = 400


class ProviderUnavailable(Unavailable):
    """The identity provider does not answer, or not in a way that proves anything."""

    reason = "provider_unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__("The login service does not answer. Please try again in a few minutes.")
        self.detail = detail


class AccountsUnavailable(Unavailable):
    """The list of accounts cannot be read or cannot be trusted."""

    reason = "accounts_unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__(
            "The list of accounts of this facility cannot be used at the moment. "
            "Please try again later, or tell the support of this facility."
        )
        self.detail = detail
