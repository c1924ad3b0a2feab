"""One lying provider and one real Hub for all tests of this directory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from evil_op import SUBJECT, EvilOP
from real_hub import Hub, hub_config


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def the_op() -> AsyncIterator[EvilOP]:
    op = EvilOP()
    yield op
    await op.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def the_hub(the_op: EvilOP, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    accounts = {SUBJECT: "paula", "other@eduteams.example": "mira"}
    tmp = tmp_path_factory.mktemp("hub")
    hub = await Hub.start(hub_config(the_op.url, accounts), tmp)
    yield hub
    await hub.stop()


@pytest_asyncio.fixture(loop_scope="package")
async def op(the_op: EvilOP) -> EvilOP:
    the_op.behave()
    return the_op


@pytest_asyncio.fixture(loop_scope="package")
async def hub(the_hub: Hub, op: EvilOP) -> Hub:
    await the_hub.forget()
    return the_hub
