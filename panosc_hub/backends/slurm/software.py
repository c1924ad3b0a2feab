"""A launch's environment as values of the batch script: where software is, and what may be. Pure.

Every value here ends in bash, so each has one pattern or is quoted by ``shlex``; what must not be
in it is refused with a sentence, whoever wrote it.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ...core.environments import Environment
from ...core.plan import Launch
from ...core.proposals import Mode
from ...errors import BackendError

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_MODULE = r"[A-Za-z0-9_][A-Za-z0-9_.+:/\-]{0,200}"
_FOLDER = r"/[^:\x00-\x1f\x7f]{0,1000}"
"""No colon: it would be two folders in PATH, and two paths in ``--bind``."""

_FILE = r"/[^\x00-\x1f\x7f]{0,1000}"
_ACCOUNT = r"[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,63}"
_WILDCARDS = re.compile(r"(\*\*/|\*\*|\*)")
_EXPRESSIONS = {"**/": "([^/]+/)*", "**": "[^/]+(/[^/]+)*", "*": "[^/]*"}


def software(launch: Launch) -> dict[str, Any]:
    """Values of the template. Raises :class:`BackendError` for one that cannot be used."""
    environment = launch.environment
    _check(environment)
    container = bool(environment.apptainer)
    given = dict(launch.selection.choices).get("path", "") if environment.paths else ""
    return {
        "title": shlex.quote(environment.title),
        "variables": {name: shlex.quote(v) for name, v in environment.variables.items()},
        "modules": [shlex.quote(module) for module in environment.modules],
        "prefix": shlex.quote(environment.prefix or ""),
        "archive": shlex.quote(environment.archive) if environment.archive else "",
        "unpack_to": shlex.quote(environment.unpack_to),
        "container": container,
        "image": shlex.quote(environment.apptainer or ""),
        "gpus": bool(launch.resources.gpus.count),
        "binds": binds(launch) if container else [],
        "own": bool(given),
        "server": shlex.quote(environment.command[0]),
        "patterns": patterns(environment, launch.person.name) if given else [],
    }


def _check(environment: Environment) -> None:
    """Raises :class:`BackendError` for a text that could be more than it says."""
    for what, pattern, values in (
        ("the name of an environment variable", _VARIABLE, environment.variables),
        ("the name of a module", _MODULE, environment.modules),
        ("a usable path of an environment", _FOLDER, (environment.prefix or "/",)),
        ("a usable path of an image", _FOLDER, (environment.apptainer or "/",)),
        ("a usable path of an archive", _FILE, (environment.archive or "/",)),
        ("a usable path to unpack to", _FOLDER, (environment.unpack_to,)),
    ):
        for value in values:
            if not re.fullmatch(pattern, value):
                raise BackendError(
                    f"{value[:60]!r} is not {what}. Tell the facility's support.",
                    reason="bad_option",
                )
    for name, value in environment.variables.items():
        if "\0" in value:
            raise BackendError(
                f"The variable {name} has a character that no variable can hold. "
                "Tell the facility's support.",
                reason="bad_option",
            )


def binds(launch: Launch) -> list[tuple[str, str]]:
    """Path and mode of each data area for Apptainer's ``--bind``, outer folders first.

    In that order an area inside another one keeps its own mode.
    """
    found: list[tuple[str, str]] = []
    for area in sorted(launch.plan.areas, key=lambda area: area.path.rstrip("/").split("/")):
        if re.search(r"[:,\\\x00-\x1f]", area.path):
            raise BackendError(
                f"The data area {area.name} cannot be shown in a container: its path has a "
                "character that Apptainer's --bind does not take. Tell the facility's support.",
                reason="bad_path",
            )
        mode = "ro" if area.mode == Mode.READ_ONLY else "rw"
        found.append((shlex.quote(area.path), mode))
    return found


def patterns(environment: Environment, username: str) -> list[str]:
    """Words for the script, three for each pattern of paths that users may give.

    Whether it is a person's own place (``yes``, ``no``), the folder before the first wildcard,
    and a regular expression of bash for the rest. Apart, for the folder itself may be reached
    by links, such as a home that really is on another file system.
    """
    words: list[str] = []
    for pattern in environment.paths:
        personal = "{username}" in pattern
        if personal and not re.fullmatch(_ACCOUNT, username):
            continue  # its letters could be wildcards
        head, *tail = _WILDCARDS.split(pattern.replace("{username}", username))
        folder, _, name = head.rpartition("/")
        expression = "".join(map(_expression, (name, *tail)))
        words += ["yes" if personal else "no", shlex.quote(folder or "/"), shlex.quote(expression)]
    return words


def _expression(part: str) -> str:
    """A wildcard, or plain text in which each odd character is put into brackets."""
    return _EXPRESSIONS.get(part) or re.sub(r"([^A-Za-z0-9_/@:=,\- ])", r"[\1]", part)
