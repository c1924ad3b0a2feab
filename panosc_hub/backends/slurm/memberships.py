"""Who has which accounts and QOS: one cached look at Slurm's accounting for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from traitlets import Float

from ...errors import BackendUnavailable
from .accounts import (
    ASSOCIATIONS,
    QOS,
    USERS,
    Accounts,
    parse_associations,
    parse_qos,
    parse_users,
)
from .client import SlurmClient, own_account
from .parse import Garbled, parse_config
from .renewed import Renewed

_ENFORCING = {"associations", "limits", "qos", "safe", "wckeys", "all"}
"""Words of AccountingStorageEnforce with which Slurm refuses jobs of foreign accounts."""

_AGAIN = 60.0
"""Seconds after which a look that failed is tried again."""


class AccountWatcher(Renewed):
    """The shared snapshot of Slurm's associations; nobody asks where no profile needs it."""

    interval = Float(
        600,
        min=1,
        config=True,
        help="""
        Seconds for which one look at the accounts, QOS and users is good. Long, for they change
        rarely and a big site has tens of thousands of rows; before a start is refused for a
        missing account, Slurm is asked again.
        """,
    )

    def __init__(self, client: SlurmClient, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.accounts: Accounts | None = None
        """What the last good look told; without accounting in Slurm: that there is nothing."""

    def snapshot(self) -> Accounts | None:
        """What is known, None if nothing is. Returns at once."""
        self.renew()
        return self.accounts

    async def _look(self) -> None:
        try:
            self.accounts = await self._ask()
        except (BackendUnavailable, Garbled) as error:
            self.trouble = str(error)
            self._tried = min(self._tried, time.monotonic() - self.interval + _AGAIN)
            self.client.complain(self.log, f"The look at Slurm's accounts failed: {error}")
        else:
            self.looked, self.trouble = time.time(), ""

    async def _ask(self) -> Accounts:
        settings = parse_config(await self.client.query("scontrol", "show", "config"))
        if not settings.get("AccountingStorageType", "").endswith("/slurmdbd"):
            return Accounts()
        ask = ("sacctmgr", "--readonly", "--parsable", "show")
        texts = await asyncio.gather(
            self.client.query(
                *ask,
                "associations",
                f"cluster={settings.get('ClusterName', '')}",
                f"format={','.join(ASSOCIATIONS)}",
            ),
            self.client.query(*ask, "user", f"format={','.join(USERS)}"),
            self.client.query(*ask, "qos", f"format={','.join(QOS)}"),
        )
        # In a thread: a big site has tens of thousands of rows, and pages must not wait for them.
        return await asyncio.to_thread(_read, *texts, settings)


def _read(associations: str, users: str, qos: str, settings: Mapping[str, str]) -> Accounts:
    rows = parse_associations(associations)
    enforced = {
        word.strip().lower() for word in settings.get("AccountingStorageEnforce", "").split(",")
    }
    return Accounts(
        rows,
        parse_users(users),
        enforced=bool(enforced & _ENFORCING),
        qos_enforced=bool(enforced & {"qos", "all"}),
        longest=parse_qos(qos) if enforced & {"limits", "safe", "qos", "all"} else {},
        # Slurm may show to an account like the Hub's nothing but its own rows.
        complete=any(row.user not in ("", own_account()) for row in rows),
    )
