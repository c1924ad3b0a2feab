"""A real JupyterHub in the process of the test: its own pages, database and refresh.

Only the proxy and the spawner are absent: the browser talks to the Hub itself, and starting a
server is recorded and refused. That leaves in what is tested here.
"""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from evil_op import AUTHORITY, CLIENT_ID, CLIENT_SECRET, NAMESPACE
from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.crypto import CryptKeeper
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from tornado.httputil import url_concat
from tornado.netutil import bind_sockets
from traitlets.config import Config

from panosc_hub.auth.refresh import Refresher


def hub_config(issuer: str, accounts: dict[str, str]) -> Config:
    """The authenticator in a Hub that has nothing else of ours, not even our pages."""
    config = Config()
    config.JupyterHub.authenticator_class = "panosc_hub.auth.umbrella.UmbrellaAuthenticator"
    config.UmbrellaAuthenticator.update(
        {
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "entitlement_namespace": NAMESPACE,
            "entitlement_authority": AUTHORITY,
            "group_root": "umbrella:demo",
            "account_mappers": ["panosc_hub.auth.accounts.StaticMapper"],
            "facility_title": "Demo Light Source",
            "support_contact": "help@demo.example",
            "linking_url": "https://users.demo.example/link",
            "http_timeout": 5.0,
        }
    )
    config.StaticMapper.accounts = accounts
    return config


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None: ...
    async def delete_route(self, routespec: str) -> None: ...
    async def get_all_routes(self) -> dict[str, Any]:
        return {}


class NoSpawner(Spawner):
    """Counts the starts and never makes a server."""

    started: list[str] = []

    async def start(self) -> str:
        self.started.append(self.user.name)
        raise RuntimeError("no server is made in this test")

    async def stop(self, now: bool = False) -> None: ...
    async def poll(self) -> int:
        return 0


class Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def free_port() -> int:
    (socket,) = bind_sockets(0, "127.0.0.1")
    port: int = socket.getsockname()[1]
    socket.close()
    return port


@dataclass
class Hub:
    """The running Hub, and what a browser does with it."""

    app: JupyterHub
    url: str
    log: Log
    browsers: list[httpx.AsyncClient] = field(default_factory=list)

    @classmethod
    async def start(cls, config: Config, tmp: Path, port: int = 0) -> Hub:
        port = port or free_port()
        config.JupyterHub.update(
            {
                "hub_ip": "127.0.0.1",
                "hub_port": port,
                "bind_url": f"http://127.0.0.1:{port}",
                "proxy_class": NoProxy,
                "spawner_class": NoSpawner,
                "db_url": "sqlite://",
                "cookie_secret": b"c" * 32,
                "cleanup_servers": False,
                "last_activity_interval": 3600,
                "init_spawners_timeout": 0,
                "log_level": "DEBUG",
            }
        )
        CryptKeeper.clear_instance()
        os.environ.setdefault("JUPYTERHUB_CRYPT_KEY", secrets.token_hex(32))
        app = JupyterHub(config=config)
        await app.initialize([f"--JupyterHub.pid_file={tmp}/pid"])
        await app.start()
        return cls(app, f"http://127.0.0.1:{port}", Log())

    async def stop(self) -> None:
        await self.forget()
        await self.app.cleanup()
        if self.app.http_server:
            self.app.http_server.stop()
            await self.app.http_server.close_all_connections()

    async def forget(self) -> None:
        """No user, no open browser, empty caches of the authenticator, empty log."""
        for browser in self.browsers:
            await browser.aclose()
        self.browsers.clear()
        for orm_user in self.app.db.query(orm.User).all():
            self.app.users.delete(orm_user.id)
        self.app.db.commit()
        auth = self.app.authenticator
        auth.provider = auth._make_provider()
        auth.refresher = Refresher(auth)
        NoSpawner.started.clear()
        # At every turn, because starting another Hub takes the handlers of all loggers away.
        for logger in (self.app.log, logging.getLogger("tornado")):
            logger.addHandler(self.log)
        self.log.lines.clear()

    def browser(self) -> httpx.AsyncClient:
        browser = httpx.AsyncClient(base_url=self.url, timeout=20)
        browser.headers["Sec-Fetch-Mode"] = "navigate"
        self.browsers.append(browser)
        return browser

    def user_names(self) -> list[str]:
        return sorted(name for (name,) in self.app.db.query(orm.User.name))

    def user(self, name: str) -> Any:
        return self.app.users[orm.User.find(self.app.db, name).id]

    def groups(self, name: str) -> list[str]:
        return sorted(group.name for group in orm.User.find(self.app.db, name).groups)

    def make_due(self, name: str) -> None:
        """As if auth_refresh_age had passed."""
        self.user(name)._auth_refreshed = None

    async def change_state(self, name: str, **changes: Any) -> None:
        state = await self.user(name).get_auth_state()
        await self.user(name).save_auth_state({**state, **changes})

    async def login(
        self,
        browser: httpx.AsyncClient | None = None,
        *,
        next_url: str = "",
        drop_cookies: bool = False,
    ) -> httpx.Response:
        """From the login link to the answer of the callback, without following further."""
        browser = browser or self.browser()
        query = {"next": next_url} if next_url else {}
        there = await browser.get(url_concat("/hub/oauth_login", query))
        if there.status_code != 302:
            return there
        back = await browser.get(there.headers["location"])
        assert back.status_code == 302, back.text
        if drop_cookies:
            browser.cookies.clear()
        return await browser.get(back.headers["location"])
