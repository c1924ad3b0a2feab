"""Who sees what, and what a link may do: the same Hub, different people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.e2e.conftest import Visit
from tests.e2e.facility import Facility
from tests.e2e.steps import log_in, ready

SELECTION = {
    "proposal": "HG-123",
    "dataset": "20.500.12345/agbh-0002",
    "template": "nexus-browser",
    "profile": "medium",
}


async def proposals(page: Any) -> list[str]:
    """The numbers on the page, without "No proposal"."""
    await ready(page)
    radios = page.locator('#ph-proposals input[name="proposal"]:not([value=""])')
    return sorted([str(v) for v in await radios.evaluate_all("all => all.map(i => i.value)")])


async def test_a_person_whom_the_facility_does_not_know_gets_a_helpful_403(
    facility: Facility, visit: Visit, picture: Callable[..., Any]
) -> None:
    async with visit() as page:
        statuses: list[int] = []
        back = f"{facility.url}/hub/oauth_callback"
        page.on("response", lambda r: statuses.append(r.status) if r.url.startswith(back) else None)
        await log_in(page, "nobody")
        await page.get_by_role("heading", name="does not know you yet").wait_for()
        assert statuses == [403]
        text = await page.locator("body").inner_text()
        assert "support@facility.example" in text
        assert "@eduteams.example" in text
        await picture(page, "403")
        await page.goto(f"{facility.url}/hub/home")
        assert "/hub/login" in page.url
    assert "nobody" not in facility.users()


async def test_membership_decides_which_proposals_and_profiles_are_shown(visit: Visit) -> None:
    async with visit("mira") as page:
        assert await proposals(page) == ["HG-123", "p2222"]
        staff = page.locator('[data-profile="staff"]')
        assert await staff.locator("input").is_disabled()
        assert "for instrument staff: ask your local contact" in await staff.inner_text()
    async with visit("ingo") as page:
        # Not by the proposal's group, but by the one of the instrument.
        assert await proposals(page) == ["HG-123"]
        staff = page.locator('[data-profile="staff"]')
        assert await staff.locator("input").is_enabled()
        assert "ask your local contact" not in await staff.inner_text()
    async with visit("ada") as page:
        assert await proposals(page) == ["NX-7"]


async def test_a_link_fills_in_the_form_and_starts_nothing(
    facility: Facility, visit: Visit
) -> None:
    link = {f"opt-{name}": value for name, value in SELECTION.items()}
    async with visit("mira") as page:
        await page.goto(f"{facility.url}/hub/spawn?{urlencode(link)}")
        await ready(page)
        for name, value in SELECTION.items():
            assert await page.locator(f'input[name="{name}"]:checked').get_attribute("value") == (
                value
            )
        assert (
            "HG-123 / agbh_0002 · NeXus browser"
            in await page.get_by_test_id("summary").inner_text()
        )
        assert await page.get_by_test_id("notice").count() == 0
        assert "/hub/spawn?" in page.url
    assert facility.servers("mira") == {}
    assert facility.processes("mira") == []


async def test_hostile_values_of_a_link_are_shown_as_text_and_run_nothing(
    facility: Facility, visit: Visit
) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    link = {"opt-memory": attack, "opt-proposal": attack, f"opt-{attack}": "1"}
    async with visit("mira") as page:
        # A dialog or a script error fails the test by itself.
        await page.goto(f"{facility.url}/hub/spawn?{urlencode(link)}")
        await ready(page)
        form = page.get_by_test_id("spawn-form")
        assert await form.locator("img[src=x], script:not([type='application/json'])").count() == 0
        problems = await form.locator(".ph-problem").all_inner_texts()
        assert any(p.startswith("Memory") for p in problems), problems
        assert any(p.startswith("Proposal") for p in problems), problems
        assert await page.locator('input[name="proposal"]:checked').get_attribute("value") == ""
    assert facility.servers("mira") == {}


async def test_a_link_to_data_of_others_is_refused_at_the_start(
    facility: Facility, visit: Visit
) -> None:
    async with visit("ada") as page:
        await page.goto(f"{facility.url}/hub/spawn?opt-proposal=HG-123&opt-profile=small")
        await ready(page)
        assert await page.locator('input[name="proposal"]:checked').get_attribute("value") == ""
        assert "HG-123" in await page.get_by_test_id("spawn-form").inner_text()
        # What the page does not offer can still be sent; the Hub must refuse it.
        await page.evaluate(
            "document.querySelector('input[name=proposal]:checked').value = 'HG-123'"
        )
        await page.get_by_role("button", name="Start session").click()
        await page.get_by_role("alert").filter(has_text="HG-123").wait_for()
    assert facility.processes("ada") == []
    assert not facility.home("ada").exists()
