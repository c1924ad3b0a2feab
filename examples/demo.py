"""Start the example facility: ``make demo``; in Python: :class:`Demo`.

Everything it makes lies below one folder: data, homes, database, logs. The folder is ``var/demo``,
and for another port ``var/demo-PORT``, so that two demonstrations share nothing. The identity
provider, the proxy and the Hub listen on 127.0.0.1 only; with Kubernetes the Hub listens on the
address at which pods reach this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from examples.data.make_data import make_data
from examples.idp import start_idp, stop_idp

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PORT = 8000
START_SECONDS = 120.0


class DemoError(RuntimeError):
    """The demonstration cannot start; the sentence says what to do."""


def why_not_port(port: int) -> str:
    """Why nothing of ours can listen on the port; empty if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "is for root only"
        except OverflowError:
            return "does not exist; ports end at 65535"
        except OSError:
            return "is taken by another program"
    return ""


def free_port() -> int:
    """Any free port, below those that the system hands out by itself: one of them could be
    the near end of somebody's connection before our program listens there."""
    while why_not_port(port := random.randrange(12000, 32000)):
        pass
    return port


def folder_for(port: int) -> Path:
    """Where the demonstration on ``port`` keeps what it makes."""
    return ROOT / "var" / ("demo" if port == PORT else f"demo-{port}")


def slurm_answers() -> bool:
    """Whether sbatch is installed and the controller answers within ten seconds."""
    if not (shutil.which("sbatch") and shutil.which("scontrol")):
        return False
    try:
        said = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return said.returncode == 0 and " is UP" in said.stdout


def kubernetes_address() -> str:
    """This machine as pods reach it, where the demonstration was given a cluster on this very
    machine; empty otherwise. Its node reads the example data from this machine's disk."""
    return os.environ.get("PANOSC_KUBERNETES_HUB_ADDRESS", "")


def install_proxy() -> None:
    """Install the pinned proxy with ``npm ci`` unless it is there."""
    folder = HERE / "proxy"
    if not (folder / "node_modules" / ".bin" / "configurable-http-proxy").exists():
        if shutil.which("npm") is None:
            raise DemoError("npm was not found; install Node.js 20 or newer")
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)


