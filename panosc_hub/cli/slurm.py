"""``panosc-hub slurm``: what an operator asks about the SLURM backend."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from ..backends.slurm.client import SlurmClient, own_account
from ..backends.slurm.facts import FactFinder
from ..backends.slurm.job import this_host
from ..backends.slurm.orphans import FORMAT, Job, jobs_of_hub, orphans
from ..errors import BackendUnavailable, PanoscError
from .hubs import load_hub, running_servers


@click.group()
def slurm() -> None:
    """Questions about the SLURM backend."""


@slurm.command("orphans")
@click.option("--cancel", is_flag=True, help="Cancel them.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--hub-name", help="SlurmBackend.hub_name. Default: from --config, or this host.")
@click.option(
    "--db", metavar="URL", help="The Hub's database, such as sqlite:///jupyterhub.sqlite."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="jupyterhub_config.py, for database, hub name and SlurmClient's settings.",
)
def list_orphans(
    cancel: bool, as_json: bool, hub_name: str | None, db: str | None, config_file: Path | None
) -> None:
    """List jobs of this Hub that no server in its database claims.

    The database is only read. Slurm is asked before it, so a session that starts meanwhile is
    never listed. Run it in the Hub's working directory if the database's path is relative.

    Exit status 0: none, or all are cancelled. 1: there are some. 2: wrong call, or no answer.
    """
    if not db and not config_file:
        raise click.UsageError("give --db or --config: which database knows the Hub's servers?")
    config, db = load_hub(config_file, db)
    hub = hub_name or config.SlurmBackend.get("hub_name") or this_host()
    client = SlurmClient(config=config)
    try:
        found = asyncio.run(_find(client, hub, db))
        left = asyncio.run(_cancel(client, found)) if cancel else {}
    except (PanoscError, SQLAlchemyError, ValueError) as error:
        click.echo(f"panosc-hub: {error}", err=True)
        sys.exit(2)
    if as_json:
        rows = [
            asdict(job) | ({"cancelled": job.name not in left} if cancel else {}) for job in found
        ]
        click.echo(json.dumps({"hub": hub, "orphans": rows}, indent=2))
    else:
        _print(hub, found, left, cancel)
    sys.exit(1 if (left if cancel else found) else 0)


async def _find(client: SlurmClient, hub: str, db: str) -> list[Job]:
    facts = FactFinder(client, log=logging.getLogger(__name__))  # not the Hub's, which talks
    await facts.renew()
    if facts.others_hidden:
        # "None" would be a claim about what this account cannot see.
        raise BackendUnavailable(
            f"Slurm's PrivateData hides other people's jobs from {own_account()}; run this as "
            "root, as SlurmUser or as a Slurm operator."
        )
    answer = await client.query("squeue", "--states=all", f"--format={FORMAT}")
    return orphans(jobs_of_hub(answer, hub), running_servers(db), hub)


async def _cancel(client: SlurmClient, found: list[Job]) -> dict[str, str]:
    """Why each job that Slurm did not cancel was not, by its name."""
    left = {}
    for job in found:
        try:
            await client.cancel(job.name, job.job_id, job.account)
        except PanoscError as error:
            left[job.name] = error.sentence
    return left


def _print(hub: str, found: list[Job], left: dict[str, str], cancel: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not found:
        console.print(f"no orphans of Hub {escape(hub)}")
        return
    table = Table("job", "state", "account", "since", "name", *(["result"] if cancel else []))
    table.box = None
    for job in found:
        result = [escape(left.get(job.name, "cancelled"))] if cancel else []
        cells = (job.job_id, job.state, job.account, job.start, job.name)
        table.add_row(*(escape(cell) for cell in cells), *result)
    console.print(table)
