"""What kind of Slurm it is, and what follows where it hides the users' jobs from the Hub."""

from __future__ import annotations

import logging

import pytest

from panosc_hub.backends.slurm import facts, reader
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.facts import FactFinder, read_facts, read_level
from panosc_hub.backends.slurm.ledger import Watched
from panosc_hub.backends.slurm.parse import Garbled
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.core.jobstate import JobState
from panosc_hub.errors import BackendUnavailable
from tests.scripted_slurm import HEADER, NOTHING, Scripted, listed, make

RUNNING, GONE, UNKNOWN = JobState.RUNNING, JobState.GONE, JobState.UNKNOWN


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(reader.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(facts, "own_account", lambda: "hub")


@pytest.mark.parametrize(
    ("private", "hides"),
    [
        ("none", False),
        ("", False),
        ("accounts,users,usage", False),
        ("jobs", True),
        ("accounts,jobs,nodes", True),
        ("cloud,events,Jobs", True),
        ("all", True),
    ],
)
def test_private_data_is_read_from_the_configuration(private: str, hides: bool) -> None:
    text = f"PrivateData             = {private}\nSLURM_VERSION           = 24.05.4\n"
    assert read_facts(text).hides_jobs is hides


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("22.05.8", (22, 5)),
        ("25.05.0-0rc1", (25, 5)),
        ("25.11.2", (25, 11)),
        ("20.11.9", (20, 11)),
        ("master", None),
    ],
)
def test_the_release_is_read(version: str, release: tuple[int, int] | None) -> None:
    assert read_facts(f"SLURM_VERSION = {version}\n").release == release


def test_half_a_configuration_is_no_fact() -> None:
    with pytest.raises(Garbled):
        read_facts("slurm_load_ctl_conf error: Unable to contact slurm controller\n")


def test_the_level_is_that_of_the_hubs_account_alone() -> None:
    text = "root|Administrator\nhub2|Operator\nhub|None\n"
    assert read_level(text, "hub") == "None"
    assert read_level(text, "root") == "Administrator"
    assert read_level("", "hub") == ""


@pytest.mark.parametrize(
    ("private", "accounting", "level", "slurm_user", "hidden"),
    [
        ("none", "slurmdbd", "None", "slurm", False),
        ("jobs", "slurmdbd", "None", "slurm", True),
        ("jobs", "slurmdbd", "Operator", "slurm", False),
        ("jobs", "slurmdbd", "Administrator", "slurm", False),
        ("jobs", "none", "Operator", "slurm", True),
        ("jobs", "none", "None", "hub", False),
    ],
)
async def test_who_sees_all_jobs(
    private: str, accounting: str, level: str, slurm_user: str, hidden: bool
) -> None:
    client = Scripted(NOTHING)
    client.private, client.accounting, client.level = private, accounting, level
    client.slurm_user = slurm_user
    finder = FactFinder(client)
    await finder.renew()
    assert finder.others_hidden is hidden
    assert finder.ours_hidden is False  # sessions belong to the Hub's own account
    client.run_as = ["sudo"]
    assert finder.ours_hidden is hidden


async def test_root_sees_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts.os, "geteuid", lambda: 0)
    client = Scripted(NOTHING)
    client.private = "jobs"
    finder = FactFinder(client)
    await finder.renew()
    assert not finder.others_hidden


