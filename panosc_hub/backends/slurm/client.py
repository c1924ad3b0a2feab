"""Slurm's commands: what is asked, as whom, with which environment and for how long."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from traitlets import Float, Integer, List, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from ...errors import BackendError, BackendUnavailable
from .command import Command
from .parse import Garbled

_ACCOUNT = r"[A-Za-z_][A-Za-z0-9_.@\-]{0,63}"
_KEPT = ("SLURM_CONF", "SLURM_TIME_FORMAT", "LD_LIBRARY_PATH", "TZ")
"""Variables of the Hub's process without which a site's commands may not work."""


_NO_ANSWER = re.compile(
    r"timed out|time-?out|unable to contact|connection|communication|zero bytes|transport|"
    r"temporarily|try again|protocol authentication|munge|not responding",
    re.IGNORECASE,
)
"""sbatch's words for "slurmctld did not answer": the job may have been accepted."""


_PREFIX = re.compile(
    r"^(?:s(?:batch|queue|cancel|info|control|acct|acctmgr): |\w+: (?=error: |fatal: ))?"
    r"(?:error: |fatal: |\w+ error: )?(?:Batch job submission failed: |allocation failure: )?"
)
"""Who says it, and that it is an error, before what matters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command printed."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """Slurm's own words, without its prefixes; for logs and for the user."""
        lines = [
            _PREFIX.sub("", line.strip())
            for line in self.err.splitlines()
            if line.strip() and not re.match(r'Try "\w+ --help"', line)
        ]
        text = "; ".join(lines) or f"exit status {self.status}"
        return "".join(c if c.isprintable() else " " for c in text)[:400]

    @property
    def unanswered(self) -> bool:
        """Whether it says that slurmctld did not answer, and so nothing of what was asked."""
        return bool(_NO_ANSWER.search(self.complaint))


