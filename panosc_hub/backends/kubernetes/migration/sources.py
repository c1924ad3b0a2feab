"""KubeSpawner's settings in a ``jupyterhub_config.py`` or Zero-to-JupyterHub's values. Pure.

Keys of the chart are those of its version 4 (``values.schema.yaml`` and ``jupyterhub_config.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .notes import Ledger, Path
from .profiles import Migration, migrate

Settings = dict[str, tuple[Any, Path]]
"""Trait -> its value and where that is."""

_BASE = frozenset(
    {"image", "cmd", "mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee"}
    | {"extra_resource_limits", "extra_resource_guarantees"}
)
"""Traits that every profile says anew, so they become part of each."""

_INHERITED = (
    "node_selector",
    "tolerations",
    "node_affinity_required",
    "node_affinity_preferred",
)

_FORM = "the spawn page takes the place of KubeSpawner's form; remove it"
_ROOT = "sessions run without privileges here; look whether they need this"
_WHO = "goes on for everybody; where KubernetesBackend.account is set, the person's account says it"
_BY_HAND = {
    "options_form": _FORM,
    "options_from_form": _FORM,
    "apply_user_options": _FORM,
    "profile_form_template": _FORM,
    "additional_profile_form_template_paths": _FORM,
    "default_url": "what a session opens is said by its template notebook, else JupyterLab",
    "pre_spawn_hook": "panosc_hub has its own hook; look whether yours is needed beside it",
    "modify_pod_hook": "is called as before; look whether it takes volumes or labels of ours away",
    "enable_user_namespaces": "a namespace for each user needs more rights than rbac.yaml gives",
    "privileged": _ROOT,
    "container_security_context": _ROOT,
    "pod_security_context": _ROOT,
    "service_account": "goes on; sessions then have a token of the cluster, else they have none",
    "automount_service_account_token": "goes on; sessions should have no token of the cluster",
    "uid": _WHO,
    "gid": _WHO,
    "fs_gid": _WHO,
    "supplemental_gids": _WHO,
}
_OTHER = "belongs to another spawner class; c.KubeSpawner.… counts for panosc_hub"
_OWN = "is read as before, by the backend that derives from KubeSpawner"

_CHART: dict[tuple[str, ...], str] = {
    ("podNameTemplate",): "pod_name_template",
    ("startTimeout",): "start_timeout",
    ("image", "pullPolicy"): "image_pull_policy",
    ("image", "pullSecrets"): "image_pull_secrets",
    ("events",): "events_enabled",
    ("extraLabels",): "extra_labels",
    ("extraAnnotations",): "extra_annotations",
    ("uid",): "uid",
    ("fsGid",): "fs_gid",
    ("serviceAccountName",): "service_account",
    ("allowPrivilegeEscalation",): "allow_privilege_escalation",
    ("nodeSelector",): "node_selector",
    ("extraTolerations",): "tolerations",
    ("extraNodeAffinity", "required"): "node_affinity_required",
    ("extraNodeAffinity", "preferred"): "node_affinity_preferred",
    ("extraPodAffinity", "required"): "pod_affinity_required",
    ("extraPodAffinity", "preferred"): "pod_affinity_preferred",
    ("extraPodAntiAffinity", "required"): "pod_anti_affinity_required",
    ("extraPodAntiAffinity", "preferred"): "pod_anti_affinity_preferred",
    ("lifecycleHooks",): "lifecycle_hooks",
    ("initContainers",): "init_containers",
    ("extraContainers",): "extra_containers",
    ("memory", "limit"): "mem_limit",
    ("memory", "guarantee"): "mem_guarantee",
    ("cpu", "limit"): "cpu_limit",
    ("cpu", "guarantee"): "cpu_guarantee",
    ("extraResource", "limits"): "extra_resource_limits",
    ("extraResource", "guarantees"): "extra_resource_guarantees",
    ("extraEnv",): "environment",
    ("extraPodConfig",): "extra_pod_config",
    ("profileList",): "profile_list",
    ("defaultUrl",): "default_url",
    ("cmd",): "cmd",
}
_CHART_KEEPS = ("storage", "extraFiles", "networkPolicy", "networkTools")
_CHART_TOP = (
    "hub", "proxy", "rbac", "ingress", "httpRoute", "cull", "scheduling", "prePuller", "debug",
    "global", "custom", "imagePullSecret", "imagePullSecrets", "fullnameOverride", "nameOverride",
    "enabled",
)  # fmt: skip


def from_config(config: Mapping[str, Any], known: Collection[str] = ()) -> Migration:
    """Of the sections of a ``jupyterhub_config.py``. ``known`` are KubeSpawner's settings."""
    ledger = Ledger({"c": config})
    settings: Settings = {}
    for section, traits in config.items():
        if section in ("Spawner", "KubeSpawner"):
            continue
        own = ("c", section)
        if section.endswith("Spawner"):
            ledger.by_hand(own, _OTHER)
            continue
        for name in traits if isinstance(traits, Mapping) else ():
            if (section, name) == ("JupyterHub", "spawner_class"):
                ledger.by_hand((*own, name), "panosc_hub.configure sets it; remove it")
            else:
                ledger.keeps((*own, name), "has nothing to do with KubeSpawner")
        if not traits:
            ledger.keeps(own, "has nothing to do with KubeSpawner")
    for section in ("Spawner", "KubeSpawner"):  # the second is the more particular
        for name, value in config.get(section, {}).items():
            if name in settings:
                ledger.by_hand(settings[name][1], "is not used: c.KubeSpawner says it, too")
            settings[name] = (value, ("c", section, name))
    return _migrate({"c": config}, ledger, settings, known)


