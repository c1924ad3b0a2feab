"""Menus and limits on the pages of a real Hub, and through its REST API, on a real Slurm."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bs4 import BeautifulSoup, Tag

from tests.hub.harness import ROOT, HubProcess
from tests.slurm.accounting import AccountingCluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(180)]

SITE = f"""
facility: {{id: test, title: Test facility}}
fields: {{proposal: "[A-Z]{{2}}-[0-9]+"}}
catalogue: {{kind: static, file: proposals.yaml}}
environments:
  - {{id: tiny, title: Tiny, command: [{sys.executable}, {ROOT}/tests/hub/tiny_server.py]}}
profiles:
  - &batch
    id: mine
    title: Of my own
    backend: slurm
    cpus: {{default: 1}}
    memory: 1G
    walltime: {{min: 10m, default: 10m}}
    start_timeout: 60
    options: {{account: {{mine: true}}, partition: [cpu, small]}}
  - <<: *batch
    id: beamtime
    title: Beam time
    options:
      partition: beam
      account: {{proposal: "{{proposal}}", otherwise: [beamline]}}
      reservation: {{proposal: "{{proposal}}-beamtime"}}
  - {{<<: *batch, id: gone, title: Gone, options: {{partition: gone}}}}
"""
PROPOSALS = """
proposals:
  - {id: HG-123, title: Mine, instrument: ID02, members: {users: [paula]}}
  - {id: NX-7, title: Theirs, instrument: ID02, members: {users: [mira]}}
"""
CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.SlurmBackend.home_template = {homes!r}
c.SlurmBackend.connect_to = "address"
c.SlurmBackend.hub_name = "test"
c.SlurmWatcher.interval = c.SlurmWatcher.busy_interval = 0.3
c.NodeWatcher.interval = 1
"""


@pytest_asyncio.fixture
async def hub(accounting: AccountingCluster, tmp_path: Path) -> AsyncIterator[HubProcess]:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "proposals.yaml").write_text(PROPOSALS)
    config = CONFIG.format(
        site=str(tmp_path / "site.yaml"), homes=str(tmp_path / "home/{username}")
    )
    (tmp_path / "hub").mkdir()
    hub = HubProcess(tmp_path / "hub", config, env=accounting.environment)
    await hub.start()
    try:
        yield hub
    finally:
        hub.stop()


async def page_of(hub: HubProcess) -> BeautifulSoup:
    """The spawn page, once the Hub has looked at Slurm."""
    async with hub.browser("paula") as paula:
        while True:  # each page is complete; the first ones only know less
            answer = await paula.client.get("/hub/spawn")
            assert answer.status_code == 200
            page = BeautifulSoup(answer.text, "html.parser")
            if "asking SLURM" not in page.get_text() and page.select("[name=choice-account]"):
                return page


async def start(hub: HubProcess, **options: Any) -> tuple[int, str]:
    """Ask by the REST API; the status and the text of the answer."""
    async with hub.api() as api:
        await api.post("/users/paula")
        answer = await api.post("/users/paula/server", json=options)
        return answer.status_code, answer.text


def job(accounting: AccountingCluster) -> str:
    return accounting.command("squeue", "--noheader", "--format=%a,%v,%P").strip()


async def test_the_page_offers_accounts_and_a_profile_whose_partition_is_gone_is_grey(
    hub: HubProcess,
) -> None:
    page = await page_of(hub)
    lines = {tag.get_text(strip=True) for tag in page.select("[name=choice-account] option")}
    # The jobs are of the Hub's own account here, which is root.
    assert {"users", "hg-123", "beamline"} <= lines
    assert "nobodys" not in lines
    radios = {str(tag["value"]): tag for tag in page.select("input[name=profile]")}
    assert radios["gone"].has_attr("disabled")
    assert not radios["mine"].has_attr("disabled")
    label = radios["gone"].find_parent("label")
    assert isinstance(label, Tag)
    assert "SLURM has no partition gone" in label.get_text(" ")


async def test_choices_by_json_reach_the_job(
    hub: HubProcess, accounting: AccountingCluster
) -> None:
    await page_of(hub)
    choices = {"account": "p2222", "partition": "small"}
    status, text = await start(hub, profile="mine", choices=choices)
    assert status in (201, 202), text
    await hub.until("paula", ready=True)
    assert job(accounting) == "p2222,(null),small"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"choices": {"account": "nobodys"}}, "nobodys is not offered on Of my own"),
    ({"choices": {"partition": "gpu"}}, "gpu is not offered on Of my own; there is cpu, small"),
    ({"choices": {"qos": "long"}}, "is not to be chosen on Of my own"),
    ({"choices": {"account": "a --qos=vip"}}, "characters that no such value has"),
    ({"choices": {"account": "users\n#SBATCH --qos=vip"}}, "characters that no such value has"),
    ({"cpus": 9}, "must be between 1 and 8"),
    ({"walltime": "5-00"}, "must be between 10m and 3d"),
    ({"walltime": "1h", "choices": {"partition": "small"}}, "With small: "),
    ({"profile": "gone"}, "SLURM has no partition gone"),
]


async def test_what_slurm_does_not_have_for_one_is_refused_and_nothing_is_submitted(
    hub: HubProcess, accounting: AccountingCluster
) -> None:
    await page_of(hub)
    for options, sentence in REFUSED:
        status, text = await start(hub, **{"profile": "mine", **options})
        assert status in (400, 403), text
        assert sentence in text, options
    assert job(accounting) == ""


async def test_the_proposal_that_the_catalogue_authorised_brings_its_reservation(
    hub: HubProcess, accounting: AccountingCluster
) -> None:
    await page_of(hub)
    status, text = await start(hub, profile="beamtime", proposal="HG-123")
    assert status in (201, 202), text
    await hub.until("paula", ready=True)
    assert job(accounting) == "hg-123,HG-123-beamtime,beam"


async def test_a_proposal_of_others_brings_nothing(
    hub: HubProcess, accounting: AccountingCluster
) -> None:
    await page_of(hub)
    status, _ = await start(hub, profile="beamtime", proposal="NX-7")
    assert status >= 400
    assert job(accounting) == ""
