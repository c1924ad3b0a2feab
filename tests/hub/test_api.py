"""The JSON endpoints of the pages on a real Hub: one's own things only, and plain sentences."""

from __future__ import annotations

from pathlib import Path

import httpx
from harness import HubProcess


async def test_endpoints_answer_their_owner_and_nobody_else(hub: HubProcess) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=f"{hub.url}/hub/api") as stranger:
        for path in ("profiles", "templates", "proposals", "proposals/HG-123/datasets"):
            assert (await stranger.get(f"/panosc/{path}")).status_code == 403
    async with hub.browser("paula") as paula, hub.browser("mira") as mira:
        found = (await paula.client.get("/hub/api/panosc/proposals/HG-123/datasets")).json()
        assert found["datasets"][0]["name"] == "agbh_0001"
        for path in ("HG-123", "MX-1", "NO-SUCH"):
            answer = await mira.client.get(f"/hub/api/panosc/proposals/{path}/datasets")
            assert answer.status_code == 404
            assert "not among yours" in answer.json()["message"]
        profiles = (await paula.client.get("/hub/api/panosc/profiles")).text
        assert "small" in profiles


async def test_a_picture_can_run_nothing(hub: HubProcess) -> None:
    async with hub.browser("paula") as paula:
        picture = await paula.client.get("/hub/api/panosc/templates/saxs-azimuthal/picture")
    assert picture.headers["Content-Type"] == "image/svg+xml"
    assert "default-src 'none'" in picture.headers["Content-Security-Policy"]
    assert "sandbox" in picture.headers["Content-Security-Policy"]


async def test_a_broken_catalogue_is_a_sentence_not_an_accident(
    hub: HubProcess, facility: Path
) -> None:
    async with hub.browser("paula") as paula:
        (facility / "proposals.yaml").unlink()
        (facility / "proposals.yaml").write_text("proposals: [")
        answer = await paula.client.get("/hub/api/panosc/proposals/HG-123/datasets")
        page = await paula.client.get("/hub/spawn")
    assert answer.status_code in (200, 503)
    assert "Traceback" not in hub.log
    assert page.status_code == 200
