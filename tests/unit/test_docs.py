"""The documentation says what the code does: every key, setting, example and test it names."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.crypto import CryptKeeper
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawner import SimpleLocalProcessSpawner, Spawner
from pydantic import BaseModel
from ruamel.yaml import YAML
from traitlets import HasTraits
from traitlets.config import PyFileConfigLoader

from panosc_hub.auth import accounts
from panosc_hub.auth.eduteams import EduTeamsAuthenticator
from panosc_hub.auth.umbrella import UmbrellaAuthenticator
from panosc_hub.backends.kubernetes import options as kubernetes
from panosc_hub.backends.kubernetes.spawner import KubernetesBackend
from panosc_hub.backends.local import LocalBackend
from panosc_hub.backends.slurm import SlurmBackend
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.estimate import StartEstimator
from panosc_hub.backends.slurm.memberships import AccountWatcher
from panosc_hub.backends.slurm.nodes import NodeWatcher
from panosc_hub.backends.slurm.options import SlurmOptions
from panosc_hub.backends.slurm.pending import PendingWatcher
from panosc_hub.backends.slurm.script import job_comment
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.catalogue import static
from panosc_hub.core import access, profiles, site, templates
from panosc_hub.core.selection import FIELDS
from panosc_hub.site import load_site, plain, read_yaml
from panosc_hub.spawner import PanoscSpawner
from panosc_hub.web import api, session

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

MODELS: dict[type[BaseModel], tuple[str, str]] = {
    site.Site: ("admin", "Top level"),
    site.FacilityInfo: ("admin", "facility"),
    site.AreaSpec: ("admin", "areas"),
    site.CatalogueSpec: ("admin", "catalogue"),
    site.TemplateSource: ("admin", "templates"),
    profiles.Environment: ("admin", "environments"),
    profiles.Profile: ("admin", "profiles"),
    profiles.Range: ("admin", "Ranges"),
    profiles.GpuOffer: ("admin", "gpus"),
    profiles.Allow: ("admin", "allow"),
    access.Window: ("admin", "windows"),
    access.Beamtime: ("admin", "beamtime"),
    SlurmOptions: ("admin", "options for Slurm"),
    kubernetes.KubernetesOptions: ("admin", "options for Kubernetes"),
    kubernetes.Guarantee: ("admin", "guarantee"),
    kubernetes.NodeAffinity: ("admin", "node_affinity"),
    kubernetes.Toleration: ("admin", "tolerations"),
    static.ProposalFile: ("admin", "The list of proposals"),
    static.ProposalEntry: ("admin", "proposals"),
    static.Members: ("admin", "members"),
    static.DatasetEntry: ("admin", "datasets"),
    templates.Manifest: ("template-author", "Manifest"),
    templates.Author: ("template-author", "authors"),
    templates.Match: ("template-author", "match"),
    profiles.Requirements: ("template-author", "requires"),
    templates.Kernel: ("template-author", "environment"),
    templates.Parameter: ("template-author", "parameters"),
}
"""Model -> page and heading whose table documents its keys."""

CLASSES: list[type[HasTraits]] = [
    PanoscSpawner, LocalBackend, SlurmBackend, SlurmClient, SlurmWatcher, NodeWatcher,
    AccountWatcher, PendingWatcher, StartEstimator,
    UmbrellaAuthenticator, accounts.StaticMapper, accounts.FileMapper,
]  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    check: str
    text: str


def blocks() -> Iterator[Block]:
    pattern = re.compile(r"(?:<!-- check: ([^>]*?) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
    for page in PAGES:
        text = page.read_text()
        for match in pattern.finditer(text):
            line = text[: match.start()].count("\n") + 1
            yield Block(page, line, match.group(2), match.group(1) or "", match.group(3))


BLOCKS = list(blocks())


def of(language: str, check: str = "") -> list[Any]:
    """The blocks as parameters, named by page and line."""
    return [
        pytest.param(b, id=f"{b.page.name}:{b.line}")
        for b in BLOCKS
        if b.language == language and b.check.startswith(check)
    ]


def rows(page: str, heading: str) -> dict[str, str]:
    """Key -> default of the table below a heading, as it is written."""
    text = (DOCS / f"{page}.md").read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert found, f"{page}.md has no heading {heading!r}"
    return {
        name: default.strip()
        for name, default in re.findall(r"^\| `([^`]+)` \|([^|]*)\|", found.group(1), re.M)
    }


def reachable(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model and all models in its fields."""
    found = {model}

    def walk(annotation: Any) -> None:
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        if is_model and annotation not in found:
            found.update(reachable(annotation))
        for part in get_args(annotation):
            walk(part)

    for field in model.model_fields.values():
        walk(field.annotation)
    return found


def test_every_model_of_the_files_has_a_place_in_the_documentation() -> None:
    wanted = reachable(site.Site) | reachable(templates.Manifest) | reachable(static.ProposalFile)
    wanted |= {SlurmOptions} | reachable(kubernetes.KubernetesOptions)
    # A part of a limit is a text; a condition's keys are told where its lists are.
    assert wanted - {kubernetes.Share, kubernetes.Expression, kubernetes.Preference} == set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_every_key_is_documented_and_no_other(model: type[BaseModel]) -> None:
    documented = rows(*MODELS[model])
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    assert set(documented) == set(known)
    if model is not profiles.Range:  # its defaults come from how a range is written
        required = {name for name, field in known.items() if field.is_required()}
        assert {n for n, default in documented.items() if default == "required"} == required


