"""The pages in a real browser: by keyboard, in a narrow and a wide window, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from panosc_hub.backends.base import Availability
from panosc_hub.core.selection import Selection, parse_form
from tests.browser.server import Scene

PAGES = {
    "spawn": "/hub/spawn?opt-proposal=HG-123&opt-dataset=20.500.12345/agbh-3&opt-memory=1T",
    "spawn-empty": "/hub/spawn",
    "pending": "/hub/spawn-pending/amember/gpu-night",
    "home": "/hub/home",
}
WINDOWS = [(1600, "light"), (1600, "dark"), (360, "light"), (360, "dark")]


@pytest.fixture(scope="session")
def axe() -> str:
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text()


async def complaints(page: Any, axe: str) -> list[str]:
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']}: {v['help']}: {node['html'][:160]}"
        for v in found["violations"]
        for node in v["nodes"]
    ]


@pytest.mark.parametrize(("width", "theme"), WINDOWS)
@pytest.mark.parametrize("name", PAGES)
async def test_axe_finds_nothing(
    opened: Any, picture: Any, axe: str, name: str, width: int, theme: str
) -> None:
    async with opened(PAGES[name], width=width, height=800, theme=theme) as page:
        if name == "pending":
            await page.wait_for_selector("#progress-log li:nth-child(2)")
        if name.startswith("spawn"):
            await page.get_by_test_id("estimate").get_by_text("now").wait_for()
        await picture(page, f"{name}-{theme}-{width}")
        assert await complaints(page, axe) == []


@pytest.mark.parametrize("name", ["not_running", "error", "404", "stop_pending"])
async def test_axe_finds_nothing_on_the_smaller_pages(opened: Any, axe: str, name: str) -> None:
    async with opened(f"/hub/other/{name}") as page:
        assert await complaints(page, axe) == []


@pytest.mark.parametrize("width", [360, 768, 992, 1280])
@pytest.mark.parametrize("name", PAGES)
async def test_no_page_scrolls_sideways(opened: Any, name: str, width: int) -> None:
    async with opened(PAGES[name], width=width, height=800) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width


async def test_all_four_steps_are_in_a_wide_window_at_once(opened: Any) -> None:
    async with opened("/hub/spawn", width=1600, height=1000) as page:
        for step in ("data", "notebook", "compute", "start"):
            box = await page.locator(f"#ph-h-{step}").bounding_box()
            assert box["y"] + box["height"] <= 1000, step
        last = await page.locator('[data-profile="l4"]').bounding_box()
        bar = await page.locator("#ph-start").bounding_box()
        assert last["y"] + last["height"] <= bar["y"]


async def test_three_clicks_start_a_session(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0001").click()
        summary = page.get_by_test_id("summary")
        assert await summary.inner_text() == (
            "HG-123 / agbh_0001 · Azimuthal integration 1.2.0 · Small on Slurm, 4 CPUs, 8 GB, 4 h"
        )
        await page.locator("#ph-go").click()
        await page.wait_for_url("**/spawn-pending/**")
    assert parse_form(scene.posted[0]) == Selection(
        profile="small", proposal="HG-123", dataset="20.500.12345/agbh-1", template="azimuthal"
    )


async def test_everything_works_by_keyboard(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        keys = page.keyboard
        await page.locator("#ph-find-proposal").focus()
        await keys.type("agbh")
        await keys.press("Enter")  # to the first that was found; starts nothing
        assert scene.posted == []
        await keys.press("Space")
        await page.wait_for_selector("#ph-datasets label:nth-child(4)")
        await keys.press("Tab")  # to the datasets
        await keys.press("ArrowDown")
        await keys.press("ArrowDown")
        await keys.press("Tab")
        reached = []
        for _ in range(12):
            name = await page.evaluate("document.activeElement.name || document.activeElement.id")
            reached.append(name)
            if name == "template":
                await keys.press("ArrowDown")  # NeXus browser
            if name == "profile":
                await keys.press("ArrowDown")  # GPU A100; the greyed one is passed over
                await keys.press("ArrowDown")
            if name == "ph-go":
                await keys.press("Enter")
                break
            await keys.press("Tab")
        assert reached[0] == "ph-show-all"
        assert {"template", "profile", "environment", "ph-copy"} <= set(reached)
        await page.wait_for_url("**/spawn-pending/**")
    assert parse_form(scene.posted[0]) == Selection(
        profile="medium", proposal="HG-123", dataset="20.500.12345/agbh-2", template="nexus"
    )


async def test_what_has_the_focus_is_visible(opened: Any) -> None:
    # Bootstrap scrolls smoothly; without motion the page is where it belongs at once.
    async with opened("/hub/spawn", width=360, height=740, reduced_motion="reduce") as page:
        for _ in range(40):
            await page.keyboard.press("Tab")
            hidden = await page.evaluate("""() => {
                const box = document.activeElement.getBoundingClientRect();
                const bar = document.querySelector("#ph-start").getBoundingClientRect();
                const mine = document.querySelector("#ph-start").contains(document.activeElement);
                return !mine && box.top >= bar.top && box.height > 0 && document.activeElement.id;
            }""")
            assert not hidden


async def test_the_search_finds_by_number_title_and_instrument(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        rows = page.locator("#ph-proposals label:not([data-always]):visible")
        assert await rows.count() == 200
        search = page.locator("#ph-find-proposal")
        for text, found in (("mx-2042", 1), ("calibration", 1), ("id02", 1), ("battery bm29", 0)):
            await search.fill(text)
            assert await rows.count() == found, text
            assert await page.locator("#ph-proposals-count").inner_text() == (
                f"{found} of 200 proposals"
            )


async def test_a_thousand_datasets_are_shown_and_filtered(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        await page.locator("#ph-find-proposal").fill("mx-2000")
        await page.locator('input[name="proposal"][value="MX-2000"]').check()
        await page.wait_for_selector("#ph-datasets label:nth-child(1001)", state="attached")
        await page.locator("#ph-find-dataset").fill("run_0999")
        rows = page.locator("#ph-datasets label:not([data-always]):visible")
        assert await rows.count() == 1
        took = await page.evaluate("""() => {
            const field = document.querySelector("#ph-find-dataset");
            const took = [];
            for (const text of ["run_01", "run_02", "run_03", "run_04", "run_05"]) {
                const began = performance.now();
                field.value = text;
                field.dispatchEvent(new Event("input"));
                took.push(performance.now() - began);
            }
            return Math.min(...took);  // others may use the machine, too
        }""")
        assert took < 200
        assert await rows.count() == 100


async def test_notebooks_that_suit_come_first_and_all_can_be_shown(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        cards = page.locator("#ph-cards label:visible")
        assert await cards.count() == 5
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0001").click()
        await page.wait_for_function("document.querySelector('#ph-fits').textContent !== ''")
        assert await cards.count() == 3
        assert "for SAXS (PaNET01188)" in await cards.first.inner_text()
        show = page.locator("#ph-show-all")
        assert await show.get_attribute("aria-expanded") == "false"
        await show.click()
        assert await cards.count() == 5
        assert await show.get_attribute("aria-expanded") == "true"


async def test_a_notebook_that_was_chosen_is_not_replaced_by_a_better_one(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        await page.locator('input[name="template"][value="nexus"]').check()
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0001").click()
        await page.wait_for_function("document.querySelector('#ph-fits').textContent !== ''")
        assert await page.locator('input[name="template"][value="nexus"]').is_checked()


async def test_profiles_that_do_not_fit_the_notebook_are_greyed_with_the_reason(
    opened: Any, scene: Scene
) -> None:
    async with opened("/hub/spawn") as page:
        await page.locator('input[name="template"][value="reconstruct"]').check()
        small = page.locator('[data-profile="small"]')
        assert await small.locator("input").is_disabled()
        assert "the notebook needs 1 GPU" in await small.inner_text()
        assert "GPU A100 is chosen instead" in await page.locator("#ph-profile-note").inner_text()
        await page.locator('input[name="template"][value="nexus"]').check()
        assert await small.locator("input").is_enabled()
        await page.locator('input[name="profile"][value="l4"]').check()
        await page.locator('input[name="template"][value="reconstruct"]').check()
        assert "1 GPU" in await page.get_by_test_id("summary").inner_text()


async def test_only_changed_amounts_are_sent(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        await page.locator("#ph-memory").focus()
        await page.keyboard.press("ArrowRight")
        assert await page.locator("#ph-memory").get_attribute("aria-valuetext") == "16 GB"
        await page.locator("#ph-cpus").focus()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowLeft")
        await page.locator("#ph-environment").select_option("pyfai")
        await page.locator("#ph-go").click()
        await page.wait_for_url("**/spawn-pending/**")
    assert parse_form(scene.posted[0]) == Selection(
        profile="small", memory=16 * 2**30, environment="pyfai"
    )


async def test_amounts_of_a_link_are_kept_and_sent(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn?opt-profile=small&opt-memory=5G&opt-walltime=90m") as page:
        assert "5 GB, 1 h 30 min" in await page.get_by_test_id("summary").inner_text()
        await page.locator("#ph-go").click()
        await page.wait_for_url("**/spawn-pending/**")
    assert parse_form(scene.posted[0]) == Selection(
        profile="small", memory=5 * 2**30, walltime=5400
    )


async def test_the_copied_link_fills_the_same_form_and_starts_nothing(
    opened: Any, scene: Scene
) -> None:
    async with opened("/hub/spawn", permissions=["clipboard-read", "clipboard-write"]) as page:
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0003").click()
        before = await page.get_by_test_id("summary").inner_text()
        await page.locator("#ph-copy").click()
        await page.get_by_text("Link copied").wait_for()
        link = await page.evaluate("navigator.clipboard.readText()")
        assert parse_qs(urlsplit(link).query)["opt-dataset"] == ["20.500.12345/agbh-3"]
        await page.goto(link)
        await page.wait_for_selector("html[data-ph-ready]", state="attached")
        assert await page.get_by_test_id("summary").inner_text() == before
    assert scene.posted == []


async def test_an_archived_dataset_can_be_chosen_and_says_what_that_means(opened: Any) -> None:
    async with opened("/hub/spawn") as page:
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0003").click()
        assert await page.get_by_text("The files are not on disk").is_visible()


async def test_looking_again_brings_what_changed(opened: Any, scene: Scene) -> None:
    async with opened("/hub/spawn") as page:
        small = page.locator('[data-profile="small"]')
        assert "31 free" in await small.inner_text()
        assert "idle: 124 CPUs" in await small.inner_text()
        looks = scene.stage.availability()
        looks["small"] = Availability(False, None, "the partition is down", looks["small"].looked)
        scene.stage.looks = looks
        await page.locator("#ph-look").click()
        await page.get_by_text("the partition is down", exact=True).wait_for()
        assert await small.locator("input").is_disabled()
        assert "idle" not in await small.inner_text()
        assert await page.locator('input[name="profile"][value="a100"]').is_checked()


async def test_the_first_look_of_a_backend_is_shown_without_a_reload(
    opened: Any, scene: Scene
) -> None:
    known = scene.stage.availability()
    scene.stage.looks = {
        name: Availability(look.usable, None, "asking SLURM", None) for name, look in known.items()
    }
    async with opened("/hub/spawn") as page:
        assert not await page.locator("#ph-look").is_visible()
        scene.stage.looks = known
        # By itself after 3 s; a slow machine may miss that look, the next is after 30 s.
        await page.locator("#ph-look").wait_for(timeout=60_000)
        assert "31 free" in await page.locator('[data-profile="small"]').inner_text()
        assert "looked" in await page.locator("#ph-looked").inner_text()


async def test_a_catalogue_that_comes_back_fills_the_list(opened: Any, scene: Scene) -> None:
    scene.stage.facility.catalogue.mood = "down"
    async with opened("/hub/spawn") as page:
        assert await page.get_by_text("The catalogue does not answer").is_visible()
        scene.stage.facility.catalogue.mood = "ready"
        await page.locator("#ph-catalogue-again").click()
        await page.wait_for_selector("#ph-proposals label:nth-child(201)", state="attached")
        assert not await page.locator("#ph-catalogue").is_visible()
        await page.get_by_text("AgBh calibration").click()
        await page.get_by_text("agbh_0001").wait_for()


async def test_a_slow_catalogue_is_asked_again_by_the_page(
    opened: Any, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panosc_hub.web.page.PATIENCE", 0.01)
    scene.stage.facility.catalogue.mood = "slow"
    async with opened("/hub/spawn?opt-proposal=HG-123&opt-dataset=20.500.12345/agbh-2") as page:
        await page.locator("#ph-catalogue-again").wait_for()
        scene.stage.facility.catalogue.mood = "ready"
        await page.locator("#ph-catalogue-again").click()
        await page.locator('input[name="dataset"][value="20.500.12345/agbh-2"]:checked').wait_for()
        assert await page.locator('input[name="proposal"][value="HG-123"]').is_checked()


async def test_hostile_titles_run_nothing(opened: Any) -> None:
    async with opened("/hub/spawn?opt-proposal=XSS-1&opt-profile=<b>") as page:
        await page.locator('input[name="proposal"][value="MX-2001"]').check()
        await page.locator('input[name="proposal"][value="XSS-1"]').check()
        await page.wait_for_selector("#ph-datasets label:nth-child(2)")
        await page.locator("#ph-datasets label:nth-child(2)").click()
        assert "</script>" in await page.get_by_test_id("summary").inner_text()


async def test_without_javascript_the_form_still_starts(opened: Any, scene: Scene) -> None:
    async with opened(
        "/hub/spawn?opt-proposal=HG-123&opt-dataset=20.500.12345/agbh-1",
        java_script_enabled=False,
    ) as page:
        assert not await page.get_by_text("JupyterHub requires JavaScript").is_visible()
        await page.locator('input[name="template"][value="nexus"]').check()
        await page.locator("#ph-go").click()
        await page.wait_for_url("**/spawn-pending/**")
    assert parse_form(scene.posted[0]) == Selection(
        profile="small", proposal="HG-123", dataset="20.500.12345/agbh-1", template="nexus"
    )


async def test_problems_are_listed_and_announced(opened: Any, scene: Scene) -> None:
    scene.error = "memory: 1T asked, but at most 64G; gpus: Small does not offer a choice of it"
    async with opened("/hub/spawn") as page:
        items = page.locator("#ph-error[role=alert] li")
        assert await items.all_inner_texts() == [
            "Memory: 1T asked, but at most 64G",
            "GPUs: Small does not offer a choice of it",
        ]


async def test_progress_is_told_in_words_with_html_as_text(opened: Any, scene: Scene) -> None:
    scene.events.append(
        {"message": "<img src=x onerror='window.pwned=1'>", "html_message": "<b>not shown</b>"}
    )
    async with opened("/hub/spawn-pending/amember") as page:
        await page.wait_for_selector("#progress-log li:nth-child(3)")
        lines = await page.locator("#progress-log .ph-line").all_inner_texts()
        # The second line of the queue takes the place of the first.
        first, _replaced, *rest = (event["message"] for event in scene.events)
        assert lines == [first, *rest]
        assert await page.locator("#progress-bar").get_attribute("aria-valuenow") == "30"
        assert "HG-123 / agbh_0001" in await page.get_by_test_id("session-summary").inner_text()


@pytest.mark.parametrize(
    ("path", "server"),
    [
        ("/hub/spawn-pending/amember", "amember/server"),
        ("/hub/spawn-pending/amember/gpu-night", "amember/servers/gpu-night"),
    ],
)
async def test_stop_stops_this_very_server(
    opened: Any, scene: Scene, path: str, server: str
) -> None:
    async with opened(path) as page:
        await page.locator("#stop-server-btn").click()
        await page.wait_for_url("**/hub/home")
    assert scene.deleted == [(server, "the-token", "")]


async def test_a_stop_that_fails_says_so_and_can_be_tried_again(opened: Any, scene: Scene) -> None:
    scene.stop_status = 503
    async with opened("/hub/spawn-pending/amember") as page:
        await page.locator("#stop-server-btn").click()
        await page.get_by_text("Not stopped: Slurm does not answer").wait_for()
        assert await page.locator("#stop-server-btn").is_enabled()


async def test_a_failed_start_shows_the_sentence_and_the_way_back(
    opened: Any, scene: Scene
) -> None:
    scene.events.append({"failed": True, "message": "Spawn failed: <b>Slurm</b> refused the job."})
    async with opened("/hub/spawn-pending/amember/gpu-night") as page:
        failed = page.locator("#ph-failed")
        await failed.wait_for()
        assert await failed.inner_text() == "<b>Slurm</b> refused the job."
        assert (
            await page.locator("#ph-back").get_attribute("href") == "/hub/spawn/amember/gpu-night"
        )
        assert not await page.locator("#stop-server-btn").is_visible()


async def test_the_home_page_stops_and_removes_the_right_session(opened: Any, scene: Scene) -> None:
    async with opened("/hub/home") as page:
        row = page.locator('[data-server="gpu-night"]')
        assert "GPU L4" in await row.inner_text()
        async with page.expect_navigation():
            await row.get_by_role("button", name="Stop").click()
        async with page.expect_navigation():
            await page.locator('[data-server="old"]').get_by_role("button", name="Remove").click()
    assert scene.deleted == [
        ("amember/servers/gpu-night", "the-token", ""),
        ("amember/servers/old", "the-token", '{"remove": true}'),
    ]


async def test_another_session_gets_a_name_that_the_hub_accepts(opened: Any) -> None:
    async with opened("/hub/home") as page:
        await page.locator("#ph-new-name").fill("Röntgen & SAXS: Tuesday, the 3rd of November!")
        assert "roentgen" not in await page.locator("#ph-new-hint").inner_text()
        await page.get_by_role("button", name="Choose and start").click()
        await page.wait_for_url("**/hub/spawn/amember/rontgen-saxs-tuesday-the-3rd-o")
