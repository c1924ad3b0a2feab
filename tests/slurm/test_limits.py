"""Limits and free room as a real Slurm has them, and GPUs of every kind in a job."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import httpx
import pytest

from panosc_hub.backends.base import Availability
from panosc_hub.backends.slurm import SlurmBackend
from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.profiles import Profile, Wish, resolve
from panosc_hub.errors import Refusal
from tests.slurm.accounting import AccountingCluster
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import Bench

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

OPEN = {
    "cpus": {"min": 1},
    "memory": {"min": "1G"},
    "walltime": {"min": "1m", "max": "99h", "default": "5m"},
}


def profile(partition: str, **fields: Any) -> Profile:
    options = {"partition": partition, **fields.pop("options", {})}
    return Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", "start_timeout": 60}
        | fields
        | {"options": options}
    )


async def offered(bench: Bench, made: Profile) -> Profile | str:
    await watchers(bench.config).nodes.refresh()
    return SlurmBackend.offered({"p": made}, bench.config)["p"]


async def room(bench: Bench, made: Profile) -> Availability:
    await watchers(bench.config).nodes.refresh()
    return SlurmBackend.availability({"p": made}, bench.config)["p"]


async def most(bench: Bench, made: Profile) -> tuple[int, int, int]:
    """CPUs, memory in GB and wall time in minutes that can be had."""
    found = await offered(bench, made)
    assert isinstance(found, Profile), found
    assert found.walltime is not None
    return found.cpus.max, found.memory.max // 10**9, found.walltime.max // 60


async def environment_of(url: str) -> dict[str, str]:
    """What the session's server sees, once it answers."""
    async with httpx.AsyncClient(trust_env=False) as client:
        end = time.monotonic() + 20
        while True:
            try:
                text = (await client.get(url)).text
                return dict(line.partition("=")[::2] for line in text.splitlines())
            except httpx.TransportError:
                assert time.monotonic() < end
                await asyncio.sleep(0.05)


