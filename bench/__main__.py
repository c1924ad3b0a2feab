"""``python -m bench``: run the benchmarks, print the table, write ``bench/results.json``.

Exit status: 0 all targets held, 3 all measured but a target is not held, 1 something could not
be measured (a peer is not installed, or a run failed), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from pathlib import Path

from rich.console import Console

from . import lab_start, slurm_commands, slurm_hub, slurm_rounds, spawn_page, spawns
from .report import as_json, print_table, write_json
from .rows import Benchmark, LeftOut, PeerMissing, Row, exit_status

BENCHMARKS: tuple[Benchmark, ...] = (
    spawn_page.BENCHMARK,
    spawns.BENCHMARK,
    lab_start.BENCHMARK,
    slurm_rounds.BENCHMARK,
    slurm_hub.BENCHMARK,
    slurm_commands.BENCHMARK,
)
"""Add a module with a ``BENCHMARK`` here."""

RESULTS = Path(__file__).with_name("results.json")


def measure(benchmark: Benchmark, rounds: int | None, console: Console) -> list[Row]:
    """The rows of ``benchmark``; a failure becomes rows that say so, the others still run.

    One that needs what this host does not have (a real Slurm) says so and gives no rows.
    """
    count = rounds or benchmark.rounds
    console.print(f"{benchmark.name}: {count} rounds …")
    began = time.monotonic()
    try:
        rows: list[Row] = asyncio.run(_run(benchmark, count))
    except PeerMissing as error:
        return benchmark.failed(str(error))
    except LeftOut as error:
        console.print(f"[bold]Left out:[/] {benchmark.name}: {error}")
        return []
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return benchmark.failed(f"{type(error).__name__}, see above")
    console.print(f"{benchmark.name}: {time.monotonic() - began:.0f} s")
    return rows


async def _run(benchmark: Benchmark, rounds: int) -> list[Row]:
    return await benchmark.run(rounds)


def main() -> int:
    """The command."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare with the peers.")
    parser.add_argument("--only", action="append", choices=names, help="may be given repeatedly")
    parser.add_argument("--rounds", type=int, help="rounds of each benchmark, at least 1")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: %(default)s")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds must be at least 1")
    # An end from outside must not leave the daemons of a benchmark behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(stderr=options.json)
    rows: list[Row] = []
    kept: set[str] = set()
    for benchmark in BENCHMARKS:
        if not options.only or benchmark.name in options.only:
            rows += measure(benchmark, options.rounds, console)
        else:
            kept |= {row.name for row in benchmark.plan}
    write_json(options.output, rows, kept)
    print_table(console, rows)
    if options.json:
        print(as_json(rows), end="")
    return exit_status(rows)


if __name__ == "__main__":
    sys.exit(main())
