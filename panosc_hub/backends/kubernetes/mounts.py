"""The volumes of a proposal's data areas. Pure, and lexical only.

``data_volumes`` says where the facility's data come from: a path as sessions see it, and one
source of Kubernetes, whose own root is that path::

    {"/data": {"nfs": {"server": "nfs.facility.example", "path": "/export/data"}},
     "/scratch": {"persistentVolumeClaim": {"claimName": "scratch"}}}

For ``nfs`` and ``hostPath`` the area's own directory is mounted. The other kinds are mounted as a
whole, and the area is a ``subPath`` of them. Either way somebody who can write a directory above
an area could exchange a part of its path for a link, which the node would follow as root: an area
below one that its users may write is refused, unless it is seen through that one anyway.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.proposals import Area, Mode, is_within
from ...errors import BackendError

PREFIX = "panosc-data-"
"""What the names of these volumes begin with; nobody else's may."""

OWN_DIRECTORY = ("nfs", "hostPath")
WHOLE = ("persistentVolumeClaim", "csi", "image")
_NEEDED = {
    "nfs": {"server", "path"},
    "hostPath": {"path"},
    "persistentVolumeClaim": {"claimName"},
    "csi": {"driver"},
    "image": {"reference"},
}
_ALLOWED = {
    "nfs": {"server", "path", "readOnly"},
    "hostPath": {"path", "type"},
    "persistentVolumeClaim": {"claimName", "readOnly"},
    "csi": {"driver", "fsType", "nodePublishSecretRef", "readOnly", "volumeAttributes"},
    "image": {"reference", "pullPolicy"},
}


@dataclass(frozen=True, slots=True)
class Mounts:
    """What a pod gets, by the volume's name, in the order of mounting (parents first).

    ``areas`` has the names of the areas of each volume, for the sentence about one that failed.
    """

    volumes: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    mounts: tuple[dict[str, Any], ...] = ()
    areas_by_volume: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def words(self, proposal: str | None) -> dict[str, str]:
        """What a person calls each volume: ``data area raw of HG-123``."""
        of = f" of {proposal}" if proposal else ""
        return {
            volume: f"data area{'s' if len(names) > 1 else ''} {', '.join(names)}{of}"
            for volume, names in self.areas_by_volume.items()
        }


def wrong_volumes(data_volumes: Mapping[Any, Any], *, host_path_allowed: bool) -> list[str]:
    """A sentence for each mistake in ``data_volumes``, for the administrator."""
    return [
        f"data_volumes[{str(prefix)[:60]!r}]: {why}"
        for prefix, source in data_volumes.items()
        if (why := _wrong(prefix, source, host_path_allowed))
    ]


def _wrong(prefix: Any, source: Any, host_path_allowed: bool) -> str:
    if not isinstance(prefix, str) or not _plain(prefix):
        return "is not a plain absolute path; write for example /data"
    kinds = (*OWN_DIRECTORY, *WHOLE)
    if not isinstance(source, Mapping) or len(source) != 1 or next(iter(source)) not in kinds:
        return f"needs exactly one of {', '.join(kinds)}"
    ((kind, body),) = source.items()
    if not isinstance(body, Mapping):
        return f"{kind} needs {', '.join(sorted(_NEEDED[kind]))}"
    if missing := {name for name in _NEEDED[kind] if not body.get(name)}:
        return f"{kind} needs {', '.join(sorted(missing))}"
    if unknown := set(body) - _ALLOWED[kind]:
        return (
            f"{kind} has no {', '.join(sorted(map(str, unknown)))}; "
            f"there are {', '.join(sorted(_ALLOWED[kind]))}"
        )
    if kind in OWN_DIRECTORY and not _plain(body["path"]):
        return f"{kind}.path is not a plain absolute path"
    if kind == "hostPath" and not host_path_allowed:
        return "hostPath is off; see KubernetesBackend.allow_host_path"
    if kind == "hostPath" and body["path"] == "/":
        return "hostPath must not be the node's whole file system"
    return ""


def _plain(path: Any) -> bool:
    return (
        isinstance(path, str)
        and path.startswith("/")
        and not path.startswith("//")
        and path.isprintable()
        and (path == "/" or posixpath.normpath(path) == path)
        and not re.search(r"[{}$:]", path)
    )


