"""Make the data of the example facility's three proposals: a few seconds, no network.

``python -m examples.data.make_data TARGET`` writes
``TARGET/{instrument}/{proposal}/{raw,processed,scratch}``. Whatever is complete is left alone, so
it may run at every start; the same versions of the packages give the same bytes.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from . import saxs, xfel

WRITABLE_AREAS = ("processed", "scratch")
_PARTIAL = ".making-"


def _agbh_0001(directory: Path) -> None:
    saxs.write_nxsas(
        directory / "agbh_0001.nxs", "AgBh at 1.0 m", "2026-01-12T14:05:00+01:00", 1.0, seed=1
    )


def _agbh_0002(directory: Path) -> None:
    saxs.write_nxsas(
        directory / "agbh_0002.nxs", "AgBh at 0.6 m", "2026-01-13T09:30:00+01:00", 0.6, seed=2
    )


def _chopper(directory: Path) -> None:
    with as_file(files("nexusformat") / "examples" / "chopper.nxs") as source:
        shutil.copyfile(source, directory / "chopper.nxs")


# The third measurement of HG-123 is archived: the catalogue knows it, the disk does not.
DATASETS: dict[str, Callable[[Path], None]] = {
    "SPB/p2222/raw/r0013": xfel.write_run,
    "ID02/HG-123/raw/agbh_0001": _agbh_0001,
    "ID02/HG-123/raw/agbh_0002": _agbh_0002,
    "CHOP/NX-7/raw/chopper": _chopper,
}


def make_data(target: Path, *, shared: bool = False) -> list[Path]:
    """Make what is missing below ``target``; returns the dataset directories that were made.

    ``shared`` lets every account of the machine write to processed and scratch (mode 1777, for
    test beds with several users); otherwise only the owner and the group may (mode 2775).
    Safe to call from several processes at once. Raises ``OSError`` when ``target`` is not
    writable.
    """
    target.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    directory = os.open(target, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        for name, write in DATASETS.items():
            final = target / name
            raw = final.parent
            raw.mkdir(parents=True, exist_ok=True)
            for area in WRITABLE_AREAS:
                _writable(raw.parent / area, 0o1777 if shared else 0o2775)
            if not final.exists():
                _make(final, write)
                made.append(final)
    finally:
        os.close(directory)
    return made


def _make(final: Path, write: Callable[[Path], None]) -> None:
    # Written under another name and renamed at the end: a dataset that is there is complete.
    for leftover in final.parent.glob(_PARTIAL + "*"):
        shutil.rmtree(leftover)
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=final.parent))
    write(partial)
    for path in partial.iterdir():
        path.chmod(0o444)
    partial.chmod(0o755)
    partial.rename(final)


def _writable(path: Path, mode: int) -> None:
    if not path.exists():
        path.mkdir()
        path.chmod(mode)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the data of the example facility.")
    parser.add_argument("target", type=Path, help="the facility's data root; made if missing")
    parser.add_argument(
        "--shared",
        action="store_true",
        help="let every account of this machine write to processed and scratch",
    )
    args = parser.parse_args(argv)
    made = make_data(args.target, shared=args.shared)
    for path in made:
        print(f"made {path}")
    if not made:
        print("everything is there already")


if __name__ == "__main__":
    main()