def from_values(values: Mapping[str, Any], known: Collection[str] = ()) -> Migration:
    """Of Zero-to-JupyterHub's values, also below ``jupyterhub:`` of another chart."""
    ledger = Ledger(values)
    root: Path = ()
    chart = values
    inner = values.get("jupyterhub")
    if isinstance(inner, Mapping) and ("singleuser" in inner or "hub" in inner):
        root, chart = ("jupyterhub",), inner
        for name in values:
            if name != "jupyterhub":
                ledger.keeps((name,), "belongs to another chart")
    settings = _singleuser(chart.get("singleuser"), (*root, "singleuser"), ledger)
    settings |= _hub(chart.get("hub"), (*root, "hub"), ledger)
    for name in chart:
        if name in _CHART_TOP and name != "hub":
            ledger.keeps((*root, name), "is read by the chart as before")
    return _migrate(values, ledger, settings, known)


def _singleuser(body: Any, path: Path, ledger: Ledger) -> Settings:
    found: Settings = {"mem_guarantee": ("1G", ())}  # the chart's own default
    if not isinstance(body, Mapping):
        return found
    for place, trait in _CHART.items():
        value, there = _at(body, place)
        if there:
            own = (*path, *place)
            if value is not None or trait in ("mem_guarantee", "cmd"):
                found[trait] = (value, own)
            else:
                ledger.keeps(own, "is not set")
    _image(body.get("image"), (*path, "image"), found, ledger)
    for name in _CHART_KEEPS:
        if name in body:
            ledger.keeps((*path, name), "is read by the chart as before")
    _metadata(body.get("cloudMetadata"), (*path, "cloudMetadata"), ledger)
    return found


def _at(body: Any, place: tuple[str, ...]) -> tuple[Any, bool]:
    for part in place:
        if not isinstance(body, Mapping) or part not in body:
            return None, False
        body = body[part]
    return body, True


def _image(image: Any, path: Path, found: Settings, ledger: Ledger) -> None:
    if isinstance(image, Mapping) and image.get("name"):
        tag = image.get("tag")
        found["image"] = (f"{image['name']}:{tag}" if tag else image["name"], (*path, "name"))
        if "tag" in image:
            ledger.mapped((*path, "tag"), "part of the image's name")


def _metadata(body: Any, path: Path, ledger: Ledger) -> None:
    if not isinstance(body, Mapping):
        return
    blocks = body.get("blockWithIptables", True)
    for name in body:
        if name == "blockWithIptables" and blocks:
            text = (
                "starts a privileged container as root in every pod; set it to false and let the "
                "chart's NetworkPolicy block the address"
            )
            ledger.by_hand((*path, name), text)
        elif name in ("blockWithIptables", "ip", "enabled"):
            ledger.keeps((*path, name), "is read by the chart as before")


def _hub(body: Any, path: Path, ledger: Ledger) -> Settings:
    found: Settings = {}
    if not isinstance(body, Mapping):
        return found
    for name, value in body.items():
        own = (*path, name)
        if name == "extraConfig" and isinstance(value, Mapping):
            for key, text in value.items():
                ledger.by_hand((*own, str(key)), _code(str(text)))
        elif name == "config" and isinstance(value, Mapping):
            for section, traits in value.items():
                if section in ("KubeSpawner", "Spawner") and isinstance(traits, Mapping):
                    for trait, given in traits.items():
                        if section == "Spawner" and trait in (value.get("KubeSpawner") or {}):
                            ledger.by_hand(
                                (*own, section, trait), "is not used: KubeSpawner has it"
                            )
                        else:
                            found[trait] = (given, (*own, section, trait))
                elif section.endswith("Spawner"):
                    ledger.by_hand((*own, section), _OTHER)
                elif isinstance(traits, Mapping) and "spawner_class" in traits:
                    for trait in traits:
                        ledger.keeps((*own, section, trait), "has nothing to do with KubeSpawner")
                    text = "panosc_hub.configure sets it; remove it"
                    ledger.by_hand((*own, section, "spawner_class"), text)
                else:
                    ledger.keeps((*own, section), "has nothing to do with KubeSpawner")
        else:
            ledger.keeps(own, "is read by the chart as before")
    return found


def _code(text: str) -> str:
    if "jupyterhub_fancy_profiles" in text:
        return "sets up fancy-profiles; the spawn page takes its place, remove it"
    if "KubeSpawner" in text or "profile" in text:
        return "is Python about the spawner, which was not run; read it"
    return "is Python, which was not run; it goes on, but read it"


def _migrate(
    tree: Mapping[str, Any], ledger: Ledger, settings: Settings, known: Collection[str]
) -> Migration:
    base: Settings = {}
    for name, (value, path) in settings.items():
        if name == "profile_list":
            continue
        if name in _BASE and not callable(value):
            base[name] = (value, path)
        elif name in _BY_HAND:
            ledger.by_hand(path, _BY_HAND[name])
        elif known and name not in known:
            ledger.by_hand(path, "is no setting of this KubeSpawner; look for its name today")
        elif callable(value):
            ledger.by_hand(path, "is a function; it is called as before, look what it expects")
        elif path:
            ledger.keeps(path, _OWN)
    return migrate(tree, ledger, settings, base, [n for n in _INHERITED if n in settings])
