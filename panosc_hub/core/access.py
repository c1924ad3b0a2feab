"""Who may use a profile, and when: groups, roles, windows of time, and beam time. Pure.

``now`` is always handed in, with its zone. A window and the days of a beam time begin with their
first moment and end right before their last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from .identity import Person
from .proposals import Proposal
from .quantities import show_duration
from .ranges import Model, to_seconds

LAST_YEAR = 9000
"""Later ones mean "never", and cannot be counted on from."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)", re.ASCII)
_EXAMPLE = '2026-11-20T08:00+01:00, or in a weekly window "08:00"'


def utc_now() -> datetime:
    """The clock that is used where none is handed in."""
    return datetime.now(UTC)


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """``"Europe/Paris"`` as a time zone; raises ``ValueError``."""
    if name == "UTC":
        return UTC  # is there even where the operating system has no zones
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(
            f"{name[:60]!r} is not a time zone known here; write for example Europe/Paris, or UTC"
        ) from None


def _zone(value: Any) -> Any:
    if isinstance(value, str):
        zone_of(value)
    return value


Zone = Annotated[str, BeforeValidator(_zone)]
"""The name of a time zone that this machine knows."""


def _edge(value: Any) -> datetime | int:
    """A moment with its zone, or minutes of a day."""
    if isinstance(value, str):
        if found := _CLOCK.fullmatch(value.strip()):
            hours, minutes = (int(part) for part in found.groups() if part)
            return hours * 60 + minutes
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(f"must be a time such as {_EXAMPLE}") from None
    if not isinstance(value, datetime):
        raise ValueError(f"must be a time such as {_EXAMPLE}; put it into quotes")
    if value.utcoffset() is None:
        raise ValueError("does not say in which time zone; add it, for example +01:00 or Z")
    if not 1970 <= value.year <= LAST_YEAR:
        raise ValueError(f"must be in a year from 1970 to {LAST_YEAR}")
    # YAML readers have classes of their own for these.
    return datetime.fromisoformat(value.isoformat())


