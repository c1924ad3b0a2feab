"""The children of one server: a spawner per backend, made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from traitlets.utils.importstring import import_item

from .backends.base import Availability, Backend, Known
from .core.choices import Menu
from .core.identity import Person
from .core.policy import Moment
from .core.profiles import Limits, Profile, tighten
from .core.site import Site
from .core.state import ServerState
from .errors import BackendError, PanoscError


def known_backends() -> dict[str, str]:
    """The backends of this package by name; Kubernetes only where KubeSpawner is installed."""
    found = {
        "local": "panosc_hub.backends.local.LocalBackend",
        "slurm": "panosc_hub.backends.slurm.spawner.SlurmBackend",
    }
    if find_spec("kubespawner") is not None:
        found["kubernetes"] = "panosc_hub.backends.kubernetes.spawner.KubernetesBackend"
    return found


class Children:
    """Built from the keyword arguments that JupyterHub gave to the outer spawner.

    ``backends`` is asked at every use, for it is a trait; ``adopt`` connects a new child.
    """

    __slots__ = ("_adopt", "_backends", "_known", "_known_name", "_kwargs", "_made")

    def __init__(
        self,
        kwargs: Mapping[str, Any],
        backends: Callable[[], Mapping[str, Any]],
        adopt: Callable[[str, Any], None],
    ) -> None:
        self._kwargs = kwargs
        self._backends = backends
        self._adopt = adopt
        self._made: dict[str, Any] = {}
        self._known: Known | None = None
        self._known_name = ""

    def backend(self, name: str) -> type[Backend] | None:
        """The class that is configured for a backend; None when there is none (any more)."""
        target = self._backends().get(name)
        return import_item(target) if isinstance(target, str) else target

    @property
    def config(self) -> Any:
        """The configuration that all backends are asked with."""
        return self._kwargs.get("config")

    def present(self, profile: Profile) -> bool:
        """Whether the profile's backend is configured and there on this machine."""
        backend = self.backend(profile.backend)
        return backend is not None and backend.present(self.config)

    def availability(self, site: Site) -> dict[str, Availability]:
        """A snapshot per profile id; profiles of absent backends are missing from it."""
        config = self.config
        found: dict[str, Availability] = {}
        for name in {p.backend for p in site.profiles}:
            backend = self.backend(name)
            if backend is not None and backend.present(config):
                mine = {p.id: p for p in site.profiles if p.backend == name}
                found |= backend.availability(mine, config)
        return found

    def moment(self, site: Site) -> Moment:
        """What the backends say now; each is asked once for all its profiles, when it matters."""
        config = self.config
        known: dict[str, Mapping[str, Profile | str]] = {}

        def offered(profile: Profile) -> Profile | str:
            if profile.backend not in known:
                mine = {p.id: p for p in site.profiles if p.backend == profile.backend}
                known[profile.backend] = self._offered(profile.backend, mine, config)
            return known[profile.backend].get(profile.id, profile)

        def menus(profile: Profile, person: Person) -> tuple[Menu, ...]:
            backend = self.backend(profile.backend)
            return backend.menus(profile, person, config) if backend else ()

        def own_paths(profile: Profile) -> bool:
            backend = self.backend(profile.backend)
            return backend is not None and backend.own_environments

        return Moment(self.present, offered, menus, own_paths)

    def _offered(
        self, name: str, profiles: Mapping[str, Profile], config: Any
    ) -> Mapping[str, Profile | str]:
        backend = self.backend(name)
        try:
            told = backend.offered(profiles, config) if backend else profiles
        except PanoscError as error:
            return dict.fromkeys(profiles, error.sentence)
        # What no backend told a limit of must not reach a page or a job without one.
        return {
            key: tighten(p, Limits()) if isinstance(p, Profile) and p.open_ranges else p
            for key, p in told.items()
        }

    def spare(self, name: str) -> Any:
        """A child that holds no server, for questions. Raises ``BackendError``."""
        backend = self.backend(name)
        if backend is None:
            raise BackendError(f"The backend {name!r} is not configured any more.")
        return backend(**self._kwargs)

    def get(self, name: str, *, fresh: bool = False) -> Any:
        """The child of a backend; ``fresh`` makes a new one. Raises ``BackendError``."""
        if fresh or name not in self._made:
            child = self.spare(name)
            self._adopt(name, child)
            self._made[name] = child
            self._known = None
        return self._made[name]

    def existing(self, name: str) -> Any | None:
        """The child of a backend if it was made, or can be."""
        if name and self.backend(name) is not None:
            return self.get(name)
        return None

    def answering(self, state: ServerState) -> Any | None:
        """Who tells how the server is: its child, or what stands for it; None if nobody can."""
        name = state.active
        if (child := self._made.get(name)) is not None:
            return child
        if self._known is None or self._known_name != name:
            backend = self.backend(name) if name else None
            saved = state.backends.get(name, {})
            known = backend.known(self._kwargs, saved) if backend is not None else None
            if known is None:
                return self.existing(name)
            self._known, self._known_name = known, name
        return self._known

    def made(self, name: str) -> Any | None:
        """The child of a backend, if there is one now."""
        return self._made.get(name)

    def rest(self, state: ServerState) -> None:
        """Let the child of a server that runs now go, if something smaller can stand for it.

        It is made again from ``state`` when it is needed, as after a restart of the Hub.
        """
        child = self._made.get(state.active)
        if child is None:
            return
        saved = child.get_state() | child.lasting_state()
        if child.known(self._kwargs, saved) is not None:
            state.backends[state.active] = saved
            del self._made[state.active]

    def clear(self) -> None:
        """Forget them all; the next use makes new ones."""
        self._made.clear()
        self._known = None
