"""What kind of Slurm it is: release, what it hides from the Hub's account, accounting.

Asked at the start and again now and then, for an administrator may change it at any time.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from traitlets.config import LoggingConfigurable

from ...errors import BackendUnavailable
from .client import SlurmClient, own_account
from .parse import parse_config

OLDEST = (22, 5)
"""The oldest release that this package is tried with."""

RENEW = 600.0
"""Seconds for which the facts are good, unless something hangs on them right now."""

HINT = (
    "Slurm's PrivateData hides the users' jobs from the Hub's account, so each person's jobs are "
    "asked for as that person. One question for all would do if that account were a Slurm operator "
    "(sacctmgr modify user {account} set AdminLevel=Operator)"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """``scontrol show config``, as far as it matters here."""

    version: str
    release: tuple[int, int] | None
    hides_jobs: bool
    slurm_user: str
    accounting: bool


def read_facts(text: str) -> Facts:
    """Raises :class:`Garbled` for an answer that is not scontrol's. Pure."""
    settings = parse_config(text)
    version = settings["SLURM_VERSION"]
    found = re.match(r"(\d{1,2})\.(\d{1,2})\b", version)
    hidden = {word.strip().lower() for word in settings.get("PrivateData", "").split(",")}
    return Facts(
        version=version,
        release=(int(found.group(1)), int(found.group(2))) if found else None,
        hides_jobs=bool(hidden & {"jobs", "all"}),
        slurm_user=settings.get("SlurmUser", "").partition("(")[0],
        accounting=settings.get("AccountingStorageType", "").endswith("/slurmdbd"),
    )


def read_level(text: str, account: str) -> str:
    """The AdminLevel of ``account`` from ``sacctmgr --parsable2 show user``; "" if not told."""
    for line in text.splitlines():
        name, _, level = line.strip().partition("|")
        if name == account:
            return level
    return ""


class FactFinder(LoggingConfigurable):
    """Asks for the facts and keeps them."""

    def __init__(self, client: SlurmClient, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.known: Facts | None = None
        self._asked = -1e9
        self._operator = False
        self._said: set[str] = set()

    @property
    def accounting(self) -> bool:
        """Whether slurmdbd keeps what became of jobs."""
        return self.known is not None and self.known.accounting

    @property
    def others_hidden(self) -> bool:
        """Whether other people's jobs cannot be seen, nor counted, by the Hub's account."""
        return self.known is not None and self.known.hides_jobs and not self._operator

    @property
    def ours_hidden(self) -> bool:
        """Whether that holds for the sessions' jobs: they belong to their users' accounts."""
        return self.others_hidden and bool(self.client.run_as)

    async def renew(self, max_age: float = RENEW) -> None:
        """Ask unless it was asked in the last ``max_age`` seconds.

        Raises :class:`BackendUnavailable` or :class:`Garbled`; then the last facts stay.
        """
        now = time.monotonic()
        if self.known is not None and now - self._asked < max_age:
            return
        facts = read_facts(await self.client.query("scontrol", "show", "config"))
        if facts.hides_jobs:
            self._operator = await self._is_operator(facts)
        self.known, self._asked = facts, now
        self._tell(facts)

    async def _is_operator(self, facts: Facts) -> bool:
        account = own_account()
        if os.geteuid() == 0 or account == facts.slurm_user:
            return True
        if not facts.accounting:
            return False  # there are no operators without it
        try:
            answer = await self.client.query(
                "sacctmgr", "--readonly", "--parsable2", "--noheader",
                "show", "user", account, "format=User,AdminLevel",
            )  # fmt: skip
        except BackendUnavailable as error:
            self.log.info("Whether %s is a Slurm operator is not known: %s", account, error)
            return self._operator
        return read_level(answer, account) in ("Operator", "Administrator")

    def _tell(self, facts: Facts) -> None:
        if facts.release is None or facts.release < OLDEST:
            self._once(
                f"Slurm {facts.version} is not a release that this package is tried with "
                f"({OLDEST[0]}.{OLDEST[1]:02} and newer)"
            )
        else:
            self._once(f"Slurm {facts.version}", warn=False)
        if self.ours_hidden:
            self._once(HINT.format(account=own_account()))

    def _once(self, text: str, *, warn: bool = True) -> None:
        if text not in self._said:
            self._said.add(text)
            (self.log.warning if warn else self.log.info)(text)