def plan_mounts(
    areas: Iterable[Area],
    data_volumes: Mapping[str, Mapping[str, Any]],
    *,
    host_path_allowed: bool = False,
    recursive: str = "IfPossible",
    proposal: str | None = None,
) -> Mounts:
    """The volumes and mounts of ``areas``; none where ``data_volumes`` is empty, for then it is
    ``c.KubeSpawner.volumes`` that has the data.

    Raises :class:`BackendError` when an area lies in none of the volumes, or cannot be mounted
    safely; nothing is mounted then.
    """
    if not data_volumes:
        return Mounts()
    if wrong := wrong_volumes(data_volumes, host_path_allowed=host_path_allowed):
        raise BackendError(
            "The facility's data cannot be mounted, for a setting of this Hub is wrong: "
            f"{wrong[0]}. Tell the facility's support."
        )
    made = _Maker(data_volumes, recursive, f" of {proposal}" if proposal else "")
    # Parents first; of two areas at one path the read-only one counts.
    for area in sorted(areas, key=lambda a: (a.path.count("/"), a.path, str(a.mode))):
        made.add(area)
    return made.result()


class _Maker:
    def __init__(self, sources: Mapping[str, Mapping[str, Any]], recursive: str, of: str) -> None:
        self._sources = sources
        self._recursive = recursive
        self._of = of
        self._done: list[tuple[Area, str, str]] = []  # area, prefix of its source, volume
        self._volumes: dict[str, dict[str, Any]] = {}
        self._whole: dict[str, str] = {}  # prefix -> the volume that all its areas are parts of
        self._mounts: list[dict[str, Any]] = []
        self._areas: dict[str, list[str]] = {}
        self._writable: set[str] = set()

    def add(self, area: Area) -> None:
        if not _plain(area.path):
            raise self._refused(area, "its path is not a plain one")
        prefix = self._prefix_of(area)
        for above, where, volume in reversed(self._done):
            if where != prefix or not is_within(area.path, above.path):
                continue
            if above.mode is area.mode or above.path == area.path:
                self._areas[volume].append(area.name)
                return  # it is seen through the one above
            if above.mode is Mode.READ_WRITE:
                raise self._refused(
                    area, f"it lies below the area {above.name}, which may be written"
                )
        ((kind, body),) = self._sources[prefix].items()
        below = posixpath.relpath(area.path, prefix)
        read_only = area.mode is Mode.READ_ONLY
        if kind == "image" and not read_only:
            raise self._refused(area, "it is to be written, and an image cannot be")
        mount: dict[str, Any] = {"mountPath": area.path}
        if kind in OWN_DIRECTORY:
            name = self._name(area.name)
            path = posixpath.normpath(posixpath.join(body["path"], below))
            if not is_within(path, posixpath.normpath(body["path"])):
                raise self._refused(area, "its path leads out of its volume")
            self._volumes[name] = {"name": name, kind: _at(kind, body, path, read_only)}
        else:
            name = self._whole.get(prefix) or self._name(prefix)
            self._whole[prefix] = name
            self._volumes.setdefault(name, {"name": name, kind: dict(body)})
            if below != ".":
                mount["subPath"] = below
        if read_only:
            mount["readOnly"] = True
            if self._recursive:
                mount["recursiveReadOnly"] = self._recursive
        else:
            self._writable.add(name)
        self._mounts.append({"name": name, **mount})
        self._areas.setdefault(name, []).append(area.name)
        self._done.append((area, prefix, name))

    def result(self) -> Mounts:
        for name, volume in self._volumes.items():
            ((kind, body),) = ((k, v) for k, v in volume.items() if k != "name")
            if kind in ("persistentVolumeClaim", "csi") and name not in self._writable:
                volume[kind] = {**body, "readOnly": True}
        areas = {name: tuple(dict.fromkeys(found)) for name, found in self._areas.items()}
        return Mounts(self._volumes, tuple(self._mounts), areas)

    def _prefix_of(self, area: Area) -> str:
        found = [prefix for prefix in self._sources if is_within(area.path, prefix)]
        if not found:
            raise self._refused(area, "no volume of this cluster has its path")
        return max(found, key=len)

    def _name(self, what: str) -> str:
        """A label of DNS; the number keeps one from being the beginning of another."""
        plain = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")[:40].strip("-")
        return f"{PREFIX}{len(self._volumes)}-{plain or 'area'}"

    def _refused(self, area: Area, why: str) -> BackendError:
        return BackendError(
            f"The data area {area.name}{self._of} cannot be given to a session on Kubernetes: "
            f"{why}. Ask your local contact, or start without a proposal.",
            reason="data_area",
        )


def _at(kind: str, body: Mapping[str, Any], path: str, read_only: bool) -> dict[str, Any]:
    """The source of one directory."""
    found = {**body, "path": path}
    if kind == "hostPath":
        # Never made by the node where it is missing: root would own it.
        return {"type": "Directory", **found}
    return found | ({"readOnly": True} if read_only else {})
