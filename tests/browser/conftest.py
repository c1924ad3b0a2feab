"""One Chromium for all browser tests, and a scene of pages for each."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.server import Scene, serve, session

CHROMIUM = os.environ.get("CHROMIUM", "") or shutil.which("chromium") or ""
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
]
PICTURES = Path("test-results/browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)
            if not CHROMIUM:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed"))


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed")
    async with playwright.async_playwright() as p:
        chromium = await p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        await chromium.close()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    scene.sessions = [
        session(
            "",
            state="running",
            backend="slurm",
            profile="Small",
            proposal="HG-123",
            dataset="agbh_0001",
            template="Azimuthal integration",
            resources="4 CPUs, 8 GB memory, 4 h",
            ends_at=time.time() + 14 * 60 - 1,
        ),
        session("later", state="running", profile="Small", ends_at=time.time() + 5 * 3600 + 59),
        session("gpu-night", state="starting", backend="kubernetes", profile="GPU L4"),
        session("old", state="stopped", profile="GPU A100", ended="It needed more than 8 GB."),
    ]
    scene.events = [
        {"progress": 10, "message": "Starting Small: 4 CPUs, 8 GB memory, 4 h"},
        {"progress": 30, "message": "Waiting in the queue: 3 jobs are ahead", "replaces": True},
        {"progress": 30, "message": "Waiting in the queue: 2 jobs are ahead", "replaces": True},
    ]
    server, scene.url = serve(scene)
    yield scene
    scene.hold.set()
    server.stop()
    await server.close_all_connections()


@pytest.fixture
def opened(browser: Any, scene: Scene) -> Any:
    """``async with opened("/hub/spawn", width=360) as page``; an error in the page's own
    scripts fails the test."""

    @asynccontextmanager
    async def open_page(
        path: str, *, width: int = 1600, height: int = 1000, theme: str = "light", **options: Any
    ) -> AsyncIterator[Any]:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, **options
        )
        context.set_default_timeout(30_000)
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(scene.url + path)
        if options.get("java_script_enabled", True) and await page.query_selector(
            "#ph-form, #ph-pending, #ph-home"
        ):
            await page.wait_for_selector("html[data-ph-ready]", state="attached")
        yield page
        assert errors == []
        assert await page.evaluate("window.pwned") is None
        await context.close()

    return open_page


@pytest.fixture
def picture() -> Any:
    """Keep a screenshot for people to look at."""

    async def take(page: Any, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    return take
