"""``panosc-hub migrate``: another set-up as a ``site.yaml``, and a list of what is left to do."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue, PyFileConfigLoader

from ..backends.kubernetes.migration.notes import Fate
from ..backends.kubernetes.migration.profiles import Migration
from ..backends.kubernetes.migration.sources import from_config, from_values
from ..backends.kubernetes.migration.text import site_text
from ..core.ranges import IDENTIFIER
from ..site import SiteMistakes, load_site, plain, read_yaml


@click.group()
def migrate() -> None:
    """Move over from another set-up."""


@migrate.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the site.yaml there, if there is no such file yet. Default: standard output.",
)
@click.option("--facility-id", default="facility", show_default=True, help="The facility's id.")
@click.option("--title", default="My facility", show_default=True, help="The facility's name.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def kubespawner(
    source: Path, output: Path | None, facility_id: str, title: str, as_json: bool
) -> None:
    """Turn KubeSpawner's profile list in SOURCE into profiles of a site.yaml.

    SOURCE is a jupyterhub_config.py or the values.yaml of Zero-to-JupyterHub. A
    jupyterhub_config.py is Python: it is RUN, with this account's rights, as a Hub would run it.

    Exit status 0: made, though parts may be left to do by hand. 1: it cannot be made.
    2: wrong call.
    """
    if not re.fullmatch(IDENTIFIER, facility_id):
        raise click.BadParameter(
            "must be lower-case letters, digits and '-'", param_hint="--facility-id"
        )
    if not 0 < len(title) <= 80:
        raise click.BadParameter("must have 1 to 80 characters", param_hint="--title")
    found = _read(source)
    text = site_text(found, facility_id=facility_id, title=title, source=source.name)
    _check(text)
    if output is not None:
        _write(output, text)
    if as_json:
        click.echo(json.dumps(_body(found, text), indent=2))
        return
    if output is None:
        click.echo(text, nl=False)
    _print(found, source, output)


def _read(source: Path) -> Migration:
    if source.suffix == ".py":
        click.echo(f"panosc-hub: runs {source}, which is Python, to read its settings", err=True)
        return from_config(_run(source), _settings())
    try:
        values = plain(read_yaml(source))
    except (SiteMistakes, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if not isinstance(values, Mapping) or not _is_chart(values):
        raise click.ClickException(
            f"{source} is neither a .py file nor values of Zero-to-JupyterHub, for it has no "
            "singleuser and no hub."
        )
    return from_values(values, _settings())


def _is_chart(values: Mapping[str, Any]) -> bool:
    inner = values.get("jupyterhub")
    return any("singleuser" in v or "hub" in v for v in (values, inner) if isinstance(v, Mapping))


def _run(source: Path) -> dict[str, Any]:
    folder = source.resolve().parent
    try:
        config = PyFileConfigLoader(source.name, path=str(folder)).load_config()
    except Exception as error:  # whatever an admin's own Python raises
        raise click.ClickException(
            f"{source} cannot be run here: {type(error).__name__}: {error}. "
            "It needs what the Hub has: its account and its environment."
        ) from error
    except SystemExit as error:
        raise click.ClickException(f"{source} ended itself: exit {error.code}") from error
    return {str(name): _section(body) for name, body in config.items()}


def _section(body: Any) -> Any:
    return {str(k): _value(v) for k, v in body.items()} if isinstance(body, Config) else body


def _value(value: Any) -> Any:
    """What ``append``, ``update`` and the like add up to, beside KubeSpawner's empty defaults."""
    if not isinstance(value, LazyConfigValue):
        return value
    return value.get_value({} if isinstance(value.to_dict().get("update"), dict) else [])


def _settings() -> frozenset[str]:
    """KubeSpawner's settings, if it is installed here."""
    try:
        from kubespawner import KubeSpawner
    except ImportError:
        return frozenset()
    return frozenset(KubeSpawner.class_trait_names(config=True))


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{output} is there already; name another file") from None
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error


def _body(found: Migration, text: str) -> dict[str, Any]:
    names = {Fate.MAPPED: "mapped", Fate.KEEPS: "keeps", Fate.HAND: "by_hand"}
    return {
        "site": text,
        "profiles": [profile["id"] for profile in found.profiles],
        **{
            name: [{"key": note.key, "text": note.text} for note in found.of(fate)]
            for fate, name in names.items()
        },
    }


def _check(text: str) -> None:
    """What is made must be right in itself, whatever was read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "site.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_site(file)
        except SiteMistakes as error:
            told = "\n".join(f"line {m.line}: {m.where}: {m.message}" for m in error.mistakes)
            raise click.ClickException(
                f"the site.yaml that was made is not right:\n{told}"
            ) from None


def _print(found: Migration, source: Path, output: Path | None) -> None:
    # The file itself may go to standard output, so what is said about it does not.
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[green]Mapped[/]: {len(found.of(Fate.MAPPED))} settings (--json lists them)")
    for fate, title in (
        (Fate.KEEPS, "[green]Goes on as it is, nothing to do[/]"),
        (Fate.HAND, "[bold yellow]By hand[/]"),
    ):
        notes = found.of(fate)
        console.print(f"{title}: {len(notes)}")
        for note in notes:
            console.print(f"  [bold]{escape(note.key)}[/] {escape(note.text)}")
    where = f"{escape(str(output))}: " if output else ""
    count = len(found.profiles)
    console.print(
        f"{where}{count} profile{'s' if count != 1 else ''} of {escape(str(source))}. "
        "Read its comments, then run panosc-hub check."
    )
