"""What a profile's options for Slurm may say, and how a mistake is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.backends.slurm.options import ByProposal, Mine, validate_options
from panosc_hub.errors import SiteError
from panosc_hub.site import load_site

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("name", ["account", "qos", "reservation", "partition", "constraint"])
def test_an_option_is_fixed_chosen_or_by_proposal(name: str) -> None:
    assert getattr(validate_options({name: "a"}), name) == "a"
    listed = validate_options({name: ["a", "b"]})
    assert (getattr(listed, name), listed.fixed(name)) == (("a", "b"), "a")
    rule = {"proposal": "{proposal}-x", "otherwise": ["b", "c"]}
    by_rule = validate_options({name: rule})
    assert getattr(by_rule, name) == ByProposal(proposal="{proposal}-x", otherwise=("b", "c"))
    assert by_rule.texts(name) == ("b", "c")


@pytest.mark.parametrize("name", ["account", "qos", "reservation"])
def test_what_the_user_has_may_be_offered(name: str) -> None:
    assert getattr(validate_options({name: {"mine": True}}), name) == Mine(mine=True)
    nested = validate_options({name: {"proposal": "{proposal}", "otherwise": {"mine": True}}})
    assert getattr(nested, name).otherwise == Mine(mine=True)
    assert nested.fixed(name) == ""


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        ({"partition": {"mine": True}}, "partition", "is for account, qos and reservation"),
        ({"constraint": {"mine": True}}, "constraint", "is for account, qos and reservation"),
        ({"account": {"mine": False}}, "account", "not understood"),
        ({"account": {"mine": True, "x": 1}}, "account", "x: not understood"),
        ({"account": {"otherwise": "x"}}, "account", "mine, otherwise: not understood"),
        ({"account": []}, "account", "at least one text"),
        ({"account": ["a", "a"]}, "account", "none of them twice"),
        ({"account": ["a", 3]}, "account", "nothing but texts"),
        ({"account": 3}, "account", "is a text, a list"),
        ({"account": "a b"}, "account", "characters that Slurm names do not have"),
        ({"account": "a\n"}, "account", "characters that Slurm names do not have"),
        ({"account": ["a", "--qos=vip"]}, "account", "characters that Slurm names do not have"),
        ({"qos": "a,b"}, "qos", "characters that Slurm names do not have"),
        ({"constraint": ["!x"]}, "constraint", "cannot be chosen"),
        ({"account": {"proposal": "beam"}}, "account", "must name {proposal}"),
        ({"account": {"proposal": "{user}"}}, "account", "must name {proposal}"),
        ({"account": {"proposal": "{proposal} -x"}}, "account", "characters that Slurm"),
        (
            {"account": {"proposal": "{proposal}", "otherwise": "a b"}},
            "account",
            "characters that Slurm",
        ),
        (
            {"qos": {"proposal": "{proposal}", "otherwise": {"proposal": "{proposal}"}}},
            "qos",
            "'otherwise' is a text",
        ),
        ({"nodes": 0}, "nodes", "greater than or equal to 1"),
        ({"nodes": "many"}, "nodes", "valid integer"),
        ({"gpus": 1}, "gpus", "not permitted"),
        ({"extra": ["--ntasks-per-node=2"]}, "extra", "is set by panosc_hub itself"),
    ],
)
def test_a_mistake_is_named_once_with_its_key(
    options: dict[str, Any], where: str, what: str
) -> None:
    with pytest.raises(SiteError) as error:
        validate_options(options)
    assert error.value.sentence.count(f"{where}: ") == 1
    assert what in error.value.sentence


def test_every_mistake_is_named() -> None:
    with pytest.raises(SiteError) as error:
        validate_options({"account": "a b", "qos": [], "nodes": 0})
    assert [error.value.sentence.count(f"{n}:") for n in ("account", "qos", "nodes")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("proposal", "instrument", "name"),
    [
        ("HG-123", "ID02", "HG-123-beamtime"),
        ("HG-123", None, "HG-123-beamtime"),
        (None, "ID02", ""),
        ("x y", "ID02", ""),
        ("a,b", "ID02", ""),
        ("-x", "ID02", ""),
        ("{instrument}", "ID02", ""),
    ],
)
def test_a_rule_is_filled_with_plain_names_or_not_at_all(
    proposal: str | None, instrument: str | None, name: str
) -> None:
    rule = ByProposal(proposal="{proposal}-beamtime")
    assert rule.fill({"proposal": proposal, "instrument": instrument}) == name
    both = ByProposal(proposal="{instrument}_{proposal}")
    assert both.fill({"proposal": "p1", "instrument": "id02"}) == "id02_p1"
    assert both.fill({"proposal": "p1", "instrument": None}) == ""


def test_the_shipped_beam_time_profile_is_accepted_without_its_comment_signs(
    tmp_path: Path,
) -> None:
    text = (ROOT / "config" / "site.yaml").read_text()
    start = text.index("  # - id: beamtime\n")
    site = tmp_path / "site.yaml"
    site.write_text(text[:start] + re.sub(r"(?m)^  # ", "  ", text[start:]))
    profile = next(p for p in load_site(site).profiles if p.id == "beamtime")
    options = validate_options(profile.options)
    assert options.account == ByProposal(proposal="{proposal}", otherwise=Mine(mine=True))
    assert profile.open_ranges == ("cpus", "memory", "walltime")
