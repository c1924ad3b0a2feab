"""The local backend: a session is a process on the Hub's own machine.

The embedded default: for demos, small facilities and workstations. It sets no limits on CPU
or memory (the values are only told to the session), so it is no place for strangers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Integer, Unicode

from .. import session
from ..core.plan import Launch
from ..core.profiles import Profile
from ..errors import BackendError
from .base import Backend

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}", re.ASCII)
_SESSION_FILE = Path(session.__file__).with_name("start.py")


class LocalBackend(Backend, LocalProcessSpawner):
    """A process per session, as the person's UNIX account or, for demos, as the Hub's."""

    backend_name: ClassVar[str] = "local"
    port: Any  # JupyterHub's trait, which has no type of its own

    home_template = Unicode(
        "",
        help="""
        Home directory of a user; ``{username}`` is replaced by the Hub's user name.

        Empty (the default): the person's own UNIX account, its home, and a process that runs
        with its uid; the Hub must then run as root. A path: all sessions run as the Hub's
        account in that directory, which is made by the session. Only for demos and single
        users, for it separates nobody from nobody.
        Example: c.LocalBackend.home_template = "/srv/demo/home/{username}"
        """,
    ).tag(config=True)

    log_template = Unicode(
        "",
        help="""
        File for the session's output; ``{username}`` and ``{servername}`` are replaced.

        Empty (the default): the Hub's own output. The file is made by the Hub.
        """,
    ).tag(config=True)

    started_at = Integer(
        0, help="When the process started, in the kernel's clock ticks since the machine's start."
    )

    interrupt_timeout = Integer(
        10,
        help="Seconds to wait after SIGINT; Jupyter needs about one to stop its kernels.",
    ).tag(config=True)

    @classmethod
    def check_profile(cls, profile: Profile) -> Iterable[str]:
        """What a local profile cannot promise."""
        if profile.walltime:
            yield "the local backend has no wall time; remove 'walltime'"
        if profile.gpus:
            yield "the local backend does not hand out GPUs; remove 'gpus'"
        for key in profile.options:
            yield f"the local backend has no option {key!r}"

    def _name(self) -> str:
        name: str = self.user.name
        if not _SAFE_NAME.fullmatch(name) or ".." in name:
            raise BackendError(
                f"The account name {name[:40]!r} cannot be used for a directory. "
                "Ask your administrators to map it to a plain one."
            )
        return name

    @property
    def _home(self) -> str:
        return self.home_template.replace("{username}", self._name())

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """The account's variables, or those of the demo home."""
        if not self.home_template:
            return super().user_env(env)
        env["USER"] = self.user.name
        env["HOME"] = self._home
        env["SHELL"] = "/bin/bash"
        return env

    def make_preexec_fn(self, name: str) -> Any:
        """Become the account, or make the demo home; both happen in the child process."""
        if not self.home_template:
            return super().make_preexec_fn(name)
        home = self._home

        def preexec() -> None:
            os.makedirs(home, 0o700, exist_ok=True)
            os.chdir(home)

        return preexec

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Certificates stay where they are when all run as the Hub's account."""
        if not self.home_template:
            return await super().move_certs(paths)
        return paths

    def command(self, launch: Launch, env: dict[str, str]) -> list[str]:
        """argv: the session start-up, then the server. The plan comes on standard input."""
        prefix = launch.environment.prefix
        bin_dir = f"{prefix}/bin" if prefix else str(Path(sys.executable).parent)
        env["PATH"] = f"{bin_dir}:{env.get('PATH', os.defpath)}"
        env.update(launch.environment.variables)
        server = list(launch.environment.command)
        server[0] = shutil.which(server[0], path=env["PATH"]) or server[0]
        start = [sys.executable, "-I", str(_SESSION_FILE), "--plan-fd", "0"]
        return [*start, "--", *server, *self.get_args()]

    async def start(self) -> str:
        """Start the process; returns its URL. Raises ``BackendError`` when it cannot."""
        if self.launch is None:
            raise BackendError("The session was not planned; this is a fault of the Hub's set-up.")
        self.port = self.port or random_port()
        try:
            env = self.get_env()
            command = self.command(self.launch, env)
            preexec = self.make_preexec_fn(self.user.name)
        except KeyError as error:
            raise BackendError(
                f"There is no UNIX account {self.user.name!r} on this machine. "
                "Ask your administrators to create it."
            ) from error
        # An anonymous file: no path that another user could read, no limit of a pipe's buffer.
        plan = os.memfd_create("panosc-plan", os.MFD_CLOEXEC)
        try:
            os.write(plan, json.dumps(self.launch.plan.to_dict()).encode())
            os.lseek(plan, 0, os.SEEK_SET)
            output = self._output()
            try:
                # A fork of milliseconds; the handle must be a Popen for LocalProcessSpawner.
                self.proc = Popen(  # noqa: ASYNC220
                    command,
                    stdin=plan,
                    stdout=output,
                    stderr=output,
                    env=env,
                    preexec_fn=preexec,
                    start_new_session=True,
                    **self.popen_kwargs,
                )
            finally:
                if output is not None:
                    os.close(output)
        except OSError as error:
            raise BackendError(
                f"The session could not be started on this machine: {error.strerror}."
            ) from error
        finally:
            os.close(plan)
        self.pid = self.proc.pid
        self.started_at = _start_time(self.pid)
        self.save_state()
        self.tell("The process has started; the notebook server is loading", 40)
        return self._url()

    def _url(self) -> str:
        scheme = "https" if self.internal_ssl else "http"
        return f"{scheme}://{self.ip or '127.0.0.1'}:{self.port}"

    async def get_url(self) -> str:
        """Where it listens; from our own state, for the database learns it only after a start."""
        return self._url() if self.port else str(await super().get_url())

    def _output(self) -> int | None:
        if not self.log_template:
            return None
        path = self.log_template.replace("{username}", self._name())
        # Old JupyterHubs let people name a server "../x", and the Hub may be root.
        server = re.sub(r"[^A-Za-z0-9_\-]", "-", self.name)[:64]
        path = path.replace("{servername}", server or "default")
        os.makedirs(os.path.dirname(path) or ".", 0o700, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)

    async def poll(self) -> int | None:
        """``None`` while the process lives, or when that cannot be told."""
        if self.proc is not None:
            status = self.proc.poll()
            if status is not None:
                self.ended = _why(status)
            return status
        if not self.pid:
            return 0
        # After a Hub restart only the pid is left, and pids are reused: the start time tells.
        if _start_time(self.pid) in (self.started_at, _UNREADABLE):
            return None
        self.ended = "The process was gone when the Hub came back."
        return 0

    async def _signal(self, sig: int) -> bool:
        if self.proc is None and _start_time(self.pid) != self.started_at:
            return False
        return bool(await super()._signal(sig))

    def load_state(self, state: dict[str, Any]) -> None:
        """pid and start time of the process."""
        super().load_state(state)
        self.started_at = int(state.get("started_at") or 0)
        self.port = int(state.get("port") or 0)

    def get_state(self) -> dict[str, Any]:
        """pid and start time of the process."""
        state: dict[str, Any] = super().get_state()
        if self.pid:
            state |= {"started_at": self.started_at, "port": self.port}
        return state

    def clear_state(self) -> None:
        """Forget the process."""
        super().clear_state()
        self.port = 0
        self.started_at = 0

    def describe(self, launch: Launch) -> str:
        """The command line that would be run."""
        return shlex.join(self.command(launch, {"PATH": os.environ.get("PATH", os.defpath)}))


_UNREADABLE = -1


def _start_time(pid: int) -> int:
    """When ``pid`` started; 0 when there is no such process (or only its zombie).

    As the kernel counts it, proc(5): a date would move with the machine's clock, and a session
    would look like another process after the Hub's restart.
    """
    try:
        # The second field is the program's name in parentheses, and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except (OSError, IndexError, ValueError):
        return _UNREADABLE


def _why(status: int) -> str:
    if status == 0:
        return "The notebook server was stopped."
    if status == -9:
        return "The process was killed, perhaps for lack of memory."
    if status < 0:
        return f"The process was ended by signal {-status}."
    return f"The notebook server ended with exit status {status}."
