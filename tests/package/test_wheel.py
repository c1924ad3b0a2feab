"""What is in the wheel: every page renders from it in a clean environment."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import panosc_hub
from tests.hub.harness import HubProcess

SITE = """
facility: {{id: test, title: Test facility}}
environments:
  - {{id: never, title: Never ready, command: [sleep, "60"]}}
profiles:
  - {{id: never, title: Never ready, backend: local, memory: 1G}}
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


def test_the_wheel_holds_the_pages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for page in (ROOT / "templates").rglob("*"):
        if page.is_file():
            assert f"panosc_hub/templates/{page.relative_to(ROOT / 'templates')}" in names
    assert not [n for n in names if n.startswith(("tests/", "examples/", "bench/"))]
    assert "panosc_hub/py.typed" in names


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


async def test_every_page_renders_from_the_wheel(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE.format(python=clean))
    (tmp_path / "hub").mkdir()
    config = (
        "import panosc_hub\n"
        f"panosc_hub.configure(c, site={str(tmp_path / 'site.yaml')!r})\n"
        f"c.LocalBackend.home_template = {str(tmp_path / 'home')!r}\n"
    )
    hub = HubProcess(tmp_path / "hub", config, python=str(clean))
    try:
        await hub.start()
        async with hub.browser("paula") as paula:
            pages = {
                "/hub/spawn": 'id="spawn_form"',
                "/hub/home": "paula",
                "/hub/nowhere": "404",
                "/user/paula/": "paula",
            }
            for path, text in pages.items():
                page = await paula.client.get(path)
                assert page.status_code in (200, 404, 424), (
                    path,
                    page.status_code,
                    hub.log[-3000:],
                )
                assert text in page.text
                assert "panosc.css" in page.text
            page = await paula.form("/hub/spawn", {"profile": "never"})
            assert str(page.url).endswith("/hub/spawn-pending/paula") or "pending" in str(page.url)
            assert "panosc" in page.text
            await paula.client.delete(
                "/hub/api/users/paula/server",
                headers={"X-XSRFToken": paula.client.cookies.get("_xsrf", path="/hub/") or ""},
            )
            page = await paula.client.get("/hub/spawn-pending/paula")
            assert page.status_code < 600
            style = await paula.client.get("/hub/panosc/static/panosc.css")
            assert style.status_code == 200
        assert "Traceback" not in hub.log
    finally:
        hub.stop()


def test_an_editable_install_finds_the_pages_in_the_checkout() -> None:
    assert Path(panosc_hub.template_path()) == ROOT / "templates"
