"""JSON for the open page and for portals, and the static files: all GET, all of one's own.

Addresses below the Hub's (``/hub/``), for the person whose cookie or token comes with the
request; the scope is ``servers``, for this is what may be chosen for a server:

``api/panosc/profiles``                      what may be chosen and what is free now
``api/panosc/estimate?profile=…&cpus=…``     when a session with these would start
``api/panosc/templates``                     the published notebooks
``api/panosc/templates/{id}/picture``        a card's picture
``api/panosc/proposals``                     the person's proposals
``api/panosc/proposals/{id}/datasets``       their datasets, with the notebooks that suit
"""

from __future__ import annotations

import json
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.static import CacheControlStaticFilesHandler
from jupyterhub.scopes import needs_scope
from tornado import web

from ..catalogue.patience import patiently
from ..core.selection import parse_form
from ..core.templates import picture_type
from ..errors import NotFound, PanoscError
from ..paths import static_path
from . import profiles, rows, words
from .estimate import estimate
from .menus import menu_json
from .offers import offers

CATALOGUE_TIMEOUT = 15.0
"""Seconds; less than proxies wait (60 s by default), so that the sentence is ours."""

CATALOGUE_DOWN = "The catalogue does not answer; try again in a minute, or start without data."

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class PanoscHandler(APIHandler):
    """Answers with JSON for the current person; refusals carry their sentence."""

    async def get(self, *names: str) -> None:
        user = self.current_user
        if user is None:
            raise web.HTTPError(403, "Missing or invalid credentials.")
        if isinstance(user, orm.Service):
            raise web.HTTPError(403, "A service has no proposals; use the token of a person.")
        try:
            await self._get_for(user.name, *names)
        except PanoscError as error:
            self.set_status(error.status_code)
            self.finish(
                json.dumps(
                    {
                        "status": error.status_code,
                        "reason": error.reason,
                        "message": error.sentence,
                    }
                )
            )

    @needs_scope("servers")
    async def _get_for(self, user_name: str, *names: str) -> None:
        await self.answer(self.current_user.spawner, *names)

    async def answer(self, spawner: Any, *names: str) -> None:
        """Write the answer; may raise a ``PanoscError``."""
        raise NotImplementedError

    def send(self, body: dict[str, Any]) -> None:
        """JSON that no cache keeps, for it is one person's."""
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(body))


async def _patiently(awaitable: Any) -> Any:
    return await patiently(awaitable, CATALOGUE_TIMEOUT, CATALOGUE_DOWN)


class ProfilesHandler(PanoscHandler):
    """``GET api/panosc/profiles``."""

    async def answer(self, spawner: Any, *names: str) -> None:
        facility = spawner.facility
        site, looks, moment = facility.site, spawner.availability(), spawner.moment()
        found = offers(site, tuple(facility.templates()), moment)
        views = profiles.profile_views(site, spawner.person(), looks, found, moment)
        # The open page renews itself with what it was made of.
        page = self.get_query_argument("page", "") and {
            "offers": [v.offer.json for v in views],
            **profiles.menus_json(views),
        }
        self.send(
            {
                **({"page": page} if page else {}),
                "age": profiles.oldest_look(looks),
                "profiles": [
                    {
                        **v.to_dict(),
                        "title": v.offer.profile.title,
                        "description": v.offer.profile.description,
                        "backend": v.offer.profile.backend,
                        "backend_title": words.backend_title(v.offer.profile.backend),
                        "cpus": v.offer.cpus,
                        "memory": v.offer.memory,
                        "gpus": v.offer.gpus,
                        "walltime": v.offer.walltime,
                        "choices": {
                            name: [stop.value for stop in scale.stops]
                            for name, scale in v.offer.scales.items()
                        },
                        "limits": v.offer.limits,
                        "menus": [menu_json(menu) for menu in v.menus],
                        "environments": [
                            {"id": i, "title": title, "paths": list(v.offer.paths.get(i, ()))}
                            for i, title in v.offer.environments
                        ],
                    }
                    for v in views
                ],
            }
        )


class EstimateHandler(PanoscHandler):
    """``GET api/panosc/estimate?profile=…&cpus=…``: when such a session would start."""

    async def answer(self, spawner: Any, *names: str) -> None:
        query = {
            key: [value.decode("utf-8", "replace") for value in values]
            for key, values in self.request.query_arguments.items()
        }
        self.send(await estimate(spawner, parse_form(query)))


class TemplatesHandler(PanoscHandler):
    """``GET api/panosc/templates``."""

    async def answer(self, spawner: Any, *names: str) -> None:
        self.send(
            {
                "templates": [
                    {
                        "id": t.id,
                        "title": t.manifest.title,
                        "summary": t.manifest.summary,
                        "version": t.manifest.version,
                        "status": t.manifest.status,
                        "techniques": list(t.manifest.match.techniques),
                        "formats": list(t.manifest.match.formats),
                        "instruments": list(t.manifest.match.instruments),
                        "requires": t.manifest.requires.model_dump(),
                        "picture": t.picture is not None,
                    }
                    for t in spawner.facility.templates()
                ]
            }
        )


class PictureHandler(PanoscHandler):
    """``GET api/panosc/templates/{id}/picture``: inert, whatever the file holds."""

    # An <img> cannot send the XSRF header, and a picture can do nothing in anyone's name.
    _xsrf_safe_methods = {"GET", "HEAD", "OPTIONS"}

    @property
    def content_security_policy(self) -> str:
        """A picture runs nothing, even when it is opened by itself."""
        return PICTURE_POLICY

    async def answer(self, spawner: Any, *names: str) -> None:
        template = next((t for t in spawner.facility.templates() if t.id == names[0]), None)
        kind = picture_type(template.picture) if template else None
        if template is None or kind is None:
            raise NotFound("There is no such picture.")
        self.set_header("Content-Type", kind)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "private, max-age=86400")
        self.finish(template.picture)


class ProposalsHandler(PanoscHandler):
    """``GET api/panosc/proposals``."""

    async def answer(self, spawner: Any, *names: str) -> None:
        found = await _patiently(spawner.facility.catalogue.proposals(spawner.person()))
        beam = rows.Beam.of(spawner.facility.site, spawner.person(), spawner.moment())
        self.send({"proposals": [rows.proposal_json(p, beam) for p in found]})


class DatasetsHandler(PanoscHandler):
    """``GET api/panosc/proposals/{id}/datasets``."""

    async def answer(self, spawner: Any, *names: str) -> None:
        facility, person = spawner.facility, spawner.person()
        catalogue = facility.catalogue
        proposal, _ = await _patiently(catalogue.authorise(person, names[0], None))
        found = await _patiently(catalogue.datasets(person, proposal.id))
        self.send(
            {
                "proposal": proposal.id,
                **rows.datasets_json(facility.templates(), proposal, found),
            }
        )


ROUTES = [
    (r"/api/panosc/profiles", ProfilesHandler),
    (r"/api/panosc/estimate", EstimateHandler),
    (r"/api/panosc/templates", TemplatesHandler),
    (r"/api/panosc/templates/([a-z0-9][a-z0-9-]{0,62})/picture", PictureHandler),
    (r"/api/panosc/proposals", ProposalsHandler),
    (r"/api/panosc/proposals/([A-Za-z0-9][A-Za-z0-9_.\-]{0,63})/datasets", DatasetsHandler),
    (r"/panosc/static/(.*)", CacheControlStaticFilesHandler, {"path": static_path()}),
]
