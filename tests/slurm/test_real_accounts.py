"""Accounts, QOS and reservations on a real Slurm: who has what, and what a job gets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.backends.slurm import SlurmBackend, job
from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.choices import Menu
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import SessionPlan
from panosc_hub.core.profiles import Profile
from panosc_hub.errors import PanoscError, Refusal
from tests.slurm.accounting import AccountingCluster
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Bench

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

MINE = {"mine": True}
ALL_MINE = {"account": MINE, "qos": MINE, "reservation": MINE}
BEAM_TIME = {
    "partition": "beam",
    "account": {"proposal": "{proposal}", "otherwise": ["beamline"]},
    "reservation": {"proposal": "{proposal}-beamtime"},
}


def profile(options: dict[str, Any], **fields: Any) -> Profile:
    return Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", "start_timeout": 60}
        | {"options": options}
        | fields
    )


async def offered(bench: Bench, name: str, options: dict[str, Any]) -> dict[str, list[str]]:
    """What ``name`` may choose, where jobs belong to their users, by menu."""
    bench.config.SlurmClient.run_as = ["sudo", "-n", "-u", "{username}", "--"]
    await SlurmBackend.look(bench.config)
    found = SlurmBackend.menus(profile(options), Person(name), bench.config)
    return {menu.name: [option.value for option in menu.options] for menu in found}


async def runs_as(
    bench: Bench,
    accounting: AccountingCluster,
    options: dict[str, Any],
    choices: dict[str, str] | None = None,
    proposal: str | None = None,
) -> str:
    """``account,QOS,reservation,partition`` of the job that starts."""
    spawner = bench.spawner()
    launch = bench.launch(
        options=options, plan=SessionPlan(facility="test", proposal=proposal, instrument="ID02")
    )
    chosen = tuple(sorted((choices or {}).items()))
    spawner.launch = replace(launch, selection=replace(launch.selection, choices=chosen))
    await spawner.start()
    format = "--format=%a,%q,%v,%P"
    return accounting.command("squeue", "--noheader", f"--jobs={spawner.job_id}", format).strip()


async def test_people_see_exactly_their_accounts_qos_and_reservations(
    accounting_bench: Bench,
) -> None:
    assert await offered(accounting_bench, "paula", ALL_MINE) == {
        "account": ["users", "hg-123", "nx-7"],
        "qos": ["normal", "beamtime"],
        "reservation": ["", "HG-123-beamtime"],
    }
    assert await offered(accounting_bench, "mira", ALL_MINE) == {
        "account": ["users", "p2222"],
        "qos": ["normal", "beamtime"],
    }
    assert await offered(accounting_bench, "ada", ALL_MINE) == {
        "account": ["users"],
        "qos": ["normal"],
    }
    assert await offered(accounting_bench, "nobody", ALL_MINE) == {}
    # The partition lets in the accounts of beamline and proposals alone.
    beam = await offered(accounting_bench, "paula", {"partition": "beam", "account": MINE})
    assert beam == {"account": ["hg-123", "nx-7"]}
    listed = await offered(accounting_bench, "mira", {"account": ["hg-123", "p2222", "users"]})
    assert listed == {"account": ["p2222", "users"]}


async def test_an_active_reservation_says_how_long_it_lasts(accounting_bench: Bench) -> None:
    await SlurmBackend.look(accounting_bench.config)
    (menu,) = SlurmBackend.menus(
        profile({"reservation": MINE}), Person("paula"), accounting_bench.config
    )
    notes = {option.value: option.note for option in menu.options}
    # Jobs are root's here: their own reservation, and those of their accounts.
    assert set(notes) == {"", "HG-123-beamtime", "training"}
    assert notes["training"].startswith("until ")


@pytest.mark.parametrize(
    ("options", "choices", "proposal", "expected"),
    [
        ({"account": MINE, "qos": MINE}, {}, None, "users,normal,(null),cpu"),
        (
            {"account": MINE, "qos": MINE, "partition": ["cpu", "small"]},
            {"account": "id02", "qos": "long", "partition": "small"},
            None,
            "id02,long,(null),small",
        ),
        ({"account": ["p2222", "users"]}, {}, None, "p2222,normal,(null),cpu"),
        ({"reservation": MINE}, {"reservation": "training"}, None, "users,normal,training,cpu"),
        # The reservation is for the account hg-123 alone.
        (
            {"account": MINE, "reservation": MINE, "partition": "beam"},
            {"reservation": "HG-123-beamtime"},
            None,
            "hg-123,normal,HG-123-beamtime,beam",
        ),
    ],
)
async def test_a_job_runs_under_what_was_chosen(
    accounting_bench: Bench,
    accounting: AccountingCluster,
    options: dict[str, Any],
    choices: dict[str, str],
    proposal: str | None,
    expected: str,
) -> None:
    assert await runs_as(accounting_bench, accounting, options, choices, proposal) == expected


async def test_a_proposals_beam_time_brings_its_account_and_reservation(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    ran = await runs_as(accounting_bench, accounting, BEAM_TIME, proposal="HG-123")
    assert ran == "hg-123,normal,HG-123-beamtime,beam"
    assert any("reservation HG-123-beamtime (until " in line for line in accounting_bench.told)


async def test_a_proposal_whose_beam_time_is_yet_to_come_uses_its_account_alone(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    # NX-7 has its account, and a reservation that begins in two days. On "cpu", for on "beam"
    # there is room for those with a reservation alone.
    options = {**BEAM_TIME, "partition": "cpu"}
    assert await runs_as(accounting_bench, accounting, options, proposal="NX-7") == (
        "nx-7,normal,(null),cpu"
    )


async def test_without_a_proposal_of_ones_own_otherwise_holds(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    options = {**BEAM_TIME, "partition": "cpu"}
    for proposal in (None, "XX-1"):
        ran = await runs_as(accounting_bench, accounting, options, proposal=proposal)
        assert ran == "beamline,normal,(null),cpu"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"account": "nobodys"}, "The account nobodys is not one of yours. You have users, "),
        ({"account": "users", "qos": "long"}, "QOS long is not open to your account users"),
        ({"account": "users", "partition": "beam"}, "Partition beam takes no jobs of the account"),
        ({"reservation": "gone"}, "SLURM has no reservation gone at the moment."),
        (
            {"account": "nx-7", "reservation": "NX-7-beamtime", "partition": "beam"},
            "The reservation NX-7-beamtime begins at ",
        ),
        (
            {"account": "users", "reservation": "HG-123-beamtime"},
            "HG-123-beamtime is for the account hg-123, not for users",
        ),
    ],
)
async def test_what_is_not_theirs_is_refused_before_slurm_is_asked(
    accounting_bench: Bench,
    accounting: AccountingCluster,
    options: dict[str, Any],
    sentence: str,
) -> None:
    with pytest.raises(Refusal) as refusal:
        await runs_as(accounting_bench, accounting, options)
    assert sentence in refusal.value.sentence
    assert not accounting.command("squeue", "--noheader").strip()


async def test_an_account_given_a_minute_ago_is_looked_up_before_a_refusal(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    shared = watchers(accounting_bench.config)
    await SlurmBackend.look(accounting_bench.config)
    accounting.manage(["add account fresh", "add user root account=fresh"])
    try:
        shared.accounts.looked -= 60  # type: ignore[operator]
        ran = await runs_as(accounting_bench, accounting, {"account": "fresh"})
        assert ran.startswith("fresh,")
    finally:
        accounting.cancel_all()
        accounting.manage(["delete user root account=fresh", "delete account fresh"])


async def test_a_reservation_that_ends_too_soon_says_how_much_is_left(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    accounting.command(
        "scontrol", "create", "reservation", "ReservationName=short", "StartTime=now",
        "Duration=30", "Users=root", "CoreCnt=1", "PartitionName=cpu",
    )  # fmt: skip
    try:
        spawner = accounting_bench.spawner()
        spawner.launch = accounting_bench.launch(options={"reservation": "short"}, walltime="1h")
        with pytest.raises(Refusal) as refusal:
            await spawner.start()
        assert "The reservation short ends at " in refusal.value.sentence
        assert "at most 29 min are left, and 1 h were asked for" in refusal.value.sentence
    finally:
        accounting.command("scontrol", "delete", "ReservationName=short")


async def test_a_time_above_that_of_the_qos_is_refused_for_it_would_wait_for_ever(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    spawner = accounting_bench.spawner()
    spawner.launch = accounting_bench.launch(
        options={"account": "users", "qos": "normal"}, walltime="9h"
    )
    with pytest.raises(Refusal, match="The QOS normal allows at most 8 h, and 9 h were asked for"):
        await spawner.start()
    job = accounting.command(
        "sbatch", "--parsable", "--account=users", "--time=9:00:00", "--mem=1G",
        "--output=/dev/null", "--wrap=true",
    ).strip()  # fmt: skip
    end = time.monotonic() + 20
    while (reason := accounting.command("squeue", "-h", "-o", "%r", "-j", job).strip()) == "None":
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    assert reason == "QOSMaxWallDurationPerJobLimit"


async def test_the_estimate_and_the_dry_run_use_the_same_options(accounting_bench: Bench) -> None:
    spawner = accounting_bench.spawner()
    launch = accounting_bench.launch(
        options=BEAM_TIME, plan=SessionPlan(facility="test", proposal="HG-123")
    )
    found = await spawner.estimate(launch)
    assert found is not None
    assert (found.usable, found.words) == (True, "starts now")
    text = spawner.describe(launch)
    for line in ("--account=hg-123", "--reservation=HG-123-beamtime", "--partition=beam"):
        assert f"#SBATCH {line}\n" in text


async def test_while_slurmdbd_is_away_a_job_still_starts(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    accounting.stop_dbd()
    try:
        (menu,) = SlurmBackend.menus(
            profile({"account": MINE}), Person("paula"), accounting_bench.config
        )
        assert isinstance(menu, Menu)
        assert menu.offers("hg-123")
        ran = await runs_as(accounting_bench, accounting, {"account": MINE}, {"account": "hg-123"})
        assert ran.startswith("hg-123,")
        with pytest.raises(PanoscError, match="nvalid account"):
            await runs_as(accounting_bench, accounting, {"account": "nobodys"})
    finally:
        accounting.start_dbd()


async def test_a_stop_while_slurm_is_asked_submits_nothing(
    bench: Bench, cluster: Cluster, program: Callable[[str, str], str]
) -> None:
    gate = bench.folder / "gate"
    waiting = f'touch {gate}.asked; while [ ! -e {gate} ]; do sleep 0.05; done; exec sinfo "$@"'
    bench.config.SlurmClient.sinfo = program("sinfo-gated", waiting)
    spawner = bench.spawner()
    spawner.launch = bench.launch()
    start = asyncio.ensure_future(spawner.start())
    while not Path(f"{gate}.asked").exists():
        await asyncio.sleep(0.02)
    await spawner.stop()
    gate.touch()
    with pytest.raises(PanoscError, match="cancelled"):
        await start
    assert not cluster.command("squeue", "--noheader").strip()


async def test_a_start_does_not_wait_for_ever_for_what_slurm_says_of_accounts(
    accounting_bench: Bench,
    accounting: AccountingCluster,
    program: Callable[[str, str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "_PATIENCE", 1.0)
    accounting_bench.config.SlurmClient.sacctmgr = program("sacctmgr", "exec sleep 300")
    accounting_bench.config.SlurmClient.query_timeout = 5
    ran = await runs_as(accounting_bench, accounting, {"account": MINE}, {"account": "hg-123"})
    assert ran.startswith("hg-123,")


async def test_without_accounting_a_list_is_offered_as_it_is_written(bench: Bench) -> None:
    await SlurmBackend.look(bench.config)
    options = {"account": ["a", "b"], "qos": MINE}
    found = SlurmBackend.menus(profile(options), Person("paula"), bench.config)
    assert [(menu.name, len(menu.options)) for menu in found] == [("account", 2)]
    spawner = bench.spawner()
    spawner.launch = bench.launch(options=options)
    await spawner.start()
