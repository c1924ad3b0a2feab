"""What README.md tells people to write into ``jupyterhub_config.py`` starts sessions."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ROOT, HubProcess, reap
from test_spawn import session_of

from examples.idp import PEOPLE, running_idp

TINY = [sys.executable, str(Path(__file__).with_name("tiny_server.py"))]


def block(marker: str) -> str:
    """The Python block of README.md that follows the marker."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"<!-- check: {marker} -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found, marker
    return found.group(1)


def settings(marker: str, facility: Path) -> str:
    """The block with the paths of the test; the login is that of all test Hubs."""
    text = re.sub(r"c\.JupyterHub\.authenticator_class.*\n", "", block(marker))
    homes = str(facility / "home/{username}")
    return (
        text.replace("/etc/panosc-hub", str(facility))
        + f"\nc.LocalBackend.home_template = {homes!r}\n"
        + f"c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}\n"
        + f"c.SimpleLocalProcessSpawner.cmd = {TINY!r}\n"
    )


@pytest.mark.parametrize("marker", ["config spawner", "config by-hand", "config hook"])
async def test_each_part_alone_brings_the_data(marker: str, facility: Path) -> None:
    folder = facility / "hub"
    folder.mkdir()
    hub = HubProcess(folder, settings(marker, facility), groups={"proposal:HG-123": ["paula"]})
    try:
        await hub.start()
        options: dict[str, Any] = {"proposal": "HG-123", "template": "saxs-azimuthal"}
        async with hub.api() as api:
            await api.post("/users/paula")
            answer = await api.post("/users/paula/server", json=options)
            assert answer.status_code in (201, 202), answer.text
        session = await session_of(hub, "paula")
        async with hub.browser("paula") as paula:
            home = await paula.client.get("/hub/home")
            assert home.status_code == 200
    finally:
        hub.stop()
        reap(str(facility))
    assert session["environment"]["PANOSC_PROPOSAL"] == "HG-123"
    assert (facility / "home/paula/panosc/test/HG-123/saxs-azimuthal-1.0.0/saxs.ipynb").exists()


async def test_the_whole_configuration_logs_in_with_umbrella_and_starts(facility: Path) -> None:
    folder = facility / "hub"
    folder.mkdir()
    hub = HubProcess(folder, "", env={"JUPYTERHUB_CRYPT_KEY": "ab" * 32})
    people = json.loads(PEOPLE.read_text())
    async with running_idp(f"{hub.url}/hub/oauth_callback") as idp:
        (facility / "accounts.yaml").write_text(
            f"issuer: {idp.issuer}\naccounts:\n  {subject('paula')}: paula\n"
        )
        (facility / "accounts.yaml").chmod(0o600)
        text = block("config")
        # The addresses and names of the example provider in place of Umbrella's.
        for theirs, ours in (
            ("https://login.umbrella.example", idp.issuer),
            ("https://hub.facility.example", hub.url),
            ("urn:geant:umbrella.example", people["namespace"]),
            ('"umbrella.example"', repr(people["authority"])),
            ('"umbrella:facility"', '"umbrella:demo"'),
            ("/etc/panosc-hub", str(facility)),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        text += f"\nc.LocalBackend.home_template = {str(facility / 'home/{username}')!r}\n"
        hub.env["UMBRELLA_CLIENT_SECRET"] = idp.client_secret
        with open(folder / "jupyterhub_config.py", "a") as file:
            file.write(text)
        try:
            await hub.start()
            async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
                client.headers["Sec-Fetch-Mode"] = "navigate"
                login = await client.get(f"{hub.url}/hub/oauth_login")
                action = re.search(r'<form[^>]*action="([^"]+)"', login.text)
                field = re.search(r'<input[^>]*name="([^"]+)"', login.text)
                assert action, login.text[:1000]
                assert field
                target = login.url.join(action.group(1).replace("&amp;", "&"))
                back = await client.post(target, data={field.group(1): "paula"})
                assert str(back.url).startswith(hub.url), back.text[:1000]
                page = await client.get(f"{hub.url}/hub/spawn")
                assert "HG-123" in page.text, hub.log[-3000:]
            async with hub.api() as api:
                answer = await api.post("/users/paula/server", json={"proposal": "HG-123"})
                assert answer.status_code in (201, 202), answer.text
            session = await session_of(hub, "paula")
        finally:
            hub.stop()
            reap(str(facility))
    assert session["environment"]["PANOSC_PROPOSAL"] == "HG-123"


def subject(username: str) -> str:
    """The example provider's stable key of a person."""
    scope = json.loads(PEOPLE.read_text())["scope"]
    return hashlib.sha256(f"panosc-hub demo {username}".encode()).hexdigest() + f"@{scope}"
