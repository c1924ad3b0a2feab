"""Slurm's answers: what each means, and that no odd answer means "finished"."""

from __future__ import annotations

import pytest

from panosc_hub.backends.slurm import words
from panosc_hub.backends.slurm.parse import (
    STATES,
    Garbled,
    parse_config,
    parse_exit,
    parse_job_id,
    parse_queue,
)
from panosc_hub.core.jobstate import JobState

HEADER = "JOBID|STATE|EXEC_HOST|USER|START_TIME|TIME_LEFT|REASON|.\n"


def row(state: str, job: str = "12", host: str = "cn01", reason: str = "None") -> str:
    return f"{job}|{state}|{host}|paula|2026-11-21T03:01:12|7:59:58|{reason}|.\n"


def belief(text: str, job: str = "12") -> JobState:
    """What a look that answers ``text`` says about the job: UNKNOWN if nothing."""
    try:
        rows = parse_queue(text)
    except Garbled:
        return JobState.UNKNOWN
    return rows[job].belief if job in rows else JobState.UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("\n", id="blank line"),
        pytest.param("slurm_load_jobs error: Unable to contact slurm controller\n", id="refused"),
        pytest.param("slurm_load_jobs error: Zero Bytes were transmitted\n", id="zero bytes"),
        pytest.param("slurm_load_jobs error: Protocol authentication error\n", id="munge"),
        pytest.param("sudo: a password is required\n", id="sudo"),
        pytest.param("bash: squeue: command not found\n", id="missing binary"),
        pytest.param("warning: time is skewed\n" + HEADER + row("RUNNING"), id="warning first"),
        pytest.param(HEADER + row("RUNNING")[:20], id="cut in the row"),
        pytest.param(HEADER[:30], id="cut in the header"),
        pytest.param(row("COMPLETED"), id="no header"),
        pytest.param(HEADER + row("SUSPENDED"), id="suspended"),
        pytest.param(HEADER + row("REQUEUED"), id="requeued"),
        pytest.param(HEADER + row("REQUEUE_HOLD"), id="requeue hold"),
        pytest.param(HEADER + row("PREEMPTED"), id="preempted"),
        pytest.param(HEADER + row("COMPLETING"), id="completing"),
        pytest.param(HEADER + row("STOPPED"), id="stopped"),
        pytest.param(HEADER + row("SIGNALING"), id="signaling"),
        pytest.param(HEADER + row("RESIZING"), id="resizing"),
        pytest.param(HEADER + row("SPECIAL_EXIT"), id="special exit"),
        pytest.param(HEADER + row("NEW_IN_SLURM_99"), id="a state with digits"),
        pytest.param(HEADER + row("NEW_STATE"), id="a state that we do not know"),
        pytest.param(HEADER + row("COMPLETED", job="13"), id="another job"),
        pytest.param(HEADER, id="job not listed"),
        pytest.param(HEADER + "12|COMPLETED|cn01|paula|.\n", id="too few fields"),
        pytest.param("\x00\xff\x1b[31m\n", id="binary"),
    ],
)
def test_answers_that_do_not_mean_finished(text: str) -> None:
    assert belief(text) is not JobState.GONE


@pytest.mark.parametrize(
    "state",
    ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"],
)
def test_positive_evidence_means_finished(state: str) -> None:
    assert belief(HEADER + row(state)) is JobState.GONE


def test_every_state_of_the_manual_is_known() -> None:
    manual = (
        "BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE FAILED NODE_FAIL "
        "OUT_OF_MEMORY PENDING PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED "
        "RESIZING REVOKED SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED TIMEOUT"
    )
    flags = "EXPEDITING LAUNCH_FAILED POWER_UP_NODE RECONFIG_FAIL UPDATE_DB"
    assert set(manual.split()) | set(flags.split()) == STATES.keys()


@pytest.mark.parametrize(
    "flag",
    [
        "COMPLETING",
        "CONFIGURING",
        "EXPEDITING",
        "LAUNCH_FAILED",
        "POWER_UP_NODE",
        "RECONFIG_FAIL",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESIZING",
        "RESV_DEL_HOLD",
        "REVOKED",
        "SIGNALING",
        "SPECIAL_EXIT",
        "STAGE_OUT",
        "STOPPED",
        "UPDATE_DB",
    ],
)
def test_a_flag_of_a_job_is_never_its_end(flag: str) -> None:
    """Slurm's page "Job State Codes": flags come on top of a state, and most of them pass."""
    assert belief(HEADER + row(flag)) is not JobState.GONE


def test_reason_of_blanks_commas_and_brackets_is_kept() -> None:
    reason = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority"
    job = parse_queue(HEADER + row("PENDING", host="n/a", reason=reason))["12"]
    assert (job.host, job.reason) == ("", reason)
    assert "nodes it needs are down" in words.sighting(job).words


def test_an_unknown_reason_is_shown_as_slurm_wrote_it() -> None:
    assert "SomethingNew" in words.waiting("SomethingNew")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123\n", ("123", "")),
        ("123;maxwell\n", ("123", "maxwell")),
        ("sbatch: warning: your quota is 99% full\n4711\n", ("4711", "")),
        ("4711\nHave a nice day 7\n", ("4711", "")),
    ],
)
def test_job_id_is_found(text: str, expected: tuple[str, str]) -> None:
    assert parse_job_id(text) == expected


@pytest.mark.parametrize(
    "text", ["", "Submitted batch job 12", "-1", "0", "12 13", "12;a b", "१२", "9" * 13]
)
def test_no_job_id_is_an_error(text: str) -> None:
    with pytest.raises(Garbled):
        parse_job_id(text)


def test_config_and_exit_status() -> None:
    text = "Configuration data as of …\nPrivateData             = jobs\nSLURM_VERSION = 22.05.8\n"
    assert parse_config(text)["PrivateData"] == "jobs"
    with pytest.raises(Garbled):
        parse_config("PrivateData = jobs\n")
    assert parse_exit("JobState=FAILED ExitCode=3:0 RunTime=0") == (3, 0)
    assert parse_exit("slurm_load_jobs error") is None
