"""KubeSpawner's ``profile_list`` as ``profiles`` and ``environments`` of ``site.yaml``. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....core.quantities import format_duration, format_memory
from .choices import MOST, Choice, Options, read_options
from .notes import Fate, Ledger, Note, Path, identifier, one_line, plain_text, shorten
from .override import Pieces, gpus_of, merge, understand

DEFAULT_MEMORY = 2 * 2**30
"""Where nothing was set; a profile needs a limit."""


@dataclass
class Migration:
    """The new site's parts, and what becomes of every setting."""

    profiles: list[dict[str, Any]] = field(default_factory=list)
    environments: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[str, list[str]] = field(default_factory=dict)
    """Profile id -> what an admin must know about it."""
    notes: tuple[Note, ...] = ()

    def of(self, fate: Fate) -> list[Note]:
        """The notes of one kind."""
        return [note for note in self.notes if note.fate is fate]


class _Builder:
    def __init__(self, base: Pieces, inherited: set[str], ledger: Ledger) -> None:
        self.base, self.inherited, self.ledger = base, inherited, ledger
        self.made = Migration()
        self._ids: set[str] = set()
        self._environment_ids: set[str] = set()
        self._known: dict[tuple[Any, ...], str] = {}
        self._places: list[tuple[Path, str]] = []

    def add(self, entry: Mapping[str, Any], slug: str, path: Path) -> None:
        """One entry of profile_list, which may become several profiles."""
        told = self._texts(entry, slug, path)
        override = entry.get("kubespawner_override") or {}
        own: Pieces = {}
        if isinstance(override, Mapping):
            own = understand(override, (*path, "kubespawner_override"), self.ledger)
            if not override and "kubespawner_override" in entry:
                self.ledger.mapped((*path, "kubespawner_override"), "is empty")
        options = read_options(
            entry.get("profile_options"), (*path, "profile_options"), self.ledger
        )
        if not options.splits and "profile_options" in entry and not entry["profile_options"]:
            self.ledger.mapped((*path, "profile_options"), "is empty")
        variants = list(itertools.product(*options.splits))
        if len(variants) > MOST:
            text = (
                f"would be {len(variants)} profiles; only the defaults are here, add what is used"
            )
            self.ledger.by_hand((*path, "profile_options"), text)
            variants = variants[:1]
        comments = [*told.remarks, *options.remarks]
        for number, variant in enumerate(variants):
            made, remarks = self._profile(told, own, options, variant)
            self.made.profiles.append(made)
            self.made.comments[made["id"]] = (comments if not number else []) + remarks
        self._places.append((path, self.made.profiles[-len(variants)]["id"]))

    def close(self) -> Migration:
        """The whole, with what is left to do by hand beside the profile that it is about."""
        self.made.notes = self.ledger.close()
        for path, profile in self._places:
            for note in self.ledger.below(path, Fate.HAND):
                place = ".".join(str(part) for part in note.path[len(path) :]) or "it"
                self.made.comments[profile].append(f"not mapped: {place} {note.text}")
        return self.made

    def _texts(self, entry: Mapping[str, Any], slug: str, path: Path) -> _Texts:
        given = str(entry.get("display_name") or slug or "Profile")
        title = plain_text(given, 80) or "Profile"
        about = str(entry.get("description") or "")
        description = plain_text(about, 400)
        remarks = []
        for what, before, after in (("title", given, title), ("description", about, description)):
            if one_line(before) != after:
                remarks.append(f"{what}: is plain text now; HTML was taken out, or it was cut")
        name = str(entry.get("slug") or slug or title)
        for key, text in (
            ("display_name", "title, as plain text"),
            ("description", "description, as plain text"),
            ("slug", "id"),
            ("default", "the default profile is the first"),
        ):
            if key in entry:
                self.ledger.mapped((*path, key), text)
        allow = _allow(entry, path, self.ledger, remarks)
        return _Texts(title, description, name, allow, remarks)

    def _profile(
        self, told: _Texts, own: Pieces, options: Options, variant: tuple[Choice, ...]
    ) -> tuple[dict[str, Any], list[str]]:
        layers = (own, *(choice.pieces for choice in variant), options.ranged)
        pieces = merge(self.base, *layers)
        # What c.KubeSpawner has for all is added by itself, so only the profile's own is written.
        placing = merge(*layers)
        names = [choice.title for choice in variant]
        title = shorten(": ".join([told.title, ", ".join(names)] if names else [told.title]), 80)
        slug = "-".join([told.slug, *(choice.key for choice in variant)])
        remarks: list[str] = []
        profile: dict[str, Any] = {
            "id": identifier(slug, self._ids, "profile"),
            "title": title,
        }
        if told.description:
            profile["description"] = told.description
        profile["backend"] = "kubernetes"
        guarantee: dict[str, Any] = {}
        profile["cpus"] = _cpus(pieces, options.ranges.get("cpus"), guarantee, remarks)
        profile["memory"] = _memory(pieces, options.ranges.get("memory"), guarantee, remarks)
        gpus, more = gpus_of(pieces.get("resources", {}))
        if gpus:
            if "gpus" in options.ranges:
                gpus["count"] = options.ranges["gpus"]
            profile["gpus"] = gpus
        if sum(1 for count in pieces.get("resources", {}).values() if count) > 1:
            remarks.append("gpus: several kinds were asked for together; only the first is here")
        profile["environments"] = self._environments(pieces, options)
        if told.allow:
            profile["allow"] = told.allow
        if "start_timeout" in placing:
            profile["start_timeout"] = format_duration(placing["start_timeout"])
        made = self._options(placing, pieces, options, remarks) | more
        if guarantee:
            made = {"guarantee": guarantee} | made
        if made:
            profile["options"] = made
        for key in ("tolerations", "required", "preferred"):
            if key in placing and key in self.inherited:
                remarks.append(
                    f"{key}: those of c.KubeSpawner hold too; before, these replaced them"
                )
        return profile, remarks

    def _environments(self, pieces: Pieces, options: Options) -> list[str]:
        command, variables = pieces.get("command"), pieces.get("variables", {})
        if options.typed:
            # The list of images is an option of the profile then, for one can be typed beside it.
            return [self._environment(None, command, variables, "")]
        if not options.software:
            return [self._environment(pieces.get("image"), command, variables, "")]
        found = []
        for choice in options.software:
            own = merge(
                {k: pieces[k] for k in ("image", "command", "variables") if k in pieces},
                choice.pieces,
            )
            found.append(
                self._environment(
                    own.get("image"), own.get("command"), own.get("variables", {}), choice.title
                )
            )
        return list(dict.fromkeys(found))

    def _environment(
        self,
        image: str | None,
        command: tuple[str, ...] | None,
        variables: Mapping[str, str],
        title: str,
    ) -> str:
        key = (image, command, tuple(sorted(variables.items())))
        if key not in self._known:
            # "quay.io/jupyter/scipy-notebook:2026-10-01@sha256:…" is scipy-notebook to people.
            short = (image or "default").split("@")[0].rsplit("/", 1)[-1]
            title = title or (short if image else "Default")
            made: dict[str, Any] = {
                "id": identifier(title, self._environment_ids, "environment"),
                "title": title,
                "backends": ["kubernetes"],
            }
            if image:
                made["image"] = image
            if command and command != ("jupyterhub-singleuser",):
                made["command"] = list(command)
            if variables:
                made["variables"] = dict(variables)
            self.made.environments.append(made)
            self._known[key] = made["id"]
        return self._known[key]

    def _options(
        self, placing: Pieces, pieces: Pieces, options: Options, remarks: list[str]
    ) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if options.typed:
            listed = [choice.pieces.get("image") for choice in options.software]
            images = list(
                dict.fromkeys(
                    filter(None, [*listed, *([pieces.get("image")] if not any(listed) else [])])
                )
            )
            made |= {"image": images} if images else {}
            made["image_patterns"] = list(dict.fromkeys(options.typed))
            if options.software:
                remarks.append("image: the menu shows the names of the images, not their titles")
        for key in ("node_selector", "tolerations", "priority_class", "runtime_class", "scheduler"):
            if placing.get(key):
                made[key] = placing[key]
        affinity = {key: placing[key] for key in ("required", "preferred") if placing.get(key)}
        if affinity:
            made["node_affinity"] = affinity
        if "shm" in placing and placing.get("shm_mounted"):
            made["shm"] = show(placing["shm"] or pieces.get("mem_limit") or DEFAULT_MEMORY)
            if not placing["shm"]:
                remarks.append(
                    "shm: had no size; it is the session's memory now, which it counts as"
                )
        elif "shm" in placing or placing.get("shm_mounted"):
            remarks.append("not mapped: memory as a volume that is not both here and at /dev/shm")
        return made


