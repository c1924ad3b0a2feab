"""Slurm, Kubernetes and this machine on one page; images that may be typed; windows, beam time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from panosc_hub.core.choices import Option
from panosc_hub.core.policy import Moment
from panosc_hub.core.profiles import Limits, tighten
from panosc_hub.core.selection import Selection, parse_form
from tests.browser.server import Scene, session
from tests.browser.test_pages import WINDOWS, axe, complaints
from tests.stage import IMAGES, TUESDAY, mixed

__all__ = ["axe"]

G = 2**30
TYPED = "quay.io/ours/hdf5-tools:1.2_rc"
PAGES = {
    "mixed": "/hub/spawn?opt-profile=medium&opt-proposal=HG-123",
    "mixed-typed": f"/hub/spawn?opt-profile=medium&opt-choice-image={TYPED}",
}


@pytest.fixture
def scene(scene: Scene) -> Scene:
    scene.stage = mixed()
    return scene


async def start(page: Any, scene: Scene) -> Selection:
    await page.get_by_role("button", name="Start session").click()
    await page.wait_for_url("**/spawn-pending/**")
    return parse_form(scene.posted[-1])


async def look_again(page: Any) -> None:
    async with page.expect_response("**/panosc/profiles*"):
        await page.get_by_role("button", name="Look again").click()
    await page.wait_for_selector("#ph-look:not([disabled])")


@pytest.mark.parametrize(("width", "theme"), WINDOWS)
@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing_where_all_backends_meet(
    opened: Any, picture: Any, axe: str, name: str, width: int, theme: str
) -> None:
    async with opened(PAGES[name], width=width, height=800, theme=theme) as page:
        await page.get_by_test_id("estimate").get_by_text("now").wait_for()
        await picture(page, f"{name}-{theme}-{width}")
        assert await complaints(page, axe) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_profiles_are_grouped_by_backend_with_what_is_free(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        groups = page.locator(".ph-group")
        titles = await groups.locator("legend").all_inner_texts()
        assert titles == ["Slurm", "Kubernetes", "This machine"]
        listed = (
            await groups.nth(1)
            .locator("[data-profile]")
            .evaluate_all("rows => rows.map(r => r.dataset.profile)")
        )
        assert listed == ["medium", "l4", "night", "beam"]
        medium = page.locator('[data-profile="medium"]')
        assert "12 free" in await medium.inner_text()
        assert "starts now" in await medium.inner_text()
        assert await page.locator("#ph-looked").inner_text() == "looked 12 s ago"
        l4 = page.locator('[data-profile="l4"]')
        assert await l4.locator("input").is_disabled()
        assert "no node of the cluster has one" in await l4.inner_text()
        assert "free" not in await l4.inner_text()


async def test_a_closed_window_is_greyed_with_when_it_opens_until_it_does(
    opened: Any, scene: Scene
) -> None:
    async with opened("/hub/spawn") as page:
        night = page.locator('[data-profile="night"]')
        assert await night.locator("input").is_disabled()
        assert "opens on Wednesday 20:00 CET" in await night.inner_text()
        later = TUESDAY + timedelta(days=1, hours=7)
        scene.stage.now = replace(scene.stage.now, clock=lambda: later)
        await look_again(page)
        assert not await night.locator("input").is_disabled()
        assert "opens" not in await night.inner_text()
        assert "4 free" in await night.inner_text()


async def test_a_profile_for_beam_time_opens_with_a_proposal_that_has_it(
    opened: Any, scene: Scene
) -> None:
    async with opened("/hub/spawn") as page:
        beam = page.locator('[data-profile="beam"]')
        told = "for proposals during their beam time and 2 days after it"
        assert f"{told}; choose one" in await beam.inner_text()
        assert await beam.locator("input").is_disabled()
        await page.get_by_text("AgBh calibration").click()
        assert not await beam.locator("input").is_disabled()
        assert "2 free" in await beam.inner_text()
        assert "choose one" not in await beam.inner_text()
        await beam.click()
        await page.get_by_text("Phase transitions in perovskites 0").click()
        assert f"{told}; MX-2000 has its from 1 to 4 December 2025" in await beam.inner_text()
        assert await beam.locator("input").is_disabled()
        note = await page.locator("#ph-profile-note").inner_text()
        assert note.startswith("Beam time: for proposals during")
        assert "is chosen instead" in note
        await page.get_by_text("AgBh calibration").click()
        await beam.click()
        await page.get_by_test_id("estimate").get_by_text("now").wait_for()
        chosen = await start(page, scene)
    assert chosen == Selection("beam", "HG-123")
    assert scene.estimated[-1] == "profile=beam&proposal=HG-123"


async def test_the_dates_of_proposals_that_came_late_count_too(opened: Any, scene: Scene) -> None:
    scene.stage.facility.catalogue.mood = "down"
    async with opened("/hub/spawn?opt-proposal=HG-123&opt-profile=beam") as page:
        beam = page.locator('[data-profile="beam"]')
        # Nobody knows yet, so nobody is sent away; the start asks the catalogue itself.
        assert await beam.locator("input").is_checked()
        scene.stage.facility.catalogue.mood = "ready"
        await page.locator("#ph-catalogue-again").click()
        await page.get_by_text("Phase transitions in perovskites 0").click()
        assert await beam.locator("input").is_disabled()


async def test_an_image_of_the_list_is_chosen(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn?opt-profile=medium") as page:
        image = page.get_by_label("Image", exact=True)
        assert await image.locator("option").all_inner_texts() == [
            "SciPy 2026.9", "quay.io/ours/torch:3.1", "Other …",
        ]  # fmt: skip
        assert not await page.get_by_label("Other Image").is_visible()
        await image.select_option("quay.io/ours/torch:3.1")
        chosen = await start(page, scene)
    assert chosen == Selection("medium", choices=(("image", "quay.io/ours/torch:3.1"),))


async def test_an_untouched_image_stays_the_facilitys_to_change(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn?opt-profile=medium") as page:
        assert await start(page, scene) == Selection("medium")


async def test_another_image_is_typed_by_keyboard(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn?opt-profile=medium") as page:
        await page.get_by_label("Image", exact=True).focus()
        await page.keyboard.press("End")
        typed = page.get_by_label("Other Image")
        await typed.wait_for()
        assert await page.evaluate("document.activeElement.id") == "ph-choice-image-typed"
        hint = await page.locator("#ph-choice-image-hint").inner_text()
        assert hint == "One like quay.io/ours/…:… or ghcr.io/facility/…@sha256:…"
        # Empty, it is no answer: the browser asks for one and nothing is sent.
        await page.get_by_role("button", name="Start session").click()
        assert scene.posted == []
        await typed.focus()
        await page.keyboard.type(f" {TYPED} ")
        summary = page.get_by_test_id("summary")
        assert f"Image {TYPED}" in await summary.inner_text()
        chosen = await start(page, scene)
    assert chosen == Selection("medium", choices=(("image", TYPED),))


async def test_a_typed_image_of_a_link_is_shown_with_a_warning(opened: Any, scene: Scene) -> None:
    async with opened(PAGES["mixed-typed"]) as page:
        assert await page.get_by_label("Other Image").input_value() == TYPED
        assert f"Image {TYPED}" in await page.get_by_test_id("summary").inner_text()
        notice = await page.get_by_test_id("notice").inner_text()
        assert notice == f"The link has the image {TYPED}. Start it only if you know it."
        # Back to the list and forth again, what was typed is still there.
        await page.get_by_label("Image", exact=True).select_option("")
        assert not await page.get_by_label("Other Image").is_visible()
        assert (await start(page, scene)).choices == ()


async def test_an_image_that_no_pattern_takes_is_refused_in_words(opened: Any) -> None:
    async with opened(
        "/hub/spawn?opt-profile=medium&opt-choice-image=docker.io/evil/miner"
    ) as page:
        told = await page.locator('[data-field="choice-image"]').inner_text()
        assert told == (
            "Image docker.io/evil/miner is not offered on Medium; there is "
            "quay.io/ours/scipy:2026.9, quay.io/ours/torch:3.1; you may type one like "
            "quay.io/ours/…:… or ghcr.io/facility/…@sha256:…"
        )


async def test_without_javascript_an_image_is_typed_or_taken_from_the_list(
    opened: Any, axe: str, scene: Scene
) -> None:
    path = "/hub/spawn?opt-profile=medium"
    async with opened(path, java_script_enabled=False) as page:
        image = page.get_by_label("Image", exact=True)
        assert await image.get_attribute("list") == "ph-plain-image-list"
        hint = await page.locator("#ph-plain-image-hint").inner_text()
        assert "Empty: SciPy 2026.9." in hint
        assert "One like quay.io/ours/…:…" in hint
        await image.fill(TYPED)
        chosen = await start(page, scene)
    assert chosen == Selection("medium", choices=(("image", TYPED),))
    async with opened(path, java_script_enabled=False) as page:
        assert await start(page, scene) == Selection("medium")


async def test_what_is_offered_is_renewed_and_what_was_chosen_stays(
    opened: Any, scene: Scene
) -> None:
    more = replace(IMAGES, options=(*IMAGES.options, Option("quay.io/ours/new:1")))
    async with opened("/hub/spawn?opt-profile=small&opt-memory=16G") as page:
        memory = page.locator("#ph-memory")
        await memory.focus()
        await page.get_by_label("Account").select_option("mx-2000")
        await memory.focus()
        now = scene.stage.now
        scene.stage.now = replace(
            now,
            offered=lambda p: tighten(p, Limits(memory=48 * G)) if p.id == "small" else p,
            menus=lambda p, person: (more,) if p.id == "medium" else now.menus(p, person),
        )
        await look_again(page)
        assert await memory.get_attribute("aria-valuetext") == "16 GB"
        assert await page.get_by_label("Account").input_value() == "mx-2000"
        await memory.focus()
        await page.keyboard.press("End")
        assert await memory.get_attribute("aria-valuetext") == "48 GB"
        # Less is there now than was chosen: the most that there is.
        scene.stage.now = replace(
            scene.stage.now,
            offered=lambda p: tighten(p, Limits(memory=32 * G)) if p.id == "small" else p,
        )
        await look_again(page)
        assert await memory.get_attribute("aria-valuetext") == "32 GB"
        await page.locator('[data-profile="medium"] input').check()
        assert await page.get_by_label("Image", exact=True).locator("option").count() == 4
        await page.locator('[data-profile="small"] input').check()
        chosen = await start(page, scene)
    assert chosen == Selection("small", memory=32 * G, choices=(("account", "mx-2000"),))


async def test_renewing_keeps_the_cursor_and_tells_what_is_gone(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn?opt-profile=medium") as page:
        await page.get_by_label("Image", exact=True).select_option(label="Other …")
        await page.keyboard.type("quay.io/ours/ne")
        less = replace(IMAGES, options=IMAGES.options[:1])
        scene.stage.now = Moment(
            menus=lambda p, person: (less,) if p.backend == "kubernetes" else ()
        )
        async with page.expect_response("**/panosc/profiles*"):
            await page.evaluate("document.getElementById('ph-look').click()")
        await page.wait_for_function(
            "document.querySelectorAll('#ph-choice-image option').length === 2"
        )
        await page.keyboard.type("w:1")
        assert await page.get_by_label("Other Image").input_value() == "quay.io/ours/new:1"
    scene.stage = mixed()
    async with opened("/hub/spawn?opt-profile=small&opt-choice-account=mx-2000") as page:
        scene.stage.now = replace(scene.stage.now, menus=lambda p, person: ())
        await look_again(page)
        assert await page.get_by_label("Account").count() == 0
        assert (await start(page, scene)).choices == ()


@pytest.mark.parametrize("width", [1100, 1200, 1279])
async def test_all_notebooks_are_whole_in_a_window_of_middle_width(opened: Any, width: int) -> None:
    async with opened("/hub/spawn", width=width, height=800) as page:
        cards = page.locator("#ph-cards")
        assert await cards.locator(".ph-card:not([hidden])").count() == 5
        assert await cards.evaluate("c => c.scrollHeight - c.clientHeight") == 0


@pytest.mark.parametrize("path", ["/hub/home", "/hub/spawn-pending/amember/typed"])
async def test_what_was_chosen_is_told_while_it_starts_and_on_the_home_page(
    opened: Any, scene: Scene, path: str
) -> None:
    facts = {"profile": "Medium", "backend": "kubernetes", "choices": f"Image {TYPED}"}
    scene.sessions = [session("typed", state="starting", **facts)]
    async with opened(path) as page:
        assert f"Image {TYPED}" in await page.locator(".ph-facts").inner_text()
