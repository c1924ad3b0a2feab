"""Memory, durations and GPUs: text at the edge, one unit inside.

Inside, memory is bytes, a duration is seconds, a GPU request is a type and a count. Every
``parse_*`` raises ``ValueError`` with a sentence that says what to write instead; every
``format_*`` is its inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MEMORY = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))?\s*([KMGT])?(i?B)?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SHORT = re.compile(
    r"(?:(\d{1,5})d)?\s*(?:(\d{1,5})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,8})s)?",
    re.IGNORECASE | re.ASCII,
)
_SLURM_DAYS = re.compile(r"(\d{1,5})-(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}))?", re.ASCII)
_SLURM_CLOCK = re.compile(r"(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?", re.ASCII)
_GPU = re.compile(r"(?:gpu:)?(?:([A-Za-z0-9][A-Za-z0-9_.\-]{0,63}):)?(\d{1,4})", re.ASCII)


def parse_memory(text: str) -> int:
    """Bytes of ``"8G"``, ``"512 MiB"`` or ``"1.5T"``; a bare number is bytes.

    Units are powers of 1024, as in Slurm and in Kubernetes' ``Gi``.
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a memory size; write for example 8G or 512M")
    whole, fraction, unit, _ = match.groups()
    factor = _UNITS[(unit or "").upper()]
    size = int(whole) * factor
    if fraction:
        size += int(fraction) * factor // 10 ** len(fraction)
    return size


def format_memory(size: int) -> str:
    """The shortest exact text: ``8589934592`` becomes ``"8G"``."""
    for unit in ("T", "G", "M", "K"):
        factor = _UNITS[unit]
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def show_memory(size: int) -> str:
    """``8 * 2**30`` is ``"8 GB"``: the number people type, in the scheduler's units."""
    text = format_memory(size)
    if text[-1] in "KM" and size >= 2**30:
        return f"{size / 2**30:.3g} GB"
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} bytes"


def show_duration(seconds: int) -> str:
    """``5400`` is ``"1 h 30 min"``; days from two of them on, for ``24 h`` is a usual limit."""
    days, rest = divmod(seconds, 86400) if seconds >= 2 * 86400 else (0, seconds)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{n} {unit}" for n, unit in parts if n) or "0 s"


def human_memory(size: int) -> str:
    """For people: three digits and a unit with a space, ``"3.1 GB"``."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return (
                f"{value:.0f} {unit}" if unit == "bytes" or value >= 10 else f"{value:.1f} {unit}"
            )
        value /= 1000
    raise AssertionError("unreachable")


def parse_duration(text: str) -> int:
    """Seconds of ``"4h"``, ``"1d12h"``, ``"90m"`` or of Slurm's own syntax.

    Slurm's (sbatch(1), ``--time``): ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``,
    ``days-hours``, ``days-hours:minutes``, ``days-hours:minutes:seconds``. So ``30`` and
    ``30:00`` are both 30 minutes. ``UNLIMITED`` is refused: a session needs an end.
    """
    stripped = text.strip()
    short = _SHORT.fullmatch(stripped)
    if short is not None and any(short.groups()):
        days, hours, minutes, seconds = (int(g or 0) for g in short.groups())
        return _positive(((days * 24 + hours) * 60 + minutes) * 60 + seconds, text)
    with_days = _SLURM_DAYS.fullmatch(stripped)
    if with_days is not None:
        days, hours, minutes, seconds = (int(g or 0) for g in with_days.groups())
        return _positive(((days * 24 + hours) * 60 + minutes) * 60 + seconds, text)
    clock = _SLURM_CLOCK.fullmatch(stripped)
    if clock is not None:
        first, second, third = clock.groups()
        if third is not None:
            return _positive((int(first) * 60 + int(second)) * 60 + int(third), text)
        return _positive(int(first) * 60 + int(second or 0), text)
    raise ValueError(f"{text[:40]!r} is not a duration; write for example 4h, 30m or 1-12:00:00")


def _positive(seconds: int, text: str) -> int:
    if seconds <= 0:
        raise ValueError(f"{text[:40]!r} is no time at all; write for example 30m")
    return seconds


def format_duration(seconds: int) -> str:
    """The shortest exact text: ``14400`` becomes ``"4h"``, ``5400`` becomes ``"1h30m"``."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n}{u}" for n, u in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if n]
    return "".join(parts) or "0s"


def slurm_duration(seconds: int) -> str:
    """Slurm's ``days-hours:minutes:seconds``, never ambiguous."""
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days}-{hours:02d}:{minutes:02d}:{rest:02d}"


@dataclass(frozen=True, slots=True, order=True)
class Gpus:
    """``count`` GPUs of ``type`` (empty: any type)."""

    type: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} x {self.type}" if self.type else f"{self.count} GPU"


def parse_gpus(text: str) -> Gpus:
    """``"gpu:a100:2"``, ``"a100:2"`` or ``"2"``."""
    match = _GPU.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a GPU request; write for example a100:1 or 1")
    return Gpus(match.group(1) or "", int(match.group(2)))


def format_gpus(gpus: Gpus) -> str:
    """The inverse of :func:`parse_gpus`."""
    return f"{gpus.type}:{gpus.count}" if gpus.type else str(gpus.count)
