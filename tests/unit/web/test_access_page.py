"""Windows, beam times and typed answers, as the page and portals are told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from bs4 import BeautifulSoup

from panosc_hub.backends.base import Availability
from panosc_hub.core.policy import Moment
from panosc_hub.core.profiles import Wish, resolve
from panosc_hub.core.selection import Selection
from panosc_hub.web import page
from panosc_hub.web.instead import starts_now
from panosc_hub.web.menus import menu_json
from panosc_hub.web.rows import Beam, proposal_json
from tests.stage import IMAGES, PROPOSALS, TUESDAY, Stage, mixed

HG, OLD = PROPOSALS[0], PROPOSALS[2]


async def shown(stage: Stage) -> Any:
    return BeautifulSoup(await page.options_form(stage), "html.parser")


async def test_a_profile_outside_its_window_is_greyed_with_when_it_opens() -> None:
    row = (await shown(mixed())).select_one('[data-profile="night"]')
    assert row.input.has_attr("disabled")
    assert row.select_one("[data-words]").text == "opens on Wednesday 20:00 CET"
    stage = mixed()
    stage.now = replace(stage.now, clock=lambda: TUESDAY + timedelta(days=1, hours=7))
    row = (await shown(stage)).select_one('[data-profile="night"]')
    assert not row.input.has_attr("disabled")
    assert row.select_one("[data-words]").text == "starts now"


async def test_a_remembered_profile_whose_beam_time_is_over_is_not_checked() -> None:
    for proposal, checked in ((HG.id, "beam"), (OLD.id, "small"), (None, "small")):
        stage = mixed()
        stage.last = Selection("beam", proposal)
        soup = await shown(stage)
        assert soup.select_one("[name=profile][checked]")["value"] == checked


async def test_a_link_reads_when_the_beam_time_is() -> None:
    stage = mixed().link(profile="beam", proposal=OLD.id)
    (notice,) = (await shown(stage)).select("[data-testid=notice]")
    assert notice.text.strip() == (
        "Beam time cannot be used: for proposals during their beam time and 2 days after it; "
        "MX-2000 has its from 1 to 4 December 2025. Small is chosen instead."
    )


def test_portals_are_told_which_proposals_have_their_beam_time() -> None:
    stage = mixed()
    beam = Beam.of(stage.facility.site, stage.person(), stage.moment())
    assert proposal_json(HG, beam)["beam"] == ["beam"]
    old = proposal_json(OLD, beam)
    assert (old["beam"], old["beam_why"]) == ([], "MX-2000 has its from 1 to 4 December 2025")
    plain = Stage()
    none = Beam.of(plain.facility.site, plain.person(), plain.moment())
    assert "beam" not in proposal_json(HG, none)


def test_portals_are_told_what_may_be_typed() -> None:
    assert menu_json(IMAGES)["patterns"] == list(IMAGES.patterns)


def test_what_is_closed_or_for_a_beam_time_is_not_proposed_instead() -> None:
    stage = mixed()
    site = stage.facility.site
    small = site.profile("small")
    assert small is not None
    resources, _ = resolve(small, Wish())
    free = Availability(True, 9, "starts now")
    night = {"night": free, "beam": free}
    closed = starts_now(site, stage.person(), night, small, resources, moment=stage.now)
    assert closed is None
    later = Moment(clock=lambda: TUESDAY + timedelta(days=1, hours=7))
    opened = starts_now(site, stage.person(), night, small, resources, moment=later)
    assert opened is not None
    assert opened.id == "night"
