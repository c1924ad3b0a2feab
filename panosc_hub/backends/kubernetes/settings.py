"""What a launch means for KubeSpawner: the values of its traits. Pure.

KubeSpawner runs ``str.format`` over some of its traits, so nothing from here may hold a brace.
What an administrator set as ``c.KubeSpawner.…`` stays: selectors, tolerations, affinities and
extra resources are added to, and what a profile says twice is the profile's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...core.plan import Launch
from ...core.profiles import Profile, Resources
from ...errors import BackendError, InvalidSelection, Problem
from .options import Expression, KubernetesOptions, is_image

IMAGE = "image"
"""The menu of images."""

ADDED_TO = (
    "extra_resource_limits",
    "extra_resource_guarantees",
    "node_selector",
    "tolerations",
    "node_affinity_required",
    "node_affinity_preferred",
)
"""Settings of ``c.KubeSpawner`` that a profile adds to."""

Terms = list[dict[str, Any]]


def settings(
    launch: Launch,
    options: KubernetesOptions,
    choices: Mapping[str, str] | None = None,
    configured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """KubeSpawner's trait values for ``launch``.

    ``choices`` are the answers to the menus (those of the selection, if not given), ``configured``
    is what ``c.KubeSpawner`` has for the same traits. Raises :class:`BackendError`, or
    :class:`InvalidSelection` for an image that the profile does not offer.
    """
    has, answers = configured or {}, dict(launch.selection.choices)
    answers.update(choices or {})
    profile, resources = launch.profile, launch.resources
    cpus = resources.cpus * 1000
    found: dict[str, Any] = {
        "cpu_limit": float(resources.cpus),
        "cpu_guarantee": options.guarantee.millicpus(cpus) / 1000,
        "mem_limit": resources.memory,
        "mem_guarantee": options.guarantee.bytes(resources.memory),
        "extra_resource_limits": dict(has.get("extra_resource_limits") or {}),
        "extra_resource_guarantees": dict(has.get("extra_resource_guarantees") or {}),
        "node_selector": {**(has.get("node_selector") or {}), **options.node_selector},
        "tolerations": [
            *listed(has.get("tolerations")),
            *(each.to_dict() for each in options.tolerations),
        ],
        "node_affinity_required": require(
            listed(has.get("node_affinity_required")), required(profile, resources, options)
        ),
        "node_affinity_preferred": [
            *listed(has.get("node_affinity_preferred")),
            *(
                {"weight": each.weight, "preference": {"matchExpressions": [each.to_term()]}}
                for each in options.node_affinity.preferred
            ),
        ],
    }
    # The same in both: Kubernetes refuses extended resources that differ, and fills in neither.
    for name, count in gpus(profile, resources, options).items():
        found["extra_resource_limits"][name] = str(count)
        found["extra_resource_guarantees"][name] = str(count)
    if image := _image(launch, options, answers.get(IMAGE, "")):
        found["image"] = image
    if options.priority_class:
        found["priority_class_name"] = options.priority_class
    if options.scheduler:
        found["scheduler_name"] = options.scheduler
    for name, value in found.items():
        if _has_braces(value):
            raise BackendError(
                f"The session cannot be started: its {name.replace('_', ' ')} holds a brace, "
                "which no such name has. Tell the facility's support."
            )
    return found


def gpus(profile: Profile, resources: Resources, options: KubernetesOptions) -> dict[str, int]:
    """The GPUs of ``resources`` by the name of their resource."""
    if not resources.gpus.count:
        return {}
    shared = profile.gpus is not None and profile.gpus.kind == "shard"
    return {options.resource_of(resources.gpus.type, shared): resources.gpus.count}


def required(
    profile: Profile, resources: Resources, options: KubernetesOptions
) -> tuple[Expression, ...]:
    """Every condition on the node: those of the profile, and that it has GPUs of that type."""
    products = options.gpu_products.get(resources.gpus.type, ()) if resources.gpus.count else ()
    own = (Expression(key=options.gpu_label, operator="In", values=products),) if products else ()
    return (*options.node_affinity.required, *own)


def require(terms: Terms, conditions: Iterable[Expression]) -> Terms:
    """``terms`` of which each demands ``conditions`` too.

    Of a list of terms a node needs to fulfil one, of the expressions in a term all of them: so
    conditions that always hold have to be in each term.
    """
    added = [each.to_term() for each in conditions]
    if not added:
        return terms
    return [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *added]}
        for term in terms or [{}]
    ]


def unclear_gpus(profile: Profile, options: KubernetesOptions) -> str:
    """Why the cluster would not know one type of GPU from another; empty if it would."""
    offer = profile.gpus
    if offer is None or len(offer.types) < 2:
        return ""
    shared = offer.kind == "shard"
    known: dict[tuple[str, tuple[str, ...]], str] = {}
    for kind in offer.types:
        products = options.gpu_products.get(kind, ())
        same = known.setdefault((options.resource_of(kind, shared), products), kind)
        if same != kind:
            return (
                f"nothing tells GPUs of type {kind} from those of type {same}: name the values of "
                f"{options.gpu_label} in 'gpu_products', or resources in 'gpu_resource'"
            )
    return ""


def wrong_profile(profile: Profile, options: KubernetesOptions) -> Iterable[str]:
    """Sentences about what cannot be as it is written; for the administrator."""
    if unclear := unclear_gpus(profile, options):
        yield unclear
    for kind in profile.gpus.types if profile.gpus and options.gpu_products else ():
        # Nothing but the resource would say what it is; most likely it is a typing mistake.
        if kind and kind not in options.gpu_products and kind not in options.gpu_resource:
            yield f"'gpu_products' does not name the GPU type {kind}"
    if options.shm and options.shm > profile.memory.max:
        yield "'shm' is more than the memory that it counts as"


def listed(value: Any) -> list[Any]:
    """A trait that KubeSpawner takes as a list, or as a dictionary to be ordered by its keys."""
    if isinstance(value, Mapping):
        return [value[key] for key in sorted(value)]
    return list(value or ())


def _image(launch: Launch, options: KubernetesOptions, asked: str) -> str:
    """The image; empty: c.KubeSpawner.image.

    The profile's own is more particular than the environment's, and one that was asked for more
    than both. It is judged here again, for a dry run or a saved state may not have passed a menu.
    """
    if asked:
        if not options.allows_image(asked):
            raise InvalidSelection(
                [Problem("choice-image", f"is not an image of {launch.profile.title}")]
            )
        return asked
    image = next(iter(options.image), "") or launch.environment.image or ""
    if image and not is_image(image):
        raise BackendError(
            f"The environment {launch.environment.title} names an image that no registry can "
            "have. Choose another one, or tell the facility's support."
        )
    return image


def _has_braces(value: Any) -> bool:
    if isinstance(value, str):
        return "{" in value or "}" in value
    if isinstance(value, Mapping):
        return any(_has_braces(part) for pair in value.items() for part in pair)
    return isinstance(value, (list, tuple)) and any(_has_braces(part) for part in value)
