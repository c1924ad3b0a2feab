"""The one door: what passes is canonical, what does not is refused with every reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from panosc_hub.core.selection import FIELDS, Selection, parse, parse_form, prefill
from panosc_hub.errors import InvalidSelection
from tests.hostile import HOSTILE, TYPES, as_json

JSON = [(n, as_json(o)) for n, o in HOSTILE] + TYPES


@pytest.mark.parametrize("options", [pytest.param(o, id=n) for n, o in JSON])
def test_hostile_json_is_refused_with_a_short_reason(options: Any) -> None:
    if options == {"memory": "99999G"}:
        # Well-formed; refused by the profile's limit, see test_profiles and the Hub's tests.
        assert parse(options).memory == 99999 * 2**30
        return
    with pytest.raises(InvalidSelection) as refused:
        parse(options)
    assert 0 < len(refused.value.sentence) < 1000


@pytest.mark.parametrize("fields", [pytest.param(o, id=n) for n, o in HOSTILE])
def test_hostile_forms_are_refused_with_a_short_reason(fields: Any) -> None:
    if fields == {"memory": "99999G"}:
        return
    with pytest.raises(InvalidSelection) as refused:
        parse_form({key: [value] for key, value in fields.items()})
    assert 0 < len(refused.value.sentence) < 1000


@pytest.mark.parametrize("options", [pytest.param(o, id=n) for n, o in HOSTILE])
def test_hostile_links_prefill_nothing_hostile(options: Any) -> None:
    selection, problems = prefill({key: [value] for key, value in options.items()})
    assert problems or options == {"memory": "99999G"}
    kept = json.dumps(selection.to_options())
    values = [str(v) for v in selection.to_options().values() if not isinstance(v, dict)]
    assert not set("{}<>\n\r\x00") & set("".join([*values, *sum(selection.choices, ())]))
    assert len(kept) < 300


@pytest.mark.parametrize("options", [{}, None, {"v": 1}, {"profile": ""}, {"profile": None}])
def test_nothing_chosen_is_valid(options: Any) -> None:
    assert parse(options) == Selection()


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse({"profile": "a b", "cpus": -1, "memory": "much", "oops": 1})
    assert {p.field for p in refused.value.problems} == {"profile", "cpus", "memory", "oops"}


def test_every_wrong_choice_is_told_at_once() -> None:
    with pytest.raises(InvalidSelection) as refused:
        parse({"cpus": 0, "choices": {"account": "a b", "qos": 7, "path": "/a/../b", "ok": "x"}})
    fields = {p.field for p in refused.value.problems}
    assert fields == {"cpus", "choice-account", "choice-qos", "choice-path"}


def test_form_and_json_give_the_same_bytes() -> None:
    form = {
        "walltime": ["04:00:00"],
        "memory": ["8192M"],
        "cpus": ["4"],
        "proposal": ["HG-123"],
        "dataset": ["20.500.12345/agbh-0001"],
        "profile": ["small"],
        "gpus": [""],
        "choice-qos": ["normal"],
        "choice-account": ["hg-123"],
        "choice-reservation": [""],
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
        "choices": {"account": "hg-123", "reservation": None, "qos": "normal"},
    }
    by_form, by_json = parse_form(form).to_options(), parse(body).to_options()
    assert json.dumps(by_form) == json.dumps(by_json)
    names = ["v", "profile", "proposal", "dataset", "cpus", "memory", "walltime", "choices"]
    assert list(by_form) == names
    assert list(by_form["choices"]) == ["account", "qos"]
    link = parse_form({k: v for k, v in form.items() if k != "_xsrf"})
    assert json.dumps(prefill(form)[0].to_options()) == json.dumps(link.to_options())


@pytest.mark.parametrize("choices", [{}, None, "", {"account": ""}, {"account": None}])
def test_no_choice_leaves_no_trace(choices: Any) -> None:
    assert parse({"choices": choices}).to_options() == {"v": 1}


@pytest.mark.parametrize(
    "value",
    ["hg123", "a100&nvlink", "a|b", "r_1,r_2", "1g.10gb", "u@f.eu", "/home/p/env-1/x.sif", "a:b=c"],
)
def test_what_slurm_and_file_systems_call_things_can_be_chosen(value: str) -> None:
    assert parse({"choices": {"x": value}}).chosen("x") == value


def test_canonical_options_pass_the_door_unchanged() -> None:
    body = {"profile": "a", "memory": "1.5G", "walltime": "90", "gpus": 0, "choices": {"b": "c"}}
    options = parse(body).to_options()
    assert parse(options).to_options() == options


def test_a_field_sent_twice_is_refused() -> None:
    with pytest.raises(InvalidSelection, match="more than once"):
        parse_form({"profile": ["small", "large"]})


def test_good_fields_of_a_bad_link_still_prefill() -> None:
    selection, problems = prefill({"profile": ["small"], "memory": ["much"], "partition": ["x"]})
    assert selection == Selection(profile="small")
    assert {p.field for p in problems} == {"memory", "partition"}


def test_good_choices_of_a_bad_link_still_prefill() -> None:
    link = {"choice-account": ["hg123"], "choice-qos": ["a b"], "choice-X": ["x"], "cpus": ["0"]}
    selection, problems = prefill(link)
    assert selection == Selection(choices=(("account", "hg123"),))
    assert {p.field for p in problems} == {"choice-qos", "choices", "cpus"}


def test_a_bad_proposal_in_a_link_costs_only_itself_and_its_dataset() -> None:
    link = {"proposal": ["<b>"], "dataset": ["20.500/1"], "profile": ["small"], "cpus": ["2"]}
    selection, problems = prefill(link)
    assert selection == Selection(profile="small", cpus=2)
    assert {p.field for p in problems} == {"proposal"}
    link |= {"proposal": ["HG-1"], "cpus": ["-2"]}
    assert prefill(link)[0] == Selection(profile="small", proposal="HG-1", dataset="20.500/1")


def test_all_fields_are_known_to_the_selection() -> None:
    assert set(FIELDS) == set(Selection.__dataclass_fields__)
