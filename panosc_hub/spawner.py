"""PanoscSpawner: form, policy, state, errors and progress; a child backend does the work.

The child is a real ``KubeSpawner``/``SlurmSpawner``/``LocalProcessSpawner`` subclass, built for
each server from the very keyword arguments that JupyterHub gave to this one, so that
``c.KubeSpawner.*`` and the like keep working. Delegation is explicit, method by method; see
``docs/architecture.md``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import All, Bool, Dict, Unicode, default

from .backends.base import Availability
from .backends.recall import recall
from .children import Children, known_backends
from .compat import refused, refused_in_spawn
from .core import selection as door
from .core.identity import Person
from .core.plan import SessionPlan, describe, summary
from .core.policy import Moment
from .core.selection import Selection
from .core.state import load_state
from .delegation import Delegates, pull, push
from .errors import BackendError, InvalidSelection, PanoscError, Problem, Refusal
from .facility import Choice, FacilityService
from .people import person_of, remembered_of
from .progress import Progress, sse
from .readiness import until_listening
from .starting import commit, follow, in_its_words, note_adoption, run_childs_hook, token_id
from .web.form import read_form, render_form
from .web.instead import advise
from .web.register import register

STOPPED = 0
"""Exit status for "not running"; JupyterHub only asks whether it is None."""


class PanoscSpawner(Delegates, Spawner):
    """Offers the facility's profiles on one page and starts the chosen one on its backend."""

    start_timeout: Any  # JupyterHub's trait, which has no type of its own
    _complaint = ""  # what a starting session said of its own failure

    site = Unicode(
        "site.yaml",
        help="""
        Path of the facility's ``site.yaml``: profiles, environments, data areas, templates.

        Read again when the file changes; a broken new version keeps the last good one.
        Example: c.PanoscSpawner.site = "/etc/jupyterhub/site.yaml"
        """,
    ).tag(config=True)

    site_variables = Dict(
        help="""
        Values that override ``variables`` in ``site.yaml``, for example the data root of a
        test machine. Example: c.PanoscSpawner.site_variables = {"data": "/data"}
        """
    ).tag(config=True)

    backends = Dict(
        known_backends(),
        help="""
        Backend name in ``site.yaml`` -> class or import path. A profile whose backend is not
        here, or is not present on this machine, is not shown.
        """,
    ).tag(config=True)

    refuse_unplanned_data = Bool(
        True,
        help="""
        Refuse a selection that names a proposal when no pre-spawn hook planned it. On by
        default: nobody has authorised it, and no data would look like an empty proposal.
        """,
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        self._children = Children(kwargs, self._classes, self._adopt)
        super().__init__(**kwargs)
        self._initial_environment = dict(self.environment)
        self.observe(self._note_change, All)
        self.state = load_state(None)
        self.choice: Choice | None = None
        self.plan: SessionPlan | None = None
        self.last_problems: tuple[Problem, ...] = ()
        self.events = Progress()
        recall(self.orm_spawner, self._children.backend, self.config)

    # -- what pages and hook ask ------------------------------------------------------------

    @property
    def facility(self) -> FacilityService:
        """The facility of this site file, shared by all servers of the Hub."""
        return FacilityService.shared(self.site, self.site_variables)

    def person(self) -> Person:
        """The owner of this server as the Hub knows them now."""
        return person_of(self.user, roles=self.facility.site.names_roles)

    def remembered(self) -> Selection:
        """The user's last valid choice on any of their servers; the defaults if there is none."""
        return remembered_of(self.user)

    def availability(self) -> dict[str, Availability]:
        """A snapshot per profile id; profiles of absent backends are missing from it."""
        return self._children.availability(self.facility.site)

    def moment(self) -> Moment:
        """Which limits and menus the backends offer now."""
        return self._children.moment(self.facility.site)

    @property
    def session_summary(self) -> dict[str, Any]:
        """The session in words (profile, backend, resources …), ``ends_at`` if it has an end."""
        child = self._children.answering(self.state)
        ends = child.ends_at if child is not None else None
        return {**self.state.summary, "ends_at": ends} if ends else self.state.summary

    # -- the one door -----------------------------------------------------------------------

    @default("options_form")
    def _default_options_form(self) -> Any:
        return render_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return read_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return type(self).apply_choice

    def options_from_query(self, query_data: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse: a link pre-fills the form and never starts a server."""
        problem = Problem("link", "fills in the form only; check it and press Start")
        raise refused(InvalidSelection([problem]))

    def choose(self, options: Any) -> Choice:
        """Parse and apply policy; raises a ``Refusal`` and keeps its problems for the page."""
        self.last_problems = ()
        try:
            choice = self.allowed(door.parse(options))
        except InvalidSelection as error:
            self.last_problems = error.problems
            raise
        return choice

    def allowed(self, selection: Selection) -> Choice:
        """``selection`` after policy; raises a ``Refusal``."""
        default = None if selection.profile else self.remembered().profile
        return self.facility.choose(selection, self.person(), default, self.moment())

    def apply_choice(self, options: Any) -> None:
        """What ``apply_user_options`` does on every path: form, REST, saved options."""
        try:
            choice = self.choose(options)
        except PanoscError as error:
            # Refused options must not be what the next start without options would reuse.
            self._save_options({})
            raise refused_in_spawn(error, self.handler) from error
        self.choice, self.plan = choice, None
        self._save_options(choice.selection.to_options())
        self._begin(choice)

    def _save_options(self, options: dict[str, Any]) -> None:
        self.user_options = options
        if self.orm_spawner.user_options != options:
            self.orm_spawner.user_options = options
            self._commit()

    def _begin(self, choice: Choice) -> None:
        name = choice.profile.backend
        self.state.active = name
        self.state.ended = self._complaint = ""
        self.state.summary = summary(
            choice.selection, choice.profile, choice.resources, choice.template, choice.said
        )
        child = self._children.get(name, fresh=True)
        pull(child, self)
        self._patience = limit = choice.profile.start_timeout or self.start_timeout
        # Ours ends first, so that the user reads our sentence and not a bare time-out.
        self.start_timeout = limit + self.http_timeout + 60

    # -- the pre-spawn hook -----------------------------------------------------------------

    def use_plan(self, plan: SessionPlan) -> None:
        """Take over what the hook planned; called once per start."""
        self.plan = plan
        if plan.dataset:
            self.state.summary["dataset"] = plan.dataset
        for notice in plan.notices:
            self.events.add(notice)

    def refuse(self, error: PanoscError) -> Exception:
        """The exception that brings ``error`` to the user from inside a spawn."""
        if isinstance(error, Refusal):
            # What is not theirs must not be proposed to them again as their last choice.
            self._save_options({})
        return refused_in_spawn(error, self.handler)

    # -- the child --------------------------------------------------------------------------

    def spare_child(self, name: str) -> Any:
        """A child that holds no server, for questions."""
        return self._children.spare(name)

    def _adopt(self, name: str, child: Any) -> None:
        child.load_state(self.state.backends.get(name, {}))
        child.save_state = self.save_state
        child.tell = self.events.add

    def _active_child(self) -> Any | None:
        """The child that holds the server; None when there is none or it is not configured."""
        return self._children.existing(self.state.active)

    def _apply_overrides(self, spawner_override: dict[str, Any]) -> None:
        """Group overrides: ours stay here, the backend's own are kept for the child."""
        ours = {k: v for k, v in spawner_override.items() if self.has_trait(k)}
        rest = {k: v for k, v in spawner_override.items() if k not in ours}
        self._overrides = {**self._overrides, **rest}
        super()._apply_overrides(ours)

    # -- JupyterHub's life cycle ------------------------------------------------------------

    async def start(self) -> str:
        """Start the chosen backend; returns the server's URL."""
        if self.choice is None:
            self.apply_choice(self.user_options)
        assert self.choice is not None
        try:
            return await self._start(self.choice)
        except PanoscError as error:
            told = in_its_words(error, self._complaint)
            self.state.ended = told.sentence
            raise self.refuse(advise(self, told)) from error

    async def _start(self, choice: Choice) -> str:
        if self.plan is None:
            if choice.selection.proposal and self.refuse_unplanned_data:
                raise BackendError(
                    "Proposals cannot be used here: the pre-spawn hook is not configured. "
                    "Tell your administrators, or start without a proposal."
                )
            self.plan = SessionPlan(facility=self.facility.site.facility.id)
        child = self._children.get(choice.profile.backend)
        push(self, child, self._dirty, self._initial_environment, self._overrides)
        await run_childs_hook(self, child)
        child.launch = self.facility.launch(choice, self.plan, self.person())
        self.state.phase = "starting"
        self.state.token_id = token_id(self.orm_spawner, self.user.id, self.api_token)
        self.events.add(f"Starting {choice.profile.title}: {describe(choice.resources)}", 10)
        # Not committed yet, for a commit is a disk write: the backend's first ``save_state`` does
        # it, before there is anything that a Hub killed now would have to find again.
        self._show_state()
        following = asyncio.ensure_future(follow(child, self.events))
        try:
            url: str = await asyncio.wait_for(child.start(), self._patience)
        except TimeoutError:
            raise BackendError(
                f"{choice.profile.title} did not start within {self._patience:.0f} seconds, so the "
                "start was given up. Try again, or choose another profile.",
                reason="timeout",
            ) from None
        finally:
            following.cancel()
        await until_listening(
            url, seconds=self.http_timeout, poll=self.poll, why=lambda: self.state.ended
        )
        self.state.phase = "running"
        # JupyterHub commits this with the URL, right after the return.
        if not self._overrides:  # the child alone has them
            self._children.rest(self.state)
        self._show_state()
        return url

    async def poll(self) -> int | None:
        """``None`` while it lives or nobody can tell; never raises: unknown is not dead."""
        if not self.state.active:
            return STOPPED
        try:
            child = self._children.answering(self.state)
            if child is None:
                self.log.warning(
                    "%s was started on backend %r, which is not configured any more; it is kept",
                    self._log_name,
                    self.state.active,
                )
                return None
            status: int | None = await child.poll()
        except Exception:
            # Whatever the backend stumbled over is no evidence that the session ended.
            self.log.exception("Could not look at %s; it is kept", self._log_name)
            return None
        if status is not None:
            self.state.ended = child.ended or self.state.ended
        return status

    async def stop(self, now: bool = False) -> None:
        """Stop the session on its backend."""
        child = self._active_child()
        if child is not None:
            await child.stop(now)
            if not self.state.ended:
                self.state.ended = "It was stopped from the Hub."

    async def get_url(self) -> str:
        """The server's URL after a Hub restart; falls back to what the database knows."""
        child = self._children.answering(self.state)
        if child is not None:
            try:
                url = str(await child.get_url())
            except Exception:
                # JupyterHub does not catch this: the whole start-up would end here.
                self.log.exception("Could not ask for the URL of %s", self._log_name)
            else:
                note_adoption(self, child)
                return url
        return str(self.server.url) if self.server else ""

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Every line so far, then each new one; never raises."""
        async for event in self.events.follow():
            yield sse(event)

    def session_report(self, status: str, message: str) -> None:
        """A sentence from the session's start-up; what went wrong also stays on the home page."""
        self.events.add(message, 60)
        self._complaint = message if status == "error" else self._complaint
        if status != "ok" and self.state.note(message):
            self.save_state()

    def accept_port(self, port: int) -> bool:
        """Hand the port that the session chose to the backend that waits for it."""
        child = self._active_child()
        return bool(child and child.accept_port(port))

    # -- state ------------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """What an earlier Hub saved."""
        super().load_state(state)
        self.state = load_state(state)
        self._children.clear()

    def get_state(self) -> dict[str, Any]:
        """Versioned; each backend's part under its name. Pure."""
        state: dict[str, Any] = super().get_state()
        child = self._children.made(self.state.active)
        backends = dict(self.state.backends)
        if child is not None:
            backends[self.state.active] = child.get_state() | child.lasting_state()
        saved = self.state.to_dict()
        if backends := {name: part for name, part in backends.items() if part}:
            saved = {"v": 1, **saved, "backends": backends}
        return state | saved

    def clear_state(self) -> None:
        """The session is over: keep what outlives it (volumes, why it ended, its summary)."""
        super().clear_state()
        if self.state.active:
            child = self._active_child()
            if child is not None:
                lasting = child.lasting_state()
                child.clear_state()
                self.state.backends[self.state.active] = lasting
        self.state.active = self.state.phase = ""
        self.state.token_id = 0
        self.choice = self.plan = None
        self.events.reset()

    def save_state(self) -> None:
        """Write the state now: JupyterHub itself does so only after ``start`` returned."""
        self._show_state()
        self._commit()

    def _show_state(self) -> None:
        """For the pages of this process; it reaches the disk with the next commit of anybody."""
        self.orm_spawner.state = self.get_state()

    def _commit(self) -> None:
        commit(self)


# Importing the spawner is enough to have its endpoints, however it is wired.
register()
