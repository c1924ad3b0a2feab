"""A profile's ``options`` for Slurm, checked when ``site.yaml`` is loaded. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ...core.choices import valid
from ...errors import SiteError

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+:\-]{0,127}"
"""One Slurm name: partition, account, QOS, reservation."""

NAMES = rf"{NAME}(,{NAME}){{0,31}}"
CONSTRAINT = r"[A-Za-z0-9_.:&|!()*\[\]\-]{1,255}"
PATH = r"/[A-Za-z0-9_./%@+=,\-]{0,900}"
"""A path in a ``#SBATCH`` line, with Slurm's ``%j`` and the like; no blanks, no quotes."""

EXTRA = r"--[a-z][a-z0-9\-]{1,40}(=[A-Za-z0-9_.:/%@+,&|!()*\[\]=\-]{1,255})?"
_OURS = re.compile(
    "array|chdir|comment|cpus-per-task|error|export|export-file|get-user-env|gid|gpus|gres|help|"
    "input|job-name|mem|no-requeue|nodes|ntasks|ntasks-per-node|output|parsable|requeue|"
    "test-only|time|uid|usage|version|wait|wrap"
)

CHOOSABLE = ("partition", "account", "qos", "reservation", "constraint")
"""The options that may be more than a fixed text."""

FIELDS = ("proposal", "instrument")
"""What a rule's text may name in braces."""


def _fit(pattern: str, value: str) -> str:
    # ``fullmatch``: with ``match`` and ``$`` a final newline would pass.
    if value and not re.fullmatch(pattern, value):
        raise ValueError(f"{value[:60]!r} has characters that Slurm names do not have")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Mine(_Part):
    """``{mine: true}``: the user chooses among those that Slurm says they have."""

    mine: Literal[True]


class ByProposal(_Part):
    """``{proposal: "{proposal}-beamtime", otherwise: …}``: what belongs to the proposal.

    Used if there is one of that name and the user may use it; ``otherwise`` in all other cases.
    """

    proposal: str = Field(max_length=128)
    otherwise: str | tuple[str, ...] | Mine = ""

    def fill(self, fields: Mapping[str, str | None]) -> str:
        """The name for this proposal; empty if a field of it is not known."""
        text = self.proposal
        for name in FIELDS:
            if "{" + name + "}" in text:
                value = fields.get(name) or ""
                # The catalogue's texts become part of a Slurm name, or of nothing.
                if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}", value):
                    return ""
                text = text.replace("{" + name + "}", value)
        return text


Plain = str | tuple[str, ...] | Mine
"""A fixed text, a list to choose from (the default first), or what the user has."""

Choice = Plain | ByProposal


def _choice(pattern: str, mine: bool) -> tuple[BeforeValidator, AfterValidator]:
    """What the file says to a :data:`Choice`, then its texts against ``pattern``."""

    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            body = dict(value)
            if "proposal" in body:
                if "otherwise" in body:
                    body["otherwise"] = read(body["otherwise"])
                    if isinstance(body["otherwise"], ByProposal):
                        raise ValueError("'otherwise' is a text, a list or {mine: true}")
                return _model(ByProposal, body)
            return _model(Mine, body)
        if isinstance(value, (list, tuple)):
            if not value or not all(isinstance(item, str) for item in value):
                raise ValueError("a list needs at least one text, and nothing but texts")
            if len(value) > 64 or len(set(value)) != len(value):
                raise ValueError("a list has at most 64 entries, none of them twice")
            return tuple(value)
        if isinstance(value, str):
            return value
        raise ValueError("is a text, a list, {mine: true} or {proposal: …, otherwise: …}")

    def check(value: Choice) -> Choice:
        if isinstance(value, Mine) and not mine:
            raise ValueError("{mine: true} is for account, qos and reservation")
        if isinstance(value, ByProposal):
            named = set(re.findall(r"\{(.*?)\}", value.proposal))
            if not named or named - set(FIELDS):
                raise ValueError("'proposal' must name {proposal} or {instrument}, nothing else")
            _fit(pattern, re.sub(r"\{\w+\}", "x", value.proposal))
            check(value.otherwise)
        elif isinstance(value, tuple):
            for item in value:
                _fit(pattern, item)
                if not valid(item):
                    raise ValueError(f"{item[:60]!r} cannot be chosen: too odd for a form or link")
        elif isinstance(value, str):
            _fit(pattern, value)
        return value

    return BeforeValidator(read), AfterValidator(check)


