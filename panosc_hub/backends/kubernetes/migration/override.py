"""What one ``kubespawner_override`` asks for, trait by trait, in pieces of a profile. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ....core.quantities import parse_memory
from ....errors import SiteError
from ..options import GPU, is_image, validate_options
from .notes import Ledger, Path

Pieces = dict[str, Any]
"""Trait-like names with values in one unit: memory in bytes, CPUs as numbers."""

_GPU = re.compile(
    r"nvidia\.com/(gpu(\.shared)?|mig-[0-9a-z.+-]+)|amd\.com/gpu|gpu\.intel\.com/\w+|"
    r"habana\.ai/gaudi|intel\.com/gpu"
)
MIG = "nvidia.com/mig-"


class _Odd(ValueError):
    """Why a value has no place in ``site.yaml``."""


def understand(override: Mapping[str, Any], path: Path, ledger: Ledger) -> Pieces:
    """The pieces of ``override``; each of its keys is told to ``ledger``."""
    pieces: Pieces = {}
    for name, value in override.items():
        own = (*path, str(name))
        if callable(value):
            ledger.by_hand(own, "is a function, which site.yaml cannot hold")
            continue
        read = _READ.get(str(name))
        if read is None:
            ledger.by_hand(own, _HINTS.get(str(name), _ELSEWHERE))
            continue
        try:
            pieces.update(read(value, own, ledger))
        except _Odd as odd:
            ledger.by_hand(own, str(odd))
    return pieces


def merge(*layers: Pieces) -> Pieces:
    """As KubeSpawner does: later ones win, dictionaries are merged, None takes away."""
    merged: Pieces = {}
    for layer in layers:
        for name, value in layer.items():
            if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
                value = {**merged[name], **value}
            if isinstance(value, Mapping):
                value = {key: each for key, each in value.items() if each is not None}
            merged[name] = value
    return {name: value for name, value in merged.items() if value not in (None, {}, [])}


_ELSEWHERE = (
    "has no key in a profile; set it for all sessions with c.KubeSpawner, or for some of them with "
    "a second backend class that has its own section"
)
_HINTS = {
    "default_url": "what a session opens is said by its template notebook, else JupyterLab",
    "node_affinity_required": "needs one term with matchExpressions only",
    "extra_labels": "has no key in a profile; c.KubeSpawner.extra_labels is for all sessions",
    "service_account": "sessions have no account of the cluster, unless c.KubeSpawner says one",
    "privileged": "a profile gives no privileges",
    "uid": "the account of the person says it, or c.KubeSpawner.uid for all",
    "gid": "the account of the person says it, or c.KubeSpawner.gid for all",
    "fs_gid": "the account of the person says it, or c.KubeSpawner.fs_gid for all",
    "supplemental_gids": "the account of the person and the proposal say it",
    "args": "has no key; write them into 'command' of an environment",
    "image_pull_policy": "is for all sessions: c.KubeSpawner.image_pull_policy",
    "image_pull_secrets": "is for all sessions: c.KubeSpawner.image_pull_secrets",
}


def size_of(text: str) -> int:
    """Bytes; also as Kubernetes writes them, ``2Gi``. Raises ``ValueError``."""
    return parse_memory(f"{text}B" if text.endswith("i") else text)


def _image(value: Any, path: Path, ledger: Ledger) -> Pieces:
    if value is not None and (not isinstance(value, str) or not is_image(value)):
        raise _Odd("is not the name of an image")
    ledger.mapped(path, "the image of an environment, or of the profile's list")
    return {"image": value}


def _command(value: Any, path: Path, ledger: Ledger) -> Pieces:
    argv = value.split() if isinstance(value, str) else value
    if not isinstance(argv, (list, tuple)) or not argv or not all(isinstance(a, str) for a in argv):
        raise _Odd(
            "is no command; the image's own (null) cannot be used, for the start-up runs first"
        )
    ledger.mapped(path, "command of an environment")
    return {"command": tuple(argv)}


def _variables(value: Any, path: Path, ledger: Ledger) -> Pieces:
    found: dict[str, str] = {}
    for name, each in _mapping(value).items():
        if not isinstance(each, (str, int, float)):
            text = "is no plain text; set it for all with c.KubeSpawner.environment"
            ledger.by_hand((*path, name), text)
        elif "{" in str(each) or "}" in str(each):
            text = "has braces, which KubeSpawner replaces; here variables are plain text"
            ledger.by_hand((*path, name), text)
        else:
            text = {True: "true", False: "false"}[each] if isinstance(each, bool) else str(each)
            ledger.mapped((*path, name), "variables of an environment")
            found[name] = text
    return {"variables": found}


def _memory(name: str) -> Callable[[Any, Path, Ledger], Pieces]:
    def read(value: Any, path: Path, ledger: Ledger) -> Pieces:
        size = None
        if isinstance(value, str):
            try:
                size = size_of(value)
            except ValueError as error:
                raise _Odd(str(error)) from None
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            size = int(value)
        elif value is not None:
            raise _Odd("is not a memory size")
        ledger.mapped(path, "memory" if name == "mem_limit" else "options.guarantee.memory")
        return {name: size or None}

    return read


def _cpus(name: str) -> Callable[[Any, Path, Ledger], Pieces]:
    def read(value: Any, path: Path, ledger: Ledger) -> Pieces:
        try:
            count = None if value is None else float(value)
        except (TypeError, ValueError):
            raise _Odd("is not a number of CPUs") from None
        if count is not None and not (math.isfinite(count) and 0 <= count <= 4096):
            raise _Odd("is not a number of CPUs")
        ledger.mapped(path, "cpus" if name == "cpu_limit" else "options.guarantee.cpus")
        return {name: count or None}

    return read


def _resources(value: Any, path: Path, ledger: Ledger) -> Pieces:
    found: dict[str, int | None] = {}
    for name, count in _mapping(value).items():
        if not _GPU.fullmatch(name):
            text = "is no GPU; set it for all sessions with c.KubeSpawner.extra_resource_limits"
            ledger.by_hand((*path, name), text)
        elif count is not None and not re.fullmatch(r"\d{1,4}", str(count), re.ASCII):
            ledger.by_hand((*path, name), "is not a whole number")
        else:
            ledger.mapped((*path, name), "gpus")
            found[name] = None if count is None else int(count)
    return {"resources": found}


def _option(key: str, shape: Callable[[Any], Any]) -> Callable[[Any, Path, Ledger], Pieces]:
    """A trait that is one key of ``options``, as KubernetesOptions accepts it."""

    def read(value: Any, path: Path, ledger: Ledger) -> Pieces:
        made = shape(value)
        given = made
        if isinstance(made, Mapping):  # None takes a key of a layer below away
            given = {k: v for k, v in made.items() if v is not None}
        if given:
            _check(key, given)
        ledger.mapped(path, f"options.{key}")
        return {key: made}

    return read


def _check(key: str, value: Any) -> None:
    try:
        validate_options({key: value})
    except SiteError as error:
        raise _Odd(error.sentence.removeprefix("Kubernetes options: ")) from None


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _Odd("is not a mapping")
    return value


def _listed(value: Any) -> list[Mapping[str, Any]]:
    # KubeSpawner takes these as a list, or as a dictionary to be merged by name.
    items = [value[k] for k in sorted(value)] if isinstance(value, Mapping) else list(value or ())
    if not all(isinstance(item, Mapping) for item in items):
        raise _Odd("is not a list of mappings")
    return items


def _selector(value: Any) -> dict[str, str | None]:
    return {k: None if v is None else str(v) for k, v in _mapping(value).items()}


def _tolerations(value: Any) -> list[dict[str, Any]]:
    names = {"tolerationSeconds": "seconds", "toleration_seconds": "seconds"}
    return [
        {names.get(key, key): each for key, each in item.items() if each is not None}
        for item in _listed(value)
    ]


def _expressions(term: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = term.get("matchExpressions") or ()
    if set(term) - {"matchExpressions"} or not found:
        raise _Odd("has a term with more than matchExpressions")
    return [{key: each for key, each in item.items() if each} for item in found]


def _required(value: Any, path: Path, ledger: Ledger) -> Pieces:
    terms = _listed(value)
    if len(terms) > 1:
        raise _Odd("has several terms, of which one is enough; options.node_affinity needs all")
    made = [each for term in terms for each in _expressions(term)]
    _check("node_affinity", {"required": made})
    ledger.mapped(path, "options.node_affinity.required")
    return {"required": made}


def _preferred(value: Any, path: Path, ledger: Ledger) -> Pieces:
    made = []
    for term in _listed(value):
        if set(term) - {"weight", "preference"}:
            raise _Odd("has a preference with more than weight and preference")
        expressions = _expressions(term.get("preference") or {})
        if len(expressions) > 1:
            raise _Odd("has a preference of several conditions together")
        made.append({"weight": term.get("weight", 1), **expressions[0]})
    _check("node_affinity", {"preferred": made})
    ledger.mapped(path, "options.node_affinity.preferred")
    return {"preferred": made}


def _timeout(value: Any, path: Path, ledger: Ledger) -> Pieces:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _Odd("is not a number of seconds")
    ledger.mapped(path, "start_timeout")
    return {"start_timeout": value}


def _pod(value: Any, path: Path, ledger: Ledger) -> Pieces:
    names = {
        "runtimeClassName": "runtime_class", "runtime_class_name": "runtime_class",
        "priorityClassName": "priority_class", "priority_class_name": "priority_class",
        "schedulerName": "scheduler", "scheduler_name": "scheduler",
    }  # fmt: skip
    found: Pieces = {}
    for name, each in _mapping(value).items():
        key = names.get(name)
        if key is None or not isinstance(each, str):
            ledger.by_hand((*path, name), _ELSEWHERE)
            continue
        _check(key, each)
        ledger.mapped((*path, name), f"options.{key}")
        found[key] = each
    return found


def _volumes(value: Any, path: Path, ledger: Ledger) -> Pieces:
    """Only memory for /dev/shm; any other volume belongs to all sessions, or to the data."""
    found: Pieces = {}
    named = value.items() if isinstance(value, Mapping) else enumerate(value or ())
    for place, item in named:
        source = item.get("emptyDir", item.get("empty_dir")) if isinstance(item, Mapping) else None
        if not _memory_volume(item, source):
            text = "proposal data come by data_volumes; homes and the like by c.KubeSpawner.volumes"
            ledger.by_hand((*path, place), text)
            continue
        assert source is not None
        size = source.get("sizeLimit", source.get("size_limit"))
        try:
            found["shm"] = size_of(str(size)) if size else 0
        except ValueError:
            ledger.by_hand((*path, place), "has a size that is not understood")
            continue
        ledger.mapped((*path, place), "options.shm, where it is mounted at /dev/shm")
    return found


def _memory_volume(item: Any, source: Any) -> bool:
    return (
        isinstance(source, Mapping)
        and source.get("medium") == "Memory"
        and set(item) <= {"name", "emptyDir", "empty_dir"}
        and set(source) <= {"medium", "sizeLimit", "size_limit"}
    )


def _mounts(value: Any, path: Path, ledger: Ledger) -> Pieces:
    found: Pieces = {}
    named = value.items() if isinstance(value, Mapping) else enumerate(value or ())
    for place, item in named:
        where = item.get("mountPath", item.get("mount_path")) if isinstance(item, Mapping) else None
        if where == "/dev/shm" and set(item) <= {"name", "mountPath", "mount_path"}:
            ledger.mapped((*path, place), "options.shm")
            found["shm_mounted"] = True
        else:
            text = "proposal data come by data_volumes; others by c.KubeSpawner.volume_mounts"
            ledger.by_hand((*path, place), text)
    return found


def _name(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _Odd("is not a name")
    return value


_READ: dict[str, Callable[[Any, Path, Ledger], Pieces]] = {
    "image": _image,
    "image_spec": _image,
    "cmd": _command,
    "environment": _variables,
    "mem_limit": _memory("mem_limit"),
    "mem_guarantee": _memory("mem_guarantee"),
    "cpu_limit": _cpus("cpu_limit"),
    "cpu_guarantee": _cpus("cpu_guarantee"),
    "extra_resource_limits": _resources,
    "extra_resource_guarantees": _resources,
    "node_selector": _option("node_selector", _selector),
    "tolerations": _option("tolerations", _tolerations),
    "node_affinity_required": _required,
    "node_affinity_preferred": _preferred,
    "priority_class_name": _option("priority_class", _name),
    "scheduler_name": _option("scheduler", _name),
    "extra_pod_config": _pod,
    "start_timeout": _timeout,
    "volumes": _volumes,
    "volume_mounts": _mounts,
}


def gpus_of(resources: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A profile's ``gpus`` and what ``options`` must say of their resource; both may be empty.

    Of several resources the first counts; the caller tells the others.
    """
    name, count = next(((n, c) for n, c in resources.items() if c), ("", 0))
    if not name:
        return {}, {}
    if name == GPU:
        return {"count": count}, {}
    if name == f"{GPU}.shared":
        return {"count": count, "kind": "shard"}, {}
    if name.startswith(MIG):
        kind = name.removeprefix(MIG)
        return {"type": kind, "count": count}, {"gpu_resource": {kind: name}}
    return {"count": count}, {"gpu_resource": name}