async def test_limits_come_from_the_nodes_and_the_partition(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    assert await most(accounting_bench, profile("cpu", **OPEN)) == (8, 16, 3 * 24 * 60)
    assert await most(accounting_bench, profile("gpu", **OPEN)) == (16, 67, 8 * 60)
    assert await most(accounting_bench, profile("small", **OPEN)) == (8, 16, 10)
    # Both at once: the largest node of either, the longest time of either.
    assert await most(accounting_bench, profile("small,gpu", **OPEN)) == (16, 67, 8 * 60)
    ssd = profile("cpu,mig", options={"constraint": "ssd"}, **OPEN)
    assert await most(accounting_bench, ssd) == (16, 67, 3 * 24 * 60)
    assert await offered(accounting_bench, profile("gpu", options={"constraint": "ssd"})) == (
        "no node that is up has the features ssd"
    )


async def test_a_drained_node_lowers_the_limits_and_comes_back(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    both = profile("cpu,beam", **OPEN)
    assert (await most(accounting_bench, both))[:2] == (16, 67)
    accounting.command("scontrol", "update", "NodeName=beam[1-2]", "State=DRAIN", "Reason=test")
    try:
        assert (await most(accounting_bench, both))[:2] == (8, 16)
        assert await offered(accounting_bench, profile("beam")) == (
            "all its nodes are down or drained"
        )
    finally:
        accounting.command("scontrol", "update", "NodeName=beam[1-2]", "State=RESUME")
    end = time.monotonic() + 10  # slurmctld asks the nodes first
    while (await most(accounting_bench, both))[:2] != (16, 67):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


async def test_a_partition_that_is_removed_greys_its_profile_and_no_other(
    bench: Bench, cluster: Cluster
) -> None:
    profiles = {"cpu": profile("cpu"), "gone": profile("gone", **OPEN)}
    cluster.command("scontrol", "create", "PartitionName=gone", "Nodes=cpu1", "State=UP")
    try:
        assert (await most(bench, profiles["gone"]))[:2] == (8, 16)
    finally:
        cluster.command("scontrol", "delete", "PartitionName=gone")
    await watchers(bench.config).nodes.refresh()
    assert SlurmBackend.offered(profiles, bench.config) == {
        "cpu": profiles["cpu"],
        "gone": "SLURM has no partition gone",
    }
    looks = SlurmBackend.availability(profiles, bench.config)
    assert (looks["gone"].usable, looks["gone"].words) == (False, "SLURM has no partition gone")
    assert looks["cpu"].usable


async def test_a_closed_partition_greys_its_profile(bench: Bench, cluster: Cluster) -> None:
    cluster.command("scontrol", "update", "PartitionName=small", "State=DOWN")
    try:
        found = await room(bench, profile("small"))
        assert (found.usable, found.words) == (False, "partition small takes no jobs at the moment")
    finally:
        cluster.command("scontrol", "update", "PartitionName=small", "State=UP")
    assert (await room(bench, profile("small"))).usable


async def test_while_nothing_changes_the_same_object_is_offered(bench: Bench) -> None:
    made = profile("cpu", **OPEN)
    first = await offered(bench, made)
    assert await offered(bench, made) is first


async def test_gpus_are_told_by_type_with_mig_and_shards(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    gpus = {
        "type": ["a100", "1g.10gb", "l4", "h100"],
        "count": {"min": 1},
    }
    found = await offered(accounting_bench, profile("gpu,mig", gpus=gpus))
    assert isinstance(found, Profile)
    assert found.gpus is not None
    most = {kind: found.gpus.largest(kind) for kind in found.gpus.types}
    assert most == {"a100": 4, "1g.10gb": 4, "l4": 2}
    untyped = await offered(accounting_bench, profile("gpu", gpus={"count": {"min": 1}}))
    assert isinstance(untyped, Profile)
    assert untyped.gpus is not None
    assert untyped.gpus.count.max == 4
    shards = {"kind": "shard", "type": "l4", "count": {"min": 1}}
    shared = await offered(accounting_bench, profile("mig", gpus=shards))
    assert isinstance(shared, Profile)
    assert shared.gpus is not None
    # Eight on two GPUs: Slurm gives a job no shares of two GPUs.
    assert shared.gpus.count.max == 4


@pytest.mark.parametrize(
    ("partition", "gpus", "tres", "visible"),
    [
        ("gpu", {"type": "a100", "count": 2}, "gres:gpu:a100:2", 2),
        ("gpu", {"count": 1}, "gres:gpu:1", 1),
        ("mig", {"type": "1g.10gb", "count": 3}, "gres:gpu:1g.10gb:3", 3),
        ("mig", {"type": "l4", "count": 2}, "gres:gpu:l4:2", 2),
        ("mig", {"type": "l4", "kind": "shard", "count": 3}, "gres:shard:l4:3", 1),
        ("mig", {"kind": "shard", "count": 4}, "gres:shard:4", 1),
    ],
)
async def test_a_job_really_gets_its_gpus(
    accounting_bench: Bench,
    accounting: AccountingCluster,
    partition: str,
    gpus: dict[str, Any],
    tres: str,
    visible: int,
) -> None:
    spawner = accounting_bench.spawner()
    spawner.launch = accounting_bench.launch(options={"partition": partition}, gpus=gpus)
    seen = await environment_of(await spawner.start())
    assert len(seen["CUDA_VISIBLE_DEVICES"].split(",")) == visible
    job = accounting.command("scontrol", "-o", "show", "job", spawner.job_id)
    assert f"TresPerNode={tres} " in job


async def test_more_shares_than_one_gpu_has_are_not_offered_for_they_would_wait_for_ever(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    made = profile("mig", gpus={"kind": "shard", "count": 5})
    assert await offered(accounting_bench, made) == "no node that is up has 5 GPU shards"
    # Slurm takes such a job, and never starts it although nothing else runs.
    job = accounting.command(
        "sbatch", "--parsable", "--output=/dev/null", "--partition=mig", "--gres=shard:5",
        "--mem=1G", "--wrap=true",
    ).strip()  # fmt: skip
    end = time.monotonic() + 20
    while (reason := accounting.command("squeue", "-h", "-o", "%r", "-j", job).strip()) == "None":
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    assert reason == "Resources"


async def test_what_is_said_to_be_free_starts_and_the_next_one_waits(
    bench: Bench, cluster: Cluster
) -> None:
    gpu = profile("gpu", gpus={"type": "a100", "count": 2}, cpus=1)
    found = await room(bench, gpu)
    assert (found.free, found.idle) == (2, {"cpus": 32, "gpu:a100": 4, "gpu": 2})
    options = ("--partition=gpu", "--gres=gpu:a100:2", "--mem=1G", "--wrap=sleep 60")
    for _ in range(found.free):
        cluster.command("sbatch", "--output=/dev/null", *options)
    states = ["?"]
    end = time.monotonic() + 20
    while set(states) != {"RUNNING"}:
        assert time.monotonic() < end
        states = cluster.command("squeue", "-h", "-o", "%T").split()
        await asyncio.sleep(0.2)
    found = await room(bench, gpu)
    assert (found.free, found.words) == (0, "none free now: it will queue")
    assert found.idle["gpu:a100"] == 0
    assert (await room(bench, profile("gpu", gpus={"count": 2}))).free == 1  # the untyped ones


async def test_shared_nodes_and_reserved_ones_are_counted_for_whom_they_are(
    accounting_bench: Bench, accounting: AccountingCluster
) -> None:
    # FORCE:4: each idle CPU takes four jobs. One core of cpu1 is reserved for a training.
    found = await room(accounting_bench, profile("shared", cpus=4))
    assert found.free == 4 * (7 // 4 + 8 // 4)
    assert (await room(accounting_bench, profile("cpu", cpus=8))).free in (None, 1)
    alone = profile("cpu", options={"exclusive": True})
    assert (await room(accounting_bench, alone)).free == 1
    # beam1 is reserved for the account hg-123, so beam2 is what is left.
    assert (await room(accounting_bench, profile("beam", cpus=4))).free == 4
    assert (await room(accounting_bench, profile("beam", cpus=16))).free == 1
    own = {"reservation": "HG-123-beamtime"}
    assert (await room(accounting_bench, profile("beam", options=own, cpus=4))).free == 4
    later = {"reservation": "NX-7-beamtime"}
    waits = await room(accounting_bench, profile("beam", options=later))
    assert (waits.free, waits.words) == (0, "its reservation has not begun yet")


async def test_a_session_of_two_nodes_runs_on_the_first(bench: Bench, cluster: Cluster) -> None:
    spawner = bench.spawner()
    spawner.launch = bench.launch(options={"nodes": 2, "partition": "cpu"}, cpus=2)
    seen = await environment_of(await spawner.start())
    job = cluster.command("scontrol", "-o", "show", "job", spawner.job_id)
    assert "NumNodes=2 " in job
    assert "NumTasks=2 " in job
    batch = re.search(r"BatchHost=(\S+)", job)
    assert batch is not None
    assert seen["SLURMD_NODENAME"] == batch[1] == "cpu1"


async def test_a_time_above_the_partitions_is_refused_although_slurm_would_take_it(
    bench: Bench,
) -> None:
    made = profile("small", walltime={"min": "1m", "max": "99h", "default": "5m"})
    found = await offered(bench, made)
    assert isinstance(found, Profile)
    _, problems = resolve(found, Wish(walltime=99 * 3600))
    assert ["must be between 1m and 10m" in str(problem) for problem in problems] == [True]
    spawner = bench.spawner()
    spawner.launch = bench.launch(options={"partition": ["small", "cpu"]}, walltime="99h")
    with pytest.raises(Refusal, match="With small: "):
        await spawner.start()
