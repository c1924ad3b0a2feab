"""Menus, own environments and limits of now, in a real browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from panosc_hub.core.selection import Selection, parse_form
from tests.browser.server import Scene
from tests.browser.test_pages import WINDOWS, axe, complaints
from tests.stage import choosing

__all__ = ["axe"]

G = 2**30
OWN = "&opt-environment=pyfai&opt-choice-path=/home/amember/env"


@pytest.fixture(autouse=True)
def stage(scene: Scene) -> None:
    """Every page here has menus."""
    scene.stage = choosing()


async def start(page: Any, scene: Scene) -> Selection:
    await page.locator("#ph-go").click()
    await page.wait_for_url("**/spawn-pending/**")
    return parse_form(scene.posted[-1])


@pytest.mark.parametrize(("width", "theme"), WINDOWS)
async def test_axe_finds_nothing_where_there_is_more_to_choose(
    opened: Any, picture: Any, axe: str, width: int, theme: str
) -> None:
    link = f"/hub/spawn?opt-profile=small&opt-choice-account=mx-2000{OWN}&opt-choice-qos=vip"
    async with opened(link, width=width, height=800, theme=theme) as page:
        await page.locator("#ph-path").wait_for()
        await picture(page, f"choices-{theme}-{width}")
        assert await complaints(page, axe) == []


async def test_axe_finds_nothing_without_javascript(opened: Any, picture: Any) -> None:
    async with opened(
        f"/hub/spawn?opt-profile=small{OWN}", width=360, java_script_enabled=False
    ) as page:
        await picture(page, "choices-plain-360")
        # axe is a script itself; what it would look for first is looked for here.
        for name in ("Environment", "Account", "Reservation", "Path of your own environment"):
            assert await page.get_by_label(name, exact=True).is_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_menus_do_not_make_the_page_wider(opened: Any, width: int) -> None:
    async with opened(f"/hub/spawn?opt-profile=small{OWN}", width=width, height=800) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_what_is_chosen_is_said_sent_and_asked_about(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        await page.get_by_label("Account").select_option("mx-2000")
        await page.get_by_label("Reservation").select_option("beam_1")
        summary = page.get_by_test_id("summary")
        assert "Account MX 2000, Reservation Beamtime · until 18:00" in await summary.inner_text()
        async with page.expect_response("**/estimate?*choice-account=mx-2000*"):
            pass
        chosen = await start(page, scene)
    assert chosen == Selection("small", choices=(("account", "mx-2000"), ("reservation", "beam_1")))
    assert parse_qs(scene.estimated[-1])["choice-reservation"] == ["beam_1"]


async def test_an_untouched_menu_sends_nothing(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        assert await page.get_by_label("Account").input_value() == ""
        assert await page.get_by_label("QOS").count() == 0
        assert await start(page, scene) == Selection("small")


async def test_menus_belong_to_the_chosen_profile(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        await page.get_by_label("Account").select_option("mx-2000")
        await page.get_by_label("Reservation").select_option("beam_1")
        await page.locator('input[name="profile"][value="a100"]').check()
        assert await page.get_by_label("Reservation").count() == 0
        assert await page.get_by_label("Account").input_value() == "mx-2000"
        await page.get_by_label("GPU type").select_option("h100")
        chosen = await start(page, scene)
    assert chosen == Selection("a100", choices=(("account", "mx-2000"), ("gpu", "h100")))


async def test_an_own_environment_is_asked_for_where_one_may_be_used(
    opened: Any, scene: Scene
) -> None:
    async with opened("/hub/spawn") as page:
        path = page.get_by_label("Path of your own environment")
        assert await path.count() == 0
        await page.locator("#ph-environment").select_option("pyfai")
        assert "/home/amember/**" in await page.locator("#ph-path-hint").inner_text()
        await path.fill(" /home/amember/env ")
        await page.locator("#ph-environment").select_option("")
        assert await path.count() == 0
        await page.locator("#ph-environment").select_option("pyfai")
        assert await path.input_value() == "/home/amember/env"
        assert "/home/amember/env" in await page.get_by_test_id("summary").inner_text()
        chosen = await start(page, scene)
    assert chosen == Selection(
        "small", environment="pyfai", choices=(("path", "/home/amember/env"),)
    )


async def test_the_copied_link_carries_the_choices(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn", permissions=["clipboard-read", "clipboard-write"]) as page:
        await page.get_by_label("Account").select_option("mx-2000")
        await page.locator("#ph-environment").select_option("pyfai")
        await page.get_by_label("Path of your own environment").fill("/home/amember/env")
        await page.locator("#ph-copy").click()
        await page.get_by_text("Link copied").wait_for()
        link = await page.evaluate("navigator.clipboard.readText()")
        assert parse_qs(urlsplit(link).query)["opt-choice-path"] == ["/home/amember/env"]
        before = await page.get_by_test_id("summary").inner_text()
        await page.goto(link)
        await page.wait_for_selector("html[data-ph-ready]", state="attached")
        assert await page.get_by_test_id("summary").inner_text() == before
        assert await page.get_by_text("Start it only if you know it").is_visible()
    assert scene.posted == []


async def test_menus_work_by_keyboard(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        await page.locator("#ph-walltime").focus()
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.name") == "choice-account"
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.name") == "environment"
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Tab")
        await page.keyboard.type("/home/amember/env")
        assert "Account MX 2000" in await page.get_by_test_id("summary").inner_text()
        chosen = await start(page, scene)
    assert chosen.choices == (("account", "mx-2000"), ("path", "/home/amember/env"))


async def test_sliders_end_where_the_backend_does_now(opened: Any, scene: Scene) -> None:
    scene.stage = choosing(cpus=6, memory=24 * G)
    async with opened("/hub/spawn?opt-memory=64G") as page:
        await page.locator("#ph-memory").focus()
        await page.keyboard.press("End")
        assert await page.locator("#ph-memory").get_attribute("aria-valuetext") == "24 GB"
        assert "between 2G and 24G" in await page.locator("#ph-adjust").inner_text()
        chosen = await start(page, scene)
    assert chosen == Selection("small", memory=24 * G)


async def test_a_partition_that_disappeared_greys_its_profile(opened: Any, scene: Scene) -> None:
    scene.stage = choosing(small="SLURM has no partition cpu")
    async with opened("/hub/spawn") as page:
        row = page.locator('[data-profile="small"]')
        assert await row.locator("input").is_disabled()
        assert "SLURM has no partition cpu" in await row.inner_text()
        assert (await start(page, scene)).profile == "a100"


async def test_without_javascript_menus_are_sent_all_the_same(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn", java_script_enabled=False) as page:
        await page.get_by_label("Account").select_option("mx-2000")
        chosen = await start(page, scene)
    assert chosen == Selection("small", choices=(("account", "mx-2000"),))
