"""The pages with JupyterHub's own templates and static files, for a browser; no Hub behind.

What a test wants to be different it changes in ``Scene``; what the page sends is kept there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tornado.web
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from panosc_hub.core.templates import picture_type
from panosc_hub.paths import static_path, template_path
from panosc_hub.web import page, profiles, rows
from panosc_hub.web.offers import offers
from tests.stage import Stage

SHARE = Path(os.environ.get("JUPYTERHUB_SHARE", f"{sys.prefix}/share/jupyterhub"))
"""JupyterHub's data files; another version's pages are tested by pointing here to them."""


@dataclass
class Scene:
    """What the pages show, and what they asked."""

    url: str = ""
    stage: Stage = field(default_factory=Stage)
    error: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    stop_status: int = 204
    checking: tuple[str, ...] | None = None
    """The Hub was restarted and has said this of the session that it looks for."""

    sessions: list[Any] = field(default_factory=list)
    named: bool = True
    posted: list[dict[str, list[str]]] = field(default_factory=list)
    deleted: list[tuple[str, str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    estimate: dict[str, Any] = field(
        default_factory=lambda: {"usable": True, "starts": None, "words": "starts now"}
    )
    estimated: list[str] = field(default_factory=list)


def session(name: str, *, state: str, **facts: Any) -> Any:
    """A spawner as ``User.all_spawners`` yields it."""
    ended = facts.pop("ended", "")
    row = SimpleNamespace(
        name=name,
        display_name=None,
        started=datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=2, minutes=5),
        last_activity=datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3),
        state={"v": 1, "summary": facts, "ended": ended},
    )
    if state == "stopped":
        return row
    return SimpleNamespace(
        orm_spawner=row,
        name=name,
        pending={"starting": "spawn", "stopping": "stop"}.get(state),
        ready=state == "running",
        active=True,
        session_summary=facts,
    )


class PageHandler(tornado.web.RequestHandler):
    """Renders as JupyterHub does: same loaders, same names."""

    scene: Scene

    def initialize(self, scene: Scene) -> None:
        self.scene = scene

    def show(self, template: str, **values: Any) -> None:
        owner = self.scene.stage.owner
        user = SimpleNamespace(
            name=owner.name,
            json_escaped_name=json.dumps(owner.name)[1:-1],
            spawner=SimpleNamespace(options_form=True, facility=self.scene.stage.facility),
            all_spawners=lambda: iter(self.scene.sessions),
        )
        names: dict[str, Any] = {
            "base_url": "/hub/",
            "prefix": "/",
            "user": user,
            "login_url": "/hub/login",
            "logout_url": "/hub/logout",
            "static_url": lambda path, **_: f"/hub/static/{path}",
            "version_hash": "",
            "services": [],
            "parsed_scopes": {},
            "xsrf_token": "the-token",
            "no_spawner_check": False,
            "panosc": self.settings["panosc"],
        }
        self.finish(self.settings["pages"].get_template(template).render(**names, **values))


class SpawnPage(PageHandler):
    async def get(self) -> None:
        stage = self.scene.stage
        link = {k[4:]: [v] for k in self.request.arguments if (v := self.get_query_argument(k))}
        if link:
            stage.link(**{k: v[0] for k, v in link.items()})
        await self.form(stage)

    async def post(self) -> None:
        self.scene.posted.append(
            {k: [v.decode() for v in vs] for k, vs in self.request.body_arguments.items()}
        )
        self.redirect("/hub/spawn-pending/amember")

    async def form(self, stage: Stage) -> None:
        html = await page.options_form(stage)
        user = SimpleNamespace(name=stage.owner.name)
        self.show(
            "spawn.html",
            spawner_options_form=html,
            url=f"{self.request.uri}?_xsrf=the-token",
            error_message=self.scene.error,
            for_user=user,
        )


class PendingPage(PageHandler):
    def get(self, user: str, server: str | None) -> None:
        server = server or ""
        spawner = SimpleNamespace(name=server, user=SimpleNamespace(name=user), pending="spawn")
        if self.scene.checking is not None:
            spawner.pending = "check"
            spawner.events = SimpleNamespace(lines=self.scene.checking)
        where = f"servers/{server}" if server else "server"
        self.show(
            "spawn_pending.html",
            spawner=spawner,
            progress_url=f"/hub/api/users/{user}/{where}/progress?_xsrf=the-token",
        )


class HomePage(PageHandler):
    def get(self) -> None:
        default = SimpleNamespace(
            active=any(s for s in self.scene.sessions if s.name == "" and hasattr(s, "active"))
        )
        self.show(
            "home.html",
            url="/hub/spawn",
            default_server=default,
            allow_named_servers=self.scene.named,
            named_server_limit_per_user=3,
        )


class OtherPage(PageHandler):
    def get(self, name: str) -> None:
        self.show(
            f"{name}.html",
            server_name="",
            spawn_url="/hub/spawn",
            failed=True,
            failed_message="The notebook could not be placed: <b>disk full</b>.",
            status_code=404,
            status_message="Not Found",
            message="There is no such <page>.",
        )


class Json(tornado.web.RequestHandler):
    """The JSON endpoints without login: the same view functions as in ``web/api.py``."""

    def initialize(self, scene: Scene) -> None:
        self.scene = scene

    async def get(self, what: str) -> None:
        self.scene.asked.append(what)
        if self.request.headers.get("X-XSRFToken") != "the-token" and "picture" not in what:
            self.set_status(403)
            self.finish({"message": "'_xsrf' argument missing from GET"})
            return
        stage = self.scene.stage
        facility, person = stage.facility, stage.person()
        if what == "profiles":
            looks = stage.availability()
            moment = self.scene.stage.moment()
            found = offers(facility.site, facility.templates(), moment)
            views = profiles.profile_views(facility.site, person, looks, found, moment)
            shown = [v.to_dict() for v in views]
            made_of = {"offers": [v.offer.json for v in views], **profiles.menus_json(views)}
            self.finish({"age": profiles.oldest_look(looks), "profiles": shown, "page": made_of})
        elif what == "estimate":
            self.scene.estimated.append(self.request.query)
            self.finish(self.scene.estimate)
        elif what == "proposals":
            if facility.catalogue.mood != "ready":
                self.set_status(503)
                self.finish({"message": "The catalogue does not answer."})
                return
            found = await facility.catalogue.proposals(person)
            beam = rows.Beam.of(facility.site, person, stage.moment())
            self.finish({"proposals": [rows.proposal_json(p, beam) for p in found]})
        elif what.endswith("/datasets"):
            name = what.split("/")[1]
            proposal, _ = await facility.catalogue.authorise(person, name, None)
            datasets = await facility.catalogue.datasets(person, name)
            self.finish(rows.datasets_json(facility.templates(), proposal, datasets))
        elif what.endswith("/picture"):
            found_template = next(t for t in facility.templates() if t.id == what.split("/")[1])
            self.set_header("Content-Type", picture_type(found_template.picture) or "")
            self.finish(found_template.picture or b"")


class Users(tornado.web.RequestHandler):
    """Progress and stop of one server."""

    def initialize(self, scene: Scene) -> None:
        self.scene = scene

    async def get(self, path: str) -> None:
        self.set_header("Content-Type", "text/event-stream")
        for event in self.scene.events:
            self.write(f"data: {json.dumps(event)}\n\n")
            await self.flush()
        await self.scene.hold.wait()

    def delete(self, path: str) -> None:
        token = self.request.headers.get("X-XSRFToken", "")
        self.scene.deleted.append((path, token, self.request.body.decode()))
        self.set_status(self.scene.stop_status)
        if self.scene.stop_status >= 400:
            self.finish({"message": "Slurm does not answer; the session still runs."})


class Nothing(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Content-Type", "image/svg+xml")
        self.finish(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 28 28">'
            '<circle cx="14" cy="14" r="12" fill="#0b5c8f"/></svg>'
        )


def serve(scene: Scene) -> tuple[HTTPServer, str]:
    """Start on a free port of this machine; call ``stop()`` on the first when done."""
    core = FileSystemLoader([str(SHARE / "templates")])
    pages = Environment(
        loader=ChoiceLoader(
            [
                PrefixLoader({"templates": core}, "/"),
                FileSystemLoader([template_path(), str(SHARE / "templates")]),
            ]
        ),
        autoescape=True,
    )
    known = {"scene": scene}
    app = tornado.web.Application(
        [
            (r"/hub/spawn", SpawnPage, known),
            (r"/hub/spawn/.*", SpawnPage, known),
            (r"/hub/spawn-pending/([^/]+)(?:/([^/]+))?", PendingPage, known),
            (r"/hub/home", HomePage, known),
            (r"/hub/other/(\w+)", OtherPage, known),
            (r"/hub/api/panosc/(.*)", Json, known),
            (r"/hub/api/users/(.*)", Users, known),
            (r"/hub/static/(.*)", tornado.web.StaticFileHandler, {"path": str(SHARE / "static")}),
            (r"/hub/panosc/static/(.*)", tornado.web.StaticFileHandler, {"path": static_path()}),
            (r"/hub/logo", Nothing),
        ],
        pages=pages,
        panosc=page.template_globals(),
    )
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(app)
    server.add_sockets(sockets)
    return server, f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