def _day_names(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        value = [v.strip().lower() if isinstance(v, str) else v for v in value]
        for name in value:
            if name not in DAYS:
                raise ValueError(f"{str(name)[:20]!r} is not a day; they are {', '.join(DAYS)}")
    return value


Edge = Annotated[datetime | int | None, BeforeValidator(_edge)]


class Window(Model):
    """One time of use: from one moment to another, or weekly on some days."""

    start: Edge = Field(default=None, alias="from")
    end: Edge = Field(default=None, alias="to")
    days: Annotated[tuple[str, ...], BeforeValidator(_day_names)] = ()
    zone: Zone | None = None

    @model_validator(mode="after")
    def _whole(self) -> Window:
        start, end = self.start, self.end
        if isinstance(start, int) or isinstance(end, int):
            if not (isinstance(start, int) and isinstance(end, int)):
                raise ValueError('a weekly window needs from: and to:, for example "08:00"')
            if self.zone is None:
                raise ValueError("a weekly window needs its zone:, for example Europe/Paris")
            if start == end or start == 24 * 60:
                raise ValueError('from: must be before to:; a whole day is "00:00" to "24:00"')
        elif self.days or self.zone is not None:
            raise ValueError(
                'days: and zone: are for weekly windows, whose from: and to: are as "08:00"'
            )
        elif start is None and end is None:
            raise ValueError("needs from: or to:, or both")
        elif start is not None and end is not None and end <= start:
            raise ValueError("from: must be before to:")
        return self

    def spans(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The times of use around ``now``, in their order."""
        start, end = self.start, self.end
        if not (isinstance(start, int) and isinstance(end, int)):
            first = start if isinstance(start, datetime) else datetime.min.replace(tzinfo=UTC)
            yield first, end if isinstance(end, datetime) else datetime.max.replace(tzinfo=UTC)
            return
        zone = zone_of(self.zone or "UTC")
        today = now.astimezone(zone).date()
        for number in range(-1, 8):
            day = today + timedelta(days=number)
            if self.days and DAYS[day.weekday()] not in self.days:
                continue
            # One that ends before it begins goes on after midnight.
            yield _at(day, start, zone), _at(day, end + 24 * 60 * (end < start), zone)


def _at(day: date, minutes: int, zone: tzinfo) -> datetime:
    # By the clock on the wall, also on the two days of a year that have another length.
    more, minutes = divmod(minutes, 24 * 60)
    hour, minute = divmod(minutes, 60)
    return datetime.combine(day + timedelta(days=more), time(hour, minute), zone)


def when(moment: datetime, now: datetime) -> str:
    """``"Monday 08:00 CET"`` within a week, else ``"20 November 08:00 CET"``."""
    here = now.astimezone(moment.tzinfo)
    if timedelta(0) <= moment.date() - here.date() <= timedelta(days=6):
        day = f"{moment:%A}"
    else:
        day = _day(moment.date(), here.year)
    return f"{day} {moment:%H:%M} {moment.tzname()}"


def _day(day: date, year: int) -> str:
    return f"{day.day} {day:%B}" + (f" {day.year}" if day.year != year else "")


def closed(windows: tuple[Window, ...], now: datetime) -> str:
    """Empty while one of ``windows`` is open or there is none, else when it opens."""
    if not windows:
        return ""
    spans = [span for window in windows for span in window.spans(now)]
    if any(_utc(start) <= now < _utc(end) for start, end in spans):
        return ""
    coming = [start for start, _ in spans if _utc(start) > now]
    if coming:
        return f"opens on {when(min(coming, key=_utc), now)}"
    return f"was open until {when(max((end for _, end in spans), key=_utc), now)}"


def _utc(moment: datetime) -> datetime:
    # Within one zone Python compares what the clock on the wall shows, which is not the time in
    # the night when it is set back.
    return moment.astimezone(UTC)


def _edge_of_beamtime(value: Any) -> Any:
    return to_seconds(value) if isinstance(value, str) else value


Around = Annotated[int, BeforeValidator(_edge_of_beamtime), Field(ge=0, le=366 * 86400)]


class Beamtime(Model):
    """Only with a proposal whose beam time is now, in whole days of the facility's zone."""

    before: Around = 0
    after: Around = 0

    @property
    def words(self) -> str:
        """For whom: the end of a sentence."""
        around = [
            f"{_days(span)} {where}"
            for span, where in ((self.before, "before"), (self.after, "after"))
            if span
        ]
        more = f" and {' and '.join(around)} it" if around else ""
        return f"for proposals during their beam time{more}"

    def why_not(self, proposal: Proposal | None, now: datetime, zone: tzinfo) -> str:
        """Empty if the beam time of ``proposal`` covers ``now``, else the reason."""
        outside = self.outside(proposal, now, zone) if proposal else "choose one"
        return f"{self.words}; {outside}" if outside else ""

    def outside(self, proposal: Proposal, now: datetime, zone: tzinfo) -> str:
        """The same in the words that are about ``proposal``."""
        if proposal.start is None or proposal.end is None:
            return f"the catalogue does not tell the dates of {proposal.id}"
        first = _at(_sane(proposal.start), 0, zone) - timedelta(seconds=self.before)
        last = _at(_sane(proposal.end), 24 * 60, zone) + timedelta(seconds=self.after)
        if _utc(first) <= now < _utc(last):
            return ""
        return f"{proposal.id} has its {_span(proposal.start, proposal.end, now)}"


def _days(seconds: int) -> str:
    return "1 day" if seconds == 86400 else show_duration(seconds)


def _sane(day: date) -> date:
    # Catalogues write 9999-12-31 for "no end", after which there is no day to count.
    return min(max(day, date(1970, 1, 1)), date(LAST_YEAR, 1, 1))


def _span(start: date, end: date, now: datetime) -> str:
    last = _day(end, now.year)
    if start == end:
        return f"on {last}"
    if (start.year, start.month) == (end.year, end.month):
        return f"from {start.day} to {last}"
    return f"from {_day(start, now.year if start.year == end.year else 0)} to {last}"


def _beamtime(value: Any) -> Any:
    if value is True:
        return {}
    if value is False:
        return None
    if value is not None and not isinstance(value, (dict, Beamtime)):
        raise ValueError("must be true, or for example {before: 1d, after: 2d}")
    return value


class Allow(Model):
    """Who may use it: any match is enough; nothing given means everybody.

    ``windows`` and ``beamtime`` narrow that down for all but the admins that ``admins`` names.
    """

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    admins: bool = False
    windows: tuple[Window, ...] = ()
    beamtime: Annotated[Beamtime | None, BeforeValidator(_beamtime)] = None
    otherwise: str = Field(
        default="not for your group: ask your local contact",
        max_length=200,
        description="What the greyed profile says to the others.",
    )

    def permits(self, person: Person) -> bool:
        """Whether ``person`` is among them, at whatever time."""
        if not (self.groups or self.users or self.roles or self.admins):
            return True
        return (
            person.name in self.users
            or not person.groups.isdisjoint(self.groups)
            or not person.roles.isdisjoint(self.roles)
            or self._always(person)
        )

    def _always(self, person: Person) -> bool:
        return self.admins and person.admin

    def why_not(self, person: Person, now: datetime) -> str:
        """Empty if ``person`` may use it at ``now``, else the reason; see also ``beamtime_for``."""
        if not self.permits(person):
            return self.otherwise
        return "" if self._always(person) else closed(self.windows, now)

    def beamtime_for(self, person: Person) -> Beamtime | None:
        """What the proposal of ``person`` must satisfy, if anything."""
        return None if self._always(person) else self.beamtime
