"""What people do on the pages, by clicking what they see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

LAB = "#jp-main-dock-panel .jp-Notebook"
IMAGE = '.jp-OutputArea-output img[src^="data:image/png"], .jp-OutputArea-output img[src^="blob:"]'


async def log_in(page: Any, name: str) -> None:
    """From the Hub's first page through the identity provider and back."""
    hub = page.url.split("/hub/")[0]
    await (
        page.get_by_role("link", name="Sign in")
        .or_(page.get_by_role("button", name="Sign in"))
        .first.click()
    )
    await page.get_by_role("button", name=f"({name})").click()
    await page.wait_for_url(f"{hub}/**")


async def ready(page: Any) -> None:
    """The page's own script has run."""
    await page.wait_for_selector("html[data-ph-ready]", state="attached")


async def choose(
    page: Any,
    *,
    proposal: str = "HG-123",
    dataset: str = "agbh_0001",
    template: str = "Azimuthal integration",
    profile: str = "small",
) -> None:
    """The four steps without the last one."""
    await ready(page)
    await page.locator("#ph-proposals").get_by_text(proposal).click()
    await page.locator("#ph-datasets").get_by_text(dataset).click()
    await page.locator("#ph-cards").get_by_text(template).click()
    await page.locator(f'[data-profile="{profile}"]').click()


async def start(page: Any) -> None:
    """Press Start and see the pending page (or, if it is quick, the session)."""
    await page.get_by_role("button", name="Start session").click()


async def lab(page: Any, notebook: str) -> None:
    """JupyterLab is open with this notebook in front."""
    await page.wait_for_url(f"**/lab/tree/**/{notebook}*", timeout=120_000)
    await page.locator(LAB).wait_for(timeout=120_000)
    # Before the kernel is connected, JupyterLab answers "Run" with a question about kernels.
    await page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=120_000)


async def menu(page: Any, title: str, *items: str) -> None:
    """An entry of JupyterLab's menu bar, perhaps below another one."""
    bar = page.locator(".lm-MenuBar-itemLabel").get_by_text(title, exact=True)
    await bar.click()
    for item in items:
        await page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Ask the outside world (files, processes) until it is so: it tells no event."""
    end = asyncio.get_running_loop().time() + seconds
    while not (value := condition()):
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.1)
    return value


async def named_session(page: Any, hub: str, name: str) -> None:
    """From the home page to the form of another session beside the default one."""
    await page.goto(f"{hub}/hub/home")
    await ready(page)
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Choose and start").click()
    await page.wait_for_url(f"**/hub/spawn/*/{name}")


async def stop_by_home_page(page: Any, server: str = "") -> None:
    """Press Stop on the home page and wait until the list says that it stopped."""
    row = page.locator(f'[data-server="{server}"]')
    await row.get_by_role("button", name="Stop").click()
    await page.locator(f'[data-server="{server}"][data-state="stopped"]').wait_for()


async def stop_all(page: Any, hub: str) -> None:
    """Every session of the person who is logged in."""
    await page.goto(f"{hub}/hub/home")
    await ready(page)
    rows = page.locator("[data-server]")
    for server in await rows.evaluate_all("all => all.map(r => r.dataset.server)"):
        if await page.locator(f'[data-server="{server}"] [data-stop]').count():
            await stop_by_home_page(page, server)


def pictures_in(notebook: Path) -> list[str]:
    """base64 of every PNG among the saved outputs; none while the file is being written."""
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except json.JSONDecodeError:
        return []
    outputs = [o for cell in cells for o in cell.get("outputs", [])]
    return [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
