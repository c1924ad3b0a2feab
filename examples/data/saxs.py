"""SAXS frames of silver behenate (AgBh) on a Pilatus 100k, as NXsas files.

The ring pattern is pyFAI's own calibrant image; a falling background, the shadow of a beam stop
and counting noise are added with a fixed seed, so that the same file comes out every time.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from pyFAI.calibrant import get_calibrant
from pyFAI.detectors import detector_factory
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

WAVELENGTH = 1.0e-10  # m, 12.4 keV
FRAMES = 5
EXPOSURE = 0.1  # s per frame
BEAM_STOP_RADIUS = 2.0e-3  # m
PONI1, PONI2 = 0.0168, 0.0120  # m; the beam is near the left edge: more rings


def frames(distance: float, seed: int) -> np.ndarray:
    """Counts of shape (FRAMES, 195, 487), int32, at ``distance`` metres from the sample."""
    geometry = AzimuthalIntegrator(
        dist=distance,
        poni1=PONI1,
        poni2=PONI2,
        detector=detector_factory("Pilatus100k"),
        wavelength=WAVELENGTH,
    )
    calibrant = get_calibrant("AgBh")
    calibrant.wavelength = WAVELENGTH
    rings = calibrant.fake_calibration_image(geometry, resolution=0.06)
    q = geometry.array_from_unit(unit="q_nm^-1")
    # Rings fade and the background falls with q, as in a real pattern.
    expected = 400.0 * rings * np.exp(-q / 4.0) + 12.0 / (q + 0.2) + 1.0
    radius = distance * np.tan(geometry.center_array(unit="2th_rad"))
    expected[radius < BEAM_STOP_RADIUS] = 0.02
    rng = np.random.default_rng(seed)
    return rng.poisson(expected, size=(FRAMES, *expected.shape)).astype(np.int32)


def write_nxsas(path: Path, title: str, start: str, distance: float, seed: int) -> None:
    """Write one measurement; ``start`` is ISO 8601, ``distance`` in metres."""
    detector = detector_factory("Pilatus100k")
    with h5py.File(path, "w") as f:
        f.attrs["default"] = "entry"
        entry = _group(f, "entry", "NXentry", default="data")
        entry["definition"] = "NXsas"
        entry["title"] = title
        entry["start_time"] = start
        entry["identifier_technique_1"] = "PaNET01188"

        sample = _group(entry, "sample", "NXsample")
        sample["name"] = "silver behenate (AgBh)"

        instrument = _group(entry, "instrument", "NXinstrument")
        instrument["name"] = "ID02"
        source = _group(instrument, "source", "NXsource")
        source["type"] = "Synchrotron X-ray Source"
        source["name"] = "example facility"
        source["probe"] = "x-ray"
        mono = _group(instrument, "monochromator", "NXmonochromator")
        _value(mono, "wavelength", WAVELENGTH * 1e10, "angstrom")

        det = _group(instrument, "detector", "NXdetector")
        det["description"] = "Pilatus100k"
        counts = det.create_dataset(
            "data",
            data=frames(distance, seed),
            chunks=(1, *detector.shape),
            compression="gzip",
            shuffle=True,
        )
        counts.attrs["units"] = "counts"
        _value(det, "distance", distance, "m")
        _value(det, "x_pixel_size", detector.pixel2, "m")
        _value(det, "y_pixel_size", detector.pixel1, "m")
        _value(det, "beam_center_x", PONI2 / detector.pixel2, "pixel")
        _value(det, "beam_center_y", PONI1 / detector.pixel1, "pixel")
        _value(det, "count_time", EXPOSURE, "s")

        # The same geometry in the words of a PONI file (pyFAI).
        poni = _group(det, "poni", "NXcollection")
        poni["detector"] = "Pilatus100k"
        for name, value, unit in (
            ("dist", distance, "m"),
            ("poni1", PONI1, "m"),
            ("poni2", PONI2, "m"),
            ("rot1", 0.0, "rad"),
            ("rot2", 0.0, "rad"),
            ("rot3", 0.0, "rad"),
            ("wavelength", WAVELENGTH, "m"),
        ):
            _value(poni, name, value, unit)

        data = _group(entry, "data", "NXdata", signal="data")
        data["data"] = h5py.SoftLink("/entry/instrument/detector/data")


def _group(parent: h5py.Group, name: str, nx_class: str, **attrs: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    for key, value in attrs.items():
        group.attrs[key] = value
    return group


def _value(group: h5py.Group, name: str, value: float, units: str) -> None:
    group[name] = float(value)
    group[name].attrs["units"] = units
