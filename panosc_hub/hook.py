"""The pre-spawn hook: authorise the selected proposal, plan the session, hand the plan over.

With ``PanoscSpawner`` it is ``pre_spawn_hook``. With any other spawner (a plain ``KubeSpawner``
or ``SimpleLocalProcessSpawner``) an instance of :class:`PanoscHook` does the same: the session
start-up and its plan then travel in the environment, so that nothing of ours needs to be
installed where the session runs.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import session
from .compat import refused_in_spawn
from .core import selection as door
from .core.plan import SessionPlan
from .core.profiles import Environment, Profile, Range, Resources
from .core.quantities import Gpus
from .errors import BackendError, NotFound, PanoscError
from .facility import Choice, FacilityService
from .people import person_of

log = logging.getLogger("panosc_hub.hook")

DATA_FIELDS = ("proposal", "dataset", "template")
"""The part of a selection that concerns the hook; other spawners have options of their own."""

SERVER = ("jupyterhub-singleuser",)
"""What is run where the spawner names no command (``KubeSpawner.cmd`` is None by default)."""


async def pre_spawn_hook(spawner: Any) -> None:
    """For ``PanoscSpawner``; runs at every spawn, so that membership is always fresh."""
    choice: Choice | None = spawner.choice
    if choice is None:
        error = BackendError("The selection was not applied before the pre-spawn hook.")
        raise spawner.refuse(error)
    try:
        plan = await spawner.facility.plan(choice, spawner.person())
    except PanoscError as error:
        raise spawner.refuse(error) from error
    spawner.use_plan(plan)


class PanoscHook:
    """The hook for any other spawner: ``c.KubeSpawner.pre_spawn_hook = PanoscHook("site.yaml")``.

    It reads ``proposal``, ``dataset`` and ``template`` from ``user_options`` through the same
    strict parser, and refuses (4xx) what does not parse or is not the user's.
    """

    def __init__(self, site: str | Path, variables: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._variables = dict(variables or {})

    async def __call__(self, spawner: Any) -> None:
        """Plan and hand over; raises the refusal that JupyterHub shows."""
        person = person_of(spawner.user)
        options = spawner.user_options or {}
        mine = {key: _single(options[key]) for key in DATA_FIELDS if key in options}
        service = FacilityService.shared(self._site, self._variables)
        try:
            selection = door.parse(mine)
            choice = _data_only(service, selection)
            plan = await service.plan(choice, person)
            environment = _packed(plan)
        except PanoscError as error:
            raise refused_in_spawn(error, spawner.handler) from error
        # Without a command KubeSpawner runs the image's own, which nobody here can know.
        command = session.bootstrap_argv(list(spawner.cmd or SERVER))
        spawner.environment = {**spawner.environment, **environment}
        if _joins_words(spawner):
            command = [shlex.quote(word) for word in command]
        spawner.cmd = command
        for notice in plan.notices:
            log.info("%s: %s", spawner._log_name, notice)


def _packed(plan: SessionPlan) -> dict[str, str]:
    try:
        return session.bootstrap_environment(plan.to_dict())
    except ValueError as error:
        # What the template holds, not what the user asked: 128 KiB is all that Linux takes.
        raise BackendError(f"The notebook is too large to be handed over: {error}.") from error


def _single(value: Any) -> Any:
    """JupyterHub's default form reading leaves every value in a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _joins_words(spawner: Any) -> bool:
    """batchspawner puts ``cmd`` into a shell script, joined by spaces."""
    return any(c.__name__ == "BatchSpawnerBase" for c in type(spawner).__mro__)


def _data_only(service: FacilityService, selection: door.Selection) -> Choice:
    """A choice without a profile of ours: the other spawner decides about resources."""
    template = None
    if selection.template is not None:
        template = next((t for t in service.templates() if t.id == selection.template), None)
        if template is None:
            raise NotFound(f"The template {selection.template} is not published here any more.")
    one = Range(min=1, max=1, default=1)
    profile = Profile(id="other", title="other", backend="other", memory=one)
    environment = Environment(id="other", title="other")
    return Choice(selection, profile, Resources(1, 1, Gpus("", 0), None), environment, template)
