"""Amounts and dates as people read them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from ..core.choices import FIELD as CHOICE
from ..core.profiles import GpuOffer
from ..core.quantities import show_duration, show_memory

duration, memory = show_duration, show_memory

_BACKENDS = {"slurm": "Slurm", "kubernetes": "Kubernetes", "local": "This machine"}
_FIELDS = {
    "cpus": "CPUs",
    "gpus": "GPUs",
    "walltime": "Time",
    "gpu": "GPU type",
    "qos": "QOS",
    "path": "Own environment",
}


def backend_title(backend: str) -> str:
    """``"slurm"`` as a heading."""
    return _BACKENDS.get(backend, backend.capitalize())


def place(backend: str) -> str:
    """The same inside a sentence: ``"Small on this machine"``."""
    return "this machine" if backend == "local" else backend_title(backend)


def field_title(name: str) -> str:
    """A field of the selection as the page calls it."""
    name = name.removeprefix(CHOICE)
    return _FIELDS.get(name, name.capitalize())


def own_path_hint(patterns: Iterable[str]) -> str:
    """Where an environment of one's own may be, below the field for it."""
    return f"A conda or venv folder, or a .sif image, in: {', '.join(patterns)}"


def typed_hint(typed: str) -> str:
    """What may be typed, below the field for it."""
    return f"One like {typed}"


def plural(count: int, one: str, many: str = "") -> str:
    """``"1 file"``, ``"2 files"``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def span(seconds: float) -> str:
    """An age, rounded to what matters: ``"12 s"``, ``"5 min"``, ``"2 h 5 min"``, ``"3 days"``."""
    total = max(0, int(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min"
    if total < 2 * 86400:
        hours, rest = divmod(total, 3600)
        return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
    return plural(total // 86400, "day")


def ends_in(seconds: float) -> str:
    """``"ends in 23 min"``; in the last minute ``"ends now"``."""
    return f"ends in {span(seconds)}" if seconds >= 60 else "ends now"


def ago(seconds: float) -> str:
    """``"just now"``, ``"5 min ago"``."""
    return "just now" if seconds < 10 else f"{span(seconds)} ago"


def gpu(offer: GpuOffer, count: int) -> str:
    """``"1 × A100"``; ``"2 GPUs"`` where the type is any, or one of several to choose from."""
    if not count:
        return "no GPU"
    types = offer.types
    name = gpu_type(types[0]) if len(types) == 1 else ""
    if offer.kind == "shard":
        return f"{plural(count, 'share')} of {name or 'a GPU'}"
    return f"{count} × {name}" if name else plural(count, "GPU")


def gpu_type(kind: str) -> str:
    """``"A100"`` for ``a100``; a type that is a resource name keeps its last part."""
    name = kind.rsplit("/", 1)[-1]
    if name.lower() == "gpu":
        return ""
    return name.upper() if name.isalnum() and len(name) <= 6 else name


def idle(counts: Mapping[str, int]) -> str:
    """``"idle: 48 CPUs, 3 × A100"`` of a backend's ``{"cpus": 48, "gpu:a100": 3}``."""
    parts = []
    for key, count in counts.items():
        kind = gpu_type(key.removeprefix("gpu").removeprefix(":"))
        if key == "cpus":
            parts.append(plural(count, "CPU"))
        else:
            parts.append(f"{count} × {kind}" if kind else plural(count, "GPU"))
    return f"idle: {', '.join(parts)}" if parts else ""


def dates(start: date | None, end: date | None) -> str:
    """``"12–14 Jan 2026"``, shortened where month or year are the same."""
    if start is None:
        return f"until {_day(end)}" if end else ""
    if end is None or end == start:
        return _day(start)
    if (start.year, start.month) == (end.year, end.month):
        return f"{start.day}–{_day(end)}"
    if start.year == end.year:
        return f"{start.day} {start:%b} – {_day(end)}"
    return f"{_day(start)} – {_day(end)}"


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def day(day: date | None) -> str:
    """``"12 Jan 2026"`` or nothing."""
    return _day(day) if day else ""
