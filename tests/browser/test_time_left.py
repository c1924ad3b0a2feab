"""The JupyterLab extension that shows the time left, hour by hour.

The real JupyterLab shows it in ``tests/e2e/test_time_left.py``. Here is the real extension in a
real browser, but with a clock that can be moved, so JupyterLab's modules are stand-ins.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from panosc_hub import session

MAIN = (Path(session.__file__).parent / "lab" / "main.js").read_text()
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WHERE = "http://lab.test/user/ada/lab/extensions/panosc-session-end"

LAB = """<!doctype html><title>Lab</title><footer></footer>
<script>
  window.toasts = [];
  const old = {get: async () => () => { throw Error("not the module in use"); }};
  const modules = {
    "@jupyterlab/statusbar": {"4.6.6": {IStatusBar: "the status bar"}},
    "@jupyterlab/apputils": {"4.7.6": {Notification: {
      emit: (words, kind, options) => {
        toasts.push({words, kind, options, shown: true});
        return String(toasts.length - 1);
      },
      dismiss: (id) => { toasts[id].shown = false; },
    }}},
    "@jupyterlab/coreutils": {"6.6.6": {PageConfig: {
      getOption: (name) => ({hubHost: "https://hub.test", hubPrefix: "/hub/"})[name],
    }}},
    "@lumino/widgets": {"2.9.0": {Widget: class {
      constructor({node}) { this.node = node; }
      addClass(name) { this.node.classList.add(name); }
      set id(id) { this.node.id = id; }
    }}},
  };
  const scope = {};
  for (const [name, versions] of Object.entries(modules)) {
    scope[name] = {"1.37.2": old, "10.0.0": old};  // as another extension may bring along
    for (const [version, module] of Object.entries(versions)) {
      scope[name][version] = {get: async () => () => module, loaded: 1};
    }
  }
  if (window.location.search === "?notebook") delete scope["@jupyterlab/statusbar"];
</script>
<script src="lab/extensions/panosc-session-end/main.js"></script>
<script type="module">
  const container = window._JUPYTERLAB["panosc-session-end"];
  await container.init(scope);
  const plugin = (await container.get("./extension"))();
  const bar = {registerStatusItem: (id, {item}) =>
    document.querySelector("footer").append(item.node)};
  const app = {
    restored: Promise.resolve(),
    commands: {hasCommand: () => true, execute: async (name) => { window.executed = name; }},
  };
  window.activated = plugin.activate(app, plugin.optional.includes("the status bar") ? bar : null);
  document.title = "ready";
</script>
"""


@dataclass
class Node:
    """What the session's server answers; ``now`` is its clock."""

    left: timedelta
    now: datetime = NOW
    warn: list[int] = field(default_factory=lambda: [900, 300])
    status: int = 200
    asked: int = 0

    def __post_init__(self) -> None:
        self.end = (self.now + self.left).timestamp()

    async def answer(self, route: Any) -> None:
        url = route.request.url.partition("?")[0]
        if url == f"{WHERE}/end.json":
            self.asked += 1
            body = json.dumps({"end": self.end, "warn": self.warn})
            headers = {"Date": format_datetime(self.now, usegmt=True)}
            await route.fulfill(status=self.status, body=body, headers=headers)
        elif url == f"{WHERE}/main.js":
            await route.fulfill(body=MAIN, content_type="text/javascript")
        else:
            await route.fulfill(body=LAB, content_type="text/html")


class Lab:
    """An open page, its clock and the session's clock."""

    def __init__(self, page: Any, node: Node) -> None:
        self.page, self.node = page, node
        self.item = page.locator("#panosc-time-left")

    async def shows(self, words: str) -> None:
        await self.item.get_by_text(words, exact=True).wait_for()

    async def toasts(self, *, shown: bool = True) -> list[str]:
        """The first sentence of each warning."""
        found = await self.page.evaluate("toasts")
        assert all(t["kind"] == "warning" and not t["options"]["autoClose"] for t in found)
        assert all(len(t["words"]) <= 140 for t in found)  # JupyterLab cuts the rest off
        return [t["words"].split(". ")[0] for t in found if t["shown"] or not shown]

    async def work(self, **span: float) -> None:
        """Time goes by, for the page and for the node."""
        self.node.now += timedelta(**span)
        await self.page.clock.run_for(int(timedelta(**span).total_seconds() * 1000))

    async def sleep(self, **span: float) -> None:
        """The laptop is closed: nothing runs, and the clock has gone on when it is opened."""
        self.node.now += timedelta(**span)
        await self.page.clock.fast_forward(int(timedelta(**span).total_seconds() * 1000))
        await self.page.clock.run_for(6000)


