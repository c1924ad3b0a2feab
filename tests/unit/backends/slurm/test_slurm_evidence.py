"""How a job ended, from Slurm's records, and what they may and may not change."""

from __future__ import annotations

import pytest

from panosc_hub.backends.slurm import evidence
from panosc_hub.backends.slurm.evidence import parse_endings
from panosc_hub.backends.slurm.ledger import Ending, Watched
from panosc_hub.backends.slurm.parse import Garbled
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.core.jobstate import JobState
from panosc_hub.errors import BackendUnavailable
from tests.scripted_slurm import NOTHING, Scripted, listed, make

HEADER = "JobIDRaw|State|ExitCode|UID|JobName\n"


def record(state: str, code: str = "0:0", job: str = "7", name: str = "n") -> str:
    return HEADER + f"{job}|{state}|{code}|1000|{name}\n"


@pytest.mark.parametrize(
    ("state", "code", "ending"),
    [
        ("COMPLETED", "0:0", Ending("COMPLETED", (0, 0))),
        ("TIMEOUT", "0:0", Ending("TIMEOUT", (0, 0))),
        ("OUT_OF_MEMORY", "0:125", Ending("OUT_OF_MEMORY", (0, 125))),
        ("NODE_FAIL", "0:0", Ending("NODE_FAIL", (0, 0))),
        ("PREEMPTED", "0:0", Ending("PREEMPTED", (0, 0))),
        ("FAILED", "3:0", Ending("FAILED", (3, 0))),
        ("CANCELLED by 1000", "0:15", Ending("CANCELLED", (0, 15), True)),
        ("CANCELLED by 0", "0:15", Ending("CANCELLED", (0, 15), False)),
        ("CANCELLED", "0:0", Ending("CANCELLED", (0, 0))),
        ("CANCELLED by somebody", "", Ending("CANCELLED")),
        ("RUNNING", "0:0", None),
        ("PENDING", "0:0", None),
        ("SUSPENDED", "0:0", None),
        ("REQUEUED", "0:0", None),
        ("RESIZING", "0:0", None),
        ("HIBERNATED", "0:0", None),
        ("", "", None),
    ],
)
def test_only_ended_jobs_are_evidence(state: str, code: str, ending: Ending | None) -> None:
    found = parse_endings(record(state, code), {"7": "n"})
    assert found == ({"7": ending} if ending else {})


@pytest.mark.parametrize(
    "row",
    [
        "7|COMPLETED|0:0|1000|another\n",
        "7|COMPLETED|0:0|1000|n|\n",
        "7.batch|COMPLETED|0:0|1000|n\n",
        "8|COMPLETED|0:0|1000|n\n",
        "7|COMPLETED|0:0|1000\n",
        "\n",
    ],
)
def test_a_row_that_is_not_this_jobs_proves_nothing(row: str) -> None:
    assert parse_endings(HEADER + row, {"7": "n"}) == {}


@pytest.mark.parametrize("text", ["", "sacct: error: Problem talking to the database\n", "7|COM"])
def test_an_answer_that_is_not_saccts_is_none(text: str) -> None:
    with pytest.raises(Garbled):
        parse_endings(text, {"7": "n"})


def watched(*answers: str | Exception) -> tuple[SlurmWatcher, Scripted]:
    watcher, client = make(*answers)
    client.accounting = "slurmdbd"
    watcher.jobs["n"] = Watched("n", "7", "paula")
    return watcher, client


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        ("TIMEOUT", "0:0", "it reached its time limit. Start again, with more time"),
        ("OUT_OF_MEMORY", "0:125", "used more memory than it asked for. Start again with more"),
        ("NODE_FAIL", "0:0", "the node failed"),
        ("FAILED", "3:0", "the job failed (exit status 3)"),
        ("FAILED", "0:9", "the job failed (signal 9), perhaps because it used more memory"),
    ],
)
async def test_records_end_a_job_that_left_the_queue_at_the_first_look_and_say_why(
    state: str, code: str, said: str
) -> None:
    watcher, client = watched(listed("RUNNING"), NOTHING)
    client.records = [record(state, code)]
    await watcher.look()
    assert not client.recorded
    await watcher.look()
    assert watcher.see("n").state is JobState.GONE
    assert watcher.see("n").reason == state
    assert said in watcher.see("n").words


