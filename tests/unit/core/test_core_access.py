"""Who may use a profile, and when; all by a clock that is handed in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from panosc_hub.core.access import Allow, Beamtime, Window, closed, zone_of
from panosc_hub.core.identity import Person
from panosc_hub.core.proposals import Proposal
from panosc_hub.site import SiteMistakes, load_site

PARIS = ZoneInfo("Europe/Paris")
INGO = Person("ingo", frozenset({"staff"}))
ADMIN = Person("ada", admin=True)
WORK = {"days": ["mon", "Tue"], "from": "08:00", "to": "18:00", "zone": "Europe/Paris"}
NIGHT = {"days": ["fri"], "from": "20:00", "to": "06:00", "zone": "Europe/Paris"}
RUN = {"from": "2026-11-20T08:00+01:00", "to": "2026-11-22T18:00+01:00"}


def at(text: str) -> datetime:
    """That time of the clock on the wall in Paris."""
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


def windows(*bodies: dict[str, Any]) -> tuple[Window, ...]:
    return Allow.model_validate({"windows": bodies}).windows


@pytest.mark.parametrize(
    ("body", "now", "told"),
    [
        (WORK, "2026-11-23T08:00", ""),
        (WORK, "2026-11-23T17:59:59", ""),
        (WORK, "2026-11-23T18:00", "opens on Tuesday 08:00 CET"),
        (WORK, "2026-11-21T12:00", "opens on Monday 08:00 CET"),
        (WORK, "2026-11-23T07:59:59", "opens on Monday 08:00 CET"),
        (WORK, "2026-11-24T18:00", "opens on Monday 08:00 CET"),
        (WORK, "2026-07-01T12:00", "opens on Monday 08:00 CEST"),
        ({**WORK, "days": ["mon"]}, "2026-11-23T19:00", "opens on 30 November 08:00 CET"),
        ({**WORK, "days": []}, "2026-11-22T17:00", ""),
        ({**WORK, "to": "24:00"}, "2026-11-24T23:59:59", ""),
        (NIGHT, "2026-11-20T23:00", ""),
        (NIGHT, "2026-11-21T05:59:59", ""),
        (NIGHT, "2026-11-21T06:00", "opens on Friday 20:00 CET"),
        ({**NIGHT, "to": "00:00"}, "2026-11-20T23:59:59", ""),
        (RUN, "2026-11-20T08:00", ""),
        (RUN, "2026-11-20T07:59:59", "opens on Friday 08:00 UTC+01:00"),
        (RUN, "2026-10-01T08:00", "opens on 20 November 08:00 UTC+01:00"),
        (RUN, "2025-10-01T08:00", "opens on 20 November 2026 08:00 UTC+01:00"),
        (RUN, "2026-11-22T18:00", "was open until Sunday 18:00 UTC+01:00"),
        (RUN, "2027-11-22T18:00", "was open until 22 November 2026 18:00 UTC+01:00"),
        ({"from": "2026-11-20T08:00Z"}, "2031-01-01T00:00", ""),
        ({"to": "2026-11-20T08:00Z"}, "1999-01-01T00:00", ""),
        ({"to": "2026-11-20T08:00Z"}, "2026-11-20T09:00", "was open until Friday 08:00 UTC"),
    ],
)
def test_a_window_is_open_or_tells_when_it_opens(body: dict[str, Any], now: str, told: str) -> None:
    assert closed(windows(body), at(now)) == told


def test_a_weekly_window_follows_the_clock_on_the_wall_when_the_hour_changes() -> None:
    """On 25 October 2026 clocks in Paris go back from 03:00 to 02:00."""
    day = windows({"from": "02:30", "to": "08:00", "zone": "Europe/Paris", "days": ["sun"]})
    eight = datetime(2026, 10, 25, 7, 0, tzinfo=UTC)
    assert closed(day, eight - timedelta(seconds=1)) == ""
    assert closed(day, eight) != ""


def test_any_open_window_is_enough_and_the_next_one_is_told() -> None:
    both = windows(WORK, NIGHT)
    assert closed(both, at("2026-11-20T21:00")) == ""
    assert closed(both, at("2026-11-20T19:00")) == "opens on Friday 20:00 CET"
    assert closed(both, at("2026-11-21T19:00")) == "opens on Monday 08:00 CET"
    assert closed((), at("2026-11-21T19:00")) == ""


@pytest.mark.parametrize(
    ("allow", "person", "told"),
    [
        ({"roles": ["gpu-user"]}, Person("p", roles=frozenset({"user", "gpu-user"})), ""),
        ({"roles": ["gpu-user"]}, INGO, "no"),
        ({"roles": ["gpu-user"], "groups": ["staff"]}, INGO, ""),
        ({"groups": ["staff"], "windows": [WORK]}, INGO, "opens on Monday 08:00 CET"),
        ({"groups": ["other"], "windows": [WORK]}, INGO, "no"),
        ({"admins": True, "windows": [WORK]}, ADMIN, ""),
        ({"admins": True, "windows": [WORK]}, INGO, "no"),
        ({"windows": [WORK]}, ADMIN, "opens on Monday 08:00 CET"),
        ({"windows": [RUN]}, INGO, ""),
    ],
)
def test_windows_narrow_down_who_may_use_it_but_for_named_admins(
    allow: dict[str, Any], person: Person, told: str
) -> None:
    made = Allow.model_validate({**allow, "otherwise": "no"})
    assert made.why_not(person, at("2026-11-21T12:00")) == told


HG = Proposal("HG-123", "AgBh", "ID02", date(2026, 1, 12), date(2026, 1, 14))
SURROUND = {"before": "1d", "after": "2d"}


@pytest.mark.parametrize(
    ("body", "now", "told"),
    [
        (True, "2026-01-12T00:00", ""),
        (True, "2026-01-14T23:59:59", ""),
        (True, "2026-01-11T23:59:59", "has its from 12 to 14 January"),
        (True, "2026-01-15T00:00", "has its from 12 to 14 January"),
        (True, "2025-12-15T00:00", "has its from 12 to 14 January 2026"),
        (SURROUND, "2026-01-11T00:00", ""),
        (SURROUND, "2026-01-16T23:59:59", ""),
        (SURROUND, "2026-01-17T00:00", "has its from 12 to 14 January"),
        ({"before": "6h"}, "2026-01-11T18:00", ""),
        ({"before": "6h"}, "2026-01-11T17:59", "has its from 12 to 14 January"),
    ],
)
def test_beam_time_is_whole_days_of_the_facilitys_zone(body: Any, now: str, told: str) -> None:
    only = Allow.model_validate({"beamtime": body}).beamtime
    assert only is not None
    found = only.why_not(HG, at(now), PARIS)
    assert found == "" if not told else found.endswith(f"; HG-123 {told}")


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (date(2026, 2, 3), date(2026, 2, 3), "has its on 3 February"),
        (date(2026, 1, 30), date(2026, 2, 3), "has its from 30 January to 3 February"),
        (date(2025, 12, 30), date(2026, 1, 3), "has its from 30 December 2025 to 3 January"),
    ],
)
def test_the_days_of_a_beam_time_are_told_shortly(start: date, end: date, told: str) -> None:
    found = Beamtime().why_not(Proposal("X-1", start=start, end=end), at("2026-09-01T12:00"), UTC)
    assert found == f"for proposals during their beam time; X-1 {told}"


def test_beam_time_fails_closed() -> None:
    only, now = Beamtime(before=86400, after=2 * 86400), at("2026-01-13T12:00")
    for start, end in ((None, None), (HG.start, None), (None, HG.end)):
        found = only.why_not(Proposal("X-1", start=start, end=end), now, UTC)
        assert found.endswith("the catalogue does not tell the dates of X-1")
    assert only.why_not(None, now, UTC).endswith("; choose one")
    assert only.why_not(Proposal("X-1", start=HG.end, end=date(2026, 1, 1)), now, UTC) != ""
    assert only.words == (
        "for proposals during their beam time and 1 day before and 2 days after it"
    )


def test_dates_that_mean_never_are_no_error() -> None:
    endless = Proposal("X-1", start=date.min, end=date.max)
    assert Beamtime(before=86400, after=86400).why_not(endless, at("2026-01-13T12:00"), PARIS) == ""


def test_named_admins_need_no_beam_time() -> None:
    allow = Allow.model_validate({"beamtime": True, "admins": True, "groups": ["staff"]})
    assert allow.beamtime_for(ADMIN) is None
    assert allow.beamtime_for(INGO) == Beamtime()
    assert Allow.model_validate({"beamtime": False}).beamtime_for(INGO) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"from": "2026-11-20T08:00", "to": RUN["to"]}, "does not say in which time zone"),
        ({"from": "2026-11-20", "to": RUN["to"]}, "does not say in which time zone"),
        ({"from": RUN["to"], "to": RUN["from"]}, "from: must be before to:"),
        ({"from": "0100-11-20T08:00Z"}, "must be in a year from 1970 to 9000"),
        ({"from": "soon"}, "must be a time such as"),
        ({"from": 8}, "put it into quotes"),
        ({"from": "25:00", "to": "26:00", "zone": "UTC"}, "must be a time such as"),
        ({"from": "24:00", "to": "08:00", "zone": "UTC"}, "must be before"),
        ({}, "needs from: or to:"),
        ({"from": "08:00", "to": "18:00"}, "needs its zone:"),
        ({"from": "08:00", "zone": "UTC"}, "needs from: and to:"),
        ({"from": "08:00", "to": "08:00", "zone": "UTC"}, '"00:00" to "24:00"'),
        ({**WORK, "zone": "Mars/Base"}, "'Mars/Base' is not a time zone known here"),
        ({**WORK, "zone": "../../etc/passwd"}, "is not a time zone known here"),
        ({**WORK, "zone": "Europe"}, "is not a time zone known here"),
        ({**WORK, "days": ["monday"]}, "'monday' is not a day"),
        ({**RUN, "days": ["mon"]}, "are for weekly windows"),
        ({"from": "08:00", "to": RUN["to"], "zone": "UTC"}, "needs from: and to:"),
    ],
)
def test_a_window_that_says_nothing_sure_is_a_mistake(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        windows(body)
    assert told in str(error.value)


def test_utc_is_known_where_the_system_has_no_zones() -> None:
    assert zone_of("UTC") is UTC


SITE = """\
facility: {{id: demo, title: Demo, zone: {zone}}}
environments: [{{id: standard, title: Standard}}]
profiles:
  - id: small
    title: Small
    backend: local
    memory: 1G
    allow:
      roles: [gpu-user]
      windows:
        - {{from: 2026-11-20T08:00:00+01:00, to: 2026-11-22T18:00:00{plus}}}
        - days: [mon]
          from: 08:00
          to: 18:00
          zone: {zone}
      beamtime: {beamtime}
