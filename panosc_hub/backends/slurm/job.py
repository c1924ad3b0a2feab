"""What a session's job is: settings, environment and script. Nothing here runs a command."""

from __future__ import annotations

import os
import pwd
import re
import socket
import time

from batchspawner import SlurmSpawner
from batchspawner.batchspawner import UserEnvMixin
from traitlets import CaselessStrEnum, Dict, List, Unicode, default

from ... import session
from ...core.plan import Launch
from ...core.profiles import Profile
from ...errors import BackendError, Refusal
from ..base import Estimate
from . import script as scripts
from .options import SlurmOptions, validate_options
from .settle import Settled, settle
from .shared import DEFAULTS, Watchers, watchers

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\-]{0,63}", re.ASCII)
_NOT_RESOURCES = ("--job-name=", "--comment=", "--chdir=", "--output=", "--open-mode=")
_PATIENCE = 15.0
"""Seconds that a start waits for what Slurm says of accounts and reservations. Without an answer
it goes on, and Slurm decides."""

_STALE = 20.0
"""Seconds after which a look is too old to refuse a start by it."""


def this_host() -> str:
    """The name of a Hub that was given none."""
    return socket.gethostname().split(".")[0]


class SlurmJob(SlurmSpawner):
    """The settings of :class:`~.spawner.SlurmBackend`, and the job that they make."""

    home_template = Unicode(
        "",
        config=True,
        help="""
        Home directory of a user's jobs; ``{username}`` is replaced by the Hub's user name.

        Empty (the default): the home of the UNIX account that the job runs as. A path: that
        directory; where jobs run as the Hub's own account (no ``SlurmClient.run_as``) each job
        makes it if it is not there, for demonstrations.
        Example: c.SlurmBackend.home_template = "/home/{username}"
        """,
    )
    log_template = Unicode(
        "{home}/.panosc-{server}.log",
        config=True,
        help="""
        File for the job's output, on the cluster; ``{home}``, ``{username}`` and ``{server}``
        (``default`` or the server's name) are replaced, then ``%j`` by Slurm. Each start begins
        it anew, so that homes do not fill with logs. A profile's ``output`` wins.
        """,
    )
    job_path = Unicode(
        "/usr/local/bin:/usr/bin:/bin",
        config=True,
        help="PATH of the job before the environment is activated; the Hub's own is not sent.",
    )
    hub_name = Unicode(
        config=True,
        help="""
        Which Hub the jobs belong to, as part of their names. Default: this host's name.
        Two Hubs on one cluster need different names.
        """,
    )
    node_hosts = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        config=True,
        help="Host name or address for a Slurm node name, where they differ: {node: host}.",
    )
    connect_to = CaselessStrEnum(
        ["name", "address"],
        default_value="name",
        config=True,
        help="""
        How the Hub reaches a node: by its Slurm ``name``, or by the ``address`` (NodeAddr) that
        Slurm itself uses, for clusters whose node names do not resolve on the Hub's machine.
        """,
    )
    port_range = Unicode(
        "",
        config=True,
        help="""
        Ports from which a session chooses, as ``first-last``; empty: any free port. For
        firewalls. A node needs one port for each session that it may hold.
        """,
    )
    apptainer = List(
        Unicode(),
        default_value=["apptainer"],
        config=True,
        help="The container command and its global options, before ``exec``.",
    )
    site_profile = Unicode(
        "/etc/profile",
        config=True,
        help="Sourced when an environment has ``modules`` and there is no ``module`` command yet.",
    )

    @default("hub_name")
    def _default_hub_name(self) -> str:
        return this_host()

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        return ["JUPYTERHUB_SINGLEUSER_APP"]  # the Hub machine's PATH or conda mean nothing there

    @property
    def shared(self) -> Watchers:
        """The watchers of this process; needs a running event loop."""
        return watchers(self.config)

    @property
    def _run_as(self) -> bool:
        return bool(self.shared.client.run_as)

    def options(self, profile: Profile) -> SlurmOptions:
        """The profile's options over the ``req_*`` defaults. Raises :class:`SiteError`."""
        defaults = {k: v for k in DEFAULTS if (v := getattr(self, f"req_{k}"))}
        return validate_options({**defaults, **profile.options})

    def home(self) -> str:
        """Where the job's home is. Raises :class:`BackendError` if there is no such account."""
        if not _SAFE_NAME.fullmatch(self.user.name) or ".." in self.user.name:
            raise BackendError(
                f"The account name {self.user.name[:40]!r} cannot be used for a directory. "
                "Ask your administrators to map it to a plain one."
            )
        if self.home_template:
            return str(self.home_template.replace("{username}", self.user.name))
        try:
            account = pwd.getpwnam(self.user.name) if self._run_as else pwd.getpwuid(os.getuid())
        except KeyError:
            raise BackendError(
                f"There is no UNIX account {self.user.name!r} on the Hub's machine. "
                "Ask your administrators to create it."
            ) from None
        return account.pw_dir

    def get_env(self) -> dict[str, str]:
        """The job's whole environment, the session's token among it."""
        # UserEnvMixin would need a UNIX account of the Hub's user name.
        env = super(UserEnvMixin, self).get_env()
        env |= {"PATH": self.job_path, "USER": self.user.name, "LOGNAME": self.user.name}
        env |= {"HOME": self.home(), "SHELL": "/bin/bash"}
        for name in filter(None, (n.strip() for n in self.req_keepvars_extra.split(","))):
            if name in os.environ:
                env.setdefault(name, os.environ[name])
        return {name: str(value) for name, value in env.items()}

    def log_path(self, options: SlurmOptions) -> str:
        """The job's log, with Slurm's ``%j`` still in it."""
        return scripts.fill_path(
            options.output or self.log_template,
            home=self.home(),
            username=self.user.name,
            server=self.name,
        )

    def settled(self, launch: Launch) -> Settled:
        """The final options, by what is known now. Raises :class:`Refusal`, :class:`SiteError`."""
        options = self.options(launch.profile)
        return settle(
            options, launch, self.shared.standing(self.user.name, launch.profile, options)
        )

    async def settle(self, launch: Launch) -> Settled:
        """The final options at a start: waits for a look, and looks again before it refuses."""
        options, shared = self.options(launch.profile), self.shared
        await shared.at_hand(options, _PATIENCE)
        try:
            return self.settled(launch)
        except Refusal:
            looks = [
                shared.nodes.looked,
                shared.accounts.looked if options.needs_accounts else None,
            ]
            if all(at is None or time.time() - at < _STALE for at in looks):
                raise
        # Somebody may have been given an account a minute ago.
        await shared.at_hand(options, _PATIENCE, fresh=True)
        return self.settled(launch)

    def script(self, launch: Launch, name: str, options: SlurmOptions | None = None) -> str:
        """The batch script, of settled ``options`` (if none are given, by what is known now).

        Raises :class:`~panosc_hub.errors.PanoscError`.
        """
        options = options or self.settled(launch).options
        return scripts.render(self._parts(launch, name, options), launch, options)

    def _parts(self, launch: Launch, name: str, options: SlurmOptions) -> scripts.Script:
        return scripts.Script(
            name=name,
            comment=scripts.job_comment(self.hub_name, self.user.name, self.name),
            home=self.home(),
            output=self.log_path(options),
            path=self.job_path,
            command=(*launch.environment.command, *self.get_args()),
            start=session.source(),
            apptainer=tuple(self.apptainer),
            site_profile=self.site_profile,
            port_range=self.port_range,
            make_home=bool(self.home_template) and not self._run_as,
        )

    async def estimate(self, launch: Launch) -> Estimate | None:
        """When Slurm would start it. Raises :class:`~panosc_hub.errors.PanoscError`."""
        options = (await self.settle(launch)).options
        parts = self._parts(launch, self.new_name("test"), options)
        lines = scripts.directives(parts, launch, options)
        # What says nothing about resources would make every person's question another one.
        asked = [line for line in lines if not line.startswith(_NOT_RESOURCES)]
        account = self.user.name if self._run_as else ""
        return await self.shared.starts.estimate(asked, account, self.user.name)

    def new_name(self, token: str = "") -> str:
        """A name that no other job has, unless ``token`` is given."""
        return scripts.job_name(self.hub_name, self.user.name, self.name, token)

    def describe(self, launch: Launch) -> str:
        """The batch script that would be submitted, with packed parts left out."""
        return scripts.shorten(self.script(launch, self.new_name("dry-run")))