@pytest.fixture
def lab(browser: Any) -> Any:
    """``async with lab(Node(...), skew=…) as page``; an error of a script fails the test."""

    @asynccontextmanager
    async def opened(
        node: Node, *, skew: timedelta = timedelta(0), query: str = ""
    ) -> AsyncIterator[Lab]:
        context = await browser.new_context(locale="en-GB", timezone_id="Europe/Paris")
        context.set_default_timeout(10_000)
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.route("**/*", node.answer)
        await page.clock.install(time=node.now + skew)
        await page.goto(f"http://lab.test/user/ada/lab{query}")
        await page.wait_for_function("document.title === 'ready'")
        yield Lab(page, node)
        assert errors == []
        await context.close()

    return opened


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(days=2, hours=4, minutes=1), "2 d 4 h left"),
        (timedelta(hours=3, minutes=12, seconds=30), "3 h 12 min left"),
        (timedelta(minutes=59, seconds=30), "59 min left"),
        (timedelta(seconds=30), "less than 1 min left"),
    ],
)
async def test_the_time_left_is_told_in_words(lab: Any, left: timedelta, words: str) -> None:
    async with lab(Node(left)) as page:
        await page.shows(words)
        assert await page.item.get_attribute("role") == "timer"
        assert "Save your work before" in await page.item.get_attribute("title")


async def test_each_warning_comes_once_and_takes_the_place_of_the_one_before(lab: Any) -> None:
    async with lab(Node(timedelta(hours=1, seconds=30))) as page:
        await page.shows("1 h 0 min left")
        await page.work(minutes=45)
        assert await page.toasts() == []
        await page.work(minutes=1)
        assert await page.toasts() == ["Save your work: this session ends in 15 min, at 14:00"]
        await page.work(minutes=9)
        assert len(await page.toasts(shown=False)) == 1
        await page.work(minutes=1)
        assert await page.toasts() == ["Save your work: this session ends in 5 min, at 14:00"]
        await page.work(minutes=4)
        assert len(await page.toasts(shown=False)) == 2
        await page.shows("less than 1 min left")


async def test_the_warning_leads_to_the_hub_and_saves(lab: Any) -> None:
    async with lab(Node(timedelta(minutes=10))) as page:
        await page.shows("9 min left")
        await page.page.evaluate("""() => {
            window.open = (...all) => { window.went = all; };
            const [save, home] = toasts[0].options.actions;
            save.callback();
            home.callback({preventDefault: () => { window.stays = true; }});
        }""")
        assert await page.page.evaluate("executed") == "docmanager:save-all"
        assert await page.page.evaluate("[went[0], stays]") == ["https://hub.test/hub/home", True]


@pytest.mark.parametrize("hours", [-30, 2])
async def test_a_wrong_clock_of_the_browser_changes_nothing(lab: Any, hours: int) -> None:
    async with lab(Node(timedelta(minutes=14, seconds=20)), skew=timedelta(hours=hours)) as page:
        await page.shows("14 min left")
        assert await page.toasts() == ["Save your work: this session ends in 14 min, at 13:14"]


async def test_a_clock_that_is_set_right_meanwhile_changes_nothing(lab: Any) -> None:
    async with lab(Node(timedelta(hours=5, seconds=30)), skew=timedelta(hours=-2)) as page:
        await page.shows("5 h 0 min left")
        await page.page.clock.fast_forward(2 * 3600 * 1000)  # the page's clock alone
        await page.page.clock.run_for(6000)
        await page.shows("5 h 0 min left")
        assert await page.toasts() == []


async def test_after_sleep_the_time_is_right_at_once_with_one_warning(lab: Any) -> None:
    async with lab(Node(timedelta(hours=4))) as page:
        await page.shows("3 h 59 min left")
        await page.sleep(hours=3, minutes=57)
        await page.shows("2 min left")
        assert await page.toasts(shown=False) == [
            "Save your work: this session ends in 3 min, at 17:00"
        ]


async def test_a_session_that_goes_on_after_its_end_is_not_called_negative(lab: Any) -> None:
    async with lab(Node(timedelta(minutes=2))) as page:
        await page.work(minutes=3)
        await page.shows("Time limit reached")
        assert "given more time" in await page.item.get_attribute("title")
        assert len(await page.toasts(shown=False)) == 1


async def test_a_session_begun_anew_under_an_open_page_has_its_own_end(lab: Any) -> None:
    node = Node(timedelta(minutes=4))
    async with lab(node) as page:
        await page.shows("3 min left")
        await page.work(minutes=3)
        node.end += 3600
        await page.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await page.shows("1 h 0 min left")
        await page.work(minutes=50)
        assert "ends in 15 min" in (await page.toasts())[0]


async def test_the_day_is_told_when_it_is_another_one(lab: Any) -> None:
    async with lab(Node(timedelta(hours=20))) as page:
        await page.shows("19 h 59 min left")
        assert "at Sun 09:00" in (await page.item.get_attribute("title")).replace(",", "")


async def test_without_an_answer_jupyterlab_works_and_shows_nothing(lab: Any) -> None:
    async with lab(Node(timedelta(minutes=4), status=503)) as page:
        await page.work(minutes=1)
        assert await page.item.inner_text() == ""
        assert await page.toasts() == []


async def test_an_open_page_asks_once_in_hours(lab: Any) -> None:
    async with lab(Node(timedelta(hours=4))) as page:
        await page.shows("3 h 59 min left")
        await page.work(hours=2)
        assert page.node.asked == 1


async def test_a_site_may_want_no_warning(lab: Any) -> None:
    async with lab(Node(timedelta(minutes=4), warn=[])) as page:
        await page.shows("3 min left")
        assert await page.toasts() == []


async def test_where_there_is_no_status_bar_it_still_warns(lab: Any) -> None:
    async with lab(Node(timedelta(minutes=10)), query="?notebook") as page:
        await page.page.wait_for_function("toasts.length === 1")
        assert await page.item.count() == 0
