"""The example facility's data and catalogue file agree with each other."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from examples.data.make_data import DATASETS, make_data
from panosc_hub.catalogue.static import read_proposals

EXAMPLES = Path(__file__).parents[2] / "examples"
PROPOSALS: list[dict[str, Any]] = yaml.safe_load((EXAMPLES / "proposals.yaml").read_text())[
    "proposals"
]


def _datasets() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(p, d) for p in PROPOSALS for d in p["datasets"]]


def _hashes(root: Path) -> dict[str, str]:
    return {
        str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in root.rglob("*")
        if f.is_file()
    }


def test_the_same_bytes_come_out_every_time(facility, tmp_path):
    made = make_data(tmp_path)
    assert len(made) == len(DATASETS)
    again = _hashes(tmp_path)
    raw = {k: v for k, v in _hashes(facility).items() if "/raw/" in k}
    assert again == raw


def test_what_is_complete_is_left_alone_and_what_is_missing_is_made(tmp_path):
    make_data(tmp_path)
    before = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()}
    assert make_data(tmp_path) == []
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*") if f.is_file()} == before

    gone = tmp_path / "CHOP/NX-7/raw/chopper"
    (gone / "chopper.nxs").unlink()
    gone.rmdir()
    # What an interrupted run leaves behind.
    (gone.parent / ".making-half").mkdir()
    (gone.parent / ".making-half" / "chopper.nxs").write_bytes(b"half")
    assert make_data(tmp_path) == [gone]
    assert [p.name for p in gone.parent.iterdir()] == ["chopper"]


def test_the_command_line_makes_the_data(tmp_path):
    argv = [sys.executable, "-m", "examples.data.make_data", str(tmp_path / "new"), "--shared"]
    done = subprocess.run(argv, cwd=EXAMPLES.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("made ") == len(DATASETS)
    assert (tmp_path / "new/SPB/p2222/scratch").stat().st_mode & 0o7777 == 0o1777


@pytest.mark.parametrize(
    ("proposal", "dataset"), _datasets(), ids=[d["name"] for _, d in _datasets()]
)
def test_the_catalogue_tells_the_truth_about_the_disk(facility, proposal, dataset):
    location = dataset["location"]
    assert location == f"{{data}}/{proposal['instrument']}/{proposal['id']}/raw/{dataset['name']}"
    folder = Path(location.replace("{data}", str(facility)))
    if dataset["status"] == "archived":
        assert not folder.exists()
        return
    files = list(folder.iterdir())
    assert len(files) == dataset["files"]
    # Other versions of the HDF5 library may need a little more or less room.
    assert sum(f.stat().st_size for f in files) == pytest.approx(dataset["size"], rel=0.05)
    assert proposal["start"] <= dataset["date"] <= proposal["end"]


def test_every_online_dataset_is_in_the_catalogue_and_one_is_archived():
    online = {d["location"] for _, d in _datasets() if d["status"] == "online"}
    assert online == {"{data}/" + name for name in DATASETS}
    assert [d["name"] for _, d in _datasets() if d["status"] == "archived"] == ["agbh_0003"]


@pytest.mark.parametrize("area", ["processed", "scratch"])
@pytest.mark.parametrize("proposal", PROPOSALS, ids=[p["id"] for p in PROPOSALS])
def test_processed_and_scratch_are_writable(facility, proposal, area):
    path = facility / proposal["instrument"] / proposal["id"] / area
    assert path.is_dir()
    assert os.access(path, os.W_OK)


def test_the_static_catalogue_reads_the_file():
    entries = read_proposals(EXAMPLES / "proposals.yaml").proposals
    assert [(p.id, p.title) for p in entries] == [(p["id"], p["title"]) for p in PROPOSALS]
    assert [len(p.datasets) for p in entries] == [3, 1, 1]


def test_one_title_needs_escaping():
    assert any(set('<>&"') <= set(p["title"]) for p in PROPOSALS)


def test_every_group_of_the_login_people_opens_what_it_should():
    people = json.loads((EXAMPLES / "idp/people.json").read_text())["people"]
    sees = {
        person["username"]: {
            p["id"]
            for p in PROPOSALS
            if set(p["members"]["groups"])
            & {re.sub(r"^umbrella:demo:", "", g) for g in person["groups"]}
        }
        for person in people
    }
    assert sees == {
        "paula": {"HG-123"},
        "mira": {"HG-123", "p2222"},
        "ingo": {"HG-123"},
        "ada": {"NX-7"},
        "nobody": set(),
    }


def test_saxs_files_follow_the_geometry_they_state(facility):
    distances = {}
    for name in ("agbh_0001", "agbh_0002"):
        with h5py.File(facility / f"ID02/HG-123/raw/{name}/{name}.nxs") as f:
            assert f["entry/definition"].asstr()[()] == "NXsas"
            detector = f["entry/instrument/detector"]
            distances[name] = detector["distance"][()]
            assert detector["poni/dist"][()] == distances[name]
            frames = f["entry/data/data"][()]
            assert frames.shape == (5, 195, 487)
            # The first AgBh ring (5.838 nm) in the row through the beam, at the stated distance.
            wavelength = detector["poni/wavelength"][()]
            pixel = detector["x_pixel_size"][()]
            theta = np.arcsin(wavelength / (2 * 5.838e-9))
            ring = distances[name] * np.tan(2 * theta) / pixel
            row = frames.sum(axis=0)[int(detector["beam_center_y"][()])]
            start = int(detector["beam_center_x"][()])
            near = row[start + int(0.6 * ring) : start + int(1.4 * ring)]
            found = int(np.argmax(near)) + int(0.6 * ring)
            assert found == pytest.approx(ring, abs=3)
    assert distances["agbh_0001"] != distances["agbh_0002"]
