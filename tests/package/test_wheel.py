"""What is in the wheel: every page renders from it in a clean environment."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from bs4 import BeautifulSoup, Tag

import panosc_hub
from examples.idp import PEOPLE, running_idp
from tests.hub.harness import HubProcess, reap

SITE = """
facility: {{id: test, title: Test facility}}
environments:
  - id: stubborn
    title: Answers late, and does not stop when it is asked to
    command: [sh, -c, "trap '' INT TERM; sleep 1; exec {python} {tiny}"]
profiles:
  - {{id: small, title: Small, backend: local, memory: 1G}}
"""

CONFIG = """
import hashlib
import panosc_hub
panosc_hub.configure(c, site={site!r}, authenticator="umbrella")
c.LocalBackend.home_template = {homes!r}
c.LocalBackend.interrupt_timeout = 60
# A stop that takes its time is answered at once, as one of a batch job is.
c.JupyterHub.tornado_settings = {{"slow_stop_timeout": 0, "slow_spawn_timeout": 0}}
people = {people!r}
c.UmbrellaAuthenticator.issuer = {idp.issuer!r}
c.UmbrellaAuthenticator.client_id = {idp.client_id!r}
c.UmbrellaAuthenticator.client_secret = {idp.client_secret!r}
c.UmbrellaAuthenticator.oauth_callback_url = "{url}/hub/oauth_callback"
c.UmbrellaAuthenticator.entitlement_namespace = people["namespace"]
c.UmbrellaAuthenticator.entitlement_authority = people["authority"]
c.UmbrellaAuthenticator.group_root = "umbrella:demo"
c.UmbrellaAuthenticator.account_mappers = ["panosc_hub.auth.accounts.StaticMapper"]
c.StaticMapper.accounts = {{
    hashlib.sha256(f"panosc-hub demo {{p['username']}}".encode()).hexdigest()
    + "@" + people["scope"]: p["username"]
    for p in people["people"] if p["groups"]
}}
"""

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import importlib.metadata as md, json
from pathlib import Path
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
import jupyterhub, panosc_hub
from jupyterhub._data import DATA_FILES_PATH
pages = Path(panosc_hub.template_path())
core = FileSystemLoader(str(Path(DATA_FILES_PATH) / "templates"))
loader = ChoiceLoader([PrefixLoader({"templates": core}), FileSystemLoader(str(pages)), core])
env = Environment(loader=loader, autoescape=True, enable_async=True)
files = sorted(p.relative_to(pages).as_posix() for p in pages.rglob("*") if p.is_file())
for name in files:
    if name.endswith((".html", ".j2")):
        env.get_template(name)
groups = ("jupyterhub.spawners", "jupyterhub.authenticators", "console_scripts")
points = [p for g in groups for p in md.entry_points().select(group=g)]
loaded = {p.name: bool(p.load()) for p in points if p.value.startswith("panosc_hub.")}
print(json.dumps({"pages": str(pages), "points": sorted(loaded)}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=280,
    )
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package_the_pages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    files = [p for p in (ROOT / "panosc_hub").rglob("*") if "__pycache__" not in p.parts]
    wanted = {str(p.relative_to(ROOT)) for p in files if p.is_file()}
    pages = ROOT / "templates"
    wanted |= {
        f"panosc_hub/templates/{p.relative_to(pages)}" for p in pages.rglob("*") if p.is_file()
    }
    assert len(wanted) > 50
    assert wanted <= set(names), wanted - set(names)
    assert not [n for n in names if n.startswith(("tests/", "examples/", "bench/"))]


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True, timeout=280
    )
    return python


def test_the_wheel_brings_pages_and_entry_points(clean: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(clean), "-c", ASK], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert str(clean.parent.parent) in found["pages"]
    assert found["points"] == ["eduteams", "panosc", "panosc-hub", "umbrella"]


@dataclass
class Person:
    """Somebody with a browser, at a Hub with the wheel and at the real identity provider."""

    hub: HubProcess
    client: httpx.AsyncClient

    async def login(self, name: str) -> str:
        form = await self.client.get("/hub/oauth_login")
        action = BeautifulSoup(form.text, "html.parser").find("form")
        assert isinstance(action, Tag)
        answer = await self.client.post(
            urljoin(str(form.url), str(action["action"])), data={"person": name}
        )
        return answer.text

    async def sees(self, path: str) -> str:
        return (await self.client.get(path)).text

    async def until_it_sees(self, path: str, text: str) -> str:
        async with asyncio.timeout(60):
            while text not in (page := await self.sees(path)):
                await asyncio.sleep(0.1)
        return page

    @property
    def xsrf(self) -> str:
        return self.client.cookies.get("_xsrf", path="/hub/") or ""


@asynccontextmanager
async def somebody(hub: HubProcess) -> AsyncIterator[Person]:
    async with httpx.AsyncClient(
        base_url=hub.url,
        follow_redirects=True,
        timeout=60,
        trust_env=False,
        headers={"Sec-Fetch-Mode": "navigate"},
    ) as client:
        yield Person(hub, client)


@pytest.fixture
async def hub(clean: Path, tmp_path: Path) -> AsyncIterator[HubProcess]:
    """A Hub that has the wheel, and a login through the example facility's provider."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    (tmp_path / "site.yaml").write_text(
        SITE.format(python=clean, tiny=ROOT / "tests" / "hub" / "tiny_server.py")
    )
    folder = tmp_path / "hub"
    folder.mkdir()
    hub = HubProcess(folder, "", python=str(clean))
    async with running_idp(f"{hub.url}/hub/oauth_callback") as idp:
        people = json.loads(PEOPLE.read_text())
        config = folder / "jupyterhub_config.py"
        config.write_text(
            config.read_text()
            + CONFIG.format(
                site=str(tmp_path / "site.yaml"),
                homes=str(tmp_path / "home"),
                url=hub.url,
                idp=idp,
                people=people,
            )
        )
        try:
            await hub.start()
            yield hub
        finally:
            hub.stop()
            reap(str(tmp_path))


