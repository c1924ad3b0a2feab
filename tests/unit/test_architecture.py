"""The imports point one way; an arrow against the design fails here."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import panosc_hub

PACKAGE = Path(panosc_hub.__file__).parent
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "_version": frozenset(),
    "paths": frozenset(),
    "core": frozenset({"errors"}),
    "site": frozenset({"core", "errors"}),
    "library": frozenset({"core", "errors", "site"}),
    "session": frozenset(),
    "compat": frozenset({"errors"}),
    "backends": frozenset({"core", "errors", "session", "paths"}),
    "catalogue": frozenset({"core", "errors", "site"}),
    "auth": frozenset({"core", "errors", "paths"}),
    "progress": frozenset({"backends"}),
    "children": frozenset({"backends", "core", "errors"}),
    "delegation": frozenset({"children", "core"}),
    "people": frozenset({"core", "errors"}),
    "starting": frozenset({"errors", "progress"}),
    "readiness": frozenset({"errors"}),
    "facility": frozenset({"catalogue", "core", "errors", "library", "site"}),
    "hook": frozenset({"compat", "core", "errors", "facility", "people", "session"}),
    "spawner": frozenset(
        {"backends", "children", "compat", "core", "delegation", "errors", "facility", "people"}
        | {"progress", "readiness", "starting", "web"}
    ),
    "web": frozenset(
        {"backends", "compat", "core", "errors", "facility", "paths", "spawner", "catalogue"}
    ),
    "install": frozenset({"facility", "hook", "paths", "spawner", "web"}),
    "cli": frozenset(
        {"_version", "backends", "children", "core", "errors", "facility", "library", "site"}
        | {"spawner", ""}
    ),
    "": frozenset({"_version", "install", "paths"}),
}
"""Room -> rooms that it may import from; ``""`` is the package's own ``__init__``."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(module: Path, text: str = "") -> list[tuple[str, int]]:
    """(room, line) for every import of the package's own modules."""
    found = []
    package = ("panosc_hub", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(text or module.read_text())):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            path = (*base, *(node.module or "").split(".")) if node.module else base
            names = [path] if len(path) > 1 else [(*path, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            if name and name[0] == "panosc_hub":
                target = name[1] if len(name) > 1 else ""
                known = (PACKAGE / target).exists() or (PACKAGE / f"{target}.py").exists()
                found.append((target if known else "", node.lineno))
    return found


@pytest.mark.parametrize(
    ("line", "room"),
    [
        ("import panosc_hub.web.page", "web"),
        ("import json, panosc_hub.spawner as s", "spawner"),
        ("from panosc_hub.web import page", "web"),
        ("from panosc_hub import web", "web"),
        ("from ..web.page import options_form", "web"),
        ("from .. import facility", "facility"),
    ],
)
def test_every_way_to_import_is_seen(line: str, room: str) -> None:
    module = PACKAGE / "core" / "imagined.py"
    assert imports(module, f"if True:\n    {line}\n") == [(room, 2)]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    room = room_of(module)
    wrong = [
        f"line {line}: {room or 'panosc_hub'} -> {target or 'panosc_hub'}"
        for target, line in imports(module)
        if target != room and target not in MAY_IMPORT[room]
    ]
    assert not wrong


def test_backends_never_import_each_other() -> None:
    for module in (PACKAGE / "backends").rglob("*.py"):
        own = module.relative_to(PACKAGE / "backends").parts[0]
        text = module.read_text()
        for other in {"local", "slurm", "kubernetes"} - {own.removesuffix(".py")}:
            assert f"from ..{other}" not in text
            assert f"from .{other}" not in text


PURE = sorted((PACKAGE / "core").glob("*.py"))
IMPURE = {"os", "asyncio", "subprocess", "socket", "tornado", "traitlets", "jupyterhub", "httpx",
          "pathlib", "logging", "time", "shutil", "threading"}  # fmt: skip


@pytest.mark.parametrize("module", PURE, ids=lambda m: m.name)
def test_the_core_is_pure(module: Path) -> None:
    used = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            used |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            used.add((node.module or "").split(".")[0])
    assert not used & IMPURE


def test_the_session_start_up_needs_only_the_standard_library() -> None:
    for node in ast.walk(ast.parse((PACKAGE / "session" / "start.py").read_text())):
        if isinstance(node, ast.Import):
            assert all(a.name.split(".")[0] in sys.stdlib_module_names for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            assert (node.module or "").split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_modules_stay_readable(module: Path) -> None:
    # The session start-up travels as one file, so it may not be split.
    most = 600 if module.parent.name == "session" else 400
    assert len(module.read_text().splitlines()) <= most
