"""A Slurm whose answers are written down, for what the real one cannot be made to say in a test."""

from __future__ import annotations

import asyncio

from traitlets.config import Config

from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.watcher import SlurmWatcher
from panosc_hub.errors import BackendUnavailable

HEADER = "JOBID|STATE|EXEC_HOST|USER|START_TIME|TIME_LEFT|REASON|.\n"
NOTHING = HEADER
AWAY = BackendUnavailable("SLURM does not answer.")


def listed(state: str, job: str = "7", user: str = "paula", reason: str = "None") -> str:
    return HEADER + f"{job}|{state}|cn1|{user}|N/A|1:00|{reason}|.\n"


def named(answer: str, name: str) -> str:
    """The same answer with the column that squeue was asked for."""
    lines = [line.removesuffix(".") for line in answer.splitlines()]
    return "".join(f"{line}{'NAME' if i == 0 else name}|.\n" for i, line in enumerate(lines))


class Scripted(SlurmClient):
    """Answers squeue from a list, the last one for ever, and counts."""

    def __init__(self, *answers: str | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.cancelled: list[str] = []
        self.cancels: list[Exception | None] = []
        self.private = "none"
        self.accounting = "none"
        self.level = "None"
        self.version = "22.05.8"
        self.slurm_user = "slurm"
        self.facts_asked = 0
        self.shown = ""
        self.records: list[str | Exception] = [""]
        self.recorded: list[tuple[str, ...]] = []
        self.asked_as: list[str] = []

    async def query(self, command: str, *arguments: str, username: str = "") -> str:
        await asyncio.sleep(0)
        if arguments == ("show", "config"):
            self.facts_asked += 1
            return (
                f"PrivateData = {self.private}\nSLURM_VERSION = {self.version}\n"
                f"AccountingStorageType = accounting_storage/{self.accounting}\n"
                f"SlurmUser = {self.slurm_user}(64030)\n"
            )
        if command == "scontrol":
            return self.shown
        if command == "sacctmgr":
            return f"{arguments[-2]}|{self.level}\n"
        if command == "sacct":
            self.recorded.append(arguments)
            record = self.records.pop(0) if len(self.records) > 1 else self.records[0]
            if isinstance(record, Exception):
                raise record
            return record
        self.asked_as.append(username)
        self.asked.append(arguments)
        names = [a.removeprefix("--name=") for a in arguments if a.startswith("--name=")]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return named(answer, names[0]) if names else answer

    async def cancel(self, name: str, job_id: str, username: str) -> None:
        error = self.cancels.pop(0) if self.cancels else None
        if error:
            raise error
        self.cancelled.append(name)


def make(*answers: str | Exception, **settings: float) -> tuple[SlurmWatcher, Scripted]:
    client = Scripted(*answers)
    config = Config({"SlurmWatcher": settings})
    return SlurmWatcher(client, config=config), client
