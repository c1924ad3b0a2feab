"""``panosc-hub``: check a site before a user meets its mistakes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from traitlets.utils.importstring import import_item

from .. import __version__
from ..core.plan import describe
from ..core.profiles import Profile, Wish, resolve
from ..facility import FacilityService
from ..site import Mistake, SiteMistakes, line_of, plain, read_yaml
from ..spawner import PanoscSpawner
from .explain import explain
from .kubernetes import kubernetes
from .migrate import migrate
from .slurm import slurm


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="panosc-hub")
def main() -> None:
    """Tools for facilities that run panosc_hub."""


main.add_command(explain)
main.add_command(migrate)
main.add_command(slurm)
main.add_command(kubernetes)


@main.command()
@click.argument("site", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Override a variable of the site, as site_variables does. May be repeated.",
)
def check(site: Path, as_json: bool, settings: tuple[str, ...]) -> None:
    """Check SITE (site.yaml): every mistake with file, line and what to write instead.

    Exit status 0: good. 1: mistakes. 2: wrong call.
    """
    variables = dict(_pair(s) for s in settings)
    site = site.resolve()
    # What the library logs for an operator is told here as a mistake.
    logging.getLogger("panosc_hub").addHandler(logging.NullHandler())
    mistakes: list[Mistake] = []
    service = None
    try:
        mistakes += backend_mistakes(site)
        service = FacilityService.shared(site, variables)
        service.templates()
        mistakes += [Mistake(str(site), 0, "templates", p) for p in service.template_problems]
        mistakes += service.catalogue_mistakes()
    except SiteMistakes as error:
        mistakes = sorted([*mistakes, *error.mistakes], key=lambda m: m.line)
    if as_json:
        body = [
            {"file": m.file, "line": m.line, "where": m.where, "message": m.message}
            for m in mistakes
        ]
        notes = _notes(service)
        click.echo(json.dumps({"ok": not mistakes, "mistakes": body, "notes": notes}, indent=2))
    else:
        _print(site, service, mistakes)
    sys.exit(1 if mistakes else 0)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.BadParameter(f"{text!r} must be NAME=VALUE", param_hint="--set")
    return name, value


def _our_backends() -> Mapping[str, str]:
    """Those that every Hub has, by the default of ``c.PanoscSpawner.backends``."""
    defaults = PanoscSpawner.backends.default_args
    return defaults[0] if defaults else {}


def _notes(service: FacilityService | None) -> list[str]:
    """What may be right, and is worth a second look."""
    try:
        profiles = service.site.profiles if service else ()
    except SiteMistakes:
        return []
    strange = sorted({p.backend for p in profiles} - set(_our_backends()))
    return [
        f"Profiles with 'backend: {name}' are not shown unless c.PanoscSpawner.backends in "
        f"jupyterhub_config.py has {name}."
        for name in strange
    ]


def backend_mistakes(path: Path) -> Iterable[Mistake]:
    """What each backend says about its profiles; those broken by themselves are left out."""
    document = read_yaml(path)
    listed = document.get("profiles") if isinstance(document, Mapping) else None
    known = _our_backends()
    for index, entry in enumerate(listed if isinstance(listed, list) else ()):
        try:
            profile = Profile.model_validate(plain(entry))
        except ValueError:  # the site's own mistakes tell it
            continue
        line = line_of(document, ("profiles", index))
        target = known.get(profile.backend)
        if target is None:
            # It may be wired in jupyterhub_config.py, which is not read here; see _notes.
            continue
        backend = import_item(target)
        where = f"profiles.{profile.id}"
        for sentence in backend.check_profile(profile):
            yield Mistake(str(path), line, where, sentence)
        for name in () if backend.tells_limits else profile.open_ranges:
            told = f"needs a 'max': the {profile.backend} backend cannot tell what there is"
            at = line_of(document, ("profiles", index, *name.split(".")))
            yield Mistake(str(path), at, f"{where}.{name}", told)


def _print(site: Path, service: FacilityService | None, mistakes: list[Mistake]) -> None:
    console = Console()
    for mistake in mistakes:
        place = f"{mistake.file}:{mistake.line}" if mistake.line else mistake.file
        where = f" {mistake.where}:" if mistake.where else ""
        console.print(
            f"[bold red]{escape(place)}[/]{escape(where)} {escape(mistake.message)}",
            soft_wrap=True,
            highlight=False,
        )
    for note in _notes(service):
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    if mistakes or service is None:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        console.print(f"[bold]{count}[/] in {escape(str(site))}", highlight=False, soft_wrap=True)
        return
    table = Table("profile", "backend", "default", "environments", "open to", box=None)
    for profile in service.site.profiles:
        resources, _ = resolve(profile, Wish())
        allow = profile.allow
        who = [*allow.groups, *allow.users, *allow.roles, *(["admins"] if allow.admins else [])]
        names = [", ".join(who) or "everybody"]
        names += ["in its windows"] * bool(allow.windows) + ["in beam time"] * bool(allow.beamtime)
        table.add_row(
            escape(profile.title),
            profile.backend,
            describe(resources),
            ", ".join(e.id for e in service.site.environments_of(profile)),
            escape("; ".join(names)),
        )
    console.print(table)
    console.print(
        f"[bold green]good[/]: {len(service.site.profiles)} profiles, "
        f"{len(service.templates())} templates, catalogue {service.site.catalogue.kind}",
        highlight=False,
    )
