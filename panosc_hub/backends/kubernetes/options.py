"""A profile's ``options`` for Kubernetes, checked when ``site.yaml`` is loaded. Pure.

What is spelled here is the administrator's; of users' texts only a typed image gets this far
(:meth:`KubernetesOptions.allows_image`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from ...core.choices import valid
from ...core.quantities import parse_memory
from ...core.ranges import Bytes
from ...errors import SiteError

MAX_IMAGE = 512
"""Characters of an image's name. The longest that registries take is 255 and a digest."""

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?:\.{_HOST})*(?::[0-9]{{1,5}})?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127})?"
    r"(?:@[a-z0-9]+:[0-9a-f]{32,128})?",
    re.ASCII,
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9\-]{0,61}[a-z0-9])?)*"
_KEY = re.compile(rf"(?:{_SUBDOMAIN}/)?{_LABEL}", re.ASCII)
_VALUE = re.compile(rf"(?:{_LABEL})?", re.ASCII)
_NAME = re.compile(_SUBDOMAIN, re.ASCII)
_RESOURCE = re.compile(rf"{_SUBDOMAIN}/{_LABEL}", re.ASCII)
_GPU_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/]{0,63}", re.ASCII)

OTHER = "default"
"""The key of ``gpu_resource`` for all types that it does not name."""

GPU = "nvidia.com/gpu"


def is_image(text: str) -> bool:
    """Whether ``text`` is the name of an image, as registries spell them."""
    return len(text) <= MAX_IMAGE and _IMAGE.fullmatch(text) is not None


def _text(value: Any, pattern: re.Pattern[str], what: str) -> str:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is read as yes or no; put it in quotes")
    if isinstance(value, int):
        value = str(value)
    # ``fullmatch``: with ``match`` and ``$`` a final newline would pass.
    if not isinstance(value, str) or len(value) > 317 or not pattern.fullmatch(value):
        raise ValueError(f"{value!r:.60} is not {what}")
    return value


