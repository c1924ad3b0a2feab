"""How jobs ended, from Slurm's own records: ``sacct``, or ``scontrol`` where there is no slurmdbd.

Asked for several jobs at once, and only for those that the queue does not show any more or whose
end needs a better word than the queue's. No answer changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

from traitlets.config import LoggingConfigurable

from ...core.jobstate import JobState
from ...errors import BackendError, BackendUnavailable
from .facts import FactFinder
from .ledger import Ending, Question
from .parse import STATES, Garbled, after_header, parse_exit

SACCT_FORMAT = "JobIDRaw,State,ExitCode,UID,JobName"
"""The name comes last, for users may change it to anything; it must be the job's own."""

_HEADER = "JobIDRaw|State|ExitCode|UID|JobName"
PATIENCE = 5.0
"""Seconds: a slow slurmdbd must not hold up the look at the queue."""

MANY = 20
"""Where jobs are hidden: so many people's records are asked for in one look."""

PAUSE = 60.0
"""Seconds for which records that did not answer are left alone."""


def parse_endings(
    text: str, names: Mapping[str, str], *, told_apart: bool = True
) -> dict[str, Ending]:
    """Rows of ``sacct --parsable2 --format=SACCT_FORMAT`` for jobs that ended, by id. Pure.

    ``names``: the name that each id must have, for Slurm may count ids from 1 again. A row in
    another shape is passed over. ``told_apart``: whether the job's account is the person and not
    the Hub. Raises :class:`Garbled` for an answer that is not sacct's.
    """
    found: dict[str, Ending] = {}
    for line in after_header(text, _HEADER, "sacct"):
        cells = line.split("|", 4)
        if len(cells) != 5 or names.get(cells[0]) != cells[4]:
            continue
        state, _, by = cells[1].partition(" by ")
        # PREEMPTED is an end here: sacct shows the job's last run, and it is not in the queue.
        if STATES.get(state) is not JobState.GONE and state != "PREEMPTED":
            continue
        code = re.fullmatch(r"(\d{1,3}):(\d{1,3})", cells[2])
        found[cells[0]] = Ending(
            state=state,
            exit_code=(int(code.group(1)), int(code.group(2))) if code else None,
            by_owner=by == cells[3] if by.isdecimal() and told_apart else None,
        )
    return found


class Evidence(LoggingConfigurable):
    """Asks Slurm's records."""

    def __init__(self, facts: FactFinder, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.facts = facts
        self.client = facts.client
        self._not_before = -1e9

    async def endings(
        self, missing: Sequence[Question], failed: Sequence[Question]
    ) -> dict[str, Ending]:
        """How these jobs ended, by id, as far as it is known. Never raises.

        ``missing`` are not in the queue any more; ``failed`` are, and ended in a way that the
        queue tells too little of.
        """
        if (not missing and not failed) or time.monotonic() < self._not_before:
            return {}
        try:
            async with asyncio.timeout(PATIENCE):
                if self.facts.accounting:
                    return await self._recorded([*missing, *failed])
                return await self._exits(failed)
        except (BackendUnavailable, BackendError, Garbled, TimeoutError) as error:
            self._not_before = time.monotonic() + PAUSE
            self.log.info("Slurm's records tell nothing: %s", error or "no answer in time")
            return {}

    async def _recorded(self, jobs: Sequence[Question]) -> dict[str, Ending]:
        hidden = self.facts.ours_hidden
        accounts = sorted({job.account if hidden else "" for job in jobs})[:MANY]
        answers = await asyncio.gather(
            *(self._sacct([j for j in jobs if not a or j.account == a], a) for a in accounts),
            return_exceptions=True,
        )
        told = [answer for answer in answers if isinstance(answer, dict)]
        if not told and isinstance(answers[0], BaseException):
            raise answers[0]
        return {job_id: ending for answer in told for job_id, ending in answer.items()}

    async def _sacct(self, jobs: Sequence[Question], account: str) -> dict[str, Ending]:
        names = {job.job_id: job.name for job in jobs}
        arguments = ("--allocations", "--parsable2", f"--format={SACCT_FORMAT}")
        ids = f"--jobs={','.join(sorted(names))}"
        answer = await self.client.query("sacct", *arguments, ids, username=account)
        return parse_endings(answer, names, told_apart=bool(self.client.run_as))

    async def _exits(self, jobs: Sequence[Question]) -> dict[str, Ending]:
        """The exit codes that slurmctld still knows; it has no question for several jobs."""
        found = {}
        # Where jobs are hidden, scontrol is not among the commands that may run as a user.
        for job in jobs[:3] if not self.facts.ours_hidden else ():
            answer = await self.client.query("scontrol", "-o", "show", "job", job.job_id)
            if f"JobName={job.name} " in answer and "JobState=FAILED " in answer:
                found[job.job_id] = Ending("FAILED", parse_exit(answer))
        return found
