"""Text at the edge, one unit inside."""

from __future__ import annotations

import pytest

from panosc_hub.core.quantities import (
    Gpus,
    format_duration,
    format_gpus,
    format_memory,
    human_memory,
    parse_duration,
    parse_gpus,
    parse_memory,
    slurm_duration,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * 2**30),
        ("512M", 512 * 2**20),
        ("1.5G", 3 * 2**29),
        ("2 GiB", 2 * 2**30),
        ("16gb", 16 * 2**30),
        ("1T", 2**40),
        ("1024", 1024),
    ],
)
def test_memory_is_read_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 2**30, 2**30 + 1, 3 * 2**29, 2**40])
def test_memory_round_trips(size: int) -> None:
    assert parse_memory(format_memory(size)) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1e3", "8 apples", "8G\n8G", "٨G", "8Ki8"])
def test_odd_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        # sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]
        ("30", 30 * 60),
        ("30:00", 30 * 60),
        ("0:30", 30),
        ("01:30:00", 5400),
        ("100:00:00", 360000),
        ("1-2", 93600),
        ("1-02:30", 95400),
        ("1-02:30:15", 95415),
        ("4h", 14400),
        ("1d12h", 129600),
        ("90m", 5400),
        ("45s", 45),
    ],
)
def test_durations_follow_slurm(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds
    assert parse_duration(slurm_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "0", "UNLIMITED", "-1h", "1h1h", "h", "1-", "1:2:3:4"])
def test_odd_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("2", Gpus("", 2)),
        ("a100:2", Gpus("a100", 2)),
        ("gpu:a100:2", Gpus("a100", 2)),
        ("gpu:2", Gpus("", 2)),
        ("1g.10gb:2", Gpus("1g.10gb", 2)),
    ],
)
def test_gpus_typed_and_untyped(text: str, gpus: Gpus) -> None:
    assert parse_gpus(text) == gpus
    assert parse_gpus(format_gpus(gpus)) == gpus


def test_sizes_for_people_are_short() -> None:
    assert human_memory(3_100_000_000) == "3.1 GB"
    assert human_memory(359_779) == "360 kB"
    assert human_memory(12) == "12 bytes"