def _is(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    return BeforeValidator(lambda value: _text(value, pattern, what))


Key = Annotated[str, _is(_KEY, "the key of a label, such as nvidia.com/gpu.product")]
Value = Annotated[str, _is(_VALUE, "the value of a label: at most 63 letters, digits, '-_.'")]
Name = Annotated[
    str, _is(re.compile(rf"(?:{_SUBDOMAIN})?"), "a name of Kubernetes: small letters, digits, '-.'")
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Part):
    """A part of the limit: ``"50%"``."""

    percent: int = Field(ge=1, le=100)

    def of(self, amount: int) -> int:
        """At least one, for nothing at all would be "not said"."""
        return max(1, amount * self.percent // 100)


def _share(value: Any) -> Share | None:
    found = re.fullmatch(r"(\d{1,3}) ?%", value, re.ASCII) if isinstance(value, str) else None
    if found is None:
        return None
    if not 1 <= int(found.group(1)) <= 100:
        raise ValueError(f"{value} is not from 1% to 100%")
    return Share(percent=int(found.group(1)))


def _cpus(value: Any) -> Any:
    if (share := _share(value)) is not None:
        return share
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 4096:
        return max(1, round(value * 1000))
    raise ValueError(f"{value!r:.40} is neither a number of CPUs, such as 0.5, nor '50%'")


def _memory(value: Any) -> Any:
    if (share := _share(value)) is not None:
        return share
    if isinstance(value, str) and (size := parse_memory(value)) > 0:
        return size
    raise ValueError(f"{value!r:.40} is neither a memory size, such as 2G, nor '50%'")


class Guarantee(_Part):
    """What the scheduler keeps free for a session; all of its limit, where nothing is said."""

    cpus: Annotated[int | Share, BeforeValidator(_cpus)] = Share(percent=100)
    memory: Annotated[int | Share, BeforeValidator(_memory)] = Share(percent=100)

    def millicpus(self, limit: int) -> int:
        """Thousandths of a CPU; never more than the limit."""
        return self.cpus.of(limit) if isinstance(self.cpus, Share) else min(self.cpus, limit)

    def bytes(self, limit: int) -> int:
        """Memory; never more than the limit."""
        return self.memory.of(limit) if isinstance(self.memory, Share) else min(self.memory, limit)


class Expression(_Part):
    """One condition on a node's labels."""

    key: Key
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: tuple[Value, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _fitting(self) -> Expression:
        count = len(self.values)
        if self.operator in ("In", "NotIn") and not count:
            raise ValueError(f"{self.operator} needs 'values'")
        if self.operator in ("Exists", "DoesNotExist") and count:
            raise ValueError(f"{self.operator} takes no 'values'")
        if self.operator in ("Gt", "Lt") and (
            count != 1 or not re.fullmatch(r"\d{1,18}", self.values[0], re.ASCII)
        ):
            raise ValueError(f"{self.operator} needs one whole number in 'values'")
        return self

    def to_term(self) -> dict[str, Any]:
        """As Kubernetes writes it."""
        term: dict[str, Any] = {"key": self.key, "operator": self.operator}
        return term | ({"values": list(self.values)} if self.values else {})


class Preference(Expression):
    """A condition that is better met, and how much that matters among others."""

    weight: int = Field(default=1, ge=1, le=100)


class NodeAffinity(_Part):
    """``required``: all of them hold for the node. ``preferred``: nodes with more come first."""

    required: tuple[Expression, ...] = Field(default=(), max_length=32)
    preferred: tuple[Preference, ...] = Field(default=(), max_length=32)


class Toleration(_Part):
    """A taint of nodes that the sessions put up with."""

    key: Annotated[str, _is(re.compile(rf"(?:{_KEY.pattern})?"), "the key of a taint")] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: Value = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    seconds: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _fitting(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError("Exists takes no 'value'")
        if self.operator == "Equal" and not self.key:
            raise ValueError("without a 'key' the operator must be Exists: every taint")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("'seconds' is for the effect NoExecute")
        return self

    def to_dict(self) -> dict[str, Any]:
        """As Kubernetes writes it."""
        body = {"key": self.key, "value": self.value, "effect": self.effect}
        found: dict[str, Any] = {"operator": self.operator}
        found |= {name: text for name, text in body.items() if text}
        return found | ({} if self.seconds is None else {"tolerationSeconds": self.seconds})


def _images(value: Any) -> Any:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(i, str) for i in listed):
        raise ValueError("is the name of an image, or a list of such names")
    if not listed:
        raise ValueError("is an empty list; leave the key out")
    for image in listed:
        if not is_image(image):
            raise ValueError(f"{image[:60]!r} is not the name of an image")
        if len(listed) > 1 and not valid(image):
            raise ValueError(f"{image[:60]!r} cannot be chosen: too odd for a form or link")
    if len(listed) > 64 or len(set(listed)) != len(listed):
        raise ValueError("has at most 64 images, none of them twice")
    return tuple(listed)


def _patterns(value: Any) -> Any:
    for pattern in value if isinstance(value, (list, tuple)) else ():
        try:
            re.compile(pattern)
        except (re.error, TypeError, RecursionError) as error:
            raise ValueError(f"{pattern!r:.60} is not a regular expression: {error}") from None
    return tuple(value) if isinstance(value, list) else value


def _resources(value: Any) -> Any:
    named = {OTHER: value} if isinstance(value, str) else value
    if not isinstance(named, Mapping):
        raise ValueError("is the name of a resource, or one for each type of GPU")
    return {
        _text(kind, _GPU_TYPE, "a type of GPU"): _text(
            resource, _RESOURCE, f"the name of a resource, such as {GPU}"
        )
        for kind, resource in named.items()
    }


def _products(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Products = Annotated[
    tuple[Value, ...], BeforeValidator(_products), Field(min_length=1, max_length=64)
]
Images = Annotated[tuple[str, ...], BeforeValidator(_images)]
Patterns = Annotated[
    tuple[Annotated[str, Field(max_length=1000)], ...],
    BeforeValidator(_patterns),
    Field(max_length=32),
]


class KubernetesOptions(BaseModel):
    """Keys that ``profiles[].options`` may have when ``backend`` is ``kubernetes``.

    Resources are not here: CPUs, memory, GPUs and wall time come from the profile itself, and
    are limits; ``guarantee`` says how much of them is kept free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Images = Field(
        default=(),
        description="Container image, or a list to choose from, the default first. "
        "If not given: that of the environment, then c.KubeSpawner.image.",
    )
    image_patterns: Patterns = Field(
        default=(), description="Regular expressions of images that may be typed; whole names."
    )
    guarantee: Guarantee = Guarantee()
    gpu_resource: Annotated[dict[str, str], BeforeValidator(_resources)] = Field(
        default={OTHER: GPU},
        description="The resource that a GPU is counted as; or one for each type, such as a "
        "MIG slice, and 'default' for the others.",
    )
    gpu_products: dict[str, Products] = Field(
        default_factory=dict,
        description="Values of the label that nodes with GPUs of a type have.",
    )
    gpu_label: Key = "nvidia.com/gpu.product"
    node_selector: dict[Key, Value] = Field(default_factory=dict)
    node_affinity: NodeAffinity = NodeAffinity()
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=32)
    priority_class: Name = ""
    runtime_class: Name = ""
    scheduler: Name = ""
    shm: Bytes | None = Field(
        default=None,
        description="Size of /dev/shm; what is in it counts as the session's memory. "
        "64 MB if not given, too little for many a deep-learning framework.",
    )
    read_only_root: bool = Field(
        default=False,
        description="Let nothing be written in the image's own file system, besides /tmp.",
    )

    autoscale: bool = Field(
        default=False,
        description="The cluster adds nodes when they are needed: nothing is called impossible "
        "because no node has it now.",
    )

    def resource_of(self, kind: str, shared: bool = False) -> str:
        """What a GPU of type ``kind`` (or a share of one) is counted as.

        NVIDIA's plugin calls shares ``nvidia.com/gpu.shared`` unless it is told otherwise; a type
        that the file names itself is called what it says.
        """
        if kind in self.gpu_resource:
            return self.gpu_resource[kind]
        name = self.gpu_resource.get(OTHER, GPU)
        return f"{name}.shared" if shared and not name.endswith(".shared") else name

    def allows_image(self, image: str) -> bool:
        """Whether a user may have ``image``: listed, or typed and of an allowed pattern."""
        if image in self.image:
            return True
        return is_image(image) and any(re.fullmatch(p, image) for p in self.image_patterns)


def validate_options(options: Mapping[str, Any]) -> KubernetesOptions:
    """The model of ``options``. Raises :class:`SiteError` naming every mistake."""
    try:
        return KubernetesOptions.model_validate(dict(options))
    except ValidationError as error:
        raise SiteError("Kubernetes options: " + "; ".join(_sentences(error))) from None


_known: dict[int, tuple[Mapping[str, Any], KubernetesOptions]] = {}


def known_options(options: Mapping[str, Any]) -> KubernetesOptions:
    """:func:`validate_options`, once for the same object: every page asks for every profile.
    Raises :class:`SiteError`."""
    known = _known.get(id(options))
    if known is not None and known[0] is options:
        return known[1]
    made = validate_options(options)
    if len(_known) > 1000:
        _known.clear()  # of sites that have changed since
    _known[id(options)] = (options, made)
    return made


_MODELS: dict[str, type[BaseModel]] = {
    "guarantee": Guarantee,
    "node_affinity": NodeAffinity,
    "required": Expression,
    "preferred": Preference,
    "tolerations": Toleration,
}


def _sentences(error: ValidationError) -> Iterable[str]:
    # One mistake in a union is told once, though each of its types complains.
    told: dict[str, str] = {}
    for each in error.errors():
        path = [part for part in each["loc"] if part not in ("Share", "int", "[key]")]
        where, what = (
            ".".join(f"{part!s:.40}" for part in path),
            each["msg"].removeprefix("Value error, "),
        )
        if each["type"] == "extra_forbidden":
            inside = [str(part) for part in path[:-1] if isinstance(part, str)]
            model = _MODELS.get(inside[-1], KubernetesOptions) if inside else KubernetesOptions
            what = f"there is no such key; there are {', '.join(sorted(model.model_fields))}"
        told.setdefault(where or "options", what)
    return (f"{where}: {what}" for where, what in told.items())
