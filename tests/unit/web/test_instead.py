"""A start that took too long: the form comes back with the reason and what would start now."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from bs4 import BeautifulSoup

from panosc_hub.backends.base import Availability
from panosc_hub.core.identity import Person
from panosc_hub.core.profiles import Requirements, Wish, resolve
from panosc_hub.core.selection import Selection
from panosc_hub.core.state import ServerState
from panosc_hub.errors import BackendError
from panosc_hub.web import page
from panosc_hub.web.instead import adapted, advise, starts_now
from tests.stage import Stage, choosing

WHY = "The session did not start within 10 min, so its job was cancelled."


def instead(given_up: str = "small", *, stage: Stage | None = None, **changed: Any) -> str | None:
    stage = stage or Stage()
    site, looks = stage.facility.site, stage.availability()
    looks |= {name: Availability(**look) for name, look in changed.pop("looks", {}).items()}
    profile = site.profile(given_up)
    assert profile is not None
    resources, problems = resolve(profile, changed.pop("wish", Wish()))
    assert not problems
    found = starts_now(
        site, changed.pop("person", stage.person()), looks, profile, resources, **changed
    )
    return found.id if found else None


def test_the_profile_that_offers_the_same_and_has_room_is_found() -> None:
    assert instead("small") == "medium"
    assert instead("a100") == "l4"  # the exclusive node is for staff; medium has no GPU


def test_profiles_of_others_are_not_proposed() -> None:
    staff = Person("ingo", frozenset({"staff"}))
    assert instead("small", wish=Wish(memory=64 * 2**30)) == "medium"
    assert instead("small", wish=Wish(memory=64 * 2**30), person=staff) == "exclusive"


@pytest.mark.parametrize(
    "look", [{"free": 0}, {"free": None}, {"usable": False, "free": 3}], ids=str
)
def test_only_what_was_seen_to_be_free_is_proposed(look: dict[str, Any]) -> None:
    full = {"free": 0}
    assert instead("small", looks={"medium": look, "l4": full, "exclusive": full}) is None


def test_what_the_notebook_needs_is_kept() -> None:
    assert instead("small", needs=Requirements(gpus=1)) == "l4"
    assert instead("small", needs=Requirements(memory="1T")) is None


def test_amounts_that_the_other_profile_does_not_offer_become_its_own() -> None:
    site = Stage().facility.site
    asked = Selection("small", "HG-123", cpus=4, memory=8 * 2**30, walltime=3600)
    medium = site.profile("medium")
    assert medium is not None
    assert adapted(asked, medium) == Selection("medium", "HG-123", cpus=4)


def test_answers_that_the_other_profile_offers_too_are_taken_along() -> None:
    stage = choosing()
    other = stage.facility.site.profile("a100")
    assert other is not None
    asked = Selection("small", choices=(("account", "mx-2000"), ("reservation", "beam_1")))
    menus = stage.now.all_menus(other, stage.person())
    assert adapted(asked, other, menus).choices == (("account", "mx-2000"),)


def test_what_is_not_offered_now_is_not_proposed() -> None:
    staff = Person("ingo", frozenset({"staff"}))
    wish = Wish(memory=64 * 2**30)
    stage = choosing(exclusive="no node is up")
    assert instead("small", stage=stage, wish=wish, person=staff, moment=stage.now) == "medium"


def given_up(ago: float = 60, **looks: Availability) -> Stage:
    stage = Stage(last=Selection("small", "HG-123", template="nexus", walltime=3600))
    stage.state = ServerState(ended=WHY, summary={"gave_up": time.time() - ago})  # type: ignore[attr-defined]
    if looks:
        stage.looks = {**stage.availability(), **looks}
    return stage


async def form(stage: Stage) -> tuple[list[str], set[str]]:
    soup = BeautifulSoup(await page.options_form(stage), "html.parser")
    chosen = {str(i["value"]) for i in soup.select("input[checked]")}
    return [n.get_text(strip=True) for n in soup.select("[data-testid=notice]")], chosen


async def test_the_form_comes_back_with_reason_and_proposal() -> None:
    notices, chosen = await form(given_up())
    assert notices == [f"{WHY} Medium would start now and is chosen."]
    assert {"medium", "HG-123", "nexus"} <= chosen


async def test_without_a_fitting_profile_the_form_only_tells_why() -> None:
    full = Availability(True, 0, "none free now")
    notices, chosen = await form(given_up(medium=full, l4=full))
    assert notices == [WHY]
    assert {"small", "HG-123", "nexus"} <= chosen


async def test_an_old_story_is_not_told_again() -> None:
    notices, chosen = await form(given_up(ago=7200))
    assert notices == []
    assert "small" in chosen


async def test_a_link_says_what_to_open_all_the_same() -> None:
    _, chosen = await form(given_up().link(profile="a100"))
    assert "a100" in chosen


def test_the_pending_page_names_the_profile() -> None:
    stage = Stage()
    profile = stage.facility.site.profile("small")
    assert profile is not None
    stage.choice = SimpleNamespace(  # type: ignore[attr-defined]
        profile=profile, resources=resolve(profile, Wish())[0], template=None
    )
    stage.state = ServerState()  # type: ignore[attr-defined]
    error = advise(stage, BackendError(WHY, reason="timeout"))
    assert error.sentence == f"{WHY} Medium would start now."
    assert error.reason == "timeout"
    assert stage.state.summary["gave_up"] == pytest.approx(time.time(), abs=5)  # type: ignore[attr-defined]
    stage.looks = {k: replace(v, free=0) for k, v in stage.availability().items()}
    assert advise(stage, BackendError(WHY, reason="timeout")).sentence == WHY
