"""The pod as it is posted, and the Secret that goes with it. Pure.

KubeSpawner makes the pod from ``c.KubeSpawner.*`` and the profile; :func:`finish` adds what must
hold whatever those say, and what an administrator did not decide otherwise. Both work on plain
JSON with Kubernetes' own names.
"""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ruamel.yaml import YAML

from ...core.quantities import human_memory
from ...errors import BackendError
from .accounts import Account
from .expansion import expand, references
from .mounts import Mounts
from .options import KubernetesOptions
from .records import NOTEBOOK

RUN = "/run/panosc"
"""Where the session finds its start-up file, plan and variables."""

START, PLAN, VARIABLES = "start.py", "plan.json", "env.json"
RESERVED = "panosc-"
"""What the names of our volumes begin with."""

MAX_SECRET = 2**20
"""Bytes of all values of a Secret together; Kubernetes' own limit."""

ENTRY = ("NB_*", "CHOWN_*", "GRANT_SUDO", "JUPYTER_ENV_VARS_TO_UNSET")
"""Variables that an image's entry script reads before the session start-up runs (docker-stacks)."""


def finish(
    pod: Mapping[str, Any],
    *,
    options: KubernetesOptions,
    labels: Mapping[str, str],
    secret: str,
    mounts: Mounts | None = None,
    walltime: int | None = None,
    account: Account | None = None,
    own_restart_policy: bool = False,
) -> dict[str, Any]:
    """``pod`` with everything of ours; the argument is left as it is.

    ``own_restart_policy``: the administrator chose one, so it stays. Raises :class:`BackendError`
    where the pod has a volume of a reserved name, or something at a place of ours.
    """
    made = copy.deepcopy(dict(pod))
    meta, spec = made.setdefault("metadata", {}), made.setdefault("spec", {})
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    container = _notebook(spec)
    _refuse_reserved(spec)
    if not own_restart_policy:
        # A server that ends has ended: started again, it would have the user's kernels no more.
        spec["restartPolicy"] = "Never"
    spec.setdefault("enableServiceLinks", False)
    if not spec.get("serviceAccountName"):
        spec["automountServiceAccountToken"] = False
    if walltime:
        spec["activeDeadlineSeconds"] = min(walltime, spec.get("activeDeadlineSeconds", walltime))
    if options.runtime_class:
        spec["runtimeClassName"] = options.runtime_class
    _secure(spec, container, options, account)
    planned = mounts or Mounts()
    _mount(spec, container, planned.volumes.values(), planned.mounts)
    _mount(
        spec,
        container,
        [{"name": "panosc-session", "secret": {"secretName": secret, "defaultMode": 0o444}}],
        [{"name": "panosc-session", "mountPath": RUN, "readOnly": True}],
    )
    if options.shm:
        memory = {"medium": "Memory", "sizeLimit": str(options.shm)}
        _mount(
            spec,
            container,
            [{"name": "panosc-shm", "emptyDir": memory}],
            [{"name": "panosc-shm", "mountPath": "/dev/shm"}],
        )
    if options.read_only_root and not _has(container, "/tmp"):
        _mount(
            spec,
            container,
            [{"name": "panosc-tmp", "emptyDir": {}}],
            [{"name": "panosc-tmp", "mountPath": "/tmp"}],
        )
    return made


def _notebook(spec: Mapping[str, Any]) -> dict[str, Any]:
    for container in spec.get("containers") or ():
        if container.get("name") == NOTEBOOK:
            found: dict[str, Any] = container
            return found
    raise _wrong_pod(f"it has no container named {NOTEBOOK}")


def _refuse_reserved(spec: Mapping[str, Any]) -> None:
    for volume in spec.get("volumes") or ():
        if str(volume.get("name", "")).startswith(RESERVED):
            raise _wrong_pod(f"its volume {volume['name']} has a name that begins with {RESERVED}")


def _wrong_pod(why: str) -> BackendError:
    return BackendError(
        f"The session cannot be started, for a setting of this Hub makes a wrong pod: {why}. "
        "Tell the facility's support.",
        reason="configuration",
    )


