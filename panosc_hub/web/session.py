"""What a starting session may tell the Hub: its port, and how its preparation went.

Both endpoints accept nothing but the API token of the very server that speaks. The port
endpoint accepts one integer port from 1024 to 65535 while the server is starting; the report
endpoint a short list of plain sentences. Anything else is 400.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jupyterhub.apihandlers.base import APIHandler
from tornado import web

if TYPE_CHECKING:
    from ..spawner import PanoscSpawner

MAX_BODY = 64 * 1024
"""Bytes of a report; fifty sentences are far below."""

MAX_EVENTS = 50
MAX_MESSAGE = 500
STATUSES = ("progress", "ok", "warning", "error")
"""``progress`` says how far something is; each such sentence takes the place of the one before."""


class SessionHandler(APIHandler):
    """Finds the server that a token belongs to; nobody else may post here."""

    def check_xsrf_cookie(self) -> None:
        """Tokens only: a browser's cookie never identifies a session here."""

    def _body(self) -> Any:
        if len(self.request.body) > MAX_BODY:
            raise web.HTTPError(400, "The body is too long")
        try:
            return json.loads(self.request.body)
        except (ValueError, RecursionError):
            raise web.HTTPError(400, "The body must be JSON") from None

    def _speaker(self) -> PanoscSpawner:
        token = self.get_token() if self.get_auth_token() else None
        user = self.current_user if token is not None else None
        if token is None or user is None:
            raise web.HTTPError(403, "Only a session's own token may post here")
        # A service's token has no servers; it is refused like any other stranger's.
        for spawner in getattr(user, "spawners", {}).values():
            state = getattr(spawner, "state", None)
            if state is not None and state.token_id and state.token_id == token.id:
                return spawner
        raise web.HTTPError(403, "This token belongs to no session of this Hub")


class PortHandler(SessionHandler):
    """``POST {"port": 34567}`` from a starting session."""

    async def post(self) -> None:
        """Accept one integer port, once, while that server is starting."""
        spawner = self._speaker()
        body = self._body()
        if not isinstance(body, dict) or set(body) != {"port"}:
            raise web.HTTPError(400, 'The body must be {"port": <integer>} and nothing else')
        port = body["port"]
        if isinstance(port, bool) or not isinstance(port, int) or not 1024 <= port <= 65535:
            raise web.HTTPError(400, "The port must be an integer from 1024 to 65535")
        if not spawner.accept_port(port):
            raise web.HTTPError(400, "This server is not waiting for a port")
        self.set_status(204)


class ReportHandler(SessionHandler):
    """``POST {"v": 1, "events": [{"step", "status", "message"}]}`` from a starting session."""

    async def post(self) -> None:
        """Show the session's sentences on the pending page."""
        spawner = self._speaker()
        body = self._body()
        events = body.get("events") if isinstance(body, dict) and body.get("v") == 1 else None
        if not isinstance(events, list) or len(events) > MAX_EVENTS:
            raise web.HTTPError(400, f"events must be a list of at most {MAX_EVENTS}")
        for event in events:
            if (
                not isinstance(event, dict)
                or not isinstance(event.get("message"), str)
                or event.get("status") not in STATUSES
                or len(event["message"]) > MAX_MESSAGE
            ):
                raise web.HTTPError(400, "Each event needs a known status and a short message")
        for event in events:
            # JSON may hold halves of characters, which no page could be encoded with.
            message = event["message"].encode("utf-8", "replace").decode()
            if event["status"] == "progress":
                spawner.events.add(message, 55, replaces=True)
            else:
                spawner.session_report(event["status"], message)
        self.set_status(204)


ROUTES = [
    (r"/api/panosc/port", PortHandler),
    (r"/api/panosc/report", ReportHandler),
]
