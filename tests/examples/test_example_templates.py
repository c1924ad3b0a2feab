"""The template notebooks run on the example data and show what they promise."""

from __future__ import annotations

import ast
import asyncio
import base64
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from panosc_hub.core.notebook import parameterise
from panosc_hub.core.proposals import Dataset, Proposal
from panosc_hub.core.templates import Manifest, rank
from panosc_hub.library import read_all

TEMPLATES = Path(__file__).parents[2] / "examples/templates"
IDS = sorted(p.name for p in TEMPLATES.iterdir() if p.is_dir())
RING_D_NM = 5.838  # layer distance of silver behenate, T. N. Blanton et al. 1995


def manifest(template: str) -> Manifest:
    return Manifest.model_validate(
        yaml.safe_load((TEMPLATES / template / "template.yaml").read_text())
    )


def source(template: str) -> str:
    return (TEMPLATES / template / manifest(template).entrypoint).read_text()


class ThisPython(AsyncKernelManager):
    """A kernel of the Python that runs the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="tests", language="python")


async def run(template: str, cwd: Path, **values: Any) -> nbformat.NotebookNode:
    book = nbformat.reads(parameterise(source(template), values), as_version=4)
    client = NotebookClient(
        book,
        kernel_manager_class=ThisPython,
        timeout=60,
        resources={"metadata": {"path": str(cwd)}},
    )
    await client.async_execute(env={**os.environ, "MPLCONFIGDIR": str(cwd / ".mpl")})
    return book


def pictures(book: nbformat.NotebookNode) -> list[bytes]:
    return [
        base64.b64decode(output["data"]["image/png"])
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def text(book: nbformat.NotebookNode, stream: str = "stdout") -> str:
    return "".join(
        output["text"]
        for cell in book.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == stream
    )


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(f): (f.stat().st_size, f.stat().st_mtime_ns) for f in folder.rglob("*")}


def peak(q: np.ndarray, intensity: np.ndarray, near: float) -> float:
    """Centre of mass of the upper half of the highest peak within 20 % of ``near``."""
    window = np.abs(q - near) < 0.2 * near
    q, intensity = q[window], intensity[window]
    upper = intensity > intensity.max() / 2
    return float(np.average(q[upper], weights=intensity[upper]))


@pytest.mark.parametrize("dataset", ["agbh_0001", "agbh_0002"])
async def test_saxs_finds_the_rings_of_silver_behenate(facility, tmp_path, dataset):
    raw = facility / "ID02/HG-123/raw" / dataset
    before = snapshot(raw)
    book = await run(
        "saxs-azimuthal",
        tmp_path,
        dataset_path=str(raw),
        output_dir=str(tmp_path),
        points=800,
    )
    assert all(p.startswith(b"\x89PNG") for p in pictures(book))
    assert len(pictures(book)) == 2
    assert text(book, "stderr") == ""

    q, intensity, _ = np.loadtxt(tmp_path / f"{dataset}_iq.csv", delimiter=",", skiprows=1).T
    assert 700 < len(q) <= 800  # the bins behind the beam stop are left out
    for order in (1, 2, 3):
        expected = order * 2 * np.pi / RING_D_NM
        assert peak(q, intensity, expected) == pytest.approx(expected, rel=0.005)
    assert snapshot(raw) == before


async def test_run_overview_counts_trains_and_measures_the_transmission(facility, tmp_path):
    raw = facility / "SPB/p2222/raw/r0013"
    before = snapshot(raw)
    book = await run(
        "run-overview", tmp_path, dataset_path=str(raw), output_dir=str(tmp_path), max_trains=50
    )
    assert len(pictures(book)) == 3
    assert "# of trains:    50" in text(book)
    table = next(c for c in book.cells if c.id == "sources").outputs[0]["data"]["text/plain"]
    rows = {
        line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1] for line in table.splitlines()[1:]
    }
    assert rows["trains recorded"] == "64"
    assert rows["trains read"] == "50"
    assert rows["detector modules"] == "16"
    assert (rows["proposal"], rows["run"]) == ("2222", "13")

    energy = np.loadtxt(tmp_path / "r0013_overview.csv", delimiter=",", skiprows=1)
    assert energy.shape == (50, 3)
    assert energy[:, 0].tolist() == list(range(10000, 10050))
    assert np.mean(energy[:, 2] / energy[:, 1]) == pytest.approx(0.92, rel=0.005)
    assert snapshot(raw) == before  # no index file beside the raw data


async def test_nexus_browser_shows_the_tree_and_the_default_signal(facility, tmp_path):
    raw = facility / "CHOP/NX-7/raw/chopper"
    book = await run(
        "nexus-browser",
        tmp_path,
        dataset_path=str(raw),
        output_dir=str(tmp_path),
        file_number=1,
    )
    assert len(pictures(book)) == 2
    assert "/entry/data: data, shape (148, 750)" in text(book)
    tree = (tmp_path / "chopper_tree.txt").read_text()
    assert "monochromator:NXchopper" in tree
    assert "energy = 130.0" in tree
    assert (tmp_path / "chopper_default.png").read_bytes().startswith(b"\x89PNG")


async def test_nexus_browser_reads_the_saxs_files_too(facility, tmp_path):
    raw = facility / "ID02/HG-123/raw/agbh_0001"
    book = await run(
        "nexus-browser", tmp_path, dataset_path=str(raw), output_dir=str(tmp_path), file_number=1
    )
    assert "/entry/data: data, shape (5, 195, 487)" in text(book)
    assert len(pictures(book)) == 2


@pytest.mark.parametrize(
    ("template", "dataset"),
    [
        ("saxs-azimuthal", "ID02/HG-123/raw/agbh_0001"),
        ("run-overview", "SPB/p2222/raw/r0013"),
        ("nexus-browser", "CHOP/NX-7/raw/chopper"),
    ],
)
async def test_without_a_place_to_save_the_notebook_goes_on(facility, tmp_path, template, dataset):
    missing = tmp_path / "not" / "there"
    empty, absent = await asyncio.gather(
        run(template, tmp_path, dataset_path=str(facility / dataset), output_dir=""),
        run(template, tmp_path, dataset_path=str(facility / dataset), output_dir=str(missing)),
    )
    for book in (empty, absent):
        assert "Not saved (" in text(book)
        assert pictures(book)
    assert not missing.exists()


@pytest.mark.parametrize("template", IDS)
async def test_missing_data_are_explained(facility, tmp_path, template):
    archived = facility / "ID02/HG-123/raw/agbh_0003"
    with pytest.raises(CellExecutionError, match="restored first"):
        await run(template, tmp_path, dataset_path=str(archived), output_dir=str(tmp_path))
    with pytest.raises(CellExecutionError, match="holds no"):
        await run(template, tmp_path, dataset_path=str(tmp_path), output_dir=str(tmp_path))


@pytest.mark.parametrize("template", IDS)
def test_the_parameters_cell_and_the_manifest_name_the_same(template):
    book = nbformat.reads(source(template), as_version=4)
    cells = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    statements = ast.parse(cells[0].source).body
    assert all(isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant) for s in statements)
    names = [s.targets[0].id for s in statements]
    found = manifest(template)
    assert found.id == template
    assert names == list(found.parameters)
    for statement in statements:
        default = found.parameters[statement.targets[0].id].default
        assert default is None or default == statement.value.value


@pytest.mark.parametrize("template", IDS)
def test_the_notebook_is_published_clean(template):
    book = nbformat.reads(source(template), as_version=4)
    nbformat.validate(book)
    assert (book.nbformat, book.nbformat_minor) == (4, 5)
    assert book.metadata.kernelspec.name == manifest(template).environment.kernel
    for cell in book.cells:
        assert cell.id
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("template", IDS)
def test_the_picture_is_accessible_and_carries_no_script(template):
    picture = manifest(template).picture
    assert picture is not None
    svg = "{http://www.w3.org/2000/svg}"
    root = ET.parse(TEMPLATES / template / picture).getroot()
    assert root.get("role") == "img"
    title = root.find(f"{svg}title")
    assert title is not None
    assert title.text
    assert root.get("aria-labelledby") == title.get("id")
    for element in root.iter():
        assert element.tag != f"{svg}script"
        assert not [a for a in element.attrib if a.lower().startswith("on") or "href" in a]


@pytest.mark.parametrize(
    ("dataset", "best"),
    [("agbh_0001", "saxs-azimuthal"), ("r0013", "run-overview"), ("chopper", "nexus-browser")],
)
def test_each_dataset_is_offered_its_own_template_first(dataset, best):
    templates, mistakes = read_all([TEMPLATES])
    assert mistakes == ()
    assert sorted(t.id for t in templates) == IDS
    proposals = yaml.safe_load((TEMPLATES.parent / "proposals.yaml").read_text())["proposals"]
    proposal, entry = next((p, d) for p in proposals for d in p["datasets"] if d["name"] == dataset)
    fits = rank(
        templates,
        Proposal(proposal["id"], instrument=proposal["instrument"]),
        Dataset(
            entry["pid"], dataset, techniques=tuple(entry["techniques"]), format=entry["format"]
        ),
    )
    assert fits[0].template.id == best
    assert fits[0].rank == 0
    assert fits[1].rank > 0
