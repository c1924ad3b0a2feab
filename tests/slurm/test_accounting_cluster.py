"""The test bed itself: what the cluster with accounting knows and refuses."""

from __future__ import annotations

import pytest

from tests.slurm.accounting import AccountingCluster
from tests.slurm.cluster import CannotRun
from tests.slurm.hubs import wait_for


def test_the_cluster_knows_accounts_and_refuses_those_that_one_has_not(
    accounting: AccountingCluster,
) -> None:
    shown = accounting.command("sacctmgr", "-nP", "show", "assoc", "format=account,user,qos")
    assert "hg-123|paula|beamtime,normal" in shown.splitlines()
    assert "p2222|paula" not in shown
    job = accounting.command(
        "sbatch",
        "--parsable",
        "--output=/dev/null",
        "--account=hg-123",
        "--qos=beamtime",
        "--partition=beam",
        "--reservation=HG-123-beamtime",
        "--wrap=true",
    ).strip()
    told = ("sacct", "-nPX", f"--jobs={job}", "--format=account,qos,state")
    wait_for(
        "the job is in the accounts",
        lambda: accounting.command(*told).strip() == "hg-123|beamtime|COMPLETED",
    )
    with pytest.raises(CannotRun, match="Invalid account"):
        accounting.command("sbatch", "--account=nobodys", "--output=/dev/null", "--wrap=true")
    with pytest.raises(CannotRun, match="Invalid qos"):
        accounting.command("sbatch", "--qos=long", "--output=/dev/null", "--wrap=true")
    with pytest.raises(CannotRun, match="reservation"):
        accounting.command(
            "sbatch", "--reservation=HG-123-beamtime", "--output=/dev/null", "--wrap=true"
        )
