"""The pending page's lines: kept for every tab, bounded, a changing place in the queue is one."""

from __future__ import annotations

import asyncio

from panosc_hub.progress import MAX_EVENTS, Progress, sse


async def test_every_tab_sees_every_line_and_what_replaced_one() -> None:
    lines = Progress()
    lines.add("taken", 15)
    lines.add("7 ahead", 20, replaces=True)
    seen: list[str] = []

    async def tab() -> None:
        async for event in lines.follow():
            seen.append(event.message)

    task = asyncio.create_task(tab())
    await asyncio.sleep(0)
    lines.add("6 ahead", 20, replaces=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines.add("runs", 50)
    lines.add("waits again", replaces=True)
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    assert seen == ["taken", "7 ahead", "6 ahead", "runs", "waits again"]
    assert lines.lines == ("taken", "6 ahead", "runs", "waits again")


def test_hours_in_the_queue_are_one_line() -> None:
    lines = Progress()
    for i in range(10_000):
        lines.add(f"{10_000 - i} jobs are ahead of it", 20, replaces=True)
    lines.add("runs", 50)
    assert lines.lines == ("1 jobs are ahead of it", "runs")


def test_of_too_many_lines_the_newest_are_kept() -> None:
    lines = Progress()
    for i in range(MAX_EVENTS + 50):
        lines.add(f"line {i}")
    assert len(lines.lines) == MAX_EVENTS
    assert lines.lines[-1] == f"line {MAX_EVENTS + 49}"


async def test_a_new_start_begins_with_an_empty_page() -> None:
    lines = Progress()
    lines.add("old", 80)
    lines.reset()
    lines.add("new", 10)
    assert lines.lines == ("new",)
    event = await anext(lines.follow())
    assert sse(event) == {"message": "new", "at": round(event.at, 1), "progress": 10}