async def test_every_page_renders_from_the_wheel(hub: HubProcess) -> None:
    seen = {}
    async with somebody(hub) as nobody:
        seen["login.html"] = ("Sign in with Umbrella", await nobody.sees("/hub/login"))
        seen["not_linked.html"] = ("does not know you yet", await nobody.login("nobody"))
    async with somebody(hub) as paula:
        form = await paula.login("paula")
        seen["spawn.html"] = ('id="spawn_form"', form)
        seen["spawn_form.html"] = ('id="ph-form"', form)
        seen["spawn_profile.html"] = ('data-profile="small"', form)
        seen["home.html"] = ('id="ph-home"', await paula.sees("/hub/home"))
        seen["404.html"] = ("There is nothing here", await paula.sees("/hub/nowhere"))
        seen["error.html"] = ("You may not see this", await paula.sees("/hub/admin"))
        seen["not_running.html"] = ("This session is not running", await paula.sees("/user/paula/"))
        pending = await paula.client.post(
            "/hub/spawn", params={"_xsrf": paula.xsrf}, data={"profile": "small"}
        )
        seen["spawn_pending.html"] = ('id="ph-pending"', pending.text)
        await hub.until("paula")
        answer = await paula.client.delete(
            "/hub/api/users/paula/server", headers={"X-XSRFToken": paula.xsrf}
        )
        assert answer.status_code == 202
        stopping = await paula.until_it_sees("/hub/spawn-pending/paula", "is stopping")
        seen["stop_pending.html"] = ("Your session is stopping", stopping)
        style = await paula.client.get("/hub/panosc/static/panosc.css")
        assert style.status_code == 200
    pages = {p.name for p in (ROOT / "templates").glob("*.html")}
    assert set(seen) == pages - {"page.html"}  # the frame of all the others
    for name, (text, page) in seen.items():
        assert text in page, f"{name}:\n{page[:4000]}"
        assert "panosc.css" in page, name
    assert "Traceback" not in hub.log


def test_an_editable_install_finds_the_pages_in_the_checkout() -> None:
    assert Path(panosc_hub.template_path()) == ROOT / "templates"
