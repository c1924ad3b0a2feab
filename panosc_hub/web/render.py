"""The Jinja environment of the spawn form, which JupyterHub takes as ready HTML.

It looks into ``JupyterHub.template_paths`` first, as JupyterHub does for its own pages, so that a
facility can put its own ``spawn_form.html`` there. The shipped one has the name
``panosc/spawn_form.html`` too, for a template that extends it by its blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, Template

from ..paths import template_path

FORM = "spawn_form.html"


def form_template(spawner: Any) -> Template:
    """The template of the form, of the facility or ours."""
    settings = getattr(getattr(spawner, "user", None), "settings", None) or {}
    return _environment(tuple(settings.get("template_path") or ())).get_template(FORM)


@lru_cache(maxsize=4)
def _environment(own: tuple[str, ...]) -> Environment:
    """One of our own, because everything in it is escaped; a Hub has one list of paths."""
    ours = template_path()
    made = Environment(
        loader=ChoiceLoader(
            [
                FileSystemLoader([*own, ours]),
                PrefixLoader({"panosc": FileSystemLoader(ours)}),
            ]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja sorts the keys of all JSON by default; ours come in one order anyway, and with fifty
    # profiles the sorting is a twelfth of the page.
    made.policies["json.dumps_kwargs"] = {}
    return made
