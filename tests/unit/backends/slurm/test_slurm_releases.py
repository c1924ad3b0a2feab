"""What each Slurm release answers, recorded or written (fixtures/README.md), and what we ask."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest

from panosc_hub.backends.slurm import words
from panosc_hub.backends.slurm.accounts import parse_associations, parse_qos, parse_users
from panosc_hub.backends.slurm.client import Answer
from panosc_hub.backends.slurm.estimate import read_test
from panosc_hub.backends.slurm.evidence import parse_endings
from panosc_hub.backends.slurm.facts import OLDEST, FactFinder, read_facts
from panosc_hub.backends.slurm.ledger import Ending
from panosc_hub.backends.slurm.parse import (
    STATES,
    parse_exit,
    parse_job_id,
    parse_named,
    parse_queue,
)
from panosc_hub.backends.slurm.parse_nodes import (
    parse_nodes,
    parse_partitions,
    parse_reservations,
)
from panosc_hub.backends.slurm.pending import parse_pending, parse_time
from panosc_hub.core.jobstate import JobState

FIXTURES = Path(__file__).parent / "fixtures"
RELEASES = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())
SOURCES = Path(words.__file__).parent
TEMPLATES = SOURCES.parents[2] / "templates" / "slurm"


def answer(release: str, name: str) -> str:
    return (FIXTURES / release / name).read_text()


def answers(release: str, pattern: str) -> list[str]:
    return [path.read_text() for path in sorted((FIXTURES / release).glob(pattern))]


def test_every_release_from_debians_to_the_current_one_has_its_answers() -> None:
    assert RELEASES == ["22.05", "23.02", "23.11", "24.05", "24.11", "25.05", "25.11"]
    table = (FIXTURES / "README.md").read_text()
    for release in RELEASES:
        assert re.search(rf"^\| {re.escape(release)} \| \*\*(recorded|written)\*\*", table, re.M)


@pytest.mark.parametrize("release", RELEASES)
def test_the_release_is_recognised(release: str) -> None:
    facts = read_facts(answer(release, "config.txt"))
    assert facts.release is not None
    assert f"{facts.release[0]}.{facts.release[1]:02}" == release
    assert facts.release >= OLDEST
    assert facts.accounting
    assert not facts.hides_jobs
    assert facts.slurm_user in ("root", "slurm")


@pytest.mark.parametrize("release", RELEASES)
def test_the_release_is_told_once_and_without_a_warning(
    release: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    finder = FactFinder(None)  # type: ignore[arg-type]
    finder.log = logging.getLogger("test")
    finder.client = type("Client", (), {"run_as": []})()
    for _ in range(2):
        finder._tell(read_facts(answer(release, "config.txt")))
    assert [record.levelno for record in caplog.records] == [logging.INFO]


@pytest.mark.parametrize("release", RELEASES)
def test_every_state_in_the_queue_is_known_and_ends_only_what_ended(release: str) -> None:
    rows = parse_queue(answer(release, "squeue.txt"))
    assert {row.state for row in rows.values()} <= STATES.keys()
    gone = {row.state for row in rows.values() if row.belief is JobState.GONE}
    assert gone == {"CANCELLED", "COMPLETED", "FAILED", "TIMEOUT"}
    assert rows["12"].belief is JobState.PENDING
    assert words.sighting(rows["12"]).words.startswith("Waiting in the queue: it is next")
    assert parse_time(rows["12"].start)
    assert rows["2"].host == "gpu1"
    assert all(words.sighting(row).words for row in rows.values())


@pytest.mark.parametrize("release", RELEASES)
def test_jobs_that_are_not_there_are_left_out_of_a_whole_answer(release: str) -> None:
    assert parse_queue(answer(release, "squeue-gone.txt")) == {}


@pytest.mark.parametrize("release", RELEASES)
def test_names_and_places_in_the_queue_are_read(release: str) -> None:
    named = parse_named(answer(release, "squeue-named.txt"))
    assert {name: row.job_id for name, row in named.items()} == {"runs": "1", "waits": "12"}
    pending = parse_pending(answer(release, "squeue-start.txt"))
    assert pending["12"].competes
    assert not pending["13"].competes  # held


NEWER = {
    "22.05": ({"a100": 4}, {"a100": 2}, {}, True),
    "23.02": ({"a100": 4}, {"a100": 2}, {}, True),
    "23.11": ({"a100": 4, "1g.10gb": 28}, {"a100": 0, "1g.10gb": 3}, {}, True),
    "24.05": ({"h100": 4}, {"h100": 1}, {"h100": 16}, True),
    "24.11": ({"h100": 4}, {"h100": 0}, {}, False),
    "25.05": ({"h100": 4}, {"h100": 0}, {}, False),
    "25.11": ({"h100": 4}, {"h100": 0}, {}, True),
}
"""GPUs, GPUs in use, shards of ``gpu1``, and whether it takes jobs."""


@pytest.mark.parametrize("release", RELEASES)
def test_nodes_with_their_gpus_are_read(release: str) -> None:
    nodes = {(row.partition, row.name): row for row in parse_nodes(answer(release, "sinfo.txt"))}
    found = nodes["gpu", "gpu1"]
    assert (found.gpus, found.gpus_used, found.shards, found.usable) == NEWER[release]
    assert nodes["mig", "mig1"].gpus == {"1g.10gb": 4}
    assert nodes["gpu", "gpu2"].gpus == {"": 2}
    assert not nodes["gpu", "gpu2"].up  # drained
    assert nodes["cpu", "cpu1"].default


@pytest.mark.parametrize("release", RELEASES)
def test_partitions_and_reservations_are_read(release: str) -> None:
    partitions = parse_partitions(answer(release, "partitions.txt"))
    assert partitions["cpu"].default
    assert partitions["small"].max_time == 600
    assert "beamline" in partitions["beam"].accounts
    assert parse_reservations(answer(release, "reservations.txt"))["HG-123-beamtime"].active


@pytest.mark.parametrize("release", RELEASES)
def test_accounts_and_qos_are_read(release: str) -> None:
    rows = parse_associations(answer(release, "associations.txt"))
    assert {row.account for row in rows if row.user == "paula"} == {"users", "hg-123", "nx-7"}
    assert parse_users(answer(release, "users.txt"))["paula"] == "users"
    assert parse_qos(answer(release, "qos.txt"))["long"] == 2 * 86400


@pytest.mark.parametrize("release", RELEASES)
def test_endings_are_read(release: str) -> None:
    names = {
        "1": "runs",
        "5": "fails",
        "6": "is-killed",
        "7": "completes",
        "8": "is-cancelled",
        "9": "times-out",
        "12": "waits",
    }
    assert parse_endings(answer(release, "sacct.txt"), names) == {
        "5": Ending("FAILED", (3, 0)),
        "6": Ending("FAILED", (0, 9)),
        "7": Ending("COMPLETED", (0, 0)),
        "8": Ending("CANCELLED", (0, 0), True),
        "9": Ending("TIMEOUT", (0, 0)),
    }


@pytest.mark.parametrize("release", RELEASES)
def test_submission_and_estimate_are_read(release: str) -> None:
    assert parse_job_id(answer(release, "sbatch.txt")) == ("1", "")
    told = read_test(Answer(0, "", answer(release, "test-only.txt")), 0)
    assert told is not None
    assert told.usable
    assert told.starts


def test_an_estimate_with_a_stray_word_is_read() -> None:
    """As some sites' Slurm prints it."""
    text = (
        "sbatch: Job 14 to start at 2026-08-22T03:23:00 a using 4 processors on nodes gpu-16-02 "
        "in partition free-gpu\n"
    )
    told = read_test(Answer(0, "", text), 0)
    assert told is not None
    assert told.starts


