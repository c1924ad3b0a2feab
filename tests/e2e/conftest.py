"""One real Hub with the example facility, a real Slurm where there can be one, one Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.conftest import CHROMIUM
from tests.e2e.facility import Facility
from tests.e2e.steps import log_in, stop_all
from tests.slurm.cluster import CannotRun, Cluster, why_not

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
]
PICTURES = Path("test-results/e2e")

Visit = Callable[..., AbstractAsyncContextManager[Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = "" if CHROMIUM else "Chromium is not installed"
    if shutil.which("npm") is None:
        missing = "the proxy and the identity provider need Node.js and npm"
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.demo)
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture(scope="package")
def facility() -> Iterator[Facility]:
    """The running facility; ended with all its sessions, jobs and daemons after the last test."""
    # Not pytest's own directory: jobs of other accounts must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="panosc-e2e-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        no_slurm = why_not()
        cluster = None if no_slurm else Cluster(folder / "slurm")
        if cluster:
            folder.chmod(0o755)
            try:
                cluster.start()
            except CannotRun as error:
                no_slurm, cluster = str(error), None
        facility = Facility.at(folder / "var", cluster, no_slurm)
        try:
            facility.demo.prepare()
            facility.demo.start()
            yield facility
        finally:
            try:
                facility.stop()
            finally:
                if cluster:
                    cluster.stop()


@pytest.fixture
def slurm(facility: Facility) -> Cluster:
    """The cluster that the facility uses."""
    if facility.cluster is None:
        pytest.skip(facility.no_slurm)
    return facility.cluster


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Any]:
    """Debian's Chromium."""
    playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed")
    async with playwright.async_playwright() as p:
        chromium = await p.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="package")
async def visit(browser: Any, facility: Facility, request: pytest.FixtureRequest) -> Visit:
    """``async with visit("paula", width=360) as page``: a person in a browser of their own.

    A script error or a dialog on a page of the Hub fails the test; when the test fails, what the
    person saw and the end of the Hub's log are kept in ``test-results/e2e``.
    """

    @asynccontextmanager
    async def person(
        name: str = "", *, width: int = 1600, height: int = 1000, theme: str = "light"
    ) -> AsyncIterator[Any]:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme
        )
        context.set_default_timeout(60_000)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda e: wrong.append(str(e)) if "/hub/" in page.url else None)

        async def dialog(found: Any) -> None:
            if found.type == "beforeunload":  # JupyterLab asks this about unsaved notebooks
                await found.accept()
                return
            wrong.append(f"dialog: {found.message}")
            await found.dismiss()

        page.on("dialog", dialog)
        try:
            await page.goto(facility.url)
            if name:
                await log_in(page, name)
            yield page
            assert wrong == []
        except BaseException:
            PICTURES.mkdir(parents=True, exist_ok=True)
            stem = request.node.name.replace("/", "-")
            for i, open_page in enumerate(context.pages):
                await open_page.screenshot(path=PICTURES / f"failed-{stem}-{i}.png")
            (PICTURES / f"failed-{stem}.log").write_text(facility.log()[-20_000:])
            # The next test must find the person without sessions; the first failure counts.
            with contextlib.suppress(Exception):
                await stop_all(page, facility.url)
            raise
        finally:
            await context.close()

    return person


@pytest.fixture
def picture() -> Callable[..., Any]:
    """Keep a screenshot in ``test-results``, for people to look at."""

    async def take(page: Any, name: str, *, full: bool = True) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=PICTURES / f"{name}.png", full_page=full, animations="disabled")

    return take


def updates_screenshots() -> bool:
    """Whether the pictures of the documentation are made anew."""
    return os.environ.get("PANOSC_UPDATE_SCREENSHOTS") == "1"
