"""``panosc-hub kubernetes``: what an operator asks about the Kubernetes backend."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config

from ..core.quantities import show_duration
from ..errors import PanoscError
from .hubs import backend_class, load_hub, running_servers


@click.group()
def kubernetes() -> None:
    """Questions about the Kubernetes backend."""


@kubernetes.command("orphans")
@click.option("--delete", is_flag=True, help="Delete them.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option("--backend", default="kubernetes", help="Its name in site.yaml.")
@click.option("--hub-name", help="Its hub_name. Default: from --config, or this host.")
@click.option("--namespace", help="Where to look. Default: that of c.KubeSpawner.namespace.")
@click.option(
    "--db", metavar="URL", help="The Hub's database, such as sqlite:///jupyterhub.sqlite."
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="jupyterhub_config.py, for database, hub name and the cluster's settings.",
)
def list_orphans(
    delete: bool,
    as_json: bool,
    backend: str,
    hub_name: str | None,
    namespace: str | None,
    db: str | None,
    config_file: Path | None,
) -> None:
    """List pods of this Hub that no server in its database claims.

    The database is only read. The cluster is asked before it, so a session that starts meanwhile
    is never listed. Run it in the Hub's working directory if the database's path is relative.

    Exit status 0: none, or all are deleted. 1: there are some. 2: wrong call, or no answer.
    """
    if not db and not config_file:
        raise click.UsageError("give --db or --config: which database knows the Hub's servers?")
    config, db = load_hub(config_file, db)
    try:
        work = _orphans(config, db, backend, hub_name, namespace, delete)
        hub, found, left = asyncio.run(work)
    except (PanoscError, SQLAlchemyError, ValueError) as error:
        click.echo(f"panosc-hub: {error}", err=True)
        sys.exit(2)
    if as_json:
        rows = [asdict(pod) | ({"deleted": pod.uid not in left} if delete else {}) for pod in found]
        click.echo(json.dumps({"hub": hub, "orphans": rows}, indent=2))
    else:
        _print(hub, found, left, delete)
    sys.exit(1 if (left if delete else found) else 0)


async def _orphans(
    config: Config,
    db: str,
    name: str,
    hub_name: str | None,
    namespace: str | None,
    delete: bool,
) -> tuple[str, list[Any], dict[str, str]]:
    # Not at the top: a facility without Kubernetes has no KubeSpawner.
    from ..backends.kubernetes.client import where
    from ..backends.kubernetes.orphans import orphans, pods_of_hub
    from ..backends.kubernetes.pod import label
    from ..backends.kubernetes.shared import client_of
    from ..backends.kubernetes.spawner import KubernetesBackend

    kind = backend_class(config, name, KubernetesBackend)
    hub = label(hub_name or kind.configured("hub_name", config))
    everywhere = kind.configured("enable_user_namespaces", config) and not namespace
    place = "" if everywhere else namespace or kind.configured("namespace", config)
    client = client_of(config, kind)
    try:
        items: list[Any] = []
        query: dict[str, Any] = {"labelSelector": f"panosc-hub/hub={hub}", "limit": 500}
        while True:
            page = await client.request("GET", where("pods", place), query=query)
            items += page.get("items") or []
            if not (more := (page.get("metadata") or {}).get("continue")):
                break
            query["continue"] = more
        found = orphans(pods_of_hub(items, hub), running_servers(db), name)
        left: dict[str, str] = {}
        for pod in found if delete else ():
            path = where("pods", pod.namespace, pod.name)
            try:
                await client.request("DELETE", path, body={"preconditions": {"uid": pod.uid}})
            except PanoscError as error:
                left[pod.uid] = error.sentence
    finally:
        await client.close()
    return hub, found, left


def _print(hub: str, found: list[Any], left: dict[str, str], delete: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not found:
        console.print(f"no orphans of Hub {escape(hub)}")
        return
    columns = ("pod", "namespace", "state", "age", "user", "server")
    table = Table(*columns, *(["result"] if delete else []))
    table.box = None
    for pod in found:
        result = [escape(left.get(pod.uid, "deleted"))] if delete else []
        age = show_duration(max(0, int(time.time() - pod.created)))
        cells = (pod.name, pod.namespace, pod.phase, age, pod.user, pod.server or "(default)")
        table.add_row(*(escape(cell) for cell in cells), *result)
    console.print(table)
