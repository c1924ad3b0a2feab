"""JupyterHub's spawn handlers with four corrections, valid for 5.5 and 6.1.

* A link (``GET /hub/spawn?opt-…``) pre-fills the form; it never starts a server.
* A refused form is shown again for the server that it was for, not for the default one.
* A server that a restarted Hub still looks for can be stopped.
* JSON bodies pass the same parser as the form *before* anything is created or saved.
"""

from __future__ import annotations

from typing import Any

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from ..compat import refused
from ..core import selection as door
from ..errors import PanoscError

LINK_PREFIX = "opt-"


def _ours(handler: Any) -> bool:
    from ..spawner import PanoscSpawner  # it registers these handlers, so it comes first

    spawner_class = handler.settings.get("spawner_class")
    return isinstance(spawner_class, type) and issubclass(spawner_class, PanoscSpawner)


class PanoscSpawnHandler(SpawnHandler):
    """The spawn page."""

    link_options: dict[str, list[str]]
    """What a link proposes, without its prefix; the page shows it and starts nothing."""

    async def _get(self, *args: Any, **kwargs: Any) -> None:
        self.link_options = {}
        if _ours(self):
            for key, values in self.request.query_arguments.items():
                if key.startswith(LINK_PREFIX):
                    text = [value.decode("utf-8", "replace") for value in values]
                    self.link_options[key[len(LINK_PREFIX) :]] = text
            # JupyterHub starts a server as soon as it sees query arguments.
            self.request.query_arguments = {}
        await super()._get(*args, **kwargs)

    async def _render_form(
        self, for_user: Any, spawner_options_form: str, *args: Any, **kwargs: Any
    ) -> Any:
        server_name = self.path_kwargs.get("server_name") or (
            self.path_args[1] if len(self.path_args) > 1 else ""
        )
        if self.request.method == "POST" and _ours(self):
            # What the core rendered is the default server's form, without this request's fields.
            spawner = for_user.spawners[server_name]
            spawner.handler = self
            spawner_options_form = await spawner.get_options_form()
        return await super()._render_form(for_user, spawner_options_form, *args, **kwargs)


class PanoscServerHandler(UserServerAPIHandler):
    """``/api/users/{name}/server[s/{server}]``: the JSON way to start a session.

    The body is ``{"user_options": {…}}`` on every JupyterHub version; the options themselves as
    the whole body are accepted too, as JupyterHub 5 has it.
    """

    @needs_scope("delete:servers")
    async def delete(self, user_name: str, server_name: str = "") -> None:
        """Also for a server that a restarted Hub still looks for; JupyterHub stops it then."""
        user = self.find_user(user_name)
        spawner = user.spawners.get(server_name or "") if user else None
        if _ours(self) and spawner is not None and spawner.pending == "check":
            if not spawner.give_up():
                raise web.HTTPError(409, "The Hub was restarted and looks at it; try again soon")
            self.set_header("Content-Type", "text/plain")
            self.set_status(202)
            return
        await super().delete(user_name, server_name)

    def get_json_body(self) -> Any:
        body = super().get_json_body()
        if not _ours(self) or self.request.method not in ("POST", "PUT", "PATCH"):
            return body
        if hasattr(UserServerAPIHandler, "get_server_json_body"):
            if self.request.method == "PATCH" and isinstance(body, dict):
                return _checked(body)
            return body
        return self._normalised(body).get("user_options")

    def get_server_json_body(self) -> dict[str, Any]:
        body = super().get_json_body()
        if not _ours(self):
            return super().get_server_json_body()
        return self._normalised(body)

    def _normalised(self, body: Any) -> dict[str, Any]:
        if not body and body not in ([], "", 0, False):
            # Nothing, null and {} mean "my defaults", but only {} says so explicitly.
            return {"display_name": None, "user_options": {} if body == {} else None}
        if not isinstance(body, dict):
            raise web.HTTPError(400, "The body must be a JSON object")
        if "user_options" not in body and "display_name" not in body:
            body = {"user_options": body}
        unknown = set(body) - {"user_options", "display_name"}
        if unknown:
            raise web.HTTPError(400, "Only user_options and display_name are accepted here")
        name = body.get("display_name")
        if name is not None and not isinstance(name, str):
            raise web.HTTPError(400, "display_name must be a string")
        return _checked({"display_name": None, "user_options": None, **body})


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    options = body.get("user_options")
    if options is not None:
        try:
            body = {**body, "user_options": door.parse(options).to_options()}
        except PanoscError as error:
            raise refused(error) from error
    return body
