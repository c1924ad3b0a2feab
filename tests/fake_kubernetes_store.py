"""What the fake API server keeps: objects with versions, and the history that watches read."""

from __future__ import annotations

import asyncio
import copy
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]
KINDS = {
    "pods": "Pod",
    "secrets": "Secret",
    "events": "Event",
    "nodes": "Node",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "services": "Service",
    "configmaps": "ConfigMap",
    "namespaces": "Namespace",
    "resourcequotas": "ResourceQuota",
}
WITHOUT_NAMESPACE = {"nodes", "namespaces"}


class Refused(Exception):
    """An answer of failure: status code, the API's word for it, message, details."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def expired(message: str = "The resourceVersion for the provided watch is too old.") -> Refused:
    return Refused(410, "Expired", message)


def stamp(after: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Object, patch: Mapping[str, Any]) -> Object:
    """RFC 7386; what a strategic merge patch is too, as far as no lists of objects change."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
    return target


def dig(thing: Any, path: str) -> str:
    for part in path.split("."):
        thing = thing.get(part, "") if isinstance(thing, dict) else ""
    return str(thing)


def selects(selector: str, values: Callable[[str], str | None]) -> bool:
    """Label and field selectors: ``a=b,c!=d,e,!f,g in (h,i)``."""
    for term in re.findall(r"[^,(]+(?:\([^)]*\))?", selector):
        word = term.strip()
        if among := re.fullmatch(r"(\S+)\s+(in|notin)\s+\((.*)\)", word):
            have = values(among[1]) in [each.strip() for each in among[3].split(",")]
            ok = have == (among[2] == "in")
        elif "!=" in word:
            name, _, value = word.partition("!=")
            ok = values(name) != value
        elif "=" in word:
            name, _, value = word.replace("==", "=").partition("=")
            ok = values(name) == value
        else:
            ok = (values(word.lstrip("!")) is not None) != word.startswith("!")
        if not ok:
            return False
    return True


@dataclass(frozen=True)
class Scope:
    """What a list or a watch is about."""

    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def holds(self, obj: Object | None) -> bool:
        if obj is None or (self.namespace and obj["metadata"].get("namespace") != self.namespace):
            return False
        labels = obj["metadata"].get("labels") or {}
        return selects(self.labels, labels.get) and selects(self.fields, lambda p: dig(obj, p))


@dataclass
class Change:
    version: int
    kind: str
    old: Object | None
    new: Object | None

    def event(self, scope: Scope) -> Object | None:
        """As a watch of that scope tells it; None if it is none of its business."""
        if scope.kind != self.kind:
            return None
        before, after = scope.holds(self.old), scope.holds(self.new)
        if after:
            return {"type": "MODIFIED" if before else "ADDED", "object": self.new}
        if not before:
            return None
        assert self.old is not None
        last = copy.deepcopy(self.old)
        last["metadata"]["resourceVersion"] = str(self.version)
        return {"type": "DELETED", "object": last}


