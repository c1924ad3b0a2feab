"""The table for people and the JSON for machines."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .rows import UNMEASURED, Row, exit_status, rounded


def as_json(rows: Sequence[Row]) -> str:
    """The rows as they stand in ``results.json``."""
    return _text([row.to_dict() for row in rows])


def _text(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=2) + "\n"


def write_json(path: Path, rows: Sequence[Row], kept: Collection[str] = ()) -> None:
    """Replace ``path`` in one step, so that a reader never sees half a file.

    Rows of an earlier run stay if their names are among ``kept``: they were not asked for now.
    """
    old = json.loads(path.read_text()) if kept and path.exists() else []
    stay = [row for row in old if row["name"].split(UNMEASURED)[0] in kept]
    new = path.with_suffix(".json.new")
    new.write_text(_text([*stay, *(row.to_dict() for row in rows)]))
    new.replace(path)


def _number(values: Sequence[float]) -> str:
    return f"{rounded(statistics.median(values)):g}" if values else "–"


def print_table(console: Console, rows: Sequence[Row]) -> None:
    """One line per row; targets that are not held are red, and said again below."""
    table = Table(title="Ours and the peers: medians, measured in turns on this host")
    table.add_column("what")
    for title in ("ours", "peer"):
        table.add_column(title, justify="right")
    table.add_column("unit")
    table.add_column("ours ÷ peer", justify="right")
    table.add_column("in the rounds", justify="right")
    table.add_column("target")
    table.add_column("held")
    for row in rows:
        spread = row.spread
        held = "[green]yes[/]" if row.held else "[bold red]NO[/]"
        table.add_row(
            row.name,
            _number(row.ours),
            _number(row.peer),
            row.unit,
            "–" if row.ratio is None else f"{row.ratio:.3f}",
            "–" if spread is None else f"{spread[0]:.3f}–{spread[1]:.3f} ({len(row.ours)})",
            row.target.text,
            held if row.measured else "[bold red]not measured[/]",
        )
    console.print(table)
    for row in rows:
        if not row.measured:
            console.print(f"[bold red]Not measured:[/] {row.name}: {row.problem}")
        elif not row.held:
            console.print(
                f"[bold red]Not held:[/] {row.name}: {row.ratio:.3f}, target {row.target.text}"
            )
    if exit_status(rows) == 0:
        console.print("[green]All targets are held.[/]")
