"""A real Hub in a process of its own, so that it can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests-only-0123456789"
XSRF = re.compile(r"_xsrf=([^\"&]+)")

BASE_CONFIG = """
import os, sys
sys.path.insert(0, {hub_tests!r})
from traitlets.config import get_config
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = {proxy!r}
c.ConfigurableHTTPProxy.pid_file = "proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"ada"}}
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cookie_secret_file = "cookie_secret"
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "services": ["tests"], "scopes": [
        "admin:users", "admin:servers", "admin:server_state", "servers", "access:servers", "groups",
        "admin:groups", "tokens", "read:metrics"]}},
]
c.JupyterHub.load_groups = {groups!r}
c.JupyterHub.allow_named_servers = True
c.Spawner.http_timeout = 30
"""


def free_port() -> int:
    """Below the ports that the system hands out by itself: one of them could be the near end of
    somebody's connection before the Hub listens there."""
    while True:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port := random.randrange(12000, 32000)))
            except OSError:
                continue
            return port


def proxy_command() -> list[str]:
    """The pinned proxy of the example facility; installed once by ``npm ci``."""
    folder = ROOT / "examples" / "proxy"
    program = folder / "node_modules" / ".bin" / "configurable-http-proxy"
    if not program.exists():
        subprocess.run(["npm", "ci", "--no-fund", "--no-audit"], cwd=folder, check=True)
    return [str(program)]


def reap(folder: str) -> None:
    """End sessions that outlive their Hub on purpose."""
    for process in psutil.process_iter(["pid", "cwd"]):
        if process.pid != os.getpid() and (process.info["cwd"] or "").startswith(folder):
            process.kill()


@dataclass
class HubProcess:
    """Start, kill and ask a Hub. ``config`` is appended to the base configuration."""

    folder: Path
    config: str
    groups: dict[str, list[str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    account: str = ""
    """The UNIX account that it runs as; its own folder must belong to it. Empty: the tests'."""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port, self.hub_port, self.api_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        text = BASE_CONFIG.format(
            hub_tests=str(Path(__file__).parent),
            port=self.port,
            hub_port=self.hub_port,
            api_port=self.api_port,
            proxy=proxy_command(),
            token=TOKEN,
            groups={g: {"users": users} for g, users in self.groups.items()},
        )
        (self.folder / "jupyterhub_config.py").write_text(text + self.config)

    async def start(self) -> None:
        log = os.open(self.folder / "hub.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        env = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": "proxy-token-for-tests", **self.env}
        env["PATH"] = f"{Path(self.python).parent}:{env['PATH']}"
        self.process = subprocess.Popen(
            [self.python, "-m", "jupyterhub", "-f", "jupyterhub_config.py", "--debug"],
            cwd=self.folder,
            stdout=log,
            stderr=log,
            env=env,
            start_new_session=True,
            **self._identity(),
        )
        os.close(log)
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(600):
                if self.process.poll() is not None:
                    raise RuntimeError(f"the Hub ended:\n{self.log[-6000:]}")
                try:
                    if (await client.get(f"{self.url}/hub/health")).status_code == 200:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)
        raise RuntimeError(f"the Hub did not answer:\n{self.log[-6000:]}")

    def _identity(self) -> dict[str, Any]:
        if not self.account:
            return {}
        entry = pwd.getpwnam(self.account)
        groups = os.getgrouplist(self.account, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}

    @property
    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL to the Hub alone: no clean-up, the proxy and all sessions live on."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._stop_proxy()

    def _stop_proxy(self) -> None:
        pid_file = self.folder / "proxy.pid"
        if pid_file.exists():
            try:
                os.kill(int(pid_file.read_text()), signal.SIGTERM)
            except (ProcessLookupError, ValueError):
                return

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with the administrative token."""
        async with httpx.AsyncClient(
            base_url=f"{self.url}/hub/api",
            headers={"Authorization": f"token {TOKEN}"},
            trust_env=False,
            timeout=60,
        ) as client:
            yield client

    @asynccontextmanager
    async def browser(self, user: str) -> AsyncIterator[Browser]:
        """Somebody logged in with cookies, as a browser would be."""
        async with httpx.AsyncClient(
            base_url=self.url,
            trust_env=False,
            timeout=60,
            follow_redirects=True,
            headers={"Sec-Fetch-Mode": "navigate"},
        ) as client:
            await client.get("/hub/login")
            answer = await client.post(
                "/hub/login",
                data={"username": user, "password": "x", "_xsrf": client.cookies["_xsrf"]},
            )
            assert answer.status_code == 200, answer.text[:2000]
            yield Browser(client, user)

    async def server(self, user: str, name: str = "") -> dict[str, Any]:
        """The model of one server; empty when there is none."""
        async with self.api() as api:
            answer = await api.get(f"/users/{user}", params={"include_stopped_servers": "1"})
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()["servers"].get(name, {})
            return found

    async def until(
        self, user: str, name: str = "", *, ready: bool = True, seconds: float = 60
    ) -> dict[str, Any]:
        """Wait until the server is ready (or stopped)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            model = await self.server(user, name)
            if ready and model.get("ready"):
                return model
            if not ready and not model.get("pending") and not model.get("ready"):
                return model
            await asyncio.sleep(0.1)
        raise AssertionError(f"server {user}/{name}: {model}\n{self.log[-4000:]}")

    async def progress(self, user: str, name: str = "") -> list[dict[str, Any]]:
        """All events of the pending page until the end."""
        path = (
            f"/users/{user}/servers/{name}/progress" if name else f"/users/{user}/server/progress"
        )
        events = []
        async with self.api() as api, api.stream("GET", path) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    events.append(json.loads(line[5:]))
        return events


@dataclass
class Browser:
    """A logged-in client that posts forms with the XSRF token."""

    client: httpx.AsyncClient
    user: str

    async def form(self, path: str, fields: dict[str, Any]) -> httpx.Response:
        page = await self.client.get(path)
        token = XSRF.search(page.text)
        assert token, page.text[:1000]
        return await self.client.post(
            path,
            params={"_xsrf": self.client.cookies.get("_xsrf", path="/hub/")},
            data=fields,
            headers={"Referer": str(page.url)},
        )
