"""A migration as the text of a ``site.yaml``, with a comment at all that needs a hand."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from .notes import Fate, one_line
from .profiles import Migration

_HEAD = """\
Made by `panosc-hub migrate kubespawner`. Read every comment, then run `panosc-hub check`.
Memory is written 8G (powers of 1024). cpus and memory are limits; options.guarantee says how
much of them is kept free, all of it if it is not there."""

_DATA = """\
Where data are is not in KubeSpawner's settings. For example:
areas:
  raw: {path: "/data/{instrument}/{proposal}/raw", mode: ro}
catalogue: {kind: static, file: proposals.yaml}"""


def site_text(migration: Migration, *, facility_id: str, title: str, source: str) -> str:
    """The file's text; ``source`` is said in its first comment."""
    facility = CommentedMap(id=facility_id, title=title)
    document = CommentedMap(
        facility=facility,
        environments=_listed(migration.environments),
        profiles=_listed(migration.profiles),
    )
    document.yaml_set_start_comment(f"From {one_line(source)}.\n{_HEAD}")
    document.yaml_set_comment_before_after_key("environments", before=f"\n{_DATA}\n\n")
    document.yaml_set_comment_before_after_key("profiles", before="\n\n")
    profiles = document["profiles"]
    for number, profile in enumerate(migration.profiles):
        remarks = migration.comments.get(profile["id"], ())
        if remarks:
            text = _wrapped(remarks, 2)
            profiles.yaml_set_comment_before_after_key(number, before=text, indent=2)
    yaml = YAML(typ="rt")
    yaml.width = 4096  # a folded title is hard to read
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue() + _left(migration)


def _listed(entries: Iterable[dict[str, Any]]) -> CommentedSeq:
    made = CommentedSeq()
    for entry in entries:
        body = CommentedMap()
        for key, value in entry.items():
            body[key] = _short(value)
        made.append(body)
    return made


def _short(value: Any) -> Any:
    """Small parts on one line, as people write them."""
    if isinstance(value, dict):
        small = CommentedMap({key: _short(each) for key, each in value.items()})
        if not any(isinstance(each, (dict, list)) for each in value.values()):
            small.fa.set_flow_style()
        return small
    if isinstance(value, (list, tuple)):
        listed = CommentedSeq(_short(each) for each in value)
        if not any(isinstance(each, (dict, list)) for each in value):
            listed.fa.set_flow_style()
        return listed
    return value


def _left(migration: Migration) -> str:
    """What is to do outside of this file, as comments at its end: keys and reasons, no values."""
    left = migration.of(Fate.HAND)
    if not left:
        return ""
    lines = ["", "# By hand, of the settings that were read:"]
    for note in left:
        text = f"{one_line(note.key)}: {one_line(note.text)}"
        # A key is never broken, so that it can be searched for.
        lines += textwrap.wrap(
            text, 98, initial_indent="# - ", subsequent_indent="#   ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def _wrapped(texts: Iterable[str], indent: int) -> str:
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(one_line(text), 96 - indent, break_long_words=False) or [""]
    return "\n".join(lines)
