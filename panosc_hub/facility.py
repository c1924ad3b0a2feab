"""The facility as spawner, hook and pages see it: site, catalogue and templates in one place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from .catalogue.base import Catalogue, NoCatalogue
from .catalogue.patience import patiently
from .catalogue.static import StaticCatalogue
from .core.access import utc_now, zone_of
from .core.identity import Person
from .core.plan import Launch, SessionPlan, plan_session
from .core.policy import PATH, Moment, said, wrong_answers
from .core.profiles import Environment, Profile, Resources, resolve
from .core.proposals import Dataset, Proposal
from .core.selection import Selection
from .core.site import CatalogueSpec, Site
from .core.templates import Template
from .errors import (
    InvalidSelection,
    NotAllowed,
    NotFound,
    Problem,
    Refusal,
)
from .library import Library
from .site import Mistake, Watched, load_site

CATALOGUE_TIMEOUT = 20.0
"""Seconds that authorising at a spawn may take. Longer is reported as an outage."""


ANY = Moment()


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection that passed policy: complete, within limits, allowed for the person."""

    selection: Selection
    profile: Profile
    resources: Resources
    environment: Environment
    template: Template | None
    said: tuple[str, ...] = ()
    """What was chosen besides amounts, in words."""


class FacilityService:
    """One per ``site.yaml`` in a Hub process; all servers share it."""

    _shared: ClassVar[dict[tuple[str, tuple[tuple[str, str], ...]], FacilityService]] = {}

    def __init__(
        self, site: str | Path, variables: Mapping[str, str] | None = None, *, log: logging.Logger
    ) -> None:
        self.path = Path(site).resolve()
        self._log = log
        overrides = dict(variables or {})
        self._site: Watched[Site] = Watched(self.path, lambda p: load_site(p, overrides), log)
        self._library = Library(log)
        self._catalogue: tuple[object, Catalogue] | None = None

    @classmethod
    def shared(
        cls, site: str | Path, variables: Mapping[str, str] | None = None
    ) -> FacilityService:
        """The service of ``site``, made at the first call."""
        key = (str(Path(site).resolve()), tuple(sorted((variables or {}).items())))
        if key not in cls._shared:
            cls._shared[key] = cls(site, variables, log=logging.getLogger("panosc_hub"))
        return cls._shared[key]

    @property
    def site(self) -> Site:
        """The last good site; raises ``SiteError`` only if there never was one."""
        return self._site.get()

    @property
    def site_error(self) -> str:
        """What is wrong with the file that is on disk now; empty when it is good."""
        return self._site.error

    def _resolve(self, path: str) -> Path:
        return (self.path.parent / self.site.expand(path)).resolve()

    @property
    def template_problems(self) -> tuple[str, ...]:
        """Sentences about templates that were left out."""
        return self._library.problems

    def templates(self) -> tuple[Template, ...]:
        """The published templates."""
        return self._library.templates(self._resolve(s.path) for s in self.site.templates)

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue that the site names; built anew only when that part changes."""
        site = self.site
        key = (site.catalogue, tuple(sorted(site.variables.items())))
        if self._catalogue is None or self._catalogue[0] != key:
            self._catalogue = (key, self._build(site.catalogue, site.variables))
        return self._catalogue[1]

    def _build(self, spec: CatalogueSpec, variables: Mapping[str, str]) -> Catalogue:
        if spec.kind == "static" and spec.file:
            return StaticCatalogue(self._resolve(spec.file), variables, self._log)
        return NoCatalogue()

    def catalogue_mistakes(self) -> tuple[Mistake, ...]:
        """What is wrong in the file of a static catalogue, for ``panosc-hub check``."""
        spec = self.site.catalogue
        if spec.kind != "static" or not spec.file:
            return ()
        catalogue = StaticCatalogue(self._resolve(spec.file), self.site.variables, self._log)
        return catalogue.mistakes(self.site.areas_of)

    def choose(
        self,
        selection: Selection,
        person: Person,
        default: str | None = None,
        moment: Moment = ANY,
    ) -> Choice:
        """Apply policy to ``selection``; ``default`` is the profile used when none is named.

        ``moment`` is what the backends say now: a profile whose backend is away is refused, and
        amounts and answers to menus are held against what is offered at this moment.

        Raises a ``Refusal`` (``InvalidSelection``, ``NotAllowed``, ``NotFound``) whose sentence
        says what to do. Does not look at the catalogue: that is done, fresh, by the hook.
        """
        site = self.site
        if selection.profile:
            profile = self._named_profile(selection.profile, person, moment)
        else:
            profile = self._default_profile(default, selection, person, moment)
        offered = _offered(profile, moment)
        resources, problems = resolve(offered, selection.wish)
        environments = moment.environments(site, profile)
        if not environments:
            raise NotFound(f"{profile.title} offers no environment; tell your administrators.")
        environment = environments[0]
        if selection.environment is not None:
            match = [e for e in environments if e.id == selection.environment]
            if match:
                environment = match[0]
            else:
                there = ", ".join(e.id for e in environments)
                problems.append(
                    Problem("environment", f"is not offered on {profile.title}; there is {there}")
                )
        menus = moment.all_menus(offered, person)
        problems += wrong_answers(selection, profile, environment, menus, person)
        if (only := profile.allow.beamtime_for(person)) and selection.proposal is None:
            problems.append(Problem("proposal", f"{profile.title} is {only.words}; choose one"))
        template = None
        if selection.template is not None:
            template = next((t for t in self.templates() if t.id == selection.template), None)
            if template is None:
                problems.append(Problem("template", "is not published here any more"))
        if problems:
            raise InvalidSelection(problems)
        words = said(selection, environment, menus)
        if path := selection.chosen(PATH):
            environment = environment.at(path)
        complete = selection if selection.profile else _with_profile(selection, profile.id)
        return Choice(complete, profile, resources, environment, template, words)

    def _named_profile(self, name: str, person: Person, moment: Moment) -> Profile:
        profile = self.site.profile(name)
        if profile is None:
            raise InvalidSelection([Problem("profile", f"{name!r} is not offered here")])
        if why := profile.allow.why_not(person, moment.clock()):
            # Whoever may use it at another time reads when that is.
            when = " it" if profile.allow.permits(person) else ""
            raise NotAllowed(f"{profile.title}:{when} {why}.")
        return profile

    def _default_profile(
        self, remembered: str | None, selection: Selection, person: Person, moment: Moment
    ) -> Profile:
        now = moment.clock()
        there = [p for p in self.site.profiles if p.allow.permits(person) and moment.present(p)]
        closed = {p.id: p.allow.why_not(person, now) for p in there}
        open_to = [p for p in there if not closed[p.id]]
        if selection.proposal is None:
            open_to = [p for p in open_to if p.allow.beamtime_for(person) is None]
        # The first of which there is anything now; if there is none, the refusal says why.
        open_to.sort(
            key=lambda p: (isinstance(moment.offered(p), str), bool(p.allow.beamtime_for(person)))
        )
        if not open_to:
            why = [f" {p.title} {closed[p.id]}." for p in there if closed[p.id]]
            raise NotAllowed(
                "No profile is open to you at the moment."
                + ("".join(why[:3]) or " Ask your local contact.")
            )
        return next((p for p in open_to if p.id == remembered), open_to[0])

    async def plan(
        self, choice: Choice, person: Person, clock: Callable[[], datetime] = utc_now
    ) -> SessionPlan:
        """Authorise proposal and dataset with the catalogue, then compute the plan.

        Fails closed: raises ``CatalogueUnavailable`` when the catalogue cannot tell, and
        ``NotAllowed`` when the profile is for a beam time that ``clock`` is not in.
        """
        selection, site = choice.selection, self.site
        proposal, dataset = None, None
        if selection.proposal is not None:
            proposal, dataset = await self._authorise(person, selection.proposal, selection.dataset)
        if only := choice.profile.allow.beamtime_for(person):
            why = only.why_not(proposal, clock(), zone_of(site.facility.zone))
            if why:
                raise NotAllowed(f"{choice.profile.title} is {why}.")
        try:
            areas = site.areas_of(proposal) if proposal else ()
            return plan_session(
                facility=site.facility.id,
                selection=selection,
                person=person,
                profile=choice.profile,
                resources=choice.resources,
                environment=choice.environment,
                proposal=proposal,
                dataset=dataset,
                areas=areas,
                template=choice.template,
            )
        except ValueError as error:
            # Nothing here is the user's fault: a layout, a catalogue entry or a template is.
            whom = site.facility.support or "your administrators"
            raise Refusal(f"{error}. Tell {whom}.") from error

    async def _authorise(
        self, person: Person, proposal_id: str, dataset_pid: str | None
    ) -> tuple[Proposal, Dataset | None]:
        return await patiently(
            self.catalogue.authorise(person, proposal_id, dataset_pid),
            CATALOGUE_TIMEOUT,
            "The catalogue does not answer, so your access to the proposal cannot be checked. "
            "Start without data, or try again in a few minutes.",
        )

    def launch(self, choice: Choice, plan: SessionPlan, person: Person) -> Launch:
        """What the backend gets."""
        return Launch(
            plan=plan,
            profile=choice.profile,
            resources=choice.resources,
            environment=choice.environment,
            selection=choice.selection,
            person=person,
        )


def _offered(profile: Profile, moment: Moment) -> Profile:
    if not moment.present(profile):
        raise InvalidSelection(
            [Problem("profile", f"{profile.title} is not available at the moment")]
        )
    offered = moment.offered(profile)
    if isinstance(offered, str):
        raise InvalidSelection(
            [Problem("profile", f"{profile.title} cannot be used now: {offered}")]
        )
    return offered


def _with_profile(selection: Selection, profile: str) -> Selection:
    return replace(selection, profile=profile)
