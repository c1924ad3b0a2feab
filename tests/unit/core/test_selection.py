"""The one door: what passes is canonical, what does not is refused with every reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from panosc_hub.core.selection import FIELDS, Selection, parse, parse_form, prefill
from panosc_hub.errors import InvalidSelection
from tests.hostile import HOSTILE, TYPES


@pytest.mark.parametrize("options", [pytest.param(o, id=n) for n, o in HOSTILE + TYPES])
def test_hostile_json_is_refused_with_a_short_reason(options: Any) -> None:
    if options == {"memory": "99999G"}:
        # Well-formed; refused by the profile's limit, see test_profiles and the Hub's tests.
        assert parse(options).memory == 99999 * 2**30
        return
    with pytest.raises(InvalidSelection) as refused:
        parse(options)
    assert 0 < len(refused.value.sentence) < 1000


@pytest.mark.parametrize("options", [pytest.param(o, id=n) for n, o in HOSTILE])
def test_hostile_links_prefill_nothing_hostile(options: Any) -> None:
    selection, problems = prefill({key: [value] for key, value in options.items()})
    assert problems or options == {"memory": "99999G"}
    kept = json.dumps(selection.to_options())
    assert not set("{}<>\n\r\x00") & set(kept.strip("{}"))
    assert len(kept) < 300


@pytest.mark.parametrize("options", [{}, None, {"v": 1}, {"profile": ""}, {"profile": None}])
def test_nothing_chosen_is_valid(options: Any) -> None:
    assert parse(options) == Selection()


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse({"profile": "a b", "cpus": -1, "memory": "much", "oops": 1})
    assert {p.field for p in refused.value.problems} == {"profile", "cpus", "memory", "oops"}


def test_form_and_json_give_the_same_bytes() -> None:
    form = {
        "walltime": ["04:00:00"],
        "memory": ["8192M"],
        "cpus": ["4"],
        "proposal": ["HG-123"],
        "dataset": ["20.500.12345/agbh-0001"],
        "profile": ["small"],
        "gpus": [""],
        "_xsrf": ["ignored"],
    }
    body = {
        "profile": "small",
        "proposal": "HG-123",
        "dataset": "20.500.12345/agbh-0001",
        "cpus": 4,
        "memory": "8G",
        "walltime": "4h",
        "gpus": None,
    }
    by_form, by_json = parse_form(form).to_options(), parse(body).to_options()
    assert json.dumps(by_form) == json.dumps(by_json)
    assert list(by_form) == ["v", "profile", "proposal", "dataset", "cpus", "memory", "walltime"]


def test_canonical_options_pass_the_door_unchanged() -> None:
    options = parse({"profile": "a", "memory": "1.5G", "walltime": "90", "gpus": 0}).to_options()
    assert parse(options).to_options() == options


def test_a_field_sent_twice_is_refused() -> None:
    with pytest.raises(InvalidSelection, match="more than once"):
        parse_form({"profile": ["small", "large"]})


def test_good_fields_of_a_bad_link_still_prefill() -> None:
    selection, problems = prefill({"profile": ["small"], "memory": ["much"], "partition": ["x"]})
    assert selection == Selection(profile="small")
    assert {p.field for p in problems} == {"memory", "partition"}


def test_a_bad_proposal_in_a_link_costs_only_itself_and_its_dataset() -> None:
    link = {"proposal": ["<b>"], "dataset": ["20.500/1"], "profile": ["small"], "cpus": ["2"]}
    selection, problems = prefill(link)
    assert selection == Selection(profile="small", cpus=2)
    assert {p.field for p in problems} == {"proposal"}
    link |= {"proposal": ["HG-1"], "cpus": ["-2"]}
    assert prefill(link)[0] == Selection(profile="small", proposal="HG-1", dataset="20.500/1")


def test_all_fields_are_known_to_the_selection() -> None:
    assert set(FIELDS) == set(Selection.__dataclass_fields__)