@dataclass(frozen=True)
class _Texts:
    title: str
    description: str
    slug: str
    allow: dict[str, Any]
    remarks: list[str]


_KNOWN = frozenset(
    {"display_name", "description", "slug", "default", "kubespawner_override", "profile_options"}
)
_GROUPS = ("allowed_groups", "profile_allowed_groups", "groups")
_USERS = ("allowed_users", "users")


def _allow(
    entry: Mapping[str, Any], path: Path, ledger: Ledger, remarks: list[str]
) -> dict[str, Any]:
    """Who may use it. KubeSpawner has no such key, but many a Hub's own code has.

    What is not understood may have been a limit, so only admins may until somebody looked.
    """
    allow: dict[str, Any] = {}
    odd = []
    for key in (key for key in entry if key not in _KNOWN):
        value, own = entry[key], (*path, str(key))
        texts = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        if texts and value and key in (*_GROUPS, *_USERS):
            what = "groups" if key in _GROUPS else "users"
            ledger.mapped(own, f"allow.{what}")
            allow[what] = [*allow.get(what, ()), *value]
        elif key == "access" and value in ("all", "yaml"):
            ledger.mapped(own, "allow")
        else:
            ledger.by_hand(own, "may say who may use it: write that into 'allow'")
            odd.append(str(key))
    if odd:
        remarks.append(f"allow: only admins, until you have looked at {', '.join(odd)}")
        return {"admins": True}
    return allow