class SlurmClient(LoggingConfigurable):
    """Runs Slurm's commands, each with a time limit.

    Queries run as the Hub's own account; ``sbatch`` and ``scancel`` use ``run_as``, and so do
    ``squeue`` and ``sacct`` where Slurm hides the users' jobs from the Hub's account.
    """

    sbatch = Unicode("sbatch", config=True, help="Path of sbatch; a bare name is found in PATH.")
    squeue = Unicode("squeue", config=True, help="Path of squeue; a bare name is found in PATH.")
    scancel = Unicode("scancel", config=True, help="Path of scancel; a bare name is in PATH.")
    sinfo = Unicode("sinfo", config=True, help="Path of sinfo; a bare name is found in PATH.")
    scontrol = Unicode("scontrol", config=True, help="Path of scontrol; a bare name is in PATH.")
    sacct = Unicode("sacct", config=True, help="Path of sacct; a bare name is found in PATH.")
    sacctmgr = Unicode("sacctmgr", config=True, help="Path of sacctmgr; a bare name is in PATH.")

    run_as = List(
        Unicode(),
        config=True,
        help="""
        Words put before a command so that it runs as the user's UNIX account: sbatch, scancel,
        and, where Slurm's PrivateData hides jobs from the Hub's account, squeue and sacct.

        Empty (the default): jobs belong to the Hub's own account, good for a demonstration.
        ``{username}`` becomes the account. Example::

            c.SlurmClient.run_as = ["sudo", "-n", "-u", "{username}", "--"]

        sudoers must allow these four commands and name the job's variables in ``env_keep``; see
        ``config/sudoers.d/panosc-hub``. sudo's own ``--preserve-env=`` is refused here, for
        sudo writes the values that it brings, the session's token among them, into its log.
        """,
    )

    query_timeout = Float(
        20,
        min=0.1,
        config=True,
        help="""
        Seconds that squeue, sinfo, scontrol, sacct and sacctmgr may take before they are killed.
        More than Slurm's own MessageTimeout (10 s), so that its message reaches the log.
        """,
    )

    submit_timeout = Float(
        60,
        min=0.1,
        config=True,
        help="""
        Seconds that sbatch and scancel may take before they are killed. Long, for a busy
        slurmctld may accept a job late; the job is then looked up by its name.
        """,
    )

    max_output = Integer(
        64 * 2**20,
        min=1024,
        config=True,
        help="Bytes of output after which a command is killed; 100,000 jobs take about 8 MB.",
    )

    concurrency = Integer(
        8, min=1, config=True, help="How many Slurm commands may run at the same time."
    )

    @validate("run_as")
    def _no_values_in_logs(self, proposal: Any) -> list[str]:
        words: list[str] = proposal.value
        if any(word.startswith("--preserve-env") for word in words):
            raise TraitError(
                "SlurmClient.run_as: --preserve-env writes the session's token into sudo's log; "
                "name the variables in env_keep of sudoers instead"
            )
        return words

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._complained = -1e9
        # Not the event loop's own threads: name look-ups must not wait for a slow Slurm.
        self._threads = ThreadPoolExecutor(self.concurrency, thread_name_prefix="slurm")

    def complain(self, log: Any, text: str) -> None:
        """A warning, at most one in a minute from all who ask this Slurm: all notice an outage."""
        if time.monotonic() - self._complained >= 60:
            self._complained = time.monotonic()
            log.warning(text)

    async def query(self, command: str, *arguments: str, username: str = "") -> str:
        """Standard output of a query, as the Hub's own account or, with ``username``, as that.

        Raises :class:`BackendUnavailable` for any failure.
        """
        prefix = self._prefix(username) if username else []
        argv = [*prefix, self._find(command), *arguments]
        try:
            answer = await self._run(argv, self._base(), b"", self.query_timeout)
        except Garbled as error:
            raise BackendUnavailable(f"SLURM gave no usable answer: {error}.") from None
        if answer.status:
            raise BackendUnavailable(f"SLURM does not answer ({command}: {answer.complaint}).")
        return answer.out

    async def submit(self, script: str, environment: Mapping[str, str], username: str) -> Answer:
        """Run sbatch with ``script`` on its standard input.

        ``--export=ALL`` of an environment that holds nothing but ``environment`` and what
        sbatch itself needs: so values (the session's token among them) appear in no command
        line and no script, and, unlike with a list of names, Slurm does not run the user's
        login files on the node to complete the environment, which may hang there.
        Raises :class:`BackendUnavailable` if it timed out or could not run: then the job may
        or may not exist.
        """
        env = {**environment, **self._base(path=environment.get("PATH", ""))}
        argv = [
            *self._prefix(username),
            self._find("sbatch"),
            "--parsable",
            "--export=ALL",
        ]
        try:
            return await self._run(argv, env, script.encode(), self.submit_timeout)
        except Garbled as error:
            raise BackendUnavailable(f"SLURM gave no usable answer: {error}.") from None

    async def try_out(self, options: Sequence[str], username: str) -> Answer:
        """``sbatch --test-only``: when such a job would start. Submits nothing.

        Raises :class:`BackendUnavailable` if it timed out or could not run.
        """
        argv = [*self._prefix(username), self._find("sbatch"), "--test-only", *options]
        try:
            return await self._run(argv, self._base(), b"#!/bin/sh\n", self.query_timeout)
        except Garbled as error:
            raise BackendUnavailable(f"SLURM gave no usable answer: {error}.") from None

    async def cancel(self, name: str, job_id: str, username: str) -> None:
        """Cancel the job of that name (and id, where it is known); an ended one is no error.

        The name is unique, so an id that Slurm has since given to another job does no harm.
        Raises :class:`BackendUnavailable` when Slurm did not take the order.
        """
        env = self._base()
        argv = [*self._prefix(username), self._find("scancel"), f"--name={name}"]
        argv += [job_id] if job_id else []
        try:
            answer = await self._run(argv, env, b"", self.submit_timeout)
        except Garbled as error:
            raise BackendUnavailable(f"SLURM gave no usable answer: {error}.") from None
        ended = "already completing or completed" in answer.err or "Invalid job id" in answer.err
        if answer.status and not ended:
            raise BackendUnavailable(
                f"SLURM did not cancel job {job_id or name}: {answer.complaint}."
            )

    def _prefix(self, username: str) -> list[str]:
        if not self.run_as:
            return []
        if not re.fullmatch(_ACCOUNT, username):
            raise BackendError(
                f"{username[:60]!r} cannot be the name of an account on the cluster.",
                reason="bad_account",
            )
        words = [word.replace("{username}", username) for word in self.run_as]
        return [shutil.which(words[0]) or words[0], *words[1:]]

    def _find(self, command: str) -> str:
        """The command's path in the Hub's own PATH: the job's may lack Slurm's directory."""
        program: str = getattr(self, command)
        return shutil.which(program) or program

    def _base(self, path: str = "") -> dict[str, str]:
        """The environment of every command. None of Slurm's input variables (SBATCH_*,
        SQUEUE_* …) that could change an answer's form or a job."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "PATH": path or os.environ.get("PATH", os.defpath),
            "SLURM_TIME_FORMAT": "standard",
        }

    async def _run(
        self, argv: Sequence[str], env: Mapping[str, str], given: bytes, limit: float
    ) -> Answer:
        """Raises :class:`BackendUnavailable` (no answer) or :class:`Garbled` (too much)."""
        name = os.path.basename(argv[0])
        command = Command(argv, env, given, limit, self.max_output)
        loop = asyncio.get_running_loop()
        try:
            return Answer(*await loop.run_in_executor(self._threads, command.run))
        except TimeoutError:
            why = f"{name} took more than {limit:g} s"
        except OSError as error:
            why = f"{name} cannot be run: {error.strerror}"
        except asyncio.CancelledError:
            command.kill()
            raise
        raise BackendUnavailable(f"SLURM does not answer ({why}).")


def own_account() -> str:
    """The UNIX account that the Hub runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