REFUSALS = [text for release in RELEASES for text in answers(release, "*refused-*.txt")]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_a_sentence_and_no_outage(text: str) -> None:
    said = Answer(1, "", text)
    assert said.complaint
    assert not said.complaint.startswith(("sbatch", "Batch job"))
    assert not said.unanswered
    told = read_test(said, 0)
    assert told is not None
    assert not told.usable
    assert told.words.startswith("Slurm would refuse this: ")
    assert "allocation failure" not in told.words


def test_the_exit_status_of_a_job_is_read() -> None:
    assert parse_exit(answer("22.05", "job-fails.txt")) == (3, 0)


# What we ask and submit.

REJECTED = {
    "--get-user-env=": "25.05 takes no argument (jupyterhub/batchspawner#319)",
    "--get-user-env": "runs the user's login files on the node, which may hang",
    "--json": "needs a plug-in that 22.05 of Debian does not have, and its shape changes",
    "--yaml": "as --json",
    "--share": "is --oversubscribe since 15.08",
    "--workdir": "is --chdir since 17.11",
    "--mem-bind": "is no option of sbatch",
    "--cpu_bind": "is --cpu-bind since 17.11",
    "--mem_bind": "is --mem-bind since 17.11",
    "--jobid": "removed from sbatch",
    "--propagate": "changed its default; limits are the cluster's business",
    "--uid=": "for root alone; 25.05 refuses some",
    "--gid=": "for root alone; 25.05 refuses some",
}
"""Options that a release from 22.05 on rejects, or that mean another thing in another release."""


def texts_of(module: Path) -> list[str]:
    """All strings of the code that are not documentation."""
    tree = ast.parse(module.read_text())
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    helps = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "help"
        for part in ast.walk(node.value)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in said | helps
    ]


@pytest.mark.parametrize("module", sorted(SOURCES.glob("*.py")), ids=lambda path: path.name)
def test_nothing_that_newer_slurm_rejects_is_asked_or_submitted(module: Path) -> None:
    for text in texts_of(module):
        for option in REJECTED:
            bare = option.removeprefix("--").removesuffix("=")
            assert option not in text
            assert text != bare, f"a directive {bare!r}"


@pytest.mark.parametrize("file", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_nothing_that_newer_slurm_rejects_is_in_the_batch_script(file: Path) -> None:
    text = "\n".join(
        line
        for line in file.read_text().splitlines()
        if line.startswith("#SBATCH") or "srun" in line
    )
    assert not [option for option in REJECTED if option in text]


def test_the_scan_finds_what_is_rejected(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text('"""Not --json."""\nargv = ["squeue", "--json"]\n')
    assert texts_of(bad) == ["squeue", "--json"]
