"""GPUs as a profile offers them: one type or several to choose from, whole or shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .ranges import CountRange, Model, Range

_GPU_TYPE = r"[A-Za-z0-9][A-Za-z0-9_.\-/]{0,63}"
"""Also MIG slices, which start with a digit: ``1g.10gb``."""

GpuType = Annotated[str, Field(pattern=rf"^({_GPU_TYPE})?$")]


def _types(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        if len(set(map(str, value))) != len(value):
            raise ValueError("names a type twice")
        if len(value) > 1 and "" in value:
            raise ValueError("names no type beside others; leave 'type' out for any")
        return tuple(value)
    return value


class GpuOffer(Model):
    """GPUs of one type (empty: any), or of several to choose from, the default first.

    ``count`` is a number or a range; min 0 makes it optional.
    """

    type: Annotated[
        GpuType | Annotated[tuple[GpuType, ...], Field(min_length=1, max_length=32)],
        BeforeValidator(_types),
    ] = ""
    count: CountRange = Field(default_factory=lambda: Range(min=1, max=1, default=1))
    kind: Literal["gpu", "shard"] = Field(
        default="gpu", description="Whole GPUs (or MIG slices), or shares of one GPU."
    )
    most: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="The largest count of a type, where it is less than that of the others.",
    )

    @property
    def types(self) -> tuple[str, ...]:
        """At least one; ``""`` is "any"."""
        return self.type if isinstance(self.type, tuple) else (self.type,)

    def largest(self, kind: str) -> int:
        """The largest count of GPUs of type ``kind``."""
        return min(self.count.max, self.most.get(kind, self.count.max))


def cut_gpus(offer: GpuOffer, limits: Mapping[str, int] | None) -> GpuOffer | str:
    """``offer`` cut to what there is by type (see ``Limits.gpus``); a text says why not."""
    if limits is None:
        count = offer.count.cut(None)
        return offer if count is offer.count else offer.model_copy(update={"count": count})
    own = {
        name.removeprefix("shard:"): count
        for name, count in limits.items()
        if name.startswith("shard:") == (offer.kind == "shard")
    }
    most = {}
    for kind in offer.types:
        there = own.get(kind, 0 if kind else max(own.values(), default=0))
        most[kind] = min(there, offer.largest(kind))
    least = max(1, offer.count.min)
    types = tuple(kind for kind in offer.types if most[kind] >= least)
    if not types:
        if not offer.count.min:
            none = Range(min=0, max=0, default=0)
            return offer if offer.count == none else offer.model_copy(update={"count": none})
        named = ", ".join(filter(None, offer.types))
        what = "share of a GPU" if offer.kind == "shard" else "GPU"
        of_type = f" of type {named}" if named else ""
        return f"no node has {offer.count.min} × {what}{of_type} now"
    count = offer.count.cut(max(most[kind] for kind in types))
    assert count is not None  # the type with the most has at least the smallest count
    fewer = {kind: most[kind] for kind in types if most[kind] < count.max}
    if types == offer.types and count is offer.count and fewer == offer.most:
        return offer
    # One type is written like the site writes it, so that equal offers are equal.
    kinds = types if isinstance(offer.type, tuple) else types[0]
    return offer.model_copy(update={"type": kinds, "count": count, "most": fewer})
