"""``panosc-hub explain``: what a selection would do, in words; nothing is started.

The selection passes the same door, policy and catalogue as one from the form, and the backend's
own text is made by the code that would start the session. Hooks of the site's own are not run,
for nobody knows what else they do.
"""

from __future__ import annotations

import asyncio
import getpass
import inspect
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from jupyterhub.objects import Hub
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader
from traitlets.utils.importstring import import_item

from ..children import Children
from ..core import selection as door
from ..core.identity import Person
from ..core.plan import Launch, describe
from ..core.policy import GPU, PATH, Moment
from ..core.proposals import Mode
from ..core.quantities import format_gpus, human_memory
from ..core.selection import Selection
from ..errors import InvalidSelection, PanoscError, Problem, SiteError
from ..facility import FacilityService
from ..spawner import PanoscSpawner


@click.command()
@click.option("--site", type=click.Path(dir_okay=False, path_type=Path), help="The site.yaml.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The jupyterhub_config.py, for settings of the backends; it is run, as the Hub runs it.",
)
@click.option("--selection", required=True, metavar="JSON", help="What a user would choose.")
@click.option("--user", default=getpass.getuser, help="For whom; default: this account.")
@click.option("--group", "groups", multiple=True, help="A group of that user. May be repeated.")
@click.option("--role", "roles", multiple=True, help="A role of that user. May be repeated.")
@click.option("--admin", is_flag=True, help="The user is an admin of the Hub.")
@click.option("--server", default="", help="Name of the server; default: the unnamed one.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a site variable."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def explain(
    site: Path | None,
    config_file: Path | None,
    selection: str,
    user: str,
    groups: tuple[str, ...],
    roles: tuple[str, ...],
    admin: bool,
    server: str,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what a selection would do, without starting anything.

    Exit status 0: it would be started. 1: it is refused, with the sentence that the user would
    read. 2: wrong call.
    """
    variables = {}
    for text in settings:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{text!r} must be NAME=VALUE", param_hint="--set")
        variables[name] = value
    config = _load(config_file)
    ours = config.PanoscSpawner
    if site is None and "site" not in ours:
        raise click.UsageError("Give --site, or --config with a file that names the site.")
    person = Person(user, frozenset(groups), admin, roles=frozenset(roles))
    try:
        service = FacilityService.shared(
            site or ours.site, {**ours.get("site_variables", {}), **variables}
        )
        launch, text = asyncio.run(_explain(service, config, selection, person, server))
    except PanoscError as error:
        _refuse(error, as_json)
        sys.exit(1)
    click.echo(
        json.dumps(_body(launch, text), indent=2) if as_json else "\n".join(_words(launch, text))
    )


def _load(path: Path | None) -> Config:
    if path is None:
        return Config()
    folder = path.resolve().parent
    try:
        config: Config = PyFileConfigLoader(path.name, path=str(folder)).load_config()
    except Exception as error:  # whatever an admin's own Python raises
        raise click.ClickException(
            f"{path} cannot be run here: {type(error).__name__}: {error}. "
            "It needs what the Hub has: its account and its environment."
        ) from error
    return config


async def _explain(
    service: FacilityService, config: Config, selection: str, person: Person, server: str
) -> tuple[Launch, str]:
    try:
        options = json.loads(selection)
    except (ValueError, RecursionError):
        raise InvalidSelection([Problem("selection", "is not JSON")]) from None
    asked = door.parse(options)
    choice = service.choose(asked, person, moment=await _moment(config, service, asked))
    plan = await service.plan(choice, person)
    launch = service.launch(choice, plan, person)
    described = _child(config, launch, server).describe(launch)
    return launch, await described if inspect.isawaitable(described) else described


def _backends(config: Config) -> dict[str, Any]:
    return config.PanoscSpawner.get("backends") or PanoscSpawner.backends.default_args[0]


async def _moment(config: Config, service: FacilityService, asked: Selection) -> Moment:
    """What the backends offer, which are only asked where the answer depends on it.

    One that is away is no reason to refuse: a dry run does not need it.
    """
    site = service.site
    named = site.profile(asked.profile) if asked.profile else None
    profiles = (named,) if named else site.profiles
    backends = _backends(config)
    children = Children({"config": config}, lambda: backends, lambda name, child: None)
    now = children.moment(site)
    told = any(name not in (GPU, PATH) for name, _ in asked.choices)
    if not told and not any(profile.open_ranges for profile in profiles):
        return Moment(own_paths=now.own_paths)
    for name in {profile.backend for profile in profiles}:
        backend = children.backend(name)
        if backend is not None and backend.present(config):
            await backend.look(config)
    return replace(now, present=lambda profile: True)


def _child(config: Config, launch: Launch, server: str) -> Any:
    """The backend as the Hub would make it, but for a database and a token."""
    name = launch.profile.backend
    target = _backends(config).get(name)
    if target is None:
        raise SiteError(
            f"The backend {name!r} is not configured here; give --config with the file that names "
            "its class in c.PanoscSpawner.backends."
        )
    user = SimpleNamespace(
        name=launch.person.name,
        escaped_name=launch.person.name,
        url=f"/user/{launch.person.name}/",
        settings={},
        id=0,
    )
    backend = import_item(target) if isinstance(target, str) else target
    return backend(
        config=config,
        user=user,
        hub=Hub(),
        orm_spawner=SimpleNamespace(name=server, server=None, user_options={}),
    )


def _refuse(error: PanoscError, as_json: bool) -> None:
    if not as_json:
        click.echo(error.sentence, err=True)
        return
    problems = getattr(error, "problems", ())
    body = {
        "ok": False,
        "reason": error.reason,
        "message": error.sentence,
        "problems": [asdict(p) for p in problems],
    }
    click.echo(json.dumps(body, indent=2))


def _body(launch: Launch, text: str) -> dict[str, Any]:
    plan, resources = launch.plan.to_dict(), launch.resources
    plan["files"] = [
        {"path": f.path, "sha256": f.to_dict()["sha256"], "bytes": len(f.text.encode())}
        for f in launch.plan.files
    ]
    return {
        "ok": True,
        "user": launch.person.name,
        "selection": launch.selection.to_options(),
        "profile": launch.profile.id,
        "backend": launch.profile.backend,
        "environment": launch.environment.id,
        "resources": {
            "cpus": resources.cpus,
            "memory": resources.memory,
            "gpus": format_gpus(resources.gpus) if resources.gpus.count else None,
            "walltime": resources.walltime,
        },
        "plan": plan,
        "notices": list(launch.plan.notices),
        "backend_text": text,
    }


def _words(launch: Launch, text: str) -> list[str]:
    plan = launch.plan
    lines = [
        f"For {launch.person.name}: {launch.profile.title} on backend {launch.profile.backend}",
        f"Resources: {describe(launch.resources)}",
        f"Environment: {launch.environment.title} ({launch.environment.id})",
        *(f"Chosen {name}: {value}" for name, value in launch.selection.choices),
        f"Proposal: {plan.proposal or 'none'}",
    ]
    lines += [f"Dataset: {plan.dataset}"] if plan.dataset else []
    lines.append(f"Workspace: ~/{plan.workspace}" if plan.workspace else "Workspace: none")
    for area in plan.areas:
        mode = "read only" if area.mode == Mode.READ_ONLY else "read and write"
        lines.append(f"Data area {area.name}: {area.path} ({mode})")
    for file in plan.files:
        lines.append(f"File, unless it is there: {file.path} ({human_memory(len(file.text))})")
    for name, value in plan.environment.items():
        lines.append(f"Variable: {name}={value}")
    lines.append(f"Opens: {plan.open or 'the file browser'}")
    lines += [f"Notice: {notice}" for notice in plan.notices]
    return [*lines, "", f"What {launch.profile.backend} would be given:", "", text.rstrip("\n")]
