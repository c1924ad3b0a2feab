"""Paths come from the server: a layout says what belongs to a proposal."""

from __future__ import annotations

import pytest

from panosc_hub.core.proposals import Area, Dataset, Layout, Mode, Proposal, dataset_path, is_within

RO = Mode.READ_ONLY

LAYOUTS = [
    (
        "/data/visitor/{proposal}/{instrument}/{session}/RAW_DATA",
        "id02",
        "hg123",
        {"session": "20260112"},
        "/data/visitor/hg123/id02/20260112/RAW_DATA",
    ),
    (
        "/gpfs/exfel/exp/{instrument}/{cycle}/p{proposal:06d}/raw",
        "SPB",
        "p2222",
        {"cycle": "202601"},
        "/gpfs/exfel/exp/SPB/202601/p002222/raw",
    ),
    (
        "/net4/serdon/illdata/{cycle}/{instrument}/exp_{proposal}/rawdata",
        "d22",
        "9-10-1690",
        {"cycle": "261"},
        "/net4/serdon/illdata/261/d22/exp_9-10-1690/rawdata",
    ),
    (
        "/asap3/petra3/gpfs/{instrument}/{year}/data/{proposal}/raw",
        "p03",
        "11012345",
        {"year": "2026"},
        "/asap3/petra3/gpfs/p03/2026/data/11012345/raw",
    ),
]


@pytest.mark.parametrize(("template", "instrument", "proposal", "fields", "path"), LAYOUTS)
def test_layouts_of_facilities_resolve(
    template: str, instrument: str, proposal: str, fields: dict[str, str], path: str
) -> None:
    area = Layout("raw", template, RO).resolve(
        Proposal(proposal, instrument=instrument, fields=fields)
    )
    assert area.path == path
    assert is_within(area.path, area.root)


@pytest.mark.parametrize("bad", ["../../etc", "a/b", "..", "x\n", "x\x00", "", "a b", "{x}"])
def test_a_field_that_leaves_the_layout_is_refused(bad: str) -> None:
    layout = Layout("raw", "/data/{instrument}/{proposal}/raw", RO)
    with pytest.raises(ValueError, match="does not fit"):
        layout.resolve(Proposal(bad, instrument="ID02"))
    with pytest.raises(ValueError, match="does not fit"):
        layout.resolve(Proposal("HG-123", instrument=bad))


@pytest.mark.parametrize(
    "template",
    [
        "data/{proposal}",
        "/data/{instrument}",
        "/data/{proposals}",
        "/data/{{proposal}}",
        "/data/{proposal!r}",
        "/d/{proposal:>9}",
        "/d/{0}",
    ],
)
def test_a_layout_that_cannot_protect_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="area raw"):
        Layout("raw", template, RO)


def test_a_proposal_that_is_no_number_is_refused_where_the_layout_wants_one() -> None:
    with pytest.raises(ValueError, match="'HG-123' is not a number, as :06d wants it"):
        Layout("raw", "/data/p{proposal:06d}", RO).resolve(Proposal("HG-123"))


AREAS = (Area("raw", "/data/ID02/HG-123/raw", "/data", RO),)


@pytest.mark.parametrize(
    "location",
    [
        "/etc",
        "/data/ID02/HG-1234/raw/x",
        "/data/ID02/HG-123/raw/../../../etc",
        "/data/ID02/HG-123/raw-other",
        "data/ID02/HG-123/raw",
        "/data/ID02/HG-123/raw//x",
        "/data/ID02/HG-123/raw/x\x00",
    ],
)
def test_a_dataset_outside_its_proposal_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="outside"):
        dataset_path(Dataset("1", "x", location), AREAS)


def test_a_dataset_inside_its_proposal_is_used() -> None:
    path = "/data/ID02/HG-123/raw/agbh_0001"
    assert dataset_path(Dataset("1", "x", path + "/"), AREAS) == path
