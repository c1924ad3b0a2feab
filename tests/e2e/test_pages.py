"""The real pages: accessibility, narrow and wide, light and dark, and by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.test_pages import axe, complaints  # noqa: F401
from tests.e2e.conftest import Visit
from tests.e2e.facility import Facility
from tests.e2e.steps import choose, log_in, ready, start, stop_by_home_page

WINDOWS = [(1600, "light"), (1600, "dark"), (360, "dark"), (360, "light")]


async def look(page: Any, axe: str, name: str, picture: Callable[..., Any]) -> list[str]:  # noqa: F811
    """Complaints about one page in all windows, each with the window's name."""
    found = []
    for width, theme in WINDOWS:
        await page.set_viewport_size({"width": width, "height": 800})
        await page.emulate_media(color_scheme=theme)
        await page.reload()
        if await page.query_selector("script[type=module]"):
            await ready(page)
        if name == "pending":
            await page.locator("#progress-log li:nth-child(3)").wait_for()
        await picture(page, f"{name}-{theme}-{width}")
        found += [f"{name} {theme} {width}: {c}" for c in await complaints(page, axe)]
        if await page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{name} {theme} {width}: scrolls sideways")
    await page.set_viewport_size({"width": 1600, "height": 1000})
    await page.emulate_media(color_scheme="light")
    return found


async def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    facility: Facility,
    visit: Visit,
    axe: str,  # noqa: F811
    picture: Callable[..., Any],
) -> None:
    found: list[str] = []
    async with visit() as page:
        found += await look(page, axe, "login", picture)
        await log_in(page, "ingo")
        await page.goto(f"{facility.url}/hub/spawn?opt-proposal=HG-123&opt-memory=1X")
        found += await look(page, axe, "spawn", picture)
        await choose(page)
        with facility.held("ingo"):
            await start(page)
            await page.wait_for_url("**/hub/spawn-pending/ingo*")
            found += await look(page, axe, "pending", picture)
            await page.get_by_role("link", name="My sessions").click()
            found += await look(page, axe, "home-starting", picture)
        await page.get_by_role("link", name="Progress").click()
        await page.wait_for_url("**/lab/tree/**")
        await page.goto(f"{facility.url}/hub/home")
        found += await look(page, axe, "home", picture)
        await stop_by_home_page(page)
        found += await look(page, axe, "home-stopped", picture)
    async with visit() as page:
        await log_in(page, "nobody")
        await page.get_by_role("heading", name="does not know you yet").wait_for()
        found += [f"403: {c}" for c in await complaints(page, axe)]
        for width, theme in WINDOWS:
            # The page answers a callback that cannot be sent again, so it is not reloaded.
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(color_scheme=theme)
            await picture(page, f"403-{theme}-{width}")
            found += [f"403 {theme} {width}: {c}" for c in await complaints(page, axe)]
            if await page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"403 {theme} {width}: scrolls sideways")
    assert found == [], "\n".join(found)


async def test_a_session_starts_by_keyboard_alone(facility: Facility, visit: Visit) -> None:
    async with visit("mira") as page:
        await ready(page)
        keys = page.keyboard
        seen: list[str] = []
        for _ in range(60):
            await keys.press("Tab")
            name = await page.evaluate("document.activeElement.name || document.activeElement.id")
            if name == "proposal" and name not in seen:
                await keys.press("ArrowDown")
                await page.get_by_text("r0013").wait_for()
                await keys.press("ArrowDown")
                await page.get_by_text("agbh_0001").wait_for()
            if name == "dataset" and name not in seen:
                await keys.press("ArrowDown")
            seen.append(name)
            if name == "ph-go":
                break
        summary = await page.get_by_test_id("summary").inner_text()
        assert summary.startswith("HG-123 / agbh_0001 · Azimuthal integration"), seen
        await keys.press("Enter")
        await page.wait_for_url("**/lab/tree/**/saxs-agbh_0001.ipynb*")
        await page.goto(f"{facility.url}/hub/home")
        await stop_by_home_page(page)
