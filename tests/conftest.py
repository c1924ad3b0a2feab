"""What all tests share: what is left out is said clearly, at the end, with its reason."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        terminalreporter.write_line("Nothing was left out.")
        return
    reasons: dict[str, int] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    terminalreporter.section("Left out")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} tests: {reason.removeprefix('Skipped: ')}")
