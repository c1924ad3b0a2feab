"""The Jinja environment of the spawn form, which JupyterHub takes as ready HTML.

It looks into ``JupyterHub.template_paths`` first, as JupyterHub does for its own pages, so that a
facility can put its own ``spawn_form.html`` there. The shipped one has the name
``panosc/spawn_form.html`` too, for a template that extends it by its blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, Template
from markupsafe import Markup

from ..paths import template_path
from .offers import Offer
from .profiles import ProfileView

FORM, PROFILE = "spawn_form.html", "spawn_profile.html"


def render_form(spawner: Any, **values: Any) -> str:
    """The form with these values, by the facility's template or ours."""
    settings = getattr(getattr(spawner, "user", None), "settings", None) or {}
    made = _environment(tuple(settings.get("template_path") or ()))
    row = made.get_template(PROFILE)

    def profile_row(view: ProfileView) -> Markup:
        said = view.words or view.reason
        shown = (view.offer, view.usable, view.checked, view.free, said, view.idle, view.only)
        return _row(row, *shown)

    return made.get_template(FORM).render(profile_row=profile_row, **values)


@lru_cache(maxsize=1024)
def _row(
    template: Template,
    offer: Offer,
    usable: bool,
    checked: bool,
    free: int | None,
    words: str,
    idle: str,
    only: str,
) -> Markup:
    """Kept, for with fifty profiles these lines are half of the page's work; one look at the
    backends gives the same lines to nearly everybody."""
    values = {"usable": usable, "checked": checked, "free": free, "words": words, "idle": idle}
    values["only"] = only
    return Markup(template.render(o=offer, **values))


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
