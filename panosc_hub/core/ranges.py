"""The building blocks of ``site.yaml``'s models: strict models, ids, and ranges to choose from.

Memory is written ``8G`` and held in bytes, times are written ``4h`` and held in seconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .quantities import parse_duration, parse_memory

IDENTIFIER = r"[a-z0-9][a-z0-9-]{0,62}"

OPEN = 2**53 - 1
"""The ``max`` of a range that says none: what the backend has counts. The largest whole number
that JSON readers agree on, so that it can be shown like any other."""


class Model(BaseModel):
    """Strict: an unknown key is a mistake that the admin must hear of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def to_bytes(value: Any) -> Any:
    """Bytes of a text; anything else as it is, for the model to judge."""
    return parse_memory(value) if isinstance(value, str) else value


def to_seconds(value: Any) -> Any:
    """Seconds of a text; anything else as it is."""
    return parse_duration(value) if isinstance(value, str) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _identifier(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(IDENTIFIER, value):
        raise ValueError(
            f"{value[:40]!r} is not an id; use lower-case letters, digits and '-', "
            "starting with a letter or digit, at most 63"
        )
    return value


Bytes = Annotated[int, BeforeValidator(to_bytes), Field(gt=0)]
Seconds = Annotated[int, BeforeValidator(to_seconds), Field(gt=0)]
Identifier = Annotated[str, BeforeValidator(_identifier)]


class Range(Model):
    """A choice within limits; a bare value in ``site.yaml`` means fixed.

    Without ``max`` it is *open*: it goes up to what the backend has.
    """

    min: int = Field(ge=0, le=OPEN)
    max: int = Field(ge=0, le=OPEN)
    default: int = Field(ge=0, le=OPEN)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.min <= self.default <= self.max:
            raise ValueError("needs min <= default <= max")
        return self

    @property
    def fixed(self) -> bool:
        """Nothing to choose."""
        return self.min == self.max

    @property
    def open(self) -> bool:
        """Whether ``site.yaml`` leaves the limit to the backend."""
        return self.max == OPEN

    def cut(self, limit: int | None) -> Range | None:
        """The part up to ``limit``, None if there is none; itself where nothing is beyond it.

        Without a limit an open range ends at its default, for nobody says what there is more.
        """
        if limit is None:
            limit = self.default if self.open else self.max
        if limit >= self.max:
            return self
        if limit < self.min:
            return None
        return Range(min=self.min, max=limit, default=min(self.default, limit))


def _range(convert: Any, least: int) -> Any:
    def build(value: Any) -> Any:
        if isinstance(value, dict):
            body = {k: convert(v) for k, v in value.items()}
            given = [v for v in body.values() if isinstance(v, int)]
            body.setdefault("min", min([least, *given]))
            body.setdefault("default", body["min"])
            body.setdefault("max", OPEN)
            return body
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            fixed = convert(value)
            return {"min": fixed, "max": fixed, "default": fixed}
        return value

    return build


CountRange = Annotated[Range, BeforeValidator(_range(_integer, 1))]
MemoryRange = Annotated[Range, BeforeValidator(_range(to_bytes, 2**30))]
DurationRange = Annotated[Range, BeforeValidator(_range(to_seconds, 900))]
