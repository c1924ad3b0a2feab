"""One real Slurm for all tests of this folder, and a minimal Hub for the backend to talk to."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from jupyterhub.objects import Hub, Server
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from traitlets.config import Config

from panosc_hub.backends.slurm import SlurmBackend
from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import Launch, SessionPlan
from panosc_hub.core.profiles import Environment, Profile, Wish, resolve
from panosc_hub.core.selection import Selection
from tests.slurm import accounting as accounting_module
from tests.slurm import cluster as cluster_module
from tests.slurm import confined as confined_module
from tests.slurm import people as people_module
from tests.slurm.accounting import AccountingCluster
from tests.slurm.cluster import Cluster
from tests.slurm.confined import ConfinedCluster
from tests.slurm.people import People

TOKEN = "token-of-the-session-0123456789abcdef"
SERVER = """
import os, urllib.parse, http.server
where = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "\\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.HTTPServer((where.hostname, where.port), Page).serve_forever()
"""
"""A notebook server that shows its environment."""


C = TypeVar("C", bound=Cluster)


@contextmanager
def started(kind: type[C], reason: str) -> Iterator[C]:
    """A running cluster; left out, with the reason, where there can be none."""
    if reason:
        pytest.skip(reason)
    # Not pytest's own directory: jobs of other accounts must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="panosc-slurm-") as folder:
        cluster = kind(folder)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def free(cluster: C) -> Iterator[C]:
    """The cluster that all commands find, without jobs of other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        cluster.cancel_all()
        yield cluster
        cluster.cancel_all()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """One plain cluster for all tests."""
    with started(Cluster, cluster_module.why_not()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_with_accounts() -> Iterator[AccountingCluster]:
    """One cluster with slurmdbd for all tests that need it."""
    with started(AccountingCluster, accounting_module.why_not()) as cluster:
        yield cluster


@pytest.fixture
def cluster(slurm: Cluster) -> Iterator[Cluster]:
    """The plain cluster, without jobs of other tests."""
    with free(slurm) as cluster:
        yield cluster


@pytest.fixture
def accounting(slurm_with_accounts: AccountingCluster) -> Iterator[AccountingCluster]:
    """The cluster with accounts, QOS and reservations, without jobs of other tests."""
    with free(slurm_with_accounts) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def accounts() -> Iterator[People]:
    """Real UNIX accounts, and the shipped sudo rule between them."""
    if reason := people_module.why_not():
        pytest.skip(reason)
    with people_module.people() as made:
        yield made


@dataclass
class Bench:
    """Backends on the cluster, and the Hub's API that their sessions call."""

    config: Config
    folder: Path
    api_url: str = ""
    spawners: list[SlurmBackend] = field(default_factory=list)
    saved: list[dict[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    listening: bool = True

    def spawner(self, server: str = "", name: str = "paula", **settings: Any) -> SlurmBackend:
        user = SimpleNamespace(
            name=name,
            escaped_name=name,
            url=f"/user/{name}/",
            settings={},
            authenticator=None,
            id=1,
        )
        hub = Hub(ip="127.0.0.1", port=int(self.api_url.rsplit(":", 1)[1]), base_url="/hub/")
        backend = SlurmBackend(
            config=self.config,
            user=user,
            hub=hub,
            orm_spawner=SimpleNamespace(name=server, server=None),
            api_token=TOKEN,
            **settings,
        )
        backend._server = Server(base_url=f"/user/paula/{server}")
        backend.save_state = lambda: self.saved.append(backend.get_state())
        backend.tell = lambda message, progress=None, **_: self.told.append(message)
        self.spawners.append(backend)
        return backend

    def launch(
        self,
        *,
        command: tuple[str, ...] = (sys.executable, "-c", SERVER),
        options: dict[str, Any] | None = None,
        variables: dict[str, str] | None = None,
        plan: SessionPlan | None = None,
        **profile: Any,
    ) -> Launch:
        """A launch of one CPU unless ``profile`` says otherwise."""
        made = Profile.model_validate(
            {
                "id": "small",
                "title": "Small",
                "backend": "slurm",
                "memory": "1G",
                "walltime": "10m",
                "start_timeout": 60,
                "options": options or {},
                **profile,
            }
        )
        return Launch(
            plan=plan or SessionPlan(facility="test"),
            profile=made,
            resources=resolve(made, Wish())[0],
            environment=Environment(
                id="tiny", title="Tiny", command=command, variables=variables or {}
            ),
            selection=Selection(profile=made.id),
            person=Person("paula"),
        )

    def take_port(self, token: str, port: int) -> bool:
        return any(
            s.accept_port(port) for s in self.spawners if s.api_token == token and s._starting
        )


@asynccontextmanager
async def hub_api(tmp_path: Path) -> AsyncIterator[Bench]:
    """A Hub's API on 127.0.0.1 and quick looks, so that tests do not wait for intervals."""
    config = Config()
    config.SlurmBackend.home_template = str(tmp_path / "home" / "{username}")
    config.SlurmBackend.connect_to = "address"
    config.SlurmBackend.hub_name = "test"
    config.SlurmWatcher.interval = 0.5
    config.SlurmWatcher.busy_interval = 0.2
    config.SlurmWatcher.longest_interval = 1.0
    bench = Bench(config, tmp_path)

    class Port(RequestHandler):
        def post(self) -> None:
            token = self.request.headers["Authorization"].removeprefix("token ")
            if not bench.listening:
                self.set_status(503)
            elif not bench.take_port(token, json.loads(self.request.body)["port"]):
                self.set_status(409)

    class Report(RequestHandler):
        def post(self) -> None:
            self.set_status(204)

    listener, port = bind_unused_port(address="127.0.0.1")
    server = HTTPServer(
        Application([(r"/hub/api/panosc/port", Port), (r"/hub/api/panosc/.*", Report)])
    )
    server.add_socket(listener)
    bench.api_url = f"http://127.0.0.1:{port}"
    try:
        yield bench
    finally:
        server.stop()
        await server.close_all_connections()
        await watchers(config).close()


@pytest_asyncio.fixture
async def bench(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Bench]:
    """Backends on the plain cluster."""
    async with hub_api(tmp_path) as bench:
        yield bench


@pytest_asyncio.fixture
async def accounting_bench(accounting: AccountingCluster, tmp_path: Path) -> AsyncIterator[Bench]:
    """Backends on the cluster with accounts; jobs are root's, which has every account."""
    async with hub_api(tmp_path) as bench:
        yield bench


@pytest_asyncio.fixture
async def confined_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """Backends on a cluster that kills jobs which take too much memory."""
    with (
        started(ConfinedCluster, confined_module.why_not()) as cluster,
        free(cluster),
    ):
        async with hub_api(tmp_path) as bench:
            yield bench


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], str]:
    """Make an executable shell script in place of a Slurm command; returns its path."""

    def make(name: str, body: str) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        os.chmod(path, 0o755)
        return str(path)

    return make
