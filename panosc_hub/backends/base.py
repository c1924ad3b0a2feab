"""The one contract between ``PanoscSpawner`` and what really runs a session.

A backend is a ``jupyterhub.spawner.Spawner`` subclass that also derives from :class:`Backend`.
The outer spawner builds one instance per server from the very keyword arguments that JupyterHub
gave itself (so ``c.KubeSpawner.*`` and ``c.SlurmSpawner.*`` keep working), pushes the runtime
fields (``api_token``, ``user_options``, ``cert_paths`` …), hands over the :class:`Launch` and
then delegates ``start``, ``poll``, ``stop``, ``progress``, ``get_state`` and ``load_state``.

Rules for an implementation:

* ``poll`` never raises and returns ``None`` when it cannot tell: unknown is not dead.
* ``start`` calls ``self.save_state()`` with a findable name or label *before* submission, and
  again as soon as an id exists: nobody else writes the state to disk before ``start`` returned.
* ``get_state`` is pure and holds no secrets; ``lasting_state`` is the part that survives a stop.
* ``availability`` returns a snapshot at once; it never runs a command or a remote call.
* Failures are raised as :class:`~panosc_hub.errors.PanoscError` with a sentence for the user.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..core.choices import Menu
from ..core.identity import Person
from ..core.plan import Launch
from ..core.profiles import Profile


@dataclass(frozen=True, slots=True)
class Availability:
    """What one look told about one profile; ``looked`` is ``time.time()`` of that look.

    ``usable`` False greys the profile with ``words`` as the reason. ``free`` counts how many
    such sessions fit now (None: not known).
    """

    usable: bool = True
    free: int | None = None
    words: str = ""
    looked: float | None = None
    idle: Mapping[str, int] = field(default_factory=dict)
    """What is idle where such a session may run: ``cpus``, and GPUs as ``gpu:a100`` or ``gpu``."""

    @property
    def age(self) -> float | None:
        """Seconds since the look."""
        return None if self.looked is None else max(0.0, time.time() - self.looked)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a backend expects of a start; ``starts`` in seconds since the epoch, None if it does
    not say. ``usable`` False: it would refuse, and ``words`` is why."""

    usable: bool
    starts: float | None
    words: str


@dataclass(slots=True)
class Event:
    """One line of the pending page: plain text, escaped by whoever renders it."""

    message: str
    progress: int | None = None
    at: float = field(default_factory=time.time)
    replaces: bool = False
    """Whether it takes the place of the line before, if that has this mark too."""


class Tell(Protocol):
    """Says something on the pending page."""

    def __call__(
        self, message: str, progress: int | None = None, *, replaces: bool = False
    ) -> None:
        """``replaces``: the line takes the place of the last one if that, too, was said so."""


class Known(Protocol):
    """Stands for the child of a running server as long as nothing but this is asked of it.

    It answers exactly as that child would, and is much smaller and quicker to make.
    """

    ended: str

    @property
    def ends_at(self) -> float | None:
        """As in :class:`Backend`."""

    async def poll(self) -> int | None:
        """As in the child: never raises, ``None`` when it cannot tell."""

    async def get_url(self) -> str:
        """Where the server is, when the Hub was restarted."""


def _say_nothing(message: str, progress: int | None = None, *, replaces: bool = False) -> None:
    """Until the outer spawner listens."""


class Backend:
    """Mixin for child spawners; see the module's docstring for the contract."""

    backend_name: ClassVar[str]

    own_environments: ClassVar[bool] = False
    """Whether a path that the user gave (``Environment.paths``) is looked at again where it is
    used, as the user. If not, such paths are not taken."""

    tells_limits: ClassVar[bool] = False
    """Whether ``offered`` knows what there is. If not, a range must name its own ``max``."""

    launch: Launch | None = None
    """Set by the outer spawner right before ``start``."""

    save_state: Callable[[], None] = staticmethod(lambda: None)
    """Asks the outer spawner to write the state to the database now."""

    tell: Tell = staticmethod(_say_nothing)
    """Adds a line (and a percentage) to the pending page."""

    @property
    def ends_at(self) -> float | None:
        """When the running session will be ended, seconds since the epoch; None: no such end."""
        return None

    ended: str = ""
    """Why the session ended, in words, once known."""

    def accept_port(self, port: int) -> bool:
        """The session chose ``port``; False when this backend does not wait for one now."""
        return False

    def give_up(self) -> bool:
        """End a start that an earlier Hub began, while ``get_url`` waits for it; then True."""
        return False

    def lasting_state(self) -> dict[str, Any]:
        """The part of the state that survives a stop (for example a volume's name)."""
        return {}

    @classmethod
    def recall(cls, config: Any, username: str, saved: Mapping[str, Any]) -> None:
        """``lasting_state`` of a stopped server, once per process: a debt may be left in it."""

    @classmethod
    def known(cls, kwargs: Mapping[str, Any], saved: Mapping[str, Any]) -> Known | None:
        """What can stand for the child of a running server; None: only a child will do.

        ``kwargs`` are those that would make the child, ``saved`` is its state. A Hub asks for
        thousands of servers each half minute whether they run, and for most of them nothing
        else until they are stopped; a child needs as much memory as the outer spawner.
        """
        return None

    def describe(self, launch: Launch) -> str | Awaitable[str]:
        """What would be submitted, for a dry run; no side effects, no secrets. May be async."""
        raise NotImplementedError(f"{type(self).__name__} has no dry run")

    async def estimate(self, launch: Launch) -> Estimate | None:
        """When this launch would start if it were asked for now; None: nobody can tell better
        than ``availability``. Starts nothing; quick, and kept from being asked too often."""
        return None

    @classmethod
    def availability(cls, profiles: Mapping[str, Profile], config: Any) -> dict[str, Availability]:
        """A snapshot for each profile id, at once; the default knows nothing and allows all."""
        return {name: Availability() for name in profiles}

    @classmethod
    def offered(cls, profiles: Mapping[str, Profile], config: Any) -> Mapping[str, Profile | str]:
        """The profiles with their limits tightened to what the backend has now, at once.

        A snapshot like ``availability``; a profile of which nothing is known comes back as it is,
        and one of which nothing fits as the reason in words (see ``core.profiles.tighten``).
        While nothing changed, the same objects come back: pages keep what they made of them.
        """
        return dict(profiles)

    @classmethod
    async def look(cls, config: Any) -> None:
        """Have the looks that ``offered`` and ``menus`` read from; for a command line, which has
        no earlier one and the time to wait. Raises nothing: a look that fails is one without news.
        """

    @classmethod
    def menus(cls, profile: Profile, person: Person, config: Any) -> tuple[Menu, ...]:
        """What ``person`` may choose in ``profile`` besides amounts; a snapshot, at once.

        The answers arrive as ``launch.selection.choices``. What was chosen is checked against
        the menus of that moment, so a menu that cannot be told now must not be left out: it
        offers what the site's file allows.
        """
        return ()

    @classmethod
    def present(cls, config: Any) -> bool:
        """Whether this machine can reach the backend at all; its profiles are hidden if not."""
        return True

    @classmethod
    def check_profile(cls, profile: Profile) -> Iterable[str]:
        """Sentences about what this backend cannot promise in ``profile``; for the admin."""
        return ()
