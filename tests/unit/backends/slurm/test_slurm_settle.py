"""Menus of one person, and the final options of one job, from what Slurm told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from panosc_hub.backends.slurm.accounts import (
    Accounts,
    parse_associations,
    parse_qos,
    parse_users,
)
from panosc_hub.backends.slurm.look import Look
from panosc_hub.backends.slurm.menus import menus
from panosc_hub.backends.slurm.options import SlurmOptions, validate_options
from panosc_hub.backends.slurm.parse import Garbled
from panosc_hub.backends.slurm.parse_nodes import (
    Reservation,
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from panosc_hub.backends.slurm.settle import Settled, settle
from panosc_hub.backends.slurm.standing import Standing
from panosc_hub.core.choices import Menu
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import Launch, SessionPlan
from panosc_hub.core.profiles import Environment, Profile, resolve
from panosc_hub.core.selection import parse
from panosc_hub.errors import Refusal
from tests.slurm_answers import ASSOCIATIONS, NODES, PARTITIONS, QOS, RESERVATIONS, USERS

NOW = datetime(2026, 11, 21, 15, 0).timestamp()
ROWS = parse_associations(ASSOCIATIONS)
ACCOUNTS = Accounts(
    ROWS, parse_users(USERS), enforced=True, qos_enforced=True, longest=parse_qos(QOS)
)
FREE = Accounts(ROWS, parse_users(USERS))
"""Slurm has accounts, but accepts others too."""

NO_ACCOUNTING = Accounts()


def reservation(name: str, hours: float = 3, **fields: Any) -> Reservation:
    base = next(iter(parse_reservations(RESERVATIONS).values()))
    plain = {"users": frozenset(), "accounts": frozenset(), "flags": frozenset(), "active": True}
    made = replace(base, name=name, start=NOW - 3600, end=NOW + hours * 3600, **plain)
    return replace(made, **fields)


BEAM = reservation("HG123-beamtime", accounts=frozenset({"hg123"}))


def standing(
    user: str = "paula", accounts: Accounts | None = ACCOUNTS, *reservations: Reservation
) -> Standing:
    look = Look(parse_nodes(NODES), parse_partitions(PARTITIONS), {r.name: r for r in reservations})
    return Standing(user, accounts, look, NOW, 600)


def blank(user: str = "paula") -> Standing:
    """Slurm has told nothing yet."""
    return Standing(user, None, None, NOW, 600)


def lists(where: Standing, **options: Any) -> dict[str, list[str]]:
    """Values of each menu, the default first if it is among them."""
    found = {}
    for menu in menus(validate_options(options), where):
        values = [option.value for option in menu.options]
        assert menu.default == values[0]
        found[menu.name] = values
    return found


def settled(
    where: Standing,
    options: dict[str, Any],
    choices: dict[str, str] | None = None,
    proposal: str | None = None,
    instrument: str | None = None,
    **profile: Any,
) -> Settled:
    made = Profile.model_validate(
        {"id": "p", "title": "Beam", "backend": "slurm", "memory": "1G", **profile}
        | {"options": options}
    )
    selection = parse({"profile": "p", "choices": choices or {}})
    launch = Launch(
        plan=SessionPlan(facility="f", proposal=proposal, instrument=instrument),
        profile=made,
        resources=resolve(made, selection.wish)[0],
        environment=Environment(id="e", title="E"),
        selection=selection,
        person=Person(where.user),
    )
    return settle(validate_options(options), launch, where)


def texts(found: Settled, *names: str) -> tuple[str, ...]:
    return tuple(getattr(found.options, name) for name in names)


# -- what Slurm tells -----------------------------------------------------------------------


def test_accounts_and_defaults_of_real_answers() -> None:
    assert ACCOUNTS.accounts("paula") == ("beam", "hg123", "staff")
    assert ACCOUNTS.accounts("paula", ["cpu"]) == ("beam", "hg123")
    assert ACCOUNTS.accounts("paula", ["gpu"]) == ("beam", "hg123", "staff")
    assert ACCOUNTS.accounts("nobody") == ()
    assert ACCOUNTS.qos("piotr", ["staff"]) == ("long", "express", "normal")
    assert ACCOUNTS.qos("paula", ["beam", "hg123"]) == ("normal",)
    assert ACCOUNTS.within("hg123", {"root"})
    assert not ACCOUNTS.within("hg123", {"beam"})


@pytest.mark.parametrize(
    "text",
    ["", "sacctmgr: error: no", ASSOCIATIONS.rstrip("\n"), "a|b|c|d|e|f|\n", ASSOCIATIONS + "\x00"],
)
def test_half_an_answer_about_accounts_is_an_error(text: str) -> None:
    with pytest.raises(Garbled):
        parse_associations(text)


# -- menus ----------------------------------------------------------------------------------

MINE = {"mine": True}


def test_people_are_offered_exactly_their_accounts_and_qos() -> None:
    assert lists(standing("paula"), account=MINE)["account"] == ["beam", "hg123"]
    assert lists(standing("piotr"), account=MINE, qos=MINE) == {
        "account": ["staff"],
        "qos": ["long", "express", "normal"],
    }
    assert lists(standing("nobody"), account=MINE) == {}
    # The partition lets in beam and staff, with QOS normal and express.
    mixed = {"partition": "mixed", "account": MINE, "qos": MINE}
    assert lists(standing("paula"), **mixed)["account"] == ["beam"]
    assert lists(standing("piotr"), **mixed)["qos"] == ["express", "normal"]


def test_a_list_is_narrowed_to_what_the_user_has() -> None:
    assert lists(standing("paula"), account=["staff", "hg123", "foreign"]) == {"account": ["hg123"]}
    # She has "staff" for one partition.
    assert lists(standing("paula"), account=["staff", "x"], partition="gpu") == {
        "account": ["staff"]
    }
    # Slurm refuses nothing where it does not enforce accounts.
    assert lists(standing("paula", FREE), account=["foreign", "beam"]) == {
        "account": ["foreign", "beam"]
    }


def test_without_accounting_a_list_is_offered_as_written_and_mine_is_nothing() -> None:
    where = standing("paula", NO_ACCOUNTING)
    assert lists(where, account=["a", "b"], qos=MINE) == {"account": ["a", "b"]}
    assert texts(settled(where, {"account": MINE, "qos": MINE}), "account", "qos") == ("", "")


def test_before_slurm_told_anything_lists_are_offered_and_names_are_passed_on() -> None:
    found = {m.name: m for m in menus(validate_options({"account": MINE, "qos": ["a"]}), blank())}
    assert found["account"].offers("whatever")
    assert found["account"].offers("")
    assert not found["account"].offers("--qos=vip")
    assert [o.value for o in found["qos"].options] == ["a"]
    assert texts(settled(blank(), {"account": MINE}, {"account": "x"}), "account") == ("x",)
    assert texts(settled(blank(), {"account": MINE}), "account") == ("",)


def test_reservations_are_offered_to_those_whom_they_let_in() -> None:
    there = (
        BEAM,
        reservation("training", users=frozenset({"paula", "root"})),
        reservation("others", users=frozenset({"piotr"})),
        reservation("not-paula", users=frozenset({"-paula"})),
        reservation("not-hg", accounts=frozenset({"-hg123", "-beam", "-staff"})),
        reservation("both", users=frozenset({"paula"}), accounts=frozenset({"foreign"})),
        reservation("below", accounts=frozenset({"root"})),
        reservation("later", active=False, start=NOW + 7200),
        reservation("soon", active=False, start=NOW + 300),
        reservation("over", end=NOW - 1),
    )
    offered = lists(standing("paula", ACCOUNTS, *there), reservation=MINE)["reservation"]
    assert offered == ["", "HG123-beamtime", "below", "soon", "training"]
    theirs = lists(standing("piotr", ACCOUNTS, *there), reservation=MINE)["reservation"]
    assert theirs == ["", "below", "not-paula", "others", "soon"]


def test_a_reservation_says_until_when() -> None:
    where = standing(
        "paula",
        ACCOUNTS,
        reservation("a", users=frozenset({"paula"})),
        reservation("b", 20, users=frozenset({"paula"})),
        reservation("c", active=False, start=NOW + 300, users=frozenset({"paula"})),
    )
    (menu,) = menus(validate_options({"reservation": ["a", "b", "c"]}), where)
    assert [o.note for o in menu.options] == [
        "until 18:00",
        "until Sun 22 Nov, 11:00",
        "from 15:05 until 18:00",
    ]


def test_partitions_that_are_gone_are_not_offered() -> None:
    assert lists(standing(), partition=["cpu", "gone", "gpu"])["partition"] == ["cpu", "gpu"]
    assert lists(standing(), constraint=["nvlink", "h200", "avx2&ib"])["constraint"] == [
        "nvlink",
        "avx2&ib",
    ]
    assert lists(blank(), partition=["cpu", "gone"])["partition"] == ["cpu", "gone"]


def test_what_is_fixed_is_no_menu() -> None:
    rule = {"proposal": "{proposal}", "otherwise": "beam"}
    assert menus(validate_options({"account": rule, "partition": "cpu"}), standing()) == ()


def test_with_a_rule_the_untouched_menu_means_the_rule() -> None:
    rule = {"proposal": "{proposal}", "otherwise": MINE}
    (menu,) = menus(validate_options({"account": rule}), standing())
    assert isinstance(menu, Menu)
    assert [o.value for o in menu.options] == ["", "beam", "hg123"]
    assert menu.options[0].title == "that of the proposal, if there is one"


# -- the final options ----------------------------------------------------------------------


def test_what_is_chosen_is_used_and_what_is_not_is_the_default() -> None:
    options = {"account": MINE, "qos": MINE, "partition": ["cpu", "gpu"], "constraint": ["ib", "x"]}
    found = settled(standing(), options)
    assert texts(found, "account", "qos", "partition", "constraint") == (
        "beam",
        "normal",
        "cpu",
        "ib",
    )
    found = settled(standing(), options, {"account": "hg123", "partition": "gpu"})
    assert texts(found, "account", "partition") == ("hg123", "gpu")
    assert isinstance(found.options, SlurmOptions)


RULE = {
    "account": {"proposal": "{proposal}", "otherwise": "beam"},
    "reservation": {"proposal": "{proposal}-beamtime", "otherwise": ""},
}


def test_the_proposal_brings_its_account_and_reservation() -> None:
    found = settled(standing("paula", ACCOUNTS, BEAM), RULE, proposal="HG123")
    assert texts(found, "account", "reservation") == ("hg123", "HG123-beamtime")
    assert "reservation HG123-beamtime (until 18:00)" in " ".join(found.notices)


@pytest.mark.parametrize(
    ("user", "proposal", "there"),
    [
        ("paula", None, (BEAM,)),  # no proposal was chosen
        ("paula", "XX1", (BEAM,)),  # it has neither account nor reservation
        ("paula", "HG123; x", (BEAM,)),  # no plain name
        ("paula", "other", (reservation("other-beamtime", users=frozenset({"piotr"})),)),
        ("paula", "HG1", (reservation("HG1-beamtime", active=False, start=NOW + 9999),)),
    ],
)
def test_otherwise_holds_where_the_proposal_has_nothing_for_this_user(
    user: str, proposal: str | None, there: tuple[Reservation, ...]
) -> None:
    found = settled(standing(user, ACCOUNTS, *there), RULE, proposal=proposal)
    assert texts(found, "account", "reservation") == ("beam", "")


def test_a_proposal_with_an_account_but_no_reservation_uses_the_account() -> None:
    found = settled(standing(), RULE, proposal="HG123")
    assert texts(found, "account", "reservation") == ("hg123", "")


def test_otherwise_holds_while_slurm_does_not_answer_and_is_told() -> None:
    found = settled(blank(), RULE, proposal="HG123")
    assert texts(found, "account", "reservation") == ("beam", "")
    assert "SLURM does not tell at the moment whether there is an account HG123" in found.notices[1]


def test_the_instrument_may_name_it_too() -> None:
    rule = {"account": {"proposal": "{instrument}", "otherwise": "hg123"}}
    assert texts(settled(standing(), rule, instrument="BEAM"), "account") == ("beam",)
    assert texts(settled(standing(), rule), "account") == ("hg123",)
    by_rule = {"partition": {"proposal": "{instrument}", "otherwise": "cpu"}}
    assert texts(settled(standing(), by_rule, instrument="gpu"), "partition") == ("gpu",)
    assert texts(settled(standing(), by_rule, instrument="id99"), "partition") == ("cpu",)


def test_an_answer_of_the_user_comes_before_the_rule() -> None:
    options = {"account": {"proposal": "{proposal}", "otherwise": MINE}}
    assert texts(settled(standing(), options, proposal="HG123"), "account") == ("hg123",)
    chosen = settled(standing(), options, {"account": "beam"}, proposal="HG123")
    assert texts(chosen, "account") == ("beam",)


def test_a_reservation_brings_the_account_that_it_is_for() -> None:
    options = {"account": MINE, "reservation": MINE}
    where = standing("paula", ACCOUNTS, BEAM)
    found = settled(where, options, {"reservation": "HG123-beamtime"})
    assert texts(found, "account", "reservation") == ("hg123", "HG123-beamtime")
    bare = settled(where, {"reservation": "HG123-beamtime"})
    assert texts(bare, "account") == ("hg123",)
    with pytest.raises(Refusal, match="is for the account hg123, not for beam"):
        settled(where, options, {"reservation": "HG123-beamtime", "account": "beam"})
    # A fixed account does not get in, so the rule's reservation is not this user's.
    rule = {"account": "beam", "reservation": RULE["reservation"]}
    assert texts(settled(where, rule, proposal="HG123"), "reservation") == ("",)


@pytest.mark.parametrize(
    ("options", "choices", "words"),
    [
        ({"account": "foreign"}, {}, "account foreign is not one of yours. You have beam, hg123"),
        ({"account": MINE}, {"account": "foreign"}, "You have beam, hg123."),
        (
            {"account": "staff", "partition": "small"},
            {},
            "account staff is not one of yours on partition small. You have beam, hg123.",
        ),
        ({"account": ["foreign", "xx"]}, {}, "Beam is for the accounts foreign, xx, and none"),
        ({"qos": "long"}, {}, "QOS long is not open to your account beam; it has normal."),
        ({"qos": ["express", "long"]}, {}, "Beam is for the QOS express, long, and none"),
        (
            {"account": "hg123", "partition": "mixed"},
            {},
            "Partition mixed takes no jobs of the account hg123; it is for beam, staff.",
        ),
        ({"reservation": "gone"}, {}, "SLURM has no reservation gone at the moment. You have HG"),
        ({"reservation": "piotrs"}, {}, "reservation piotrs is not open to you. You have HG123-b"),
        ({"reservation": "later"}, {}, "The reservation later begins at 17:00"),
        ({"reservation": ["piotrs", "gone"]}, {}, "reservations piotrs, gone, and none of them"),
    ],
)
def test_what_slurm_would_refuse_is_a_sentence_that_names_what_there_is(
    options: dict[str, Any], choices: dict[str, str], words: str
) -> None:
    where = standing(
        "paula",
        ACCOUNTS,
        BEAM,
        reservation("piotrs", users=frozenset({"piotr"})),
        reservation("later", active=False, start=NOW + 7200),
    )
    with pytest.raises(Refusal) as refusal:
        settled(where, options, choices)
    assert words in refusal.value.sentence


def test_a_person_without_any_account_reads_so() -> None:
    with pytest.raises(Refusal, match="You have no account"):
        settled(standing("nobody"), {"account": "beam"})


def test_what_slurm_has_not_told_is_passed_on() -> None:
    options = {"account": "a", "qos": "q", "reservation": "r", "partition": "p"}
    for where in (blank(), standing("paula", Accounts(ROWS, enforced=True, complete=False))):
        person = replace(where, user="unlisted")
        if where.look is not None:
            person = replace(person, look=replace(where.look, reservations=None, partitions=None))
        found = settled(person, options)
        assert texts(found, *options) == ("a", "q", "r", "p")


def test_a_time_beyond_the_reservations_end_is_refused_with_what_is_left() -> None:
    where = standing("paula", ACCOUNTS, BEAM)
    options = {"reservation": "HG123-beamtime"}
    time = {"min": "1h", "max": "8h", "default": "4h"}
    with pytest.raises(Refusal) as refusal:
        settled(where, options, walltime=time)
    assert refusal.value.reason == "reservation_ends"
    assert "ends at 18:00: at most 3 h are left, and 4 h were asked for" in refusal.value.sentence
    assert settled(where, options, walltime="3h").options.reservation == "HG123-beamtime"
    flexible = replace(BEAM, flags=frozenset({"FLEX"}))
    settled(standing("paula", ACCOUNTS, flexible), options, walltime=time)


def test_a_time_above_that_of_the_qos_is_refused() -> None:
    piotr, time = standing("piotr"), {"min": "1h", "max": "99h", "default": "9h"}
    with pytest.raises(Refusal, match="QOS normal allows at most 8 h, and 9 h were asked for"):
        settled(piotr, {"qos": MINE}, {"qos": "normal"}, walltime=time)
    assert texts(settled(piotr, {"qos": MINE}, {"qos": "express"}, walltime=time), "qos") == (
        "express",
    )
    # "long" is the default of this account, also where the profile names no QOS.
    with pytest.raises(Refusal, match="QOS long allows at most 2 days"):
        settled(piotr, {"account": "staff"}, walltime="99h")


def test_what_the_chosen_partition_cannot_give_is_refused_before_slurm_waits_for_ever() -> None:
    options = {"partition": ["cpu", "small"]}
    time = {"min": "1m", "max": "8h", "default": "1h"}
    assert texts(settled(standing(), options, walltime=time), "partition") == ("cpu",)
    with pytest.raises(Refusal, match=r"With small: .*must be between 1m and 10m"):
        settled(standing(), options, {"partition": "small"}, walltime=time)
