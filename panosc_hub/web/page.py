"""The spawn form as JupyterHub asks for it, and what the other pages' templates may use.

Nothing here waits: site, templates and availability are snapshots, and the catalogue is given
``PATIENCE`` seconds; after that the page is shown without proposals and asks for them itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension

from ..catalogue.patience import patiently
from ..core.identity import Person
from ..core.selection import prefill
from ..errors import CatalogueSlow, PanoscError
from ..paths import static_path
from . import instead, view, words
from .offers import RESOURCES, offers
from .render import render_form
from .sessions import SessionView, age_of, server_path, sessions, stop_path

PATIENCE = 1.5
"""Seconds that the page waits for the catalogue. People notice two; most catalogues need less."""

CATALOGUE_DOWN = "The catalogue does not answer; you can start without data."


def asked_of(spawner: Any) -> view.Asked:
    """What this request asks: a refused form, else the fields of a link (``opt-…``)."""
    handler = getattr(spawner, "handler", None)
    request = getattr(handler, "request", None)
    if request is None:
        return view.Asked()
    posted = request.method == "POST"
    fields = {
        k: _texts(v) for k, v in (request.body_arguments if posted else _link(handler)).items()
    }
    if not fields:
        return view.Asked()
    selection, problems = prefill(fields)
    if posted:
        problems = (*problems, *(getattr(spawner, "last_problems", None) or ()))
    return view.Asked(selection, problems, explicit=True, posted=posted)


def _link(handler: Any) -> Mapping[str, Any]:
    # Our handler for the page has taken them out of the query, so that the Hub starts nothing.
    options: Mapping[str, Any] | None = getattr(handler, "link_options", None)
    if options is not None:
        return options
    query = handler.request.query_arguments
    return {k.removeprefix("opt-"): v for k, v in query.items() if k.startswith("opt-")}


def _texts(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
    return value


async def ask_catalogue(catalogue: Any, person: Person, proposal: str | None) -> view.Answer:
    """The proposals, and the datasets of the one that will be checked, within ``PATIENCE``."""

    async def answer() -> view.Answer:
        proposals = await catalogue.proposals(person)
        datasets: Sequence[Any] = ()
        if proposal and any(p.id == proposal for p in proposals):
            datasets = await catalogue.datasets(person, proposal)
        return view.Answer("ready", proposals, datasets)

    try:
        return await patiently(answer(), PATIENCE, CATALOGUE_DOWN)
    except CatalogueSlow:
        return view.Answer("slow")
    except PanoscError as error:
        # A form without data is better than no form; the spawn itself fails closed.
        return view.Answer("down", sentence=error.sentence or CATALOGUE_DOWN)


async def options_form(spawner: Any) -> str:
    """The four steps as HTML, for ``Spawner.options_form``."""
    facility, person = spawner.facility, spawner.person()
    site, templates = facility.site, tuple(facility.templates())
    asked, remembered, looks = asked_of(spawner), spawner.remembered(), spawner.availability()
    notice = ""
    if not asked.explicit:
        asked, notice = instead.after_giving_up(spawner, remembered, looks) or (asked, "")
    want = view.merge(asked, remembered)
    moment = spawner.moment()
    hub = spawner.hub.base_url
    owner = getattr(getattr(spawner, "user", None), "name", person.name)
    viewer = getattr(
        getattr(getattr(spawner, "handler", None), "current_user", None), "name", owner
    )
    page = view.build(
        site=site,
        templates=templates,
        offers=offers(site, templates, moment),
        person=person,
        looks=looks,
        answer=await ask_catalogue(facility.catalogue, person, want.proposal),
        asked=asked,
        remembered=remembered,
        site_error=facility.site_error,
        notice=notice,
        moment=moment,
        links={"hub": hub, "api": f"{hub}api/panosc/", "own": viewer == owner},
    )
    return render_form(
        spawner, page=page, words=words, hub=hub, resources=RESOURCES, picture=_picture_url(hub)
    )


def _picture_url(hub: str) -> Any:
    def url(template: Any) -> str:
        version = hashlib.sha256(template.picture or b"").hexdigest()[:12]
        return f"{hub}api/panosc/templates/{template.id}/picture?v={version}"

    return url


class Globals:
    """What pages may use as ``panosc``; one object for all requests."""

    def __init__(self, facility: Any = None) -> None:
        self._facility = facility
        self._versions: dict[str, str] = {}

    def static(self, hub: str, name: str) -> str:
        """The address of one of our own files, with a version so that it can be kept for long."""
        if name not in self._versions:
            data = (Path(static_path()) / name).read_bytes()
            self._versions[name] = hashlib.sha256(data).hexdigest()[:12]
        return f"{hub}panosc/static/{name}?v={self._versions[name]}"

    def _site(self, user: Any) -> Any:
        facility = self._facility or getattr(getattr(user, "spawner", None), "facility", None)
        try:
            return facility.site if facility is not None else None
        except PanoscError:
            # These words are on the error page too, which must not fail for want of a name.
            return None

    def title(self, user: Any = None) -> str:
        """The facility's name, also where nobody is logged in."""
        site = self._site(user)
        return site.facility.title if site is not None else ""

    def support(self, user: Any = None) -> str:
        """Whom to ask: a mail address or URL, or nothing."""
        site = self._site(user)
        return site.facility.support if site is not None else ""

    def sessions(self, user: Any, hub: str, prefix: str) -> list[SessionView]:
        """The user's sessions for the home page; the default one only once it was used."""
        rows = sessions(user.all_spawners(), user.name, hub, prefix)
        return [r for r in rows if r.name or r.active or r.age or r.backend]

    def session(self, user: Any, name: str, hub: str, prefix: str) -> SessionView | None:
        """One of them."""
        rows = sessions(user.all_spawners(), user.name, hub, prefix)
        return next((r for r in rows if r.name == name), None)

    def pending(self, spawner: Any, progress_url: str, hub: str) -> dict[str, Any]:
        """What the pending page's script needs: addresses of *this* server, named or not.

        While a Hub that was restarted looks for a session, JupyterHub has no stream of events for
        it: the page shows what is known (``lines``) and asks again.
        """
        user, name = spawner.user.name, spawner.name
        checking = getattr(spawner, "pending", None) == "check"
        events = getattr(spawner, "events", None)
        return {
            "checking": checking,
            "lines": list(events.lines) if checking and events is not None else [],
            "progress": progress_url,
            "stop": stop_path(hub, user, name),
            "form": server_path(f"{hub}spawn", user, name),
            "home": f"{hub}home",
            "age": age_of(getattr(spawner, "orm_spawner", None)),
        }

    def problem_list(self, message: str | None) -> list[str]:
        """A refusal's text as a list: ``"memory: too much; gpus: none here"`` are two."""
        text = re.sub(r"^\d{3}: [A-Za-z ]+ \((.*)\)$", r"\1", message or "", flags=re.DOTALL)
        parts = text.split("; ")
        if len(parts) > 1 and all(re.match(r"[\w.\-?]+: ", part) for part in parts):
            named = [part.split(": ", 1) for part in parts]
            return [f"{words.field_title(name)}: {text}" for name, text in named]
        return [text] if text else []


def jinja_extension(facility: Any) -> type[Extension]:
    """The same for ``JupyterHub.jinja_environment_options``: a global of all pages."""

    class Panosc(Extension):
        """Brings ``panosc`` into an environment."""

        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            environment.globals["panosc"] = Globals(facility)

    return Panosc


def template_globals(facility: Any = None) -> Globals:
    """For ``JupyterHub.template_vars``; without ``facility`` the user's own spawner is asked."""
    return Globals(facility)
