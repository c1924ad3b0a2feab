"""Hostile input by every door of a real Hub: refused with 4xx, shown escaped, nothing started."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import HubProcess

from tests.hostile import BODIES, HOSTILE, TYPES, as_json

WORDS = re.compile(r"<script>alert|onerror=alert|onmouseover=\"alert")


async def started_nothing(hub: HubProcess, user: str) -> None:
    model = await hub.server(user)
    assert not model or not (model["ready"] or model["pending"])
    assert hub.alive


async def test_hostile_json_is_refused_and_nothing_is_saved(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        for name, options in [(n, as_json(o)) for n, o in HOSTILE] + TYPES:
            for body in (options, {"user_options": options}):
                answer = await api.post("/users/paula/server", json=body)
                assert 400 <= answer.status_code < 500, (name, answer.status_code)
                assert answer.json()["message"], name
                assert len(answer.text) < 2000, name
        for name, body in BODIES:
            answer = await api.post("/users/paula/server", json=body)
            assert answer.status_code == 400, (name, answer.text)
        raw = await api.post("/users/paula/server", content=b'{"profile": ')
        assert raw.status_code == 400
        deep = await api.post("/users/paula/server", content=b"[" * 100_000)
        assert 400 <= deep.status_code < 500
        model = (await api.get("/users/paula?include_stopped_servers=1")).json()
    assert all(not s["user_options"] for s in model["servers"].values())
    await started_nothing(hub, "paula")


async def test_hostile_forms_are_refused_and_shown_escaped(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        for name, options in HOSTILE:
            answer = await paula.form("/hub/spawn", options)
            assert 400 <= answer.status_code < 500, (name, answer.status_code)
            assert 'role="alert"' in answer.text, name
            assert not WORDS.search(answer.text), name
            assert len(answer.text) < 200_000, name
        twice = await paula.form("/hub/spawn", {"profile": ["small", "staff"]})
        assert twice.status_code == 400
    await started_nothing(hub, "paula")


async def test_hostile_links_start_nothing_and_are_shown_escaped(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        for name, options in HOSTILE:
            # As long as the client builds; what is longer never leaves it.
            link = {f"opt-{key}"[:60_000]: str(v)[:60_000] for key, v in options.items()}
            if any(len(str(part)) > 10_000 for pair in options.items() for part in pair):
                # That is no URL: the proxy refuses it, or closes the connection.
                with contextlib.suppress(httpx.HTTPError):
                    answer = await paula.client.get("/hub/spawn", params=link)
                    assert 400 <= answer.status_code < 500, name
                continue
            answer = await paula.client.get("/hub/spawn", params=link)
            assert answer.status_code == 200, (name, answer.status_code)
            assert 'id="spawn_form"' in answer.text, name
            assert not WORDS.search(answer.text), name
    await started_nothing(hub, "paula")


async def test_saved_options_of_an_older_version_are_refused_not_used(
    hub: HubProcess, facility: Path
) -> None:
    async with hub.api() as api:
        await api.post("/users/paula")
        await api.post("/users/paula/server", json={"profile": "small"})
        await hub.until("paula")
        await api.delete("/users/paula/server")
        await hub.until("paula", ready=False)
    hub.stop()
    with sqlite3.connect(hub.folder / "hub.sqlite") as db:
        db.execute(
            "UPDATE spawners SET user_options = ?",
            (json.dumps({"profile": "small\n#SBATCH", "partition": "vip"}),),
        )
    await hub.start()
    async with hub.api() as api:
        answer = await api.post("/users/paula/server")
        assert answer.status_code == 400
        assert "partition: is not a field" in answer.json()["message"]
        # Refused once, they are forgotten: the next start has the user's defaults.
        answer = await api.post("/users/paula/server")
        assert answer.status_code in (201, 202), answer.text


REPORTS: list[tuple[str, Any]] = [
    ("no object", [1]),
    ("no version", {"events": []}),
    ("no list", {"v": 1, "events": "x"}),
    ("too many", {"v": 1, "events": [{"status": "ok", "message": "x"}] * 51}),
    ("too long", {"v": 1, "events": [{"status": "ok", "message": "x" * 501}]}),
    ("odd status", {"v": 1, "events": [{"status": "ready", "message": "x"}]}),
    ("message no text", {"v": 1, "events": [{"status": "ok", "message": {"a": 1}}]}),
    ("a megabyte", {"v": 1, "events": [], "pad": "x" * 1_000_000}),
]
PORTS: list[Any] = [
    {"port": 80}, {"port": 65536}, {"port": True}, {"port": "8888"}, {"port": 8888.0}, {"port": -1},
    {"port": [8888]}, {"port": None}, {}, [], 8888, {"port": 8888, "pid": 1}, {"prot": 8888},
]  # fmt: skip


async def test_a_sessions_token_may_post_nothing_but_a_port_and_a_report(
    hub: HubProcess, facility: Path
) -> None:
    token = facility / "data" / "token"
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json={"environment": "leaky"})
        assert answer.status_code in (201, 202), answer.text
        await hub.until("paula")
    headers = {"Authorization": f"token {token.read_text().strip()}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as session:
        for body in PORTS:
            for path in ("panosc/port", "batchspawner"):
                answer = await session.post(f"{hub.url}/hub/api/{path}", json=body)
                assert answer.status_code == 400, (path, body, answer.text)
        # A good port is refused too: this server is not waiting for one.
        answer = await session.post(f"{hub.url}/hub/api/panosc/port", json={"port": 8888})
        assert answer.status_code == 400
        for name, body in REPORTS:
            answer = await session.post(f"{hub.url}/hub/api/panosc/report", json=body)
            assert answer.status_code == 400, (name, answer.text)
        messages = ["<b>bold</b>", "half a character: \ud800"]
        good = {"v": 1, "events": [{"status": "warning", "message": m} for m in messages]}
        answer = await session.post(
            f"{hub.url}/hub/api/panosc/report", content=json.dumps(good).encode()
        )
        assert answer.status_code == 204
    async with hub.browser("paula") as paula:
        home = await paula.client.get("/hub/home")
    assert home.status_code == 200
    assert "half a character: ?" in home.text
    assert "&lt;b&gt;bold" in home.text


@pytest.fixture(autouse=True)
def no_traceback(hub: HubProcess) -> Iterator[None]:
    """A refusal is no accident: the log names it in a line, without a traceback of ours."""
    yield
    assert "Unhandled error" not in hub.log
    assert "compat.SpawnRefused" not in hub.log  # so only a traceback names it