@dataclass
class Store:
    """Objects by kind, namespace and name; every write has a version of its own."""

    version: int = 1000
    keep: int = 20000
    objects: dict[str, dict[tuple[str, str], Object]] = field(default_factory=dict)
    listeners: set[asyncio.Queue[Change]] = field(default_factory=set)
    forgotten: int = 0
    """A watch from this version or an earlier one is too old."""

    def __post_init__(self) -> None:
        self.history: deque[Change] = deque()
        self.objects = {kind: {} for kind in KINDS}

    def items(self, scope: Scope) -> list[Object]:
        every = sorted(self.objects[scope.kind].items())
        return [obj for _, obj in every if scope.holds(obj)]

    def get(self, kind: str, namespace: str, name: str) -> Object:
        found = self.objects[kind].get((namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{kind} "{name}" not found', name=name, kind=kind)
        return found

    def create(self, kind: str, namespace: str, body: Object) -> Object:
        new = copy.deepcopy(body)
        meta = new.setdefault("metadata", {})
        if not meta.get("name"):
            meta["name"] = meta.get("generateName", "") + uuid.uuid4().hex[:5]
        name = meta["name"]
        there = self.objects[kind].get((namespace, name))
        if there is not None:
            dying = "object is being deleted: " if "deletionTimestamp" in there["metadata"] else ""
            text = f'{dying}{kind} "{name}" already exists'
            raise Refused(409, "AlreadyExists", text, name=name, kind=kind)
        new["apiVersion"], new["kind"] = "v1", KINDS[kind]
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=stamp())
        if kind not in WITHOUT_NAMESPACE:
            meta["namespace"] = namespace
        return self._write(kind, namespace, name, None, new)

    def update(self, kind: str, namespace: str, name: str, change: Mapping[str, Any]) -> Object:
        old = self.get(kind, namespace, name)
        new = merge(copy.deepcopy(old), change)
        for fixed in ("uid", "name", "creationTimestamp"):
            new["metadata"][fixed] = old["metadata"][fixed]
        new = self._write(kind, namespace, name, old, new)
        if "deletionTimestamp" in new["metadata"] and self._may_go(new):
            self.remove(kind, namespace, name)
        return new

    def _may_go(self, obj: Object) -> bool:
        meta = obj["metadata"]
        return not meta.get("finalizers") and meta.get("deletionGracePeriodSeconds", 0) == 0

    def doom(self, kind: str, namespace: str, name: str, options: Object) -> tuple[Object, bool]:
        """Delete: at once where nothing holds it, else mark it; the object, and if it is gone."""
        old = self.get(kind, namespace, name)
        meta = old["metadata"]
        asked = (options.get("preconditions") or {}).get("uid")
        if asked and asked != meta["uid"]:
            raise Refused(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind} "{name}": the UID in the precondition '
                f"({asked}) does not match the UID in record ({meta['uid']}). The object might "
                "have been deleted and then recreated",
                name=name,
                kind=kind,
            )
        grace = options.get("gracePeriodSeconds")
        if kind != "pods" or not old["spec"].get("nodeName"):
            grace = 0
        elif grace is None:
            grace = old["spec"].get("terminationGracePeriodSeconds", 30)
        if grace == 0 and not meta.get("finalizers"):
            return self.remove(kind, namespace, name), True
        if "deletionTimestamp" in meta and grace >= meta["deletionGracePeriodSeconds"]:
            return old, False
        mark = {"deletionTimestamp": stamp(grace), "deletionGracePeriodSeconds": grace}
        return self.update(kind, namespace, name, {"metadata": mark}), False

    def remove(self, kind: str, namespace: str, name: str) -> Object:
        """It is gone, and so is all that it alone owned."""
        old = self.objects[kind].pop((namespace, name))
        self._tell(kind, old, None)
        uid = old["metadata"]["uid"]
        for other, obj in self._owned(namespace, uid):
            owners = [o for o in obj["metadata"]["ownerReferences"] if o["uid"] != uid]
            if owners:
                change = {"metadata": {"ownerReferences": owners}}
                self.update(other, namespace, obj["metadata"]["name"], change)
            else:
                self.doom(other, namespace, obj["metadata"]["name"], {})
        return old

    def _owned(self, namespace: str, uid: str) -> Iterator[tuple[str, Object]]:
        for kind, objects in self.objects.items():
            for (where, _), obj in list(objects.items()):
                owners = obj["metadata"].get("ownerReferences") or []
                if where == namespace and any(o["uid"] == uid for o in owners):
                    yield kind, obj

    def forget_history(self) -> None:
        """Every version until now is too old for a watch, as after a compaction."""
        self.version += 1
        self.forgotten = self.version - 1
        self.history.clear()

    def since(self, version: int) -> list[Change]:
        if version <= self.forgotten:
            raise expired(f"too old resource version: {version} ({self.version})")
        return [change for change in self.history if change.version > version]

    def _write(
        self, kind: str, namespace: str, name: str, old: Object | None, new: Object
    ) -> Object:
        self.objects[kind][namespace, name] = new
        self._tell(kind, old, new)
        return new

    def _tell(self, kind: str, old: Object | None, new: Object | None) -> None:
        self.version += 1
        if new is not None:
            new["metadata"]["resourceVersion"] = str(self.version)
        change = Change(self.version, kind, old, new)
        self.history.append(change)
        while len(self.history) > self.keep:
            self.forgotten = self.history.popleft().version
        for queue in self.listeners:
            queue.put_nowait(change)
