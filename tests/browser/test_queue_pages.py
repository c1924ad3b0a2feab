"""The queue and the time left, as people see them."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs

from tests.browser.server import Scene


async def test_the_estimate_follows_the_choice_without_a_storm(opened: Any, scene: Scene) -> None:
    scene.estimate = {"usable": True, "starts": 1.0, "words": "starts about 14:20 (in 25 min)"}
    async with opened("/hub/spawn?opt-profile=small") as page:
        place = page.get_by_test_id("estimate")
        await place.get_by_text("Starts about 14:20 (in 25 min).").wait_for()
        assert [parse_qs(q) for q in scene.estimated] == [{"profile": ["small"]}]
        scene.estimate = {"usable": True, "starts": None, "words": "starts now"}
        # Within one turn of the page's event loop, however slow this machine is.
        await page.evaluate("""() => {
            const slider = document.querySelector("#ph-memory");
            for (let i = 0; i < 4; i += 1) {
                slider.stepDown();
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                slider.dispatchEvent(new Event("change", { bubbles: true }));
            }
        }""")
        await place.get_by_text("Starts now.").wait_for()
        assert len(scene.estimated) == 2
        assert parse_qs(scene.estimated[1])["memory"] == ["2G"]


async def test_slurms_refusal_is_a_sentence_before_start(
    opened: Any, scene: Scene, picture: Any
) -> None:
    why = "Slurm would refuse this: Requested node configuration is not available."
    scene.estimate = {"usable": False, "starts": None, "words": why}
    async with opened("/hub/spawn") as page:
        await page.get_by_test_id("estimate").get_by_text(why).wait_for()
        await picture(page, "estimate-refused")
        assert await page.locator("#ph-go").is_enabled()  # an estimate forbids nothing


async def test_without_an_answer_the_page_works_as_before(opened: Any, scene: Scene) -> None:
    scene.estimate = {"usable": True, "starts": None, "words": ""}
    async with opened("/hub/spawn") as page:
        async with page.expect_response("**/api/panosc/estimate?*"):
            await page.locator('input[name="profile"][value="a100"]').check()
        assert await page.get_by_test_id("estimate").inner_text() == ""
        await page.locator("#ph-go").click()
        await page.wait_for_url("**/spawn-pending/**")


async def test_a_place_in_the_queue_is_one_line(opened: Any) -> None:
    async with opened("/hub/spawn-pending/amember") as page:
        await page.get_by_text("2 jobs are ahead").first.wait_for()
        lines = await page.locator("#progress-log .ph-line").all_inner_texts()
        assert lines == [
            "Starting Small: 4 CPUs, 8 GB memory, 4 h",
            "Waiting in the queue: 2 jobs are ahead",
        ]


async def test_a_session_that_a_restarted_hub_looks_for_is_shown_and_asked_for_again(
    opened: Any, scene: Scene
) -> None:
    scene.checking = (
        "The Hub was restarted; it looks for the job again",
        "Waiting in the queue: 3 jobs are ahead",
    )
    async with opened("/hub/spawn-pending/amember") as page:
        assert await page.locator("h1").inner_text() == "Looking for your session"
        assert "nothing is lost" in await page.locator("#ph-pending-lead").inner_text()
        lines = await page.locator("#progress-log .ph-line").all_inner_texts()
        assert lines == list(scene.checking)
        assert await page.locator("#progress-message").inner_text() == lines[-1]
        assert await page.locator("#stop-server-btn").is_enabled()
        scene.checking = None  # found; the next page follows it
        await page.get_by_role("heading", name="Starting your session").wait_for(timeout=10_000)


async def test_the_home_page_warns_before_the_time_ends(opened: Any, picture: Any) -> None:
    async with opened("/hub/home") as page:
        soon, later = await page.get_by_test_id("ends").all()
        assert await soon.inner_text() == (
            "ends in 13 min: save your work. The session is closed at its time limit."
        )
        assert await later.inner_text() == "ends in 5 h"
        await picture(page, "home-ends")


async def test_the_time_left_goes_on_while_the_page_is_open(opened: Any, scene: Scene) -> None:
    async with opened("/hub/home") as page:
        place = page.get_by_test_id("ends").last
        await place.evaluate(f"node => {{ node.dataset.ends = '{time.time() + 110}'; }}")
        await place.get_by_text("ends in 1 min").wait_for(timeout=45_000)
        assert "ph-ends-soon" in (await place.get_attribute("class") or "")
