"""What JupyterHub calls for the spawn form: ``options_form`` and ``options_from_form``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..compat import refused
from ..core import selection as door
from ..errors import InvalidSelection, PanoscError
from .page import options_form

if TYPE_CHECKING:
    from ..spawner import PanoscSpawner


async def render_form(spawner: PanoscSpawner) -> str:
    """The form for the owner of ``spawner``."""
    return await options_form(spawner)


def read_form(form_data: Mapping[str, Any], spawner: PanoscSpawner) -> dict[str, Any]:
    """Form fields to canonical options; refused here, nothing has been started or saved."""
    spawner.last_problems = ()
    try:
        selection = door.parse_form(form_data)
        spawner.choose(selection.to_options())
    except PanoscError as error:
        if isinstance(error, InvalidSelection):
            spawner.last_problems = error.problems
        raise refused(error) from error
    return selection.to_options()
