"""The view model of the spawn page: what to show, decided before any HTML is written. Pure.

``build`` puts together what was read elsewhere (site, person, catalogue answer, snapshots of the
backends, the link or refused form) and decides what is checked, what is greyed and why.
Everything that people or catalogues wrote stays plain text here; the templates escape it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from ..backends.base import Availability
from ..core.choices import FIELD
from ..core.environments import Environment
from ..core.identity import Person
from ..core.policy import PATH, Moment, own_paths, wrong_answers
from ..core.profiles import resolve
from ..core.proposals import Dataset, Proposal
from ..core.selection import Selection
from ..core.site import Site
from ..core.templates import Fit, Template, rank
from ..errors import Problem
from . import words
from .menus import MenuView
from .offers import NO_WISH, RESOURCES, Offers, with_wish
from .profiles import (
    Group,
    ProfileView,
    choose,
    groups_of,
    menus_json,
    oldest_look,
    profile_views,
    shown_menus,
    why_not,
)
from .rows import Beam, datasets_json, fit_table, proposal_json


@dataclass(frozen=True, slots=True)
class Asked:
    """What came with the request: a link's fields, or a form that was refused.

    ``explicit`` tells both from the remembered last choice, of which nothing is complained;
    ``posted`` tells a form, where also what is empty was chosen, from a link.
    """

    selection: Selection = field(default_factory=Selection)
    problems: tuple[Problem, ...] = ()
    explicit: bool = False
    posted: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the catalogue said: ``state`` is ``ready``, ``slow`` or ``down``."""

    state: str = "ready"
    proposals: Sequence[Proposal] = ()
    datasets: Sequence[Dataset] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All that the four steps show."""

    site: Site
    answer: Answer
    proposals: tuple[dict[str, Any], ...]
    datasets: tuple[dict[str, Any], ...]
    cards: tuple[Fit, ...]
    groups: tuple[Group, ...]
    selection: Selection
    chosen: ProfileView | None
    menus: tuple[MenuView, ...]
    """The menus of the chosen profile, for browsers without JavaScript."""

    paths: tuple[str, ...]
    """Where the own environments of the person may be, for the same; empty: none are taken."""

    age: float | None
    notices: tuple[str, ...]
    problems: Mapping[str, tuple[str, ...]]
    site_error: str
    data: dict[str, Any]
    profiles_json: Markup
    summary: str

    @property
    def compute_fields(self) -> tuple[str, ...]:
        """The fields whose problems are shown in step 3, besides the profile's own."""
        answers = sorted(name for name in self.problems if name.startswith(FIELD))
        return ("environment", *RESOURCES, "choices", *answers)

    @property
    def other_fields(self) -> tuple[str, ...]:
        """The fields whose problems no step shows: unknown ones of a link, the whole selection."""
        shown = {"proposal", "dataset", "template", "profile", *self.compute_fields}
        return tuple(name for name in self.problems if name not in shown)


def merge(asked: Asked, remembered: Selection) -> Selection:
    """What the form starts with. A link says what to open; how to run it stays one's own."""
    if not asked.explicit:
        return remembered
    chosen = asked.selection
    if chosen.profile is None:
        chosen = replace(chosen, profile=remembered.profile)
        if not chosen.choices and chosen.wish == NO_WISH and chosen.environment is None:
            names = (*RESOURCES, "environment", "choices")
            chosen = replace(chosen, **{name: getattr(remembered, name) for name in names})
    return chosen


