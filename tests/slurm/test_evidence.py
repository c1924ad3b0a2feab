"""How a session ended, from the records of a real slurmdbd."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panosc_hub.backends.slurm.shared import watchers
from tests.slurm.accounting import AccountingCluster
from tests.slurm.conftest import Bench
from tests.slurm.hubs import wait_for
from tests.slurm.test_queue_experience import why_it_ended
from tests.slurm.test_slurm_backend import started

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]

Program = Callable[[str, str], str]


def forgetful(bench: Bench, program: Program) -> Callable[[str], None]:
    """A squeue that lists no job any more that the returned function is told of, as slurmctld
    forgets ended jobs after MinJobAge."""
    forgotten = bench.folder / "forgotten"
    forgotten.touch()
    bench.config.SlurmClient.squeue = program(
        "squeue", f'/usr/bin/squeue "$@" | grep -v -E -f {forgotten}'
    )

    def forget(job: str) -> None:
        forgotten.write_text(f"^{job}[|]\n")

    return forget


def recorded(cluster: AccountingCluster, job: str) -> str:
    return cluster.command("sacct", "-nPX", f"--jobs={job}", "--format=state").strip()


async def test_slurmdbd_tells_how_a_job_ended_that_slurmctld_has_forgotten(
    accounting_bench: Bench, accounting: AccountingCluster, program: Program
) -> None:
    bench = accounting_bench
    forget = forgetful(bench, program)
    spawner, _ = await started(bench)
    jobs = watchers(bench.config).jobs
    assert jobs.facts.accounting
    state = spawner.get_state()
    jobs.forget(spawner.job_name)  # the Hub is down
    accounting.command("scontrol", "update", f"jobid={spawner.job_id}", "endtime=now+2")
    wait_for("in the records", lambda: recorded(accounting, spawner.job_id) == "TIMEOUT", 75)
    forget(spawner.job_id)
    restarted = bench.spawner()
    restarted.load_state(state)
    assert await why_it_ended(bench, restarted) == (
        "The session ended: it reached its time limit. Start again, with more time if you need it."
    )
    assert jobs.jobs[spawner.job_name].misses == 1  # and no second look was needed