@pytest.mark.parametrize(("version", "warned"), [("20.11.9", True), ("next", True), ("25.05.2", 0)])
async def test_an_odd_release_is_one_line_in_the_log_and_no_obstacle(
    version: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watcher, client = make(listed("RUNNING"))
    watcher.facts.log = logging.getLogger("test")
    client.version = version
    watcher.jobs["n"] = Watched("n", "7")
    for _ in range(3):
        await watcher.facts.renew(0)
        await watcher.look()
    assert watcher.see("n").state is RUNNING
    lines = [r for r in caplog.records if version in r.getMessage()]
    assert [r.levelno >= logging.WARNING for r in lines] == [bool(warned)]


async def test_facts_are_asked_for_seldom() -> None:
    watcher, client = make(listed("RUNNING"))
    watcher.jobs["n"] = Watched("n", "7")
    for _ in range(20):
        await watcher.look()
    assert client.facts_asked == 1


# Where the users' jobs are hidden.


def hidden(*answers: str | Exception, people: int = 20) -> tuple[SlurmWatcher, Scripted]:
    watcher, client = make(*answers, people_per_look=people)
    client.private, client.run_as = "jobs,usage", ["sudo"]
    return watcher, client


async def test_hidden_jobs_are_asked_for_as_their_owners_and_the_admin_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher, client = hidden(listed("RUNNING"), NOTHING, NOTHING)
    watcher.facts.log = logging.getLogger("test")
    watcher.jobs["n"] = Watched("n", "7", "paula")
    beliefs = []
    for _ in range(3):
        await watcher.look()
        beliefs.append(watcher.see("n").state)
    assert beliefs == [RUNNING, UNKNOWN, GONE]
    assert client.asked_as == ["paula"] * 3
    assert all("--jobs=7,7" in arguments for arguments in client.asked)
    assert caplog.text.count("sacctmgr modify user hub set AdminLevel=Operator") == 1


async def test_an_account_that_became_an_operator_asks_for_all_at_once_again() -> None:
    watcher, client = hidden(listed("RUNNING"))
    client.accounting = "slurmdbd"
    watcher.jobs["n"] = Watched("n", "7", "paula")
    await watcher.look()
    client.level = "Operator"
    await watcher.look()
    await watcher.facts.renew(0)  # as it does by itself after some minutes
    await watcher.look()
    assert client.asked_as == ["paula", "paula", ""]


async def test_absence_is_no_evidence_where_jobs_are_hidden() -> None:
    """Nobody could be asked: sudo does not allow squeue."""
    watcher, client = hidden(BackendUnavailable("sudo: a password is required"))
    watcher.jobs["n"] = Watched("n", "7", "paula", sighting=words_of(RUNNING))
    for _ in range(5):
        await watcher.look()
    assert watcher.see("n").state is RUNNING
    assert "password" in watcher.trouble
    assert client.asked


async def test_a_hidden_job_of_nobody_knows_whom_is_kept() -> None:
    watcher, client = hidden(NOTHING)
    watcher.jobs["n"] = Watched("n", "7", sighting=words_of(RUNNING))
    for _ in range(3):
        await watcher.look()
    assert watcher.see("n").state is RUNNING
    assert client.asked == []


def words_of(state: JobState) -> object:
    watched = Watched("x")
    return type(watched.sighting)(state)


async def test_jobs_that_an_administrator_begins_to_hide_are_kept() -> None:
    watcher, client = make(listed("RUNNING"), NOTHING, NOTHING, listed("RUNNING"))
    client.run_as = ["sudo"]
    watcher.jobs["n"] = Watched("n", "7", "paula")
    await watcher.look()
    assert watcher.see("n").state is RUNNING
    client.private = "jobs"
    for _ in range(3):
        await watcher.look()
        assert watcher.see("n").state is not GONE
    assert watcher.see("n").state is RUNNING
    assert client.asked_as == ["", "", "paula", "paula"]


async def test_one_person_who_cannot_be_asked_for_does_not_hide_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watcher, client = hidden(NOTHING)
    watcher.log = logging.getLogger("test")
    for name in ("mira", "paula"):
        watcher.jobs[name] = Watched(name, "7" if name == "paula" else "8", name)
    answer = client.query

    async def query(command: str, *arguments: str, username: str = "") -> str:
        if username == "mira":
            raise BackendUnavailable("sudo: mira is not in the sudoers file")
        return await answer(command, *arguments, username=username)

    client.query = query  # type: ignore[method-assign]
    client.answers = [listed("RUNNING", "7"), NOTHING]
    beliefs = []
    for _ in range(3):
        await watcher.look()
        beliefs.append((watcher.see("paula").state, watcher.see("mira").state))
    assert beliefs == [(RUNNING, UNKNOWN), (UNKNOWN, UNKNOWN), (GONE, UNKNOWN)]
    assert caplog.text.count("mira is not in the sudoers") == 1


async def test_many_people_are_asked_for_in_turns_and_who_waits_comes_first() -> None:
    watcher, client = hidden(HEADER, people=4)
    for number in range(40):
        watcher.jobs[f"n{number}"] = Watched(
            f"n{number}", str(100 + number), f"u{number}", sighting=words_of(RUNNING)
        )
    watcher.jobs["n7"].starting = True
    for _ in range(25):
        before = len(client.asked_as)
        client.answers = [
            HEADER + "".join(f"{100 + n}|RUNNING|cn1|u{n}|N/A|1:00|None|.\n" for n in range(40))
        ]
        await watcher.look()
        mine = client.asked_as[before:]
        assert len(mine) == 4
        assert "u7" in mine
    assert set(client.asked_as) == {f"u{number}" for number in range(40)}


def test_a_command_as_somebody_else_is_never_run_for_an_odd_name() -> None:
    client = SlurmClient(run_as=["sudo", "-u", "{username}", "--"])
    with pytest.raises(Exception, match="cannot be the name of an account"):
        client._prefix("--user=root")
