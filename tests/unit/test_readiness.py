"""A session that never answers, or ends, becomes a sentence."""

from __future__ import annotations

import asyncio
import socket

import pytest

from panosc_hub.errors import BackendError
from panosc_hub.readiness import until_listening


async def lives() -> int | None:
    return None


async def ended() -> int | None:
    return 1


def unused() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_listening_server_is_noticed() -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        await until_listening(url, seconds=5, poll=lives, why=lambda: "")


async def test_a_session_that_ended_is_told_at_once() -> None:
    with pytest.raises(BackendError, match=r"It was killed\. That was before") as told:
        async with asyncio.timeout(2):
            await until_listening(unused(), seconds=60, poll=ended, why=lambda: "It was killed.")
    assert told.value.reason == "exited"


async def test_a_server_that_never_comes_up_is_told_after_the_limit() -> None:
    with pytest.raises(BackendError, match=r"did not answer within 0 seconds") as told:
        await until_listening(unused(), seconds=0.1, poll=lives, why=lambda: "")
    assert told.value.reason == "timeout"
