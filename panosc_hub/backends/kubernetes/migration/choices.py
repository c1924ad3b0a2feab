"""``profile_options``: lists of images, ranges, or several profiles. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .notes import Ledger, Path, plain_text
from .override import Pieces, understand

SOFTWARE = frozenset({"image", "command", "variables"})
"""Pieces that make an environment."""

MEMORY = frozenset({"mem_limit", "mem_guarantee"})
CPUS = frozenset({"cpu_limit", "cpu_guarantee"})

MOST = 24
"""Profiles that one profile of KubeSpawner may become."""


@dataclass(frozen=True)
class Choice:
    """One line of an option's list."""

    key: str
    title: str
    pieces: Pieces


@dataclass
class Options:
    """All that ``profile_options`` of one profile say."""

    software: list[Choice] = field(default_factory=list)
    """Images to choose from, the default first."""
    typed: list[str] = field(default_factory=list)
    """Patterns of images that may be typed."""
    ranges: dict[str, dict[str, int]] = field(default_factory=dict)
    ranged: Pieces = field(default_factory=dict)
    splits: list[list[Choice]] = field(default_factory=list)
    """Options of which each choice needs a profile of its own."""
    remarks: list[str] = field(default_factory=list)


def read_options(options: Any, path: Path, ledger: Ledger) -> Options:
    """What the options mean; each key is told to ``ledger``."""
    found = Options()
    if not isinstance(options, Mapping):
        if options is not None:
            ledger.by_hand(path, "is not a mapping")
        return found
    for name, option in options.items():
        own = (*path, str(name))
        if not isinstance(option, Mapping):
            ledger.by_hand(own, "is not a mapping")
            continue
        _one(str(name), option, own, ledger, found)
    return found


def _one(name: str, option: Mapping[str, Any], path: Path, ledger: Ledger, found: Options) -> None:
    title = plain_text(option.get("display_name") or name, 80)
    if "display_name" in option:
        ledger.mapped(
            (*path, "display_name"), "the page's own word for it, or the profiles' titles"
        )
    choices = _choices(option.get("choices"), (*path, "choices"), ledger)
    _unlisted(option.get("unlisted_choice"), (*path, "unlisted_choice"), ledger, found)
    building = option.get("dynamic_image_building")
    if isinstance(building, Mapping) and not building.get("enabled"):
        ledger.mapped((*path, "dynamic_image_building"), "is off, as here")
    elif building is not None:
        ledger.by_hand(
            (*path, "dynamic_image_building"), "images are not built here; name built ones"
        )
    if not choices:
        return
    kinds = frozenset(key for choice in choices for key in choice.pieces)
    if kinds <= SOFTWARE and not found.software and all("image" in c.pieces for c in choices):
        found.software = choices
        return
    if len(choices) > 1 and (made := _range(kinds, choices)):
        what, body, pieces = made
        if what not in found.ranges:
            found.ranges[what] = body
            found.ranged.update(pieces)
            found.remarks.append(
                f"{title}: was a list of {len(choices)}; now any value from its smallest to its "
                "largest"
            )
            return
    found.splits.append(choices)


def _choices(choices: Any, path: Path, ledger: Ledger) -> list[Choice]:
    if not isinstance(choices, Mapping):
        if choices is not None:
            ledger.by_hand(path, "is not a mapping")
        return []
    made: list[tuple[bool, Choice]] = []
    for key, choice in choices.items():
        own = (*path, str(key))
        if not isinstance(choice, Mapping):
            ledger.by_hand(own, "is not a mapping")
            continue
        for said, text in (
            ("display_name", "the title of an environment or a profile"),
            ("default", "the default is the first, or the range's default"),
            ("slug", "only in KubeSpawner's links"),
        ):
            if said in choice:
                ledger.mapped((*own, said), text)
        if "description" in choice:
            ledger.by_hand(
                (*own, "description"), "choices have a title only; this text is left out"
            )
        override = choice.get("kubespawner_override") or {}
        pieces: Pieces = {}
        if isinstance(override, Mapping):
            pieces = understand(override, (*own, "kubespawner_override"), ledger)
            if not override:
                ledger.mapped((*own, "kubespawner_override"), "is empty")
        title = plain_text(choice.get("display_name") or key, 80)
        made.append((bool(choice.get("default")), Choice(str(key), title, pieces)))
    made.sort(key=lambda pair: not pair[0])
    return [choice for _, choice in made]


