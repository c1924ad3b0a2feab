"""A :class:`~panosc_hub.core.plan.Launch` to the text of a batch script. Pure but for reading
the script's template from the package.

What goes into a ``#SBATCH`` line must match one strict pattern whole; what goes into bash is
quoted by ``shlex``; the plan and the start-up file travel as base64. There are no secrets in
the script: sites may keep scripts for ever (``AccountingStoreFlags=job_script``).
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import secrets
import shlex
from dataclasses import dataclass

import jinja2

from ...core.plan import Launch
from ...core.quantities import slurm_duration
from ...errors import BackendError
from ...paths import template_path
from . import options as patterns
from .options import SlurmOptions
from .software import software

_TEMPLATE = "slurm/batch.sh.j2"
_ARGUMENT_LIMIT = 120_000
"""Bytes; Linux allows 128 KiB for one argument, and the start-up file is passed as one."""

_PATTERNS = {
    "job-name": r"[a-z0-9\-]{1,64}",
    "comment": r"[A-Za-z0-9_.:,=@\-]{1,250}",
    "chdir": patterns.PATH,
    "output": patterns.PATH,
    "nodes": r"[1-9][0-9]{0,3}",
    "ntasks": r"[1-9][0-9]{0,3}",
    "ntasks-per-node": r"1",
    "cpus-per-task": r"[1-9][0-9]{0,4}",
    "mem": r"[1-9][0-9]{0,9}M",
    "time": r"[0-9]{1,5}-[0-9]{2}:[0-9]{2}:[0-9]{2}",
    "gres": r"(gpu|shard)(:[A-Za-z0-9][A-Za-z0-9_.\-]{0,63})?:[1-9][0-9]{0,3}",
    "partition": patterns.NAMES,
    "account": patterns.NAME,
    "qos": patterns.NAME,
    "reservation": patterns.NAMES,
    "constraint": patterns.CONSTRAINT,
    "exclusive": r"user|mcs",
}


@dataclass(frozen=True, slots=True)
class Script:
    """What the script needs beside the launch; ``command`` is the argv of the server."""

    name: str
    comment: str
    home: str
    output: str
    path: str
    command: tuple[str, ...]
    start: str
    """Text of the session start-up file."""

    apptainer: tuple[str, ...] = ("apptainer",)
    site_profile: str = "/etc/profile"
    port_range: str = ""
    make_home: bool = False
    """The home may not be there yet: the job makes it, and only then opens its log."""


def job_name(hub: str, user: str, server: str, token: str = "") -> str:
    """A name by which the job is found even if sbatch's answer is lost; at most 64 characters."""

    def plain(text: str, limit: int) -> str:
        return re.sub(r"[^a-z0-9]+", "-", text.lower())[:limit].strip("-") or "x"

    parts = ("panosc", plain(hub, 12), plain(user, 20), plain(server or "default", 14))
    return "-".join((*parts, token or secrets.token_hex(4)))


def job_comment(hub: str, user: str, server: str) -> str:
    """For ``squeue -o %k`` and accounting: whose session this is."""

    def plain(text: str) -> str:
        return re.sub(r"[^A-Za-z0-9_.@\-]", "_", text)[:60]

    return f"panosc:hub={plain(hub)},user={plain(user)},server={plain(server)}"


def fill_path(template: str, *, home: str, username: str, server: str) -> str:
    """A log path from an admin's template; names are replaced as plain text, never formatted."""
    safe = re.sub(r"[^A-Za-z0-9_.\-]", "_", server) or "default"
    for name, value in (("home", home), ("username", username), ("server", safe)):
        template = template.replace("{" + name + "}", value)
    return template


def directives(script: Script, launch: Launch, options: SlurmOptions) -> list[str]:
    """The ``#SBATCH`` options. Raises :class:`BackendError` for a value of odd characters."""
    resources = launch.resources
    gpus = resources.gpus
    kind = launch.profile.gpus.kind if launch.profile.gpus else "gpu"
    values: dict[str, str] = {
        "job-name": script.name,
        "comment": script.comment,
        "chdir": "/" if script.make_home else script.home,
        "output": "/dev/null" if script.make_home else script.output,
        "partition": options.fixed("partition"),
        "account": options.fixed("account"),
        "qos": options.fixed("qos"),
        "reservation": options.fixed("reservation"),
        "constraint": options.fixed("constraint"),
        "exclusive": options.exclusive if isinstance(options.exclusive, str) else "",
        "nodes": str(options.nodes),
        # One task on each: with fewer tasks than nodes Slurm would take nodes away.
        "ntasks": str(options.nodes),
        "ntasks-per-node": "1" if options.nodes > 1 else "",
        "cpus-per-task": str(resources.cpus),
        "mem": f"{-(-resources.memory // 2**20)}M",
        "time": slurm_duration(resources.walltime) if resources.walltime else "",
        "gres": ":".join(filter(None, (kind, gpus.type, str(gpus.count)))) if gpus.count else "",
    }
    lines: list[str] = []
    for option, value in values.items():
        if not value:
            continue
        if not re.fullmatch(_PATTERNS[option], value):
            raise BackendError(
                f"The value {value[:60]!r} cannot be used for Slurm's option --{option}. "
                "Tell the facility's support.",
                reason="bad_option",
            )
        lines.append(f"--{option}={value}")
    lines.append("--requeue" if options.requeue else "--no-requeue")
    lines.append("--open-mode=truncate")
    lines += ["--exclusive"] if options.exclusive is True else []
    lines += ["--oversubscribe"] if options.oversubscribe else []
    return lines + list(options.extra)


def render(script: Script, launch: Launch, options: SlurmOptions) -> str:
    """The batch script. Raises :class:`BackendError` if something cannot be written safely."""
    if len(script.start) > _ARGUMENT_LIMIT:
        raise BackendError("The session start-up file is too long for one argument.")
    text: str = _template().render(
        directives=directives(script, launch, options),
        walltime=launch.resources.walltime or 0,
        home=shlex.quote(script.home),
        log=shlex.quote(script.output) if script.make_home else "",
        path=shlex.quote(script.path),
        site_profile=shlex.quote(script.site_profile) if script.site_profile else "",
        prologue=options.prologue.replace("\r\n", "\n").strip("\n"),
        apptainer=shlex.join(script.apptainer),
        port_range=shlex.quote(script.port_range) if script.port_range else "",
        command=shlex.join(script.command),
        start=pack(script.start),
        plan=pack(json.dumps(launch.plan.to_dict())),
        **software(launch),
    )
    return text


@functools.lru_cache(maxsize=8)
def pack(text: str) -> str:
    """gzip and base64 in short lines; the same text always gives the same lines.

    Remembered, for the session's start-up file is the same in every job.
    """
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return "\n".join(packed[i : i + 100] for i in range(0, len(packed), 100))


def shorten(script: str) -> str:
    """The script for people: packed parts and helpers are replaced by their length."""

    def note(match: re.Match[str]) -> str:
        return f"{match[1]}({len(match[2])} characters)\n{match[3]}"

    def helper(match: re.Match[str]) -> str:
        return f"# {match[1]} ({match[2].count(chr(10))} lines)"

    script = re.sub(r"(?ms)(<<'(?:PANOSC_\w+)'[^\n]*\n)(.*?\n)(PANOSC_\w+)$", note, script)
    return re.sub(r"(?ms)^# >>> ([^\n]*)\n(.*?\n)# <<<$", helper, script)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_path()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE)