"""

CATALOGUE = "catalogue: {kind: static, file: proposals.yaml}\n"


def test_mistakes_about_time_are_told_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SITE.format(zone="Mars", plus="", beamtime="yesterday") + CATALOGUE)
    with pytest.raises(SiteMistakes) as error:
        load_site(file)
    told = {(m.line, m.where): m.message for m in error.value.mistakes}
    assert "is not a time zone known here" in told[1, "facility.zone"]
    assert "does not say in which time zone" in told[11, "profiles.0.allow.windows.0.to"]
    assert "is not a time zone" in told[15, "profiles.0.allow.windows.1.zone"]
    assert "must be true, or for example" in told[16, "profiles.0.allow.beamtime"]


def test_beam_time_without_a_catalogue_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(SITE.format(zone="Europe/Paris", plus="+01:00", beamtime="true"))
    with pytest.raises(SiteMistakes) as error:
        load_site(file)
    (mistake,) = error.value.mistakes
    assert (mistake.line, mistake.where) == (16, "profiles.0.allow.beamtime")
    file.write_text(file.read_text() + CATALOGUE)
    (profile,) = load_site(file).profiles
    assert profile.allow.why_not(Person("p"), at("2026-11-21T12:00")) == profile.allow.otherwise
    gpu = Person("p", roles=frozenset({"gpu-user"}))
    assert profile.allow.why_not(gpu, at("2026-11-21T12:00")) == ""
    assert profile.allow.why_not(gpu, at("2026-11-22T18:00")) == "opens on Monday 08:00 CET"