def own_traits(cls: type[HasTraits]) -> dict[str, Any]:
    return {
        name: trait
        for name, trait in cls.class_traits(config=True).items()
        if trait.this_class.__module__.startswith("panosc_hub")
    }


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_setting_is_documented_with_its_default_and_no_other(cls: type[HasTraits]) -> None:
    documented, traits = rows("settings", cls.__name__), own_traits(cls)
    assert set(documented) == set(traits)
    for name, trait in traits.items():
        quoted = re.fullmatch(r"`([^`]*)`", documented[name])
        if quoted:  # else words, for example "this host's name"
            default = ast.literal_eval(trait.default_value_repr())
            assert json.loads(quoted.group(1)) == default, name


def test_both_authenticators_have_the_same_settings() -> None:
    assert set(own_traits(EduTeamsAuthenticator)) == set(own_traits(UmbrellaAuthenticator))
    assert set(own_traits(accounts.HashMapper)) == set()


def read_site(file: Path) -> object:
    return load_site(file)


def read_template(file: Path) -> object:
    return templates.Manifest.model_validate(YAML(typ="safe").load(file.read_text()))


def read_accounts(file: Path) -> object:
    return accounts._read_accounts(str(file), None)


def read_allow(file: Path) -> object:
    return access.Allow.model_validate(plain(read_yaml(file))["allow"])


def read_profiles(file: Path) -> object:
    found = YAML(typ="safe").load(file.read_text())["profiles"]
    read = [profiles.Profile.model_validate(each) for each in found]
    return [wrong for each in read for wrong in KubernetesBackend.check_profile(each)] == []


READERS = {
    "profiles for kubernetes": read_profiles,
    "allow": read_allow,
    "site": read_site,
    "template": read_template,
    "proposals": static.read_proposals,
    "accounts": read_accounts,
}


@pytest.mark.parametrize("block", of("yaml"))
def test_every_yaml_example_is_accepted_by_what_reads_it(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(block.text)
    file.chmod(0o600)
    assert READERS[block.check](file)


@pytest.mark.parametrize("block", of("json"))
def test_every_json_example_is_a_selection(block: Block) -> None:
    assert set(json.loads(block.text)["user_options"]) <= set(FIELDS)


@pytest.mark.parametrize("block", of("python"))
def test_every_python_example_compiles(block: Block) -> None:
    compile(block.text, str(block.page), "exec")


@pytest.mark.parametrize("block", of("python", "config"))
def test_every_configuration_example_loads(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = next(b for b in BLOCKS if b.check == "site")
    (tmp_path / "site.yaml").write_text(example.text)
    text = block.text.replace("/etc/panosc-hub", str(tmp_path))
    if "get_config()" not in text:
        text = f"c = get_config()\n{text}"
    (tmp_path / "jupyterhub_config.py").write_text(text)
    monkeypatch.setenv("UMBRELLA_CLIENT_SECRET", "a secret")
    loaded = PyFileConfigLoader("jupyterhub_config.py", path=str(tmp_path)).load_config()
    assert loaded


KNOWN: dict[str, type[HasTraits]] = {
    cls.__name__: cls
    for cls in (
        *CLASSES, EduTeamsAuthenticator, JupyterHub, Authenticator, Spawner, CryptKeeper,
        ConfigurableHTTPProxy, SimpleLocalProcessSpawner, KubernetesBackend,
    )
}  # fmt: skip


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "config" / "jupyterhub_config.py"], ids=lambda p: p.name
)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    for owner, name in re.findall(r"\bc\.([A-Z]\w+)\.([a-z]\w+)", page.read_text()):
        if owner in ("KubeSpawner", "SlurmSpawner"):
            module = {"KubeSpawner": "kubespawner", "SlurmSpawner": "batchspawner"}[owner]
            cls = getattr(pytest.importorskip(module), owner)
        else:
            cls = KNOWN[owner]
        assert name in cls.class_trait_names(config=True), f"c.{owner}.{name}"


def test_every_test_that_is_named_exists() -> None:
    there: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                there.add(node.name)
    named = {n for page in PAGES for n in re.findall(r"`(test_\w+)`", page.read_text())}
    assert len(named) > 20
    assert not named - there


def test_every_field_of_a_selection_is_documented() -> None:
    assert set(rows("portal", "The selection")) == set(FIELDS)


def test_every_endpoint_is_documented() -> None:
    text = (DOCS / "portal.md").read_text()
    for route in (*api.ROUTES, *session.ROUTES):
        if "/api/" in route[0]:
            assert "/hub" + re.sub(r"\([^)]*\)", "{id}", route[0]) in text


def test_the_comment_of_a_job_is_as_operators_read_it() -> None:
    assert job_comment("facility-hub", "paula", "second") in (DOCS / "operations.md").read_text()


def test_every_module_has_its_room() -> None:
    text = (DOCS / "architecture.md").read_text()
    package = ROOT / "panosc_hub"
    for path in [*package.glob("[a-z]*.py"), *package.glob("*/")]:
        if path.is_dir() and not (path / "__init__.py").exists():
            continue
        name = path.name + ("/" if path.is_dir() else "")
        assert f"`{name}" in text, f"{name} is not in docs/architecture.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    # The picture of the spawn page is taken by the browser test, so it may not be there yet.
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")) and not target.endswith("spawn-page.png"):
            assert (page.parent / target).exists(), target


def test_the_documentation_builds_without_a_warning_and_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra 'docs')")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    for page in tmp_path.glob("*.html"):
        loads = re.findall(r"<(?:script|img|link)\b[^>]*(?:src|href)=\"([^\"]+)", page.read_text())
        assert loads
        assert not [address for address in loads if "//" in address]
