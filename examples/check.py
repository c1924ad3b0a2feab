"""``make demo-check``: the whole path without a browser, step by step with seconds.

login → spawn page → server ready → notebook executed → plot found, on the local backend and,
where they are there, on Slurm and Kubernetes. Exit status 0 only if all held.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import struct
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from examples.demo import Demo, DemoError, free_port, kubernetes_address, slurm_answers

SELECTION = {
    "proposal": "HG-123",
    "dataset": "20.500.12345/agbh-0001",
    "template": "saxs-azimuthal",
}
PROFILES = {
    "local": "small",
    "slurm": "slurm-small",
    "kubernetes": "kubernetes-medium",
}
CELL_SECONDS = 120.0


class CheckError(RuntimeError):
    """A step did not hold; the sentence says what was seen."""


class Check:
    """One person's way through the Hub with plain HTTP."""

    def __init__(self, url: str, backend: str) -> None:
        self.url, self.backend = url, backend
        self.client = httpx.AsyncClient(
            base_url=url,
            follow_redirects=True,
            timeout=60,
            trust_env=False,
            headers={"Sec-Fetch-Mode": "navigate"},
        )
        self.notebook = ""

    async def run(self) -> bool:
        """All steps; prints each with its seconds."""
        print(f"\n{self.backend}", flush=True)
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("login", self.login),
            ("spawn page", self.spawn_page),
            ("server ready", self.server_ready),
            ("notebook executed", self.execute),
            ("plot found", self.plot),
            ("server stopped", self.stop),
        ]
        try:
            for name, step in steps:
                begin = time.monotonic()
                try:
                    said = await step()
                except (CheckError, httpx.HTTPError, OSError, KeyError, ValueError) as error:
                    print(f"  FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                    return False
                print(f"  ok {time.monotonic() - begin:6.1f} s  {name}: {said}", flush=True)
            return True
        finally:
            await self.client.aclose()

    async def login(self) -> str:
        """Through the real identity provider: code flow, PKCE, groups from entitlements."""
        page = await self.client.get("/hub/oauth_login")
        action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        if action is None:
            raise CheckError(f"the provider's page has no form: {page.text[:300]}")
        target = urljoin(str(page.url), action.group(1).replace("&amp;", "&"))
        field = re.search(r'<input[^>]*name="([^"]+)"', page.text)
        answer = await self.client.post(
            target, data={field.group(1) if field else "login": "paula"}
        )
        if not str(answer.url).startswith(self.url):
            raise CheckError(f"ended at {answer.url} with {answer.status_code}")
        return f"paula is logged in, at {urlsplit(str(answer.url)).path}"

    def _xsrf(self) -> str:
        found = [
            c.value for c in self.client.cookies.jar if c.name == "_xsrf" and c.path == "/hub/"
        ]
        if not found:
            raise CheckError("the Hub set no _xsrf cookie")
        return str(found[0])

    async def spawn_page(self) -> str:
        """The form shows the proposal and the profile."""
        page = await self.client.get("/hub/spawn")
        for text in ("HG-123", f'value="{PROFILES[self.backend]}"', "saxs-azimuthal"):
            if text not in page.text:
                raise CheckError(f"{text} is not on the page ({page.status_code})")
        return f"{len(page.text) // 1024} KiB with proposals, templates and profiles"

    async def server_ready(self) -> str:
        """Post the form and follow the pending page to the notebook."""
        answer = await self.client.post(
            "/hub/spawn",
            params={"_xsrf": self._xsrf()},
            data={**SELECTION, "profile": PROFILES[self.backend]},
        )
        if answer.status_code >= 400:
            raise CheckError(
                f"the form was refused with {answer.status_code}: {_alert(answer.text)}"
            )
        path = "/hub/api/users/paula/server/progress"
        last = ""
        headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": self._xsrf()}
        async with self.client.stream(
            "GET", path, headers=headers, timeout=300, params={"_xsrf": self._xsrf()}
        ) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    event = json.loads(line[5:])
                    last = event.get("message", last)
                    if event.get("failed"):
                        raise CheckError(last)
        page = await self.client.get("/user/paula/")
        self.notebook = str(page.url).partition("/lab/tree/")[2].partition("?")[0]
        if not self.notebook.endswith(".ipynb"):
            raise CheckError(f"the notebook is not open: {page.url} ({page.status_code})")
        return self.notebook

    async def _api(self, method: str, path: str, **kwargs: Any) -> Any:
        cookies = [c for c in self.client.cookies.jar if c.name == "_xsrf"]
        token = next((c.value for c in cookies if c.path.startswith("/user/")), "")
        headers = {"X-XSRFToken": token or "", "Sec-Fetch-Mode": "cors"}
        answer = await self.client.request(
            method, f"/user/paula/api/{path}", headers=headers, **kwargs
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def execute(self) -> str:
        """Run every code cell in a kernel of the session, and save the outputs."""
        model = await self._api("GET", f"contents/{self.notebook}")
        kernel = await self._api("POST", "kernels", json={"path": self.notebook})
        cookies = "; ".join(
            f"{c.name}={c.value}"
            for c in self.client.cookies.jar
            if c.path in ("/", "/user/paula/")
        )
        base = self.url.replace("http", "ws", 1)
        socket = await websocket_connect(
            HTTPRequest(
                f"{base}/user/paula/api/kernels/{kernel['id']}/channels",
                headers={"Cookie": cookies, "Origin": self.url},
                request_timeout=60,
            )
        )
        cells = [c for c in model["content"]["cells"] if c["cell_type"] == "code"]
        for number, cell in enumerate(cells, 1):
            cell["outputs"] = await asyncio.wait_for(
                _run_cell(socket, _text(cell["source"]), number), CELL_SECONDS
            )
        socket.close()
        await self._api(
            "PUT",
            f"contents/{self.notebook}",
            json={"type": "notebook", "content": model["content"], "format": "json"},
        )
        await self._api("DELETE", f"kernels/{kernel['id']}")
        return f"{len(cells)} cells"

    async def plot(self) -> str:
        """Read the saved notebook and find a picture in it."""
        model = await self._api("GET", f"contents/{self.notebook}")
        for cell in model["content"]["cells"]:
            for output in cell.get("outputs", []):
                picture = output.get("data", {}).get("image/png")
                if picture:
                    data = base64.b64decode(_text(picture))
                    if data[:8] != b"\x89PNG\r\n\x1a\n":
                        raise CheckError("image/png is not a PNG")
                    width, height = struct.unpack(">II", data[16:24])
                    if min(width, height) < 100:
                        raise CheckError(f"the picture is only {width} x {height}")
                    return f"PNG {width} x {height}, {len(data) // 1024} KiB"
        raise CheckError("no cell has a picture")

    async def stop(self) -> str:
        """Stop the session, so that the next backend starts from the form."""
        headers = {"Sec-Fetch-Mode": "cors", "X-XSRFToken": self._xsrf()}
        for _ in range(240):
            answer = await self.client.delete("/hub/api/users/paula/server", headers=headers)
            if answer.status_code == 204:
                return "yes"
            if answer.status_code not in (202, 400):
                raise CheckError(f"{answer.status_code}: {answer.text[:200]}")
            await asyncio.sleep(0.5)
        raise CheckError("it did not stop within two minutes")


def _text(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)


def _alert(page: str) -> str:
    found = re.search(r'role="alert"[^>]*>(.*?)</', page, re.DOTALL)
    return re.sub(r"<[^>]+>|\s+", " ", found.group(1)).strip() if found else page[:300]


async def _run_cell(socket: Any, code: str, number: int) -> list[dict[str, Any]]:
    """Execute one cell by Jupyter's messaging protocol 5.3; returns nbformat outputs."""
    request = uuid.uuid4().hex
    header = {
        "msg_id": request,
        "msg_type": "execute_request",
        "username": "",
        "session": "check",
        "date": "",
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    await socket.write_message(json.dumps({**message, "channel": "shell", "buffers": []}))
    outputs: list[dict[str, Any]] = []
    while True:
        raw = await socket.read_message()
        if raw is None:
            raise CheckError(f"the connection to the kernel ended in cell {number}")
        reply = json.loads(raw)
        if reply.get("parent_header", {}).get("msg_id") != request:
            continue
        kind, body = reply["msg_type"], reply["content"]
        if kind == "status" and body["execution_state"] == "idle":
            return outputs
        if kind == "error":
            raise CheckError(f"cell {number}: {body['ename']}: {body['evalue']}")
        if kind == "stream":
            outputs.append({"output_type": "stream", "name": body["name"], "text": body["text"]})
        elif kind in ("display_data", "execute_result"):
            output = {"output_type": kind, "data": body["data"], "metadata": {}}
            if kind == "execute_result":
                output["execution_count"] = number
            outputs.append(output)


async def check(demo: Demo, backends: list[str]) -> bool:
    """Every backend in turn."""
    held = [await Check(demo.url, backend).run() for backend in backends]
    return all(held)


def main() -> int:
    """``python -m examples.check [--port N]``."""
    parser = argparse.ArgumentParser(prog="make demo-check", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="panosc-demo-", ignore_cleanup_errors=True) as folder:
        begin = time.monotonic()
        slurm = slurm_answers()
        demo = Demo(Path(folder), options.port or free_port(), slurm=slurm)
        backends = ["local", *["slurm"] * slurm, *["kubernetes"] * bool(kubernetes_address())]
        try:
            demo.prepare()
            demo.start()
            print(f"Hub with the example facility started in {time.monotonic() - begin:.1f} s")
            held = asyncio.run(check(demo, backends))
        except DemoError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            demo.stop()
        if not slurm:
            print("\nLeft out: Slurm, for no controller answers here (make demo-slurm starts one).")
        if "kubernetes" not in backends:
            print("Left out: Kubernetes, for none was given (make demo-kubernetes starts one).")
        if not held:
            log = (Path(folder) / "log" / "hub.log").read_text(errors="replace")
            print(f"\nThe end of the Hub's log:\n{log[-6000:]}", file=sys.stderr)
        print(f"\n{'All held' if held else 'Not all held'} ({time.monotonic() - begin:.1f} s)")
        return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