def _model(model: type[_Part], body: Mapping[str, Any]) -> _Part:
    """Its mistakes in one sentence: pydantic would tell them for each type of the union."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        where = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
        raise ValueError(
            f"{where or 'it'}: not understood; write a text, a list, {{mine: true}} or "
            "{proposal: …, otherwise: …}"
        ) from None


def _extra(value: Any) -> Any:
    for item in value if isinstance(value, (list, tuple)) else ():
        if not isinstance(item, str) or not re.fullmatch(EXTRA, item):
            raise ValueError(f"{item!r:.60} is not of the form --option or --option=value")
        if _OURS.fullmatch(item[2:].partition("=")[0]):
            raise ValueError(f"{item:.60} is set by panosc_hub itself")
    return value


_NAMES = _choice(NAMES, mine=False)
_NAME = _choice(NAME, mine=True)
_RESERVATION = _choice(NAMES, mine=True)
_CONSTRAINT = _choice(CONSTRAINT, mine=False)


class SlurmOptions(BaseModel):
    """Keys that ``profiles[].options`` may have when ``backend`` is ``slurm``.

    Resources are not here: CPUs, memory, GPUs and wall time come from the profile itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Annotated[Choice, *_NAMES] = Field(
        default="", description="Partition, or several joined by commas; empty: the default one."
    )
    account: Annotated[Choice, *_NAME] = ""
    qos: Annotated[Choice, *_NAME] = ""
    reservation: Annotated[Choice, *_RESERVATION] = ""
    constraint: Annotated[Choice, *_CONSTRAINT] = Field(
        default="", description="Node features, in Slurm's syntax, for example a100&nvlink."
    )
    nodes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Nodes of the job; resources are for each. The session is on the first.",
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

    def texts(self, name: str) -> tuple[str, ...]:
        """Every text that the file itself gives for ``name``: fixed, listed, or otherwise."""
        value = getattr(self, name)
        if isinstance(value, ByProposal):
            value = value.otherwise
        if isinstance(value, Mine):
            return ()
        return value if isinstance(value, tuple) else (value,)

    def fixed(self, name: str) -> str:
        """What an untouched form means, as far as the file alone tells."""
        return next(iter(self.texts(name)), "")

    @property
    def needs_accounts(self) -> bool:
        """Whether it matters which accounts a user has."""
        return any(getattr(self, name) for name in ("account", "qos", "reservation"))


def validate_options(options: Mapping[str, Any]) -> SlurmOptions:
    """The model of ``options``. Raises :class:`SiteError` naming every mistake."""
    try:
        return SlurmOptions.model_validate(dict(options))
    except ValidationError as error:
        raise SiteError("Slurm options: " + "; ".join(_sentences(error))) from None


_known: dict[int, tuple[Mapping[str, Any], Mapping[str, Any], SlurmOptions]] = {}


def known_options(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> SlurmOptions:
    """:func:`validate_options` of ``options`` over ``defaults``, once for the same two objects:
    every page asks for every profile. Raises :class:`SiteError`."""
    known = _known.get(id(options))
    if known is not None and known[0] is options and known[1] is defaults:
        return known[2]
    made = validate_options({**defaults, **options})
    if len(_known) > 1000:
        _known.clear()  # of sites that have changed since
    _known[id(options)] = (options, defaults, made)
    return made


def _sentences(error: ValidationError) -> Iterable[str]:
    # One mistake in a union is told once, though each of its types complains.
    told: dict[str, str] = {}
    for each in error.errors():
        where = str(each["loc"][0]) if each["loc"] else "options"
        told.setdefault(where, each["msg"].removeprefix("Value error, "))
    return (f"{where}: {what}" for where, what in told.items())