def build(
    *,
    site: Site,
    templates: Sequence[Template],
    offers: Offers,
    person: Person,
    looks: Mapping[str, Availability],
    answer: Answer,
    asked: Asked,
    remembered: Selection,
    site_error: str = "",
    links: Mapping[str, Any] | None = None,
    notice: str = "",
    moment: Moment | None = None,
) -> Page:
    """The whole page; ``links`` (addresses) are handed to the script as they are."""
    notices: list[str] = [notice] if notice else []
    problems = list(asked.problems)
    want = merge(asked, remembered)
    views = profile_views(site, person, looks, offers, moment)

    proposal = next((p for p in answer.proposals if p.id == want.proposal), None)
    if want.proposal and proposal is None and answer.state == "ready":
        if asked.explicit:
            notices.append(f"Proposal {want.proposal} is not among yours, so it is not chosen.")
        want = replace(want, proposal=None, dataset=None)
    dataset = next((d for d in answer.datasets if d.pid == want.dataset), None)
    if want.dataset and dataset is None and answer.state == "ready" and answer.datasets:
        if asked.explicit:
            notices.append(f"Proposal {want.proposal} has no dataset {want.dataset}.")
        want = replace(want, dataset=None)
    if want.template and want.template not in {t.id for t in templates}:
        if asked.explicit:
            notices.append(f"The notebook {want.template} is not published here.")
        want = replace(want, template=None)

    beam = Beam.of(site, person, moment or Moment())
    misfits = dict(offers.misfits.get(want.template or "", {}))
    if proposal or not want.proposal:  # of one that is not known yet, neither are its dates
        misfits = {**beam.why_not(proposal), **misfits}
    chosen = choose(views, (want.profile,), misfits)
    named = chosen is not None and chosen.offer.profile.id == want.profile
    if want.profile and not named:
        if asked.explicit:
            notices.append(why_not(want.profile, views, misfits, chosen))
        want = _without(want, {*RESOURCES, "environment", *_fields(want)})
    if chosen is not None:
        known = {e for e, _ in chosen.offer.environments}
        if want.environment not in known:
            want = replace(want, environment=None)
        broken = resolve(chosen.offer.profile, want.wish)[1]
        environment = _environment(site, chosen, want, moment or Moment())
        if environment is not None:
            profile = chosen.offer.profile
            broken += wrong_answers(want, profile, environment, chosen.menus, person)
        if asked.explicit:
            problems += broken
        want = _without(want, {problem.field for problem in broken})
        if asked.explicit and not asked.posted:
            notices += _foreign(want, chosen)
        chosen = replace(chosen, offer=with_wish(chosen.offer, want.wish), checked=True)
        want = replace(want, profile=chosen.offer.profile.id)
        views = [chosen if v.offer.profile is chosen.offer.profile else v for v in views]

    shown = shown_menus(views)
    menus: tuple[MenuView, ...] = ()
    if chosen is not None:
        answered = (shown[menu].answered(want.chosen(menu.name)) for menu in chosen.menus)
        menus = tuple(menu for menu in answered if menu is not None)
    listed = datasets_json(templates, proposal, answer.datasets if proposal else ())
    cards = tuple(rank(templates, proposal, dataset))
    return Page(
        site=site,
        answer=answer,
        proposals=tuple(proposal_json(p, beam) for p in answer.proposals),
        datasets=tuple(listed["datasets"]),
        cards=cards,
        groups=groups_of(views),
        selection=want,
        chosen=chosen,
        menus=menus,
        paths=own_paths(chosen.offer.all_paths, person) if chosen else (),
        age=oldest_look(looks),
        notices=tuple(dict.fromkeys(notices)),
        problems=by_field(problems),
        site_error=site_error if person.admin else "",
        data={
            **(links or {}),
            "state": answer.state,
            **menus_json(views, shown),
            "account": person.name,
            "usable": [v.to_dict() for v in views],
            "templates": [
                {
                    "id": t.id,
                    "title": t.manifest.title,
                    "version": t.manifest.version,
                    "requires": t.manifest.requires.model_dump(),
                }
                for t in templates
            ],
            "misfits": offers.misfits,
            "selection": want.to_options(),
            # Whether a suiting notebook may be proposed: at once, and when other data are chosen.
            "propose": want.template is None and (asked.explicit or remembered == Selection()),
            "touched": asked.posted or bool(asked.explicit and want.template),
            "noProposal": fit_table(rank(templates, None, None)),
            "fits": listed["fits"],
        },
        profiles_json=Markup(f"[{','.join(v.offer.text for v in views)}]"),
        summary=_summary(want, dataset, cards, chosen, menus),
    )


def _foreign(want: Selection, chosen: ProfileView) -> Iterable[str]:
    """What a link would run that the facility itself does not offer."""
    if path := want.chosen(PATH):
        yield f"The link runs what is at {path}. Start it only if you know it."
    for menu in chosen.menus:
        value = want.chosen(menu.name)
        if value and menu.find(value) is None:
            title = menu.title[:1].lower() + menu.title[1:]
            yield f"The link has the {title} {value}. Start it only if you know it."


def _fields(want: Selection) -> set[str]:
    return {FIELD + name for name, _ in want.choices}


def _without(want: Selection, fields: set[str]) -> Selection:
    """``want`` without the answers to ``fields``, named as in a form."""
    kept = tuple((name, value) for name, value in want.choices if FIELD + name not in fields)
    own: dict[str, Any] = dict.fromkeys(fields & {*RESOURCES, "environment"})
    return replace(want, choices=kept, **own)


def _environment(
    site: Site, chosen: ProfileView, want: Selection, moment: Moment
) -> Environment | None:
    offered = moment.environments(site, chosen.offer.profile)
    return next((e for e in offered if e.id == want.environment), next(iter(offered), None))


def by_field(problems: Iterable[Problem]) -> dict[str, tuple[str, ...]]:
    """Each problem once, under the field that it is about."""
    table: dict[str, tuple[str, ...]] = {}
    for problem in dict.fromkeys(problems):
        table[problem.field] = (*table.get(problem.field, ()), problem.message)
    return table


def _summary(
    want: Selection,
    dataset: Dataset | None,
    cards: Sequence[Fit],
    chosen: ProfileView | None,
    menus: Iterable[MenuView],
) -> str:
    data = " / ".join(p for p in (want.proposal, dataset.name if dataset else want.dataset) if p)
    card = next((c.template.manifest for c in cards if c.template.id == want.template), None)
    parts = [data or "No data", f"{card.title} {card.version}" if card else "Empty workspace"]
    if chosen:
        profile = chosen.offer.profile
        compute = [f"{profile.title} on {words.place(profile.backend)}", chosen.offer.summary]
        compute += [f"{menu.title} {menu.said}" for menu in menus if menu.said]
        compute.append(want.chosen(PATH) or "")
        parts.append(", ".join(filter(None, compute)))
    return " · ".join(parts)