def _range(
    kinds: frozenset[str], choices: list[Choice]
) -> tuple[str, dict[str, int], Pieces] | None:
    """A range if all choices are amounts of one thing, as much guaranteed as allowed."""
    for what, limit, guarantee in (
        ("memory", "mem_limit", "mem_guarantee"),
        ("cpus", "cpu_limit", "cpu_guarantee"),
    ):
        if kinds and kinds <= {limit, guarantee}:
            values = []
            for choice in choices:
                most, least = choice.pieces.get(limit), choice.pieces.get(guarantee)
                value = most or least
                if not value or value != int(value) or (most and least and most != least):
                    return None
                values.append(int(value))
            # A limit alone leaves the guarantee to the profile; else all of it is guaranteed.
            pieces: Pieces = {} if guarantee not in kinds else {guarantee: None}
            return what, _body(values), pieces | {limit: values[0]}
    if kinds == {"resources"}:
        names = {name for choice in choices for name in choice.pieces["resources"]}
        if len(names) == 1:
            name = names.pop()
            values = [choice.pieces["resources"].get(name) or 0 for choice in choices]
            return "gpus", _body(values), {"resources": {name: max(values)}}
    return None


def _body(values: list[int]) -> dict[str, int]:
    return {"min": min(values), "max": max(values), "default": values[0]}


def _unlisted(choice: Any, path: Path, ledger: Ledger, found: Options) -> None:
    """A typed image becomes a pattern; anything else that is typed has no place."""
    if choice is None:
        return
    if not isinstance(choice, Mapping) or not choice.get("enabled"):
        ledger.mapped(path, "is off, as here")
        return
    ledger.mapped((*path, "enabled"), "options.image_patterns")
    for said in ("display_name", "display_name_in_choices", "description_in_choices"):
        if said in choice:
            ledger.mapped((*path, said), "the page has its own words for a typed image")
    if "validation_message" in choice:
        ledger.mapped((*path, "validation_message"), "the page has its own words for a refusal")
    own, override = (*path, "kubespawner_override"), choice.get("kubespawner_override")
    template = override.get("image") if isinstance(override, Mapping) else None
    if not isinstance(template, str) or template.count("{value}") != 1:
        ledger.by_hand(own, "only an image can be typed here, not this")
        ledger.by_hand((*path, "validation_regex"), "belongs to what cannot be typed here")
        return
    ledger.mapped((*own, "image"), "options.image_patterns")
    for name in set(override or ()) - {"image"}:
        ledger.by_hand((*own, str(name)), "a typed image changes nothing but the image")
    expression = choice.get("validation_regex")
    if not expression:
        text = "has no validation_regex: any image was allowed; write options.image_patterns"
        ledger.by_hand(path, text)
        return
    pattern = whole(str(expression), template)
    if pattern is None:
        ledger.by_hand((*path, "validation_regex"), "is not a regular expression")
        return
    ledger.mapped((*path, "validation_regex"), "options.image_patterns")
    found.typed.append(pattern)
    found.remarks.append(
        f"image_patterns: the whole name has to match now; with KubeSpawner {expression!r} only "
        "had to match its beginning. Look whether it allows what you mean, and no more"
    )


_REST = "[A-Za-z0-9_./:@-]*"


def whole(expression: str, template: str) -> str | None:
    """``expression`` for ``fullmatch`` of the whole image; None if it is none.

    KubeSpawner looks at the beginning of the text only. What may follow there is here made of
    the characters of image names.
    """
    body = expression.removeprefix("^")
    ends = body.endswith("$") and not body.endswith("\\$")
    body = body[:-1] if ends else body
    before, after = (re.escape(part) for part in template.split("{value}"))
    # With alternatives at the top, ^ and $ belonged to one of them each.
    body = f"(?:{body})" if "|" in body else body
    pattern = before + body + ("" if ends else _REST) + after
    try:
        re.compile(pattern)
        re.compile(expression)
    except (re.error, RecursionError):
        return None
    return pattern
