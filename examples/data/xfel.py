"""One EuXFEL-like run of the SPB instrument, with signals worth looking at.

The files are those of EXtra-data's own test suite: the right structure, all values zero. The two
gas monitors (XGM) and the camera get values with a fixed seed; the AGIPD frames stay zero, which
keeps the run small.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
from extra_data.tests.make_examples import make_spb_run

PROPOSAL, RUN = 2222, 13
START = datetime(2026, 2, 3, 10, 0, tzinfo=UTC)
TRAIN_PERIOD_NS = 100_000_000  # 10 Hz
PULSES = 100  # lit pulses per train; the arrays have 1000 places
TRANSMISSION = 0.92  # of the beam transport between the two monitors
CAMERA_SHAPE = (96, 72)
FIRST_TRAIN, TRAINS = 10000, 64

UPSTREAM = "SA1_XTD2_XGM/DOOCS/MAIN"
DOWNSTREAM = "SPB_XTD9_XGM/DOOCS/MAIN"
CAMERA = "SPB_IRU_CAM/CAM/SIDEMIC"


def write_run(directory: Path) -> None:
    """Write the run's 18 files into an existing, empty directory."""
    make_spb_run(str(directory), sensor_size=CAMERA_SHAPE, format_version="1.2")
    signals = _signals()
    for path in sorted(directory.glob("RAW-R*.h5")):
        with h5py.File(path, "r+") as f:
            _set_metadata(f)
            if f"CONTROL/{UPSTREAM}" in f:
                _set_signals(f, signals)
        path.rename(path.with_name(path.name.replace("R0238", f"R{RUN:04d}")))


def _signals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(PROPOSAL)
    train = np.arange(TRAINS)
    drift = 1.0 + 0.06 * np.sin(2 * np.pi * train / 40)
    pulse = 1.0 - 0.10 * np.exp(-np.arange(PULSES) / 12)  # the first pulses are weaker
    energy = 1500.0 * drift[:, None] * pulse[None, :] * rng.normal(1.0, 0.08, (TRAINS, PULSES))
    arrived = TRANSMISSION * energy * rng.normal(1.0, 0.01, energy.shape)

    y, x = np.mgrid[: CAMERA_SHAPE[0], : CAMERA_SHAPE[1]]
    y0 = CAMERA_SHAPE[0] / 2 + rng.normal(0, 1.5, TRAINS)
    x0 = CAMERA_SHAPE[1] / 2 + rng.normal(0, 1.0, TRAINS)
    height = arrived.mean(axis=1) * 2.0
    spot = height[:, None, None] * np.exp(
        -((y - y0[:, None, None]) ** 2 / (2 * 9.0**2) + (x - x0[:, None, None]) ** 2 / (2 * 6.0**2))
    )
    return {"upstream": energy, "downstream": arrived, "camera": rng.poisson(spot + 20.0)}


def _set_metadata(f: h5py.File) -> None:
    stamp = START.strftime("%Y%m%dT%H%M%SZ").encode("ascii")
    f["METADATA/creationDate"][0] = stamp
    f["METADATA/updateDate"][0] = stamp
    f["METADATA/proposalNumber"][0] = PROPOSAL
    f["METADATA/runNumber"][0] = RUN
    f["METADATA/sample"][0] = b"demo"
    trains = f["INDEX/trainId"][:]
    first_ns = np.uint64(START.timestamp()) * np.uint64(10**9)
    offset = np.where(trains > 0, trains - np.uint64(FIRST_TRAIN), np.uint64(0))
    f["INDEX/timestamp"][:] = np.where(
        trains > 0, first_ns + offset * np.uint64(TRAIN_PERIOD_NS), np.uint64(0)
    )


def _set_signals(f: h5py.File, signals: dict[str, np.ndarray]) -> None:
    trains = f["INDEX/trainId"][:]
    rows = (trains[trains > 0] - np.uint64(FIRST_TRAIN)).astype(int)
    n = len(rows)
    for device, name in ((UPSTREAM, "upstream"), (DOWNSTREAM, "downstream")):
        # As in real files: places after the last pulse hold 1.0.
        full = np.ones((n, 1000), dtype=np.float32)
        full[:, :PULSES] = signals[name][rows]
        f[f"INSTRUMENT/{device}:output/data/intensityTD"][:n] = full
        # The key is spelt like this in real data.
        f[f"CONTROL/{device}/pulseEnergy/nummberOfBunches/value"][:n] = PULSES
    pixels = f"INSTRUMENT/{CAMERA}:daqOutput/data/image/pixels"
    f[pixels][:n] = signals["camera"][rows].astype(np.uint16)
