"""Environments: what software a session runs with, and the paths that users may give themselves.

Which paths those are is the facility's to say, pattern by pattern; what is checked here is the
text, and the backend checks again what the path really is, as the user, where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .ranges import Identifier, Model

_ABSOLUTE = r"^/[^\x00-\x1f]*$"
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,63}", re.ASCII)
_PIECES = re.compile(r"(\*\*/|\*\*|\*|\{username\})")
_LITERAL = re.compile(r"[A-Za-z0-9_.@+:=,\-/ ]*", re.ASCII)


def _pattern(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not value.startswith("/") or value.startswith("/*") or why_not_plain(value.rstrip("/")):
        raise ValueError(
            f"{value[:60]!r} is not a pattern of absolute paths; write for example "
            "/software/*/envs/* or /home/{username}/**"
        )
    pieces = _PIECES.split(value)
    if any(not _LITERAL.fullmatch(piece) for piece in pieces[::2]):
        raise ValueError(
            f"{value[:60]!r} may hold plain names, *, ** and {{username}}, and nothing else"
        )
    if any("**" in part and part != "**" for part in value.split("/")):
        raise ValueError(f"{value[:60]!r}: ** stands for whole folders; write /** or /**/")
    return value


PathPattern = Annotated[str, BeforeValidator(_pattern)]


def _folder(value: Any) -> Any:
    if isinstance(value, str) and (why := why_not_plain(value)):
        raise ValueError(f"{value[:60]!r} {why}")
    return value


class Environment(Model):
    """What software a session runs with. Each backend reads its own key."""

    id: Identifier
    title: str = Field(min_length=1, max_length=80)
    backends: tuple[str, ...] = ()
    command: tuple[str, ...] = Field(
        default=("jupyterhub-singleuser",),
        min_length=1,
        description="argv of the single-user server.",
    )
    prefix: str | None = Field(default=None, pattern=_ABSOLUTE, description="conda or venv prefix.")
    modules: tuple[str, ...] = ()
    apptainer: str | None = Field(default=None, pattern=_ABSOLUTE)
    image: str | None = Field(default=None, max_length=512, description="Container image.")
    archive: Annotated[str | None, BeforeValidator(_folder)] = Field(
        default=None,
        pattern=r"\.(tar|tar\.gz|tgz|tar\.bz2|tar\.xz|tar\.zst)$",
        description="A packed environment, unpacked on the node before the session starts.",
    )
    unpack_to: Annotated[str, BeforeValidator(_folder)] = Field(
        default="/dev/shm",
        description="Node-local directory for it. Memory, by default: fast, and gone afterwards.",
    )
    paths: tuple[PathPattern, ...] = Field(
        default=(),
        max_length=32,
        description="Patterns of paths (prefix or .sif image) that users may give themselves.",
    )
    variables: dict[str, str] = Field(default_factory=dict)

    def at(self, path: str) -> Environment:
        """The same with the software at ``path``, an image or a prefix by its name."""
        if path.endswith(".sif"):
            return self.model_copy(update={"apptainer": path, "prefix": None, "archive": None})
        return self.model_copy(update={"prefix": path, "apptainer": None, "archive": None})


def why_not_plain(path: str) -> str:
    """Empty for an absolute path that says what it means, else what is wrong with it."""
    if not path.startswith("/"):
        return "is not an absolute path"
    parts = path.split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        return "must not hold '.', '..', '//' or a '/' at its end"
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        return "holds a control character"
    return ""


def path_allowed(path: str, patterns: Iterable[str], username: str) -> bool:
    """Whether ``path`` is plain and matches one of ``patterns``.

    ``*`` stands for a part of one name, ``**`` for any names below each other, and ``{username}``
    for the account's name, letter by letter. A text check: links are not followed here.
    """
    if why_not_plain(path):
        return False
    return any(
        found is not None and found.fullmatch(path)
        for found in (_expression(pattern, username) for pattern in patterns)
    )


def _expression(pattern: str, username: str) -> re.Pattern[str] | None:
    if "{username}" in pattern and (not _ACCOUNT.fullmatch(username) or ".." in username):
        return None
    replaced = {
        "**/": r"(?:[^/]+/)*",
        "**": r"[^/]+(?:/[^/]+)*",
        "*": r"[^/]*",
        "{username}": re.escape(username),
    }
    pieces = _PIECES.split(pattern)
    return re.compile("".join(replaced.get(p, re.escape(p)) for p in pieces))