def _secure(
    spec: dict[str, Any],
    container: dict[str, Any],
    options: KubernetesOptions,
    account: Account | None,
) -> None:
    """What is not said is said in the safe way. Only for the server's container where it is a
    matter of containers, for an init container may have to be root."""
    of_pod = spec["securityContext"] = dict(spec.get("securityContext") or {})
    own = container["securityContext"] = dict(container.get("securityContext") or {})
    of_pod.setdefault("seccompProfile", {"type": "RuntimeDefault"})
    if "fsGroup" in of_pod:
        # Else all files of the home, perhaps terabytes, get their group anew at every start.
        of_pod.setdefault("fsGroupChangePolicy", "OnRootMismatch")
    if account is not None:
        own["runAsUser"], own["runAsGroup"] = account.uid, account.gid
    uid = own.get("runAsUser", of_pod.get("runAsUser"))
    if not own.get("privileged"):
        own.setdefault("allowPrivilegeEscalation", False)
    if uid != 0:
        own.setdefault("capabilities", {"drop": ["ALL"]})
        if uid is not None:
            own.setdefault("runAsNonRoot", True)
    if options.read_only_root:
        own["readOnlyRootFilesystem"] = True


def _has(container: Mapping[str, Any], path: str) -> bool:
    return any(m.get("mountPath") == path for m in container.get("volumeMounts") or ())


def _mount(
    spec: dict[str, Any],
    container: dict[str, Any],
    volumes: Iterable[dict[str, Any]],
    mounts: Iterable[dict[str, Any]],
) -> None:
    added = list(mounts)
    for mount in added:
        if _has(container, mount["mountPath"]):
            raise _wrong_pod(f"something else is mounted at {mount['mountPath']}")
    spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), *added]


def take_variables(pod: Mapping[str, Any], entry: Iterable[str] = ENTRY) -> dict[str, str]:
    """Take the variables of the server out of ``pod``, which many may read, for the Secret.

    Their values are what the node would have made of them. What comes from elsewhere
    (``valueFrom``) stays, and so does what refers to it; those named by ``entry`` (with ``*``)
    are left in the pod as well.
    """
    container = _notebook(pod["spec"])
    taken: dict[str, str] = {}
    stay: list[dict[str, Any]] = []
    elsewhere: set[str] = set()
    open_names = bool(container.get("envFrom"))
    for each in container.get("env") or ():
        name, value = each["name"], each.get("value")
        if each.get("valueFrom"):
            elsewhere.add(name)
            stay.append(each)
            continue
        named = references(value or "")
        foreign = {n for n in named if n in elsewhere or (open_names and n not in taken)}
        if foreign and named & taken.keys():
            raise _wrong_pod(
                f"the variable {name} refers to plain variables and to {', '.join(sorted(foreign))}"
            )
        if foreign:
            elsewhere.add(name)
            stay.append(each)
            continue
        taken[name] = expand(value or "", taken)
        if any(fnmatchcase(name, pattern) for pattern in entry):
            stay.append(each)
    container["env"] = stay
    return taken


def session_secret(
    name: str,
    *,
    owner_uid: str,
    pod_name: str,
    labels: Mapping[str, str],
    env: Mapping[str, str],
    plan: str | Mapping[str, Any],
    start: str,
) -> dict[str, Any]:
    """The Secret of one start; it goes when its pod goes. ``start`` is the start-up's text.

    Raises :class:`BackendError` when it is larger than Kubernetes takes.
    """
    texts = {
        START: start,
        PLAN: plan if isinstance(plan, str) else _json(plan),
        VARIABLES: _json(dict(env)),
    }
    values = {key: text.encode() for key, text in texts.items()}
    if (size := sum(map(len, values.values()))) > MAX_SECRET:
        raise BackendError(
            f"What this session begins with, {human_memory(size)}, is more than Kubernetes "
            f"takes ({human_memory(MAX_SECRET)}). Choose another notebook, or the empty workspace; "
            "its author can strip the outputs of the notebook.",
            reason="too_large",
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": dict(labels),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": pod_name,
                    "uid": owner_uid,
                    "blockOwnerDeletion": False,
                    "controller": False,
                }
            ],
        },
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def show(pod: Mapping[str, Any], secret: Mapping[str, Any] | None = None) -> str:
    """Both as YAML for a dry run; of the Secret's values only how long they are."""
    shown: list[Any] = [copy.deepcopy(dict(pod))]
    if secret is not None:
        hidden = copy.deepcopy(dict(secret))
        lengths = {k: len(base64.b64decode(v)) for k, v in (hidden.get("data") or {}).items()}
        hidden["data"] = {k: f"({n} bytes, not shown)" for k, n in lengths.items()}
        shown.append(hidden)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump_all(shown, text)
    return text.getvalue()