@dataclass
class Demo:
    """The running facility. ``slurm`` None looks whether Slurm answers; ``kubernetes`` None looks
    whether there is a cluster on this machine, else it is the address of this machine for pods.

    ``PANOSC_DEMO_HUB_PYTHON`` names a Python with another JupyterHub for the Hub alone; sessions
    run with the software of this one.
    """

    var: Path
    port: int = PORT
    slurm: bool | None = None
    kubernetes: str | None = None
    keep_sessions: bool = False
    env: dict[str, str] = field(default_factory=dict)
    hub: subprocess.Popen[bytes] | None = None
    idp: subprocess.Popen[str] | None = None
    _claim: int | None = None

    @property
    def url(self) -> str:
        """Where people open it."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Data, proxy and identity provider.

        Raises :class:`DemoError` when the port is taken or the folder is another demonstration's.
        """
        if why := why_not_port(self.port):
            raise DemoError(
                f"Port {self.port} on 127.0.0.1 {why}. Choose another one: make demo PORT=8010"
            )
        for name in ("home", "log"):
            (self.var / name).mkdir(parents=True, exist_ok=True)
        self._claim_folder()
        if self.kubernetes is None:
            self.kubernetes = kubernetes_address()
        # Pods run as another account, as they would at a facility.
        make_data(self.var / "data", shared=bool(self.kubernetes))
        install_proxy()
        if self.slurm is None:
            self.slurm = slurm_answers()
        secret = secrets.token_urlsafe(32)
        self.idp, issuer = start_idp(
            f"{self.url}/hub/oauth_callback",
            client_secret=secret,
            post_logout_redirect_uri=f"{self.url}/hub/login",
        )
        self._hub_env = {
            **os.environ,
            "PANOSC_DEMO_VAR": str(self.var),
            "PANOSC_DEMO_VENV": sys.prefix,
            "PANOSC_DEMO_PORT": str(self.port),
            "PANOSC_DEMO_HUB_PORT": str(free_port()),
            "PANOSC_DEMO_PROXY_PORT": str(free_port()),
            "PANOSC_DEMO_ISSUER": issuer,
            "PANOSC_IDP_CLIENT_SECRET": secret,
            "PANOSC_DEMO_SLURM": "1" if self.slurm else "0",
            "PANOSC_DEMO_KUBERNETES": self.kubernetes or "",
            "PANOSC_DEMO_KEEP": "1" if self.keep_sessions else "0",
            "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(32),
            "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            **self.env,
        }

    def _claim_folder(self) -> None:
        """Two Hubs on one database forget each other's sessions; the system drops the claim
        with the process, however it ends."""
        self._claim = os.open(self.var / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._release_folder()
            raise DemoError(
                f"{self.var} is in use by another demonstration. "
                "Stop that one first, or choose another folder with --var."
            ) from None

    def _release_folder(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def start(self, *, quiet: bool = True) -> None:
        """Start the Hub and wait until it answers."""
        hub_python = os.environ.get("PANOSC_DEMO_HUB_PYTHON") or sys.executable
        output = open(self.var / "log" / "hub.log", "ab") if quiet else None  # noqa: SIM115
        try:
            self.hub = subprocess.Popen(
                [hub_python, "-m", "jupyterhub", "-f", str(HERE / "jupyterhub_config.py")],
                cwd=self.var,
                env=self._hub_env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            if output:
                output.close()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.hub.poll() is not None:
                raise DemoError(f"The Hub ended with status {self.hub.returncode}.{self._tail()}")
            address = f"{self.url}/hub/health"
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(address, timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise DemoError(f"The Hub did not answer within {START_SECONDS:.0f} s.{self._tail()}")

    def _tail(self) -> str:
        log = self.var / "log" / "hub.log"
        return f"\n{log.read_text(errors='replace')[-4000:]}" if log.exists() else ""

    def kill_hub(self) -> None:
        """SIGKILL: sessions and proxy live on."""
        assert self.hub
        self.hub.kill()
        self.hub.wait()

    def stop(self) -> None:
        """Stop Hub, proxy and identity provider."""
        if self.hub and self.hub.poll() is None:
            self.hub.send_signal(signal.SIGTERM)
            try:
                self.hub.wait(60)
            except subprocess.TimeoutExpired:
                self.hub.kill()
        proxy = self.var / "proxy.pid"
        # Without a Hub of ours the file is another demonstration's, or an old one's.
        if self.hub and proxy.exists():
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(proxy.read_text()), signal.SIGTERM)
        if self.idp:
            stop_idp(self.idp)
        self._release_folder()


def main() -> int:
    """``python -m examples.demo [--port N] [--var DIR]``."""
    parser = argparse.ArgumentParser(prog="make demo", description="Start the example facility.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--var", type=Path, help="folder for data, homes, database and logs")
    options = parser.parse_args()
    demo = Demo((options.var or folder_for(options.port)).resolve(), options.port)
    # A plain kill and a closed terminal must end Hub and sessions too, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        print("Making the example data and starting the identity provider …", flush=True)
        demo.prepare()
        demo.start()
        print(
            f"\n  Open {demo.url} and log in as paula, mira, ingo, ada or nobody; no password.\n"
            f"  Slurm profiles: {'shown' if demo.slurm else 'not shown, no Slurm answers here'}\n"
            f"  Kubernetes profiles: {'shown' if demo.kubernetes else 'not shown, none here'}\n"
            f"  Logs: {demo.var / 'log'}\n"
            "  Ctrl-C stops everything.\n",
            flush=True,
        )
        assert demo.hub
        demo.hub.wait()
        return demo.hub.returncode
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        demo.stop()


if __name__ == "__main__":
    sys.exit(main())