def _cpus(
    pieces: Pieces, chosen: dict[str, int] | None, guarantee: dict[str, Any], remarks: list[str]
) -> Any:
    limit, least = pieces.get("cpu_limit"), pieces.get("cpu_guarantee")
    if chosen is not None:
        if least is not None:
            guarantee["cpus"] = _number(least)
        return chosen
    if limit is None and least is None:
        remarks.append("cpus: nothing was set, so a session had what was idle; 1 is the limit now")
        return 1
    if limit is None:
        remarks.append("cpus: only a guarantee was set; it is the limit now, too")
    asked = float(limit if limit is not None else least or 1)
    count = max(1, math.ceil(asked))
    if limit is not None and count != asked:
        remarks.append(f"cpus: the limit was {_number(asked)}; profiles have whole CPUs")
    # Without a request Kubernetes takes the limit for it.
    requested = asked if least is None else float(least)
    if requested != count:
        guarantee["cpus"] = _number(min(requested, count))
    return count


def _memory(
    pieces: Pieces, chosen: dict[str, int] | None, guarantee: dict[str, Any], remarks: list[str]
) -> Any:
    limit, least = pieces.get("mem_limit"), pieces.get("mem_guarantee")
    if chosen is not None:
        if least is not None:
            guarantee["memory"] = text_of(min(least, chosen["min"]))
        return {key: show(value) for key, value in chosen.items()}
    if limit is None and least is None:
        remarks.append("memory: nothing was set; write what a session may have")
        return show(DEFAULT_MEMORY)
    if limit is None:
        remarks.append("memory: only a guarantee was set; it is the limit now, too")
        return show(int(least or 0))
    if least is not None and least != limit:
        guarantee["memory"] = text_of(min(least, limit))
    return show(limit)


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value


def text_of(size: int) -> str:
    """Memory as text, exactly."""
    return format_memory(size)


def show(size: int) -> str | int:
    """Memory as people write it, if that is exact; else bytes."""
    text = format_memory(size)
    return text if not text.isdigit() else size


def migrate(
    tree: Mapping[str, Any],
    ledger: Ledger,
    settings: Mapping[str, tuple[Any, Path]],
    base: Mapping[str, tuple[Any, Path]],
    inherited: Iterable[str],
) -> Migration:
    """The migration of ``settings["profile_list"]`` over the ``base`` settings.

    ``base`` are the traits that become part of profiles, each with its place in ``tree``;
    ``inherited`` are traits that go on as they are, and are added to those of a profile.
    """
    pieces: Pieces = {}
    for name, (value, path) in base.items():
        pieces = merge(pieces, _of_all(name, value, path, ledger))
    builder = _Builder(pieces, {_PIECE.get(name, name) for name in inherited}, ledger)
    for entry, slug, path in _entries(settings.get("profile_list"), ledger):
        builder.add(entry, slug, path)
    if not builder.made.profiles:
        builder.ledger = Ledger({})  # this profile has no place in the file that is read
        builder.add({"display_name": "Default", "slug": "default"}, "default", ())
        if "profile_list" in settings:
            remark = "profile_list gave no profile; this one is made of the settings for all"
            builder.made.comments["default"].insert(0, remark)
        builder.ledger = ledger
        builder._places.clear()
    return builder.close()


def _of_all(name: str, value: Any, path: Path, ledger: Ledger) -> Pieces:
    """The pieces of one setting for all sessions."""
    scratch = Ledger({})
    found = understand({name: value}, ("",), scratch)
    odd = scratch.below((), Fate.HAND)
    for note in odd:
        own = (*path, *note.path[2:])
        if name.startswith("extra_resource"):
            ledger.keeps(own, "is added to every session by c.KubeSpawner")
        else:
            ledger.by_hand(own, note.text)
    for note in scratch.below((), Fate.MAPPED):
        text = "part of every profile that does not say otherwise"
        ledger.mapped((*path, *note.path[2:]), text)
    return found


_PIECE = {"node_affinity_required": "required", "node_affinity_preferred": "preferred"}


def _entries(
    setting: tuple[Any, Path] | None, ledger: Ledger
) -> list[tuple[Mapping[str, Any], str, Path]]:
    """Every profile with its slug and place, the default first."""
    if setting is None:
        return []
    listed, path = setting
    if callable(listed):
        ledger.by_hand(path, "is a function; write what it returns as profiles, with 'allow'")
        return []
    if not listed:
        if listed is not None:
            ledger.mapped(path, "is empty: one profile of the settings for all")
        return []
    found = []
    named = listed.items() if isinstance(listed, Mapping) else enumerate(listed)
    for place, entry in named:
        if isinstance(entry, Mapping):
            slug = "" if isinstance(place, int) else str(place)
            found.append((entry, slug, (*path, place)))
        else:
            ledger.by_hand((*path, place), "is not a mapping")
    found.sort(key=lambda item: not item[0].get("default"))
    return found
