"""Start and stop the example facility's identity provider (``examples/idp/server.mjs``).

It needs Node 20 or newer; its packages are installed by ``npm ci`` at the first use. The
provider ends by itself when the program that started it ends, because its standard input is
closed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import selectors
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

IDP_DIR = Path(__file__).parent / "idp"
PEOPLE = IDP_DIR / "people.json"
CLIENT_ID = "panosc-hub"
SECRET_VARIABLE = "PANOSC_IDP_CLIENT_SECRET"

INSTALL_SECONDS = 300.0
START_SECONDS = 30.0
STOP_SECONDS = 5.0


class IdpError(RuntimeError):
    """The identity provider could not be installed or started."""


@dataclass(frozen=True)
class Idp:
    """A running provider and what its one client needs to know."""

    process: subprocess.Popen[str]
    issuer: str
    client_secret: str
    client_id: str = CLIENT_ID


def install() -> None:
    """Install the provider's packages with ``npm ci`` unless they are there already.

    Safe to call from several processes at once. Raises :class:`IdpError` when Node or npm is
    missing or the installation fails.
    """
    lock_file = IDP_DIR / "package-lock.json"
    # npm writes this file last; it is older than our lock file after an upgrade.
    installed = IDP_DIR / "node_modules" / ".package-lock.json"
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise IdpError(f"{program} was not found; install Node.js 20 or newer")
    with open(lock_file, encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.stat().st_mtime >= lock_file.stat().st_mtime:
            return
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=IDP_DIR,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
        )
        if done.returncode != 0:
            raise IdpError(f"npm ci failed in {IDP_DIR}:\n{done.stderr[-2000:]}")


def start_idp(
    redirect_uri: str | Sequence[str],
    port: int = 0,
    *,
    client_secret: str | None = None,
    people: Path = PEOPLE,
    post_logout_redirect_uri: str | None = None,
    backchannel_logout_uri: str | None = None,
) -> tuple[subprocess.Popen[str], str]:
    """Start the provider on 127.0.0.1; returns its process and its issuer URL.

    ``port`` 0 takes any free port. ``client_secret`` defaults to the environment variable
    ``PANOSC_IDP_CLIENT_SECRET``. ``people`` is read again at every request, so a test may change
    a copy of it while the provider runs. Blocks until the provider listens; raises
    :class:`IdpError` when it does not.
    """
    secret = client_secret or os.environ.get(SECRET_VARIABLE)
    if not secret:
        raise IdpError(f"give client_secret or set {SECRET_VARIABLE}")
    install()
    redirects = [redirect_uri] if isinstance(redirect_uri, str) else list(redirect_uri)
    argv = ["node", "server.mjs", "--port", str(port), "--people", str(people.resolve())]
    for uri in redirects:
        argv += ["--redirect-uri", uri]
    if post_logout_redirect_uri:
        argv += ["--post-logout-redirect-uri", post_logout_redirect_uri]
    if backchannel_logout_uri:
        argv += ["--backchannel-logout-uri", backchannel_logout_uri]
    process = subprocess.Popen(
        argv,
        cwd=IDP_DIR,
        env={"PATH": os.environ.get("PATH", os.defpath), SECRET_VARIABLE: secret},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = _first_line(process)
        return process, json.loads(line)["issuer"]
    except (IdpError, ValueError, KeyError) as error:
        stop_idp(process)
        raise IdpError(f"the identity provider did not start: {error}") from error


def stop_idp(process: subprocess.Popen[str]) -> None:
    """End the provider and wait for it; harmless when it has ended already."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


@contextlib.asynccontextmanager
async def running_idp(
    redirect_uri: str | Sequence[str],
    port: int = 0,
    *,
    client_secret: str | None = None,
    people: Path = PEOPLE,
    post_logout_redirect_uri: str | None = None,
    backchannel_logout_uri: str | None = None,
) -> AsyncIterator[Idp]:
    """The provider for the time of an ``async with`` block; a secret is made if none is given."""
    secret = client_secret or secrets.token_urlsafe(32)
    process, issuer = await asyncio.to_thread(
        start_idp,
        redirect_uri,
        port,
        client_secret=secret,
        people=people,
        post_logout_redirect_uri=post_logout_redirect_uri,
        backchannel_logout_uri=backchannel_logout_uri,
    )
    try:
        yield Idp(process, issuer, secret)
    finally:
        await asyncio.to_thread(stop_idp, process)


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(START_SECONDS):
            raise IdpError(f"no answer within {START_SECONDS:.0f} s")
    line = process.stdout.readline()
    if not line:
        raise IdpError(f"it ended with status {process.wait(STOP_SECONDS)}")
    return line