@pytest.mark.parametrize(
    ("by", "said"),
    [("1000", "with your account"), ("0", "by an administrator")],
)
async def test_who_cancelled_it_is_told(by: str, said: str) -> None:
    watcher, client = watched(listed("CANCELLED"))
    client.run_as = ["sudo"]
    client.records = [record(f"CANCELLED by {by}", "0:15")]
    await watcher.look()
    assert watcher.see("n").words == (
        f"The session ended: the job was cancelled on the cluster, {said}."
    )


async def test_who_cancelled_it_is_not_told_where_all_jobs_have_one_account() -> None:
    watcher, client = watched(listed("CANCELLED"))
    client.records = [record("CANCELLED by 1000", "0:15")]
    await watcher.look()
    assert "by you or an administrator" in watcher.see("n").words


@pytest.mark.parametrize(
    "answer", [record("RUNNING"), BackendUnavailable("slurmdbd is away"), "", HEADER]
)
async def test_without_evidence_two_full_looks_are_needed(answer: str | Exception) -> None:
    watcher, client = watched(listed("RUNNING"), NOTHING)
    client.records = [answer]
    beliefs = []
    for _ in range(3):
        await watcher.look()
        beliefs.append(watcher.see("n").state)
    assert beliefs == [JobState.RUNNING, JobState.UNKNOWN, JobState.GONE]
    assert watcher.see("n").words == "SLURM does not know the job any more."


async def test_one_question_for_all_jobs_that_left_the_queue() -> None:
    watcher, client = watched(NOTHING)
    client.records = [HEADER]
    for number in range(20):
        watcher.jobs[f"m{number}"] = Watched(f"m{number}", str(100 + number), "ingo")
    await watcher.look()
    (arguments,) = client.recorded
    (ids,) = [a for a in arguments if a.startswith("--jobs=")]
    assert len(ids.split(",")) == 21


async def test_records_that_do_not_answer_are_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher, client = watched(NOTHING)
    client.records = [BackendUnavailable("away")]
    for number in range(5):
        watcher.jobs[f"m{number}"] = Watched(f"m{number}", str(100 + number))
        await watcher.look()
    assert len(client.recorded) == 1
    monkeypatch.setattr(evidence, "PAUSE", 0.0)
    watcher.evidence._not_before = -1e9
    watcher.jobs["late"] = Watched("late", "900")
    await watcher.look()
    assert len(client.recorded) == 2


async def test_where_jobs_are_hidden_records_are_asked_for_as_their_owners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher, client = watched(NOTHING)
    monkeypatch.setattr(type(watcher.facts), "ours_hidden", True)
    asked = []
    answer = client.query

    async def query(command: str, *arguments: str, username: str = "") -> str:
        if command == "sacct":
            asked.append(username)
        return await answer(command, *arguments, username=username)

    client.query = query  # type: ignore[method-assign]
    client.records = [record("TIMEOUT")]
    watcher.jobs["m"] = Watched("m", "8", "ingo")
    await watcher.look()
    assert sorted(asked) == ["ingo", "paula"]
    assert watcher.see("n").reason == "TIMEOUT"
    assert watcher.see("m").state is JobState.UNKNOWN


async def test_without_slurmdbd_scontrol_tells_the_exit_status() -> None:
    watcher, client = watched(listed("FAILED"))
    client.accounting = "none"
    client.shown = "JobId=7 JobName=n UserId=paula(1000) JobState=FAILED Reason=x ExitCode=3:0 \n"
    await watcher.look()
    assert "exit status 3" in watcher.see("n").words
