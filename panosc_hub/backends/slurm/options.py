"""A profile's ``options`` for Slurm, checked when ``site.yaml`` is loaded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ...errors import SiteError

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+:\-]{0,127}"
"""One Slurm name: partition, account, QOS, reservation."""

NAMES = rf"{NAME}(,{NAME}){{0,31}}"
CONSTRAINT = r"[A-Za-z0-9_.:&|!()*\[\]\-]{1,255}"
PATH = r"/[A-Za-z0-9_./%@+=,\-]{0,900}"
"""A path in a ``#SBATCH`` line, with Slurm's ``%j`` and the like; no blanks, no quotes."""

EXTRA = r"--[a-z][a-z0-9\-]{1,40}(=[A-Za-z0-9_.:/%@+,&|!()*\[\]=\-]{1,255})?"
_OURS = re.compile(
    "array|chdir|comment|cpus-per-task|error|export|export-file|get-user-env|gid|gres|help|input|"
    "job-name|mem|no-requeue|nodes|ntasks|output|parsable|requeue|test-only|time|uid|usage|"
    "version|wait|wrap"
)


def _exact(pattern: str) -> BeforeValidator:
    """``fullmatch``: with ``match`` and ``$`` a final newline would pass."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value and not re.fullmatch(pattern, value):
            raise ValueError(f"{value[:60]!r} has characters that Slurm names do not have")
        return value

    return BeforeValidator(check)


def _extra(value: Any) -> Any:
    for item in value if isinstance(value, (list, tuple)) else ():
        if not isinstance(item, str) or not re.fullmatch(EXTRA, item):
            raise ValueError(f"{item!r:.60} is not of the form --option or --option=value")
        if _OURS.fullmatch(item[2:].partition("=")[0]):
            raise ValueError(f"{item:.60} is set by panosc_hub itself")
    return value


class SlurmOptions(BaseModel):
    """Keys that ``profiles[].options`` may have when ``backend`` is ``slurm``.

    Resources are not here: CPUs, memory, GPUs and wall time come from the profile itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Annotated[str, _exact(NAMES)] = Field(
        default="", description="Partition, or several joined by commas; empty: the default one."
    )
    account: Annotated[str, _exact(NAME)] = ""
    qos: Annotated[str, _exact(NAME)] = ""
    reservation: Annotated[str, _exact(NAMES)] = ""
    constraint: Annotated[str, _exact(CONSTRAINT)] = Field(
        default="", description="Node features, in Slurm's syntax, for example a100&nvlink."
    )
    exclusive: bool | Literal["user", "mcs"] = Field(
        default=False, description="Share the node with nobody (true), or the user's own jobs."
    )
    oversubscribe: bool = False
    requeue: bool = Field(
        default=False,
        description="Let Slurm start the job anew after a node failure. Off: the new server "
        "would be at another address, so the session ends and the user starts again.",
    )
    output: str = Field(
        default="",
        max_length=500,
        description="The log; {home}, {username} and {server} are filled in, then %j by Slurm.",
    )
    prologue: str = Field(
        default="",
        max_length=20_000,
        description="Bash lines run before the environment is activated, as the user.",
    )
    extra: Annotated[tuple[str, ...], BeforeValidator(_extra)] = Field(
        default=(), description="Other sbatch options, each as --option or --option=value."
    )


def validate_options(options: Mapping[str, Any]) -> SlurmOptions:
    """The model of ``options``. Raises :class:`SiteError` naming every mistake."""
    try:
        return SlurmOptions.model_validate(dict(options))
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(p) for p in each['loc']) or 'options'}: "
            + each["msg"].removeprefix("Value error, ")
            for each in error.errors()
        ]
        raise SiteError("Slurm options: " + "; ".join(problems)) from None
