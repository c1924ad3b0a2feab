"""The rendered pages: escaping, pre-filling, and a form that is valid without JavaScript."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from panosc_hub.backends.base import Availability
from panosc_hub.core.choices import Menu, Option
from panosc_hub.core.identity import Person
from panosc_hub.core.policy import Moment
from panosc_hub.core.selection import FIELDS, Selection, parse_form
from panosc_hub.core.templates import picture_type
from panosc_hub.errors import Problem
from panosc_hub.web import page
from tests.stage import (
    HOSTILE,
    PROPOSALS,
    SITE,
    Stage,
    StageCatalogue,
    StageFacility,
    choosing,
    template,
)


async def render(stage: Stage) -> BeautifulSoup:
    return BeautifulSoup(await page.options_form(stage), "html.parser")


def submitted(soup: BeautifulSoup) -> dict[str, list[str]]:
    """What a browser without JavaScript would post."""
    form: dict[str, list[str]] = {}
    for field in soup.select("input[name], select[name]"):
        if field.has_attr("disabled"):
            continue
        if field.name == "select":
            field = field.select_one("option[selected]") or field.select("option")[0]
            name = str(field.find_parent("select")["name"])  # type: ignore[index]
            form.setdefault(name, []).append(str(field["value"]))
            continue
        if field.get("type") in ("radio", "checkbox") and not field.has_attr("checked"):
            continue
        form.setdefault(str(field["name"]), []).append(str(field.get("value", "")))
    return form


def data(soup: BeautifulSoup) -> dict[str, Any]:
    block = soup.find("script", id="ph-page")
    assert isinstance(block, Tag)
    found: dict[str, Any] = json.loads(block.string or "")
    return found


def checked(soup: BeautifulSoup, name: str) -> str:
    (field,) = soup.select(f'input[name="{name}"][checked]')
    return str(field["value"])


async def test_without_javascript_the_form_posts_a_valid_selection() -> None:
    assert parse_form(submitted(await render(Stage()))) == Selection(profile="small")


async def test_without_javascript_a_link_is_posted_as_it_was_filled_in() -> None:
    link = {"proposal": "HG-123", "dataset": "20.500.12345/agbh-2", "template": "azimuthal"}
    soup = await render(Stage().link(**link, profile="a100"))
    assert parse_form(submitted(soup)) == Selection(profile="a100", **link)


async def test_a_facility_replaces_a_part_of_the_form_by_its_own_template(tmp_path: Path) -> None:
    (tmp_path / "spawn_form.html").write_text(
        '{% extends "panosc/spawn_form.html" %}'
        "{% block before %}<p id='house'>{{ page.site.facility.title }} {{ '<b>' }}</p>"
        "{% endblock %}"
        "{% block data %}<p id='no-data'></p>{% endblock %}"
    )
    stage = Stage()
    stage.user = SimpleNamespace(name="amember", settings={"template_path": [str(tmp_path)]})
    soup = await render(stage)
    house = soup.find(id="house")
    assert house is not None
    assert house.get_text() == "Demo facility <b>"
    assert soup.find(id="no-data")
    assert not soup.select('[name="proposal"]')
    assert soup.select('[name="template"]')
    assert data(soup)["usable"]
    # Another Hub of the same process, and the next test, have their own pages.
    assert (await render(Stage())).select('[name="proposal"]')


async def test_the_form_has_no_field_that_the_parser_does_not_know() -> None:
    names = {str(f["name"]) for f in (await render(Stage())).select("[name]")}
    assert names <= set(FIELDS)
    names = {str(f["name"]) for f in (await render(choosing())).select("[name]")}
    assert {n for n in names if not n.startswith("choice-")} <= set(FIELDS)
    assert {"choice-account", "choice-reservation", "choice-path"} <= names


async def test_without_javascript_menus_can_be_answered_and_mean_their_default() -> None:
    assert parse_form(submitted(await render(choosing()))) == Selection(profile="small")
    answers = {"choice-account": "mx-2000", "choice-path": "/home/amember/env"}
    soup = await render(choosing().link(profile="small", environment="pyfai", **answers))
    assert parse_form(submitted(soup)) == Selection(
        profile="small",
        environment="pyfai",
        choices=(("account", "mx-2000"), ("path", "/home/amember/env")),
    )
    for field in soup.select("noscript select, noscript input"):
        assert soup.find("label", attrs={"for": str(field["id"])}), field


async def test_a_line_that_was_rendered_once_is_never_shown_for_another_state() -> None:
    stage, other = choosing(), Person("s", frozenset({"staff"}))
    first = str(await page.options_form(stage))
    assert str(await page.options_form(stage)) == first
    stage.owner = other
    soup = await render(stage)
    assert not soup.select_one('[value="exclusive"]').has_attr("disabled")  # type: ignore[union-attr]
    stage.looks = {**stage.availability(), "small": Availability(True, 7, "starts at noon")}
    row = (await render(stage)).select_one('[data-profile="small"]')
    assert row is not None
    assert "7 free" in row.get_text()
    assert "starts at noon" in row.get_text()


async def test_without_javascript_another_profile_can_be_chosen_all_the_same() -> None:
    form = submitted(await render(choosing()))
    assert parse_form({**form, "profile": ["medium"]}) == Selection(profile="medium")


async def test_hostile_menus_are_text_and_nothing_else() -> None:
    stage = choosing()
    hostile = Menu("account", HOSTILE, (Option("a", HOSTILE, HOSTILE), Option(HOSTILE)), "a")
    stage.now = Moment(menus=lambda profile, person: (hostile,))
    html = await page.options_form(stage)
    soup = BeautifulSoup(html, "html.parser")
    assert not soup.find_all("img", onerror=True)
    assert {s.get("type") for s in soup.find_all("script")} == {"application/json"}
    assert html.count("</script>") == len(soup.find_all("script")) == 2


async def test_a_refused_answer_is_shown_beside_the_menus_and_what_was_good_is_kept() -> None:
    stage = choosing()
    stage.post({"profile": ["small"], "choice-account": ["mx-2000"], "choice-qos": ["--vip"]})
    soup = await render(stage)
    (problem,) = soup.select("#ph-compute .ph-problem")
    assert problem.get_text(" ", strip=True).startswith("QOS has characters")
    assert data(soup)["selection"]["choices"] == {"account": "mx-2000"}


async def test_a_profile_that_is_not_allowed_cannot_be_posted() -> None:
    soup = await render(Stage().link(profile="exclusive"))
    (field,) = soup.select('input[name="profile"][value="exclusive"]')
    assert field.has_attr("disabled")
    assert not field.has_attr("checked")
    reason = soup.find(id=str(field["aria-describedby"]))
    assert reason is not None
    assert "not for your group" in reason.get_text()
    assert parse_form(submitted(soup)).profile == "small"


async def test_hostile_titles_are_text_and_nothing_else() -> None:
    stage = Stage().link(proposal="XSS-1")
    html = await page.options_form(stage)
    soup = BeautifulSoup(html, "html.parser")
    assert {s.get("type") for s in soup.find_all("script")} == {"application/json"}
    assert not soup.find_all("img", onerror=True)
    assert not [t for t in soup.find_all(True) if any(a.startswith("on") for a in t.attrs)]
    assert HOSTILE in soup.get_text()
    assert html.count("</script>") == len(soup.find_all("script")) == 2


async def test_hostile_link_fields_become_an_escaped_notice_and_start_nothing() -> None:
    stage = Stage().link(profile=HOSTILE, proposal="HG-123", evil="<b>x</b>", cpus="many")
    soup = await render(stage)
    problems = [p.get_text(" ", strip=True) for p in soup.select(".ph-problem")]
    assert any(p.startswith("Profile") for p in problems)
    assert any(p.startswith("CPUs") for p in problems)
    assert any(p.startswith("Evil is not a field") for p in problems)
    assert "<b>x</b>" not in str(soup)
    assert checked(soup, "proposal") == "HG-123"


async def test_a_refused_form_keeps_what_was_chosen_and_shows_problems_beside_their_fields() -> (
    None
):
    stage = Stage(last=Selection(profile="medium", template="nexus"))
    stage.last_problems = (Problem("dataset", "belongs to somebody else"),)
    stage.post(
        {"profile": ["small"], "proposal": ["HG-123"], "template": [""], "memory": ["1T"],
         "cpus": ["2"]}
    )  # fmt: skip
    soup = await render(stage)
    assert checked(soup, "profile") == "small"
    assert checked(soup, "proposal") == "HG-123"
    assert checked(soup, "template") == ""
    data_step, compute = soup.select_one("#ph-data"), soup.select_one("#ph-compute")
    assert data_step is not None
    assert compute is not None
    assert "belongs to somebody else" in data_step.get_text()
    assert "64G" in compute.get_text()
    assert data(soup)["selection"]["cpus"] == 2


async def test_a_catalogue_that_is_down_leaves_the_other_steps_usable() -> None:
    stage = Stage(facility=StageFacility(catalogue=StageCatalogue("down")))
    soup = await render(stage)
    note = soup.find(id="ph-catalogue")
    assert note is not None
    assert "The catalogue does not answer; you can start without data" in note.get_text()
    assert parse_form(submitted(soup)) == Selection(profile="small")
    assert len(soup.select('input[name="template"]')) == 5


async def test_a_catalogue_with_a_bug_is_only_a_catalogue_that_is_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soup = await render(Stage(facility=StageFacility(catalogue=StageCatalogue("broken"))))
    assert data(soup)["state"] == "down"
    assert "The catalogue failed" in caplog.text


async def test_a_slow_catalogue_holds_up_neither_page_nor_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.05)
    stage = Stage(facility=StageFacility(catalogue=StageCatalogue("slow")))
    soup = await asyncio.wait_for(render(stage.link(proposal="HG-123")), 2)
    assert data(soup)["state"] == "slow"
    assert checked(soup, "proposal") == "HG-123"


async def test_another_persons_datasets_are_not_asked_for() -> None:
    stage = Stage()
    stage.link(proposal="HG-123").handler.current_user = SimpleNamespace(name="admin")
    assert data(await render(stage))["own"] is False


async def test_admins_read_that_the_new_site_file_is_broken_and_others_do_not() -> None:
    facility = StageFacility(site_error="site.yaml:3: <unknown> key\nsite.yaml:9: is missing")
    assert "site.yaml:3" not in str(await render(Stage(facility=facility)))
    soup = await render(Stage(facility=facility, owner=Person("root", admin=True)))
    (told,) = soup.select('[data-testid="site-error"]')
    assert "the last good one is in use" in told.get_text()
    lines = [line.get_text() for line in told.select("li")]
    assert lines == ["site.yaml:3: <unknown> key", "site.yaml:9: is missing"]


async def test_the_page_tells_how_old_the_look_is() -> None:
    looked = (await render(Stage())).find(id="ph-looked")
    assert looked is not None
    assert re.fullmatch(r"looked 1[2-9] s ago", looked.get_text())


async def test_no_backend_at_all_is_said_in_words() -> None:
    soup = await render(Stage(looks={}))
    assert "No compute profile can be reached now" in soup.get_text()
    (button,) = soup.select("#ph-go")
    assert button.has_attr("disabled")


async def test_nothing_is_loaded_from_elsewhere() -> None:
    html = await page.options_form(Stage())
    assert "http://" not in html
    assert "https://" not in html


async def test_fifty_profiles_take_a_few_milliseconds() -> None:
    """A guard against per-request work that grows; the benchmark has the real numbers."""
    base = SITE["profiles"][0]
    body = {**SITE, "profiles": [{**base, "id": f"p{i}", "title": f"P {i}"} for i in range(50)]}
    stage = Stage(facility=StageFacility(site=type(Stage().facility.site).model_validate(body)))
    stage.looks = {f"p{i}": Availability(True, i, "starts now", time.time()) for i in range(50)}
    stage.facility.published = tuple(template(f"t{i}", f"T {i}") for i in range(5))
    await page.options_form(stage)
    took = []
    for _ in range(10):
        began = time.process_time()  # what others use of this machine does not count
        await page.options_form(stage)
        took.append(time.process_time() - began)
    assert min(took) < 0.05, f"{min(took) * 1000:.1f} ms with {len(PROPOSALS)} proposals"


def test_static_addresses_change_with_the_file() -> None:
    address = page.template_globals().static("/x/hub/", "panosc.css")
    assert address.startswith("/x/hub/panosc/static/panosc.css?v=")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("memory: too much; gpus: none here", ["Memory: too much", "GPUs: none here"]),
        ("Not among yours; ask", ["Not among yours; ask"]),
        ("400: Bad Request (memory: a; cpus: b)", ["Memory: a", "CPUs: b"]),
        ("", []),
        (None, []),
    ],
)
def test_a_refusal_with_several_problems_is_shown_as_a_list(
    message: str | None, shown: list[str]
) -> None:
    assert page.template_globals().problem_list(message) == shown


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><svg xmlns="x"/>', "image/svg+xml"),
        (b"<svg xmlns='x'/>", "image/svg+xml"),
        (b"<html><svg/></html>", None),
        (b"GIF89a", None),
        (b"", None),
        (None, None),
    ],
)
def test_only_pictures_are_served_as_pictures(content: bytes | None, kind: str | None) -> None:
    assert picture_type(content) == kind
