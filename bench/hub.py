"""A real Hub in a process of its own, without a proxy, driven through its REST API."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from jupyterhub.utils import random_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0

CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.proxy_class = "bench.inhub.MemoryProxy"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie_secret"
# The answer to a POST comes when the server is ready, however long that takes.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 120, "slow_stop_timeout": 60}}
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers"]}}
]
c.Spawner.http_timeout = 110
c.Spawner.start_timeout = 110
"""


class BenchHub:
    """One Hub in ``folder``; ``config`` follows the common part."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir(parents=True)
        self.folder, self.port = folder, random_port()
        token = secrets.token_hex(16)
        text = CONFIG.format(public=random_port(), port=self.port, token=token)
        (folder / "jupyterhub_config.py").write_text(text + config)
        self.api = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/hub/api",
            headers={"Authorization": f"token {token}"},
            trust_env=False,
            timeout=130,
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """The end of the Hub's log."""
        return (self.folder / "hub.log").read_text(errors="replace")[-4000:]

    def _open(self) -> subprocess.Popen[bytes]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        env |= {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        }
        with open(self.folder / "hub.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"],
                cwd=self.folder,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        """Start it and wait until it answers; raises ``RuntimeError`` with the log."""
        self.process = self._open()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                (await self.api.get("/")).raise_for_status()
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the Hub did not start:\n{self.log}")

    async def add_users(self, names: list[str]) -> None:
        """Make the accounts, so that the rounds do not."""
        answer = await self.api.post("/users", json={"usernames": names})
        answer.raise_for_status()

    async def spawn(self, user: str, body: dict[str, object] | None) -> float:
        """Start ``user``'s server; seconds from the request to the answer "it is ready"."""
        began = time.perf_counter()
        answer = await self.api.post(f"/users/{user}/server", json=body)
        took = time.perf_counter() - began
        if answer.status_code != 201:
            raise RuntimeError(f"no server: {answer.status_code} {answer.text}\n{self.log}")
        return took

    async def stop_server(self, user: str) -> None:
        """Stop it and wait for that; never part of a measurement."""
        answer = await self.api.delete(f"/users/{user}/server")
        if answer.status_code != 204:
            raise RuntimeError(f"not stopped: {answer.status_code} {answer.text}\n{self.log}")

    async def close(self) -> None:
        """End the Hub, which ends its servers."""
        await self.api.aclose()
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self.process.wait, 30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def hubs(*made: BenchHub) -> AsyncIterator[None]:
    """Start them all, and end them whatever happens."""
    try:
        for hub in made:
            await hub.start()
        yield
    finally:
        for hub in made:
            await hub.close()
