"""What the pages show is decided here: choices, reasons, notices, words."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from panosc_hub.backends.base import Availability
from panosc_hub.core.choices import Menu
from panosc_hub.core.identity import Person
from panosc_hub.core.policy import Moment
from panosc_hub.core.profiles import GpuOffer, Profile, Wish
from panosc_hub.core.selection import Selection
from panosc_hub.errors import BackendUnavailable, Problem
from panosc_hub.web import profiles, rows, view, words
from panosc_hub.web.offers import offer_of, offers, with_wish
from panosc_hub.web.sessions import sessions
from tests.stage import DATASETS, PROPOSALS, TEMPLATES, Stage, choosing

G = 2**30


def page(
    *,
    asked: view.Asked | None = None,
    remembered: Selection | None = None,
    answer: view.Answer | None = None,
    person: Person | None = None,
    looks: dict[str, Availability] | None = None,
    site_error: str = "",
    stage: Stage | None = None,
) -> view.Page:
    stage = stage or Stage()
    site = stage.facility.site
    return view.build(
        site=site,
        templates=TEMPLATES,
        offers=offers(site, TEMPLATES, stage.now),
        person=person or stage.person(),
        looks=stage.availability() if looks is None else looks,
        answer=answer or view.Answer("ready", PROPOSALS, DATASETS["HG-123"]),
        asked=asked or view.Asked(),
        remembered=remembered or Selection(),
        site_error=site_error,
        moment=stage.now,
    )


def linked(**fields: Any) -> view.Asked:
    return view.Asked(Selection(**fields), explicit=True)


def lines(shown: view.Page) -> dict[str, profiles.ProfileView]:
    return {v.offer.profile.id: v for group in shown.groups for v in group.profiles}


def test_profiles_are_grouped_by_backend_in_the_order_of_the_site() -> None:
    assert [(g.title, [v.offer.profile.id for v in g.profiles]) for g in page().groups] == [
        ("Slurm", ["small", "a100", "exclusive"]),
        ("Kubernetes", ["medium", "l4"]),
    ]


def test_a_profile_of_an_absent_backend_is_not_shown() -> None:
    assert "gone" not in lines(page())
    assert "gone" not in {p["id"] for p in json.loads(page().profiles_json)}


def test_a_profile_that_is_not_for_the_person_is_greyed_with_the_reason() -> None:
    shown = lines(page())["exclusive"]
    assert (shown.usable, shown.reason) == (False, "not for your group: ask your local contact")
    assert shown.free is None
    assert lines(page(person=Person("s", frozenset({"staff"}))))["exclusive"].usable


def test_what_is_idle_is_said_of_a_profile_that_can_be_used() -> None:
    assert lines(page())["a100"].idle == "idle: 48 CPUs, 0 × A100"
    looks = {"a100": Availability(False, None, "drained", idle={"cpus": 4})}
    assert lines(page(looks=looks))["a100"].idle == ""


def test_a_backend_that_cannot_now_greys_its_profile_with_its_words() -> None:
    looks = {"small": Availability(False, None, "the partition is drained until Monday")}
    shown = lines(page(looks=looks))["small"]
    assert (shown.usable, shown.reason) == (False, "the partition is drained until Monday")


def test_the_first_usable_profile_is_chosen_when_nothing_is_remembered() -> None:
    looks = Stage().availability() | {"small": Availability(False, None, "down")}
    chosen = page(looks=looks).chosen
    assert chosen is not None
    assert chosen.offer.profile.id == "a100"


def test_the_last_choice_is_remembered() -> None:
    last = Selection(
        profile="small", proposal="HG-123", dataset="20.500.12345/agbh-2", template="nexus",
        cpus=2, memory=32 * G, walltime=3600, environment="pyfai",
    )  # fmt: skip
    shown = page(remembered=last)
    assert shown.selection == last
    assert shown.notices == ()
    assert shown.chosen is not None
    assert shown.chosen.offer.summary == "2 CPUs, 32 GB, 1 h"


def test_a_remembered_choice_that_is_gone_is_dropped_without_a_word() -> None:
    last = Selection(profile="exclusive", proposal="OLD-1", dataset="x", template="gone")
    shown = page(remembered=last)
    assert shown.notices == ()
    assert (shown.selection.proposal, shown.selection.template) == (None, None)
    assert shown.selection.profile == "small"


def test_a_link_says_what_it_could_not_fill_in() -> None:
    shown = page(asked=linked(profile="exclusive", proposal="OLD-1", template="gone"))
    assert shown.notices == (
        "Proposal OLD-1 is not among yours, so it is not chosen.",
        "The notebook gone is not published here.",
        "Exclusive node cannot be used: not for your group: ask your local contact. "
        "Small is chosen instead.",
    )


def test_a_link_keeps_the_persons_own_way_to_compute() -> None:
    last = Selection(profile="small", cpus=2, proposal="MX-2000", template="nexus")
    shown = page(asked=linked(proposal="HG-123", dataset="20.500.12345/agbh-1"), remembered=last)
    assert shown.selection == Selection(
        profile="small", cpus=2, proposal="HG-123", dataset="20.500.12345/agbh-1"
    )


def test_wishes_beyond_a_limit_become_problems_beside_their_field() -> None:
    shown = page(asked=linked(profile="small", memory=128 * G, cpus=99))
    assert set(shown.problems) == {"memory", "cpus"}
    assert "between 2G and 64G" in shown.problems["memory"][0]
    assert shown.chosen is not None
    assert shown.chosen.offer.summary == "4 CPUs, 8 GB, 4 h"


def test_a_wish_of_a_link_without_a_profile_is_held_against_the_chosen_one() -> None:
    shown = page(asked=linked(memory=128 * G, cpus=2))
    assert set(shown.problems) == {"memory"}
    assert shown.selection == Selection(profile="small", cpus=2)


def test_the_same_problem_is_shown_once() -> None:
    problem = Problem("memory", "is odd")
    assert view.by_field([problem, problem]) == {"memory": ("is odd",)}


def test_a_template_that_needs_a_gpu_is_started_with_a_profile_that_has_one() -> None:
    shown = page(asked=linked(template="reconstruct"))
    assert shown.selection.profile == "a100"
    assert shown.data["misfits"]["reconstruct"]["small"] == "the notebook needs 1 GPU"
    assert "l4" not in shown.data["misfits"]["reconstruct"]


def test_the_best_suiting_notebook_comes_first() -> None:
    shown = page(asked=linked(proposal="HG-123", dataset="20.500.12345/agbh-1"))
    assert [(f.template.id, f.rank) for f in shown.cards][:2] == [("azimuthal", 0), ("nexus", 1)]


def test_a_catalogue_that_is_away_keeps_what_was_chosen() -> None:
    shown = page(answer=view.Answer("down", sentence="gone"), asked=linked(proposal="HG-123"))
    assert shown.selection.proposal == "HG-123"
    assert shown.notices == ()


def test_a_broken_site_file_is_told_to_admins_only() -> None:
    assert page(site_error="line 3").site_error == ""
    assert page(site_error="line 3", person=Person("root", admin=True)).site_error == "line 3"


def test_a_thousand_alike_datasets_share_one_table_of_fits() -> None:
    body = rows.datasets_json(TEMPLATES, PROPOSALS[2], DATASETS["MX-2000"])
    assert len(body["datasets"]) == 1000
    assert len(body["fits"]) == 2
    assert {row["fit"] for row in body["datasets"]} == {1}
    assert body["fits"][1]["reconstruct"] == {"rank": 0, "why": "for SFX (PaNET01168)"}


def test_an_archived_dataset_says_so_and_never_tells_its_place() -> None:
    row = rows.dataset_json(DATASETS["HG-123"][2])
    assert row["status"] == "archived"
    assert "not on disk" in row["note"]
    assert "location" not in row


def test_a_dataset_names_its_technique_and_is_found_by_every_name_of_it() -> None:
    row = rows.dataset_json(DATASETS["HG-123"][0])
    assert row["about"].split(" · ")[2] == "SAXS"
    assert row["techniques"] == ["PaNET01188"]
    for typed in ("saxs", "panet01188", "small angle x-ray", "agbh_0001", "2026-01-12", "12 jan"):
        assert typed in row["find"]


def test_the_stops_of_a_slider_hold_limits_default_and_wish() -> None:
    site = Stage().facility.site
    profile = site.profile("small")
    assert profile is not None
    scale = with_wish(offer_of(site, profile), Wish(memory=5 * G)).scales["memory"]
    assert [s.value for s in scale.stops] == ["2G", "4G", "5G", "8G", "16G", "32G", "64G"]
    assert scale.stops[scale.default].value == "5G"
    assert scale.stops[scale.standard].value == "8G"


def test_offers_are_computed_once_for_a_site_and_its_limits() -> None:
    site = Stage().facility.site
    assert offers(site, TEMPLATES) is offers(site, TEMPLATES)
    assert offers(site, TEMPLATES[:1]) is not offers(site, TEMPLATES)
    few, more = choosing(cpus=8), choosing(cpus=32)
    found = offers(site, TEMPLATES, few.now)
    # Another look with the same result: other objects, the same offers.
    assert offers(site, TEMPLATES, few.now) is found
    assert offers(site, TEMPLATES, more.now) is not found


def test_what_the_backend_has_now_limits_the_sliders_and_the_notebooks() -> None:
    shown = page(stage=choosing(cpus=8, memory=12 * G, gpus={"a100": 4, "h100": 1}))
    scales = lines(shown)["small"].offer.scales
    assert [s.value for s in scales["memory"].stops] == ["2G", "4G", "8G", "12G"]
    assert lines(shown)["small"].offer.limits["cpus"] == {"min": "1", "max": "8", "default": "4"}
    assert lines(shown)["medium"].offer.memory == "16 GB"
    # The profile with 64 GB cannot be had where a node has 12; its notebook goes elsewhere.
    assert not lines(shown)["a100"].usable
    assert lines(shown)["a100"].reason == "64 GB memory asked for, 12 GB memory possible now"
    assert page(stage=choosing(memory=12 * G), asked=linked(template="reconstruct")).selection == (
        Selection(profile="l4", template="reconstruct")
    )


def test_a_partition_that_disappeared_greys_its_profile_with_the_reason() -> None:
    shown = lines(page(stage=choosing(small="SLURM has no partition cpu")))["small"]
    assert (shown.usable, shown.reason, shown.free) == (False, "SLURM has no partition cpu", None)


def test_a_backend_that_cannot_tell_its_menus_leaves_the_page_whole() -> None:
    def fails(profile: Profile, person: Person) -> tuple[Menu, ...]:
        raise BackendUnavailable("Slurm does not answer.")

    stage = choosing()
    stage.now = Moment(menus=fails)
    assert page(stage=stage).menus == ()


def test_a_menu_sends_nothing_for_its_default() -> None:
    account, reservation = page(stage=choosing()).menus
    assert account.lines == (("", "hg123 · of HG-123"), ("mx-2000", "MX 2000"))
    assert reservation.lines == (("", "Default"), ("beam_1", "Beamtime · until 18:00"))
    assert (account.field, account.answer) == ("choice-account", "")


def test_a_menu_with_one_line_is_not_shown() -> None:
    assert "qos" not in {menu.name for menu in page(stage=choosing()).menus}


def test_menus_that_profiles_share_are_sent_once() -> None:
    data = page(stage=choosing()).data
    assert [m["name"] for m in data["menus"]] == ["account", "reservation", "qos", "gpu"]
    assert data["menusOf"] == {"small": [0, 1, 2], "a100": [3, 0]}
    assert data["menus"][3]["lines"] == (("", "A100"), ("h100", "H100 · at most 2"))


def test_answers_are_remembered_and_said() -> None:
    last = Selection("small", environment="pyfai",
                     choices=(("account", "mx-2000"), ("path", "/home/amember/env")))  # fmt: skip
    shown = page(stage=choosing(), remembered=last)
    assert shown.selection == last
    assert [menu.answer for menu in shown.menus] == ["mx-2000", ""]
    assert shown.summary.endswith("4 CPUs, 8 GB, 4 h, Account MX 2000, /home/amember/env")
    assert shown.notices == ()


GONE = (("account", "vip"), ("gpu", "v100"), ("path", "/home/other/env"), ("qos", "normal"))


def test_remembered_answers_that_are_not_offered_any_more_fall_back_without_a_word() -> None:
    shown = page(stage=choosing(), remembered=Selection("small", choices=GONE))
    assert (shown.notices, shown.problems) == ((), {})
    assert shown.selection == Selection("small", choices=(("qos", "normal"),))


def test_a_links_answers_that_are_not_offered_become_problems_beside_their_field() -> None:
    shown = page(stage=choosing(), asked=linked(profile="small", choices=GONE, environment="pyfai"))
    assert set(shown.problems) == {"choice-account", "choice-gpu", "choice-path"}
    assert (
        "vip is not offered on Small; there is hg123, mx-2000" in shown.problems["choice-account"]
    )
    assert "/home/amember/**" in shown.problems["choice-path"][0]
    assert set(shown.problems) <= set(shown.compute_fields)
    assert shown.selection.choices == (("qos", "normal"),)


def test_a_link_that_names_software_says_so_before_it_is_started() -> None:
    mine = (("path", "/home/amember/env"),)
    asked = linked(profile="small", environment="pyfai", choices=mine)
    shown = page(stage=choosing(), asked=asked)
    assert shown.selection.choices == mine
    assert shown.notices == (
        "The link runs what is at /home/amember/env. Start it only if you know it.",
    )


def test_own_paths_are_asked_for_only_where_they_are_looked_at_again() -> None:
    stage = choosing()
    assert page(stage=stage).paths == ("/home/amember/**", "/software/*/envs/*")
    careless = choosing()
    careless.now = Moment(own_paths=lambda profile: False)
    path = (("path", "/home/amember/env"),)
    asked = linked(profile="small", environment="pyfai", choices=path)
    shown = page(stage=careless, asked=asked)
    assert shown.paths == ()
    assert shown.problems["choice-path"] == ("cannot be used with pyFAI 2026.9",)
    assert shown.selection.choices == ()


def test_answers_for_another_profile_are_not_taken_along() -> None:
    last = Selection("exclusive", choices=(("account", "mx-2000"),))
    assert page(stage=choosing(), remembered=last).selection == Selection("small")


def test_a_link_without_answers_keeps_the_persons_own() -> None:
    last = Selection("small", choices=(("account", "mx-2000"),))
    shown = page(stage=choosing(), asked=linked(template="nexus"), remembered=last)
    assert shown.selection.choices == last.choices
    shown = page(stage=choosing(), asked=linked(cpus=2), remembered=last)
    assert shown.selection.choices == ()


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (words.memory(8 * G), "8 GB"),
        (words.memory(3 * G // 2), "1.5 GB"),
        (words.memory(512 * 2**20), "512 MB"),
        (words.memory(2**40), "1 TB"),
        (words.duration(5400), "1 h 30 min"),
        (words.duration(86400), "24 h"),
        (words.duration(7 * 86400), "7 days"),
        (words.span(12.7), "12 s"),
        (words.span(7500), "2 h 5 min"),
        (words.span(3 * 86400), "3 days"),
        (words.gpu(GpuOffer(type="a100"), 2), "2 × A100"),
        (words.gpu(GpuOffer(type="nvidia.com/gpu"), 1), "1 GPU"),
        (words.gpu(GpuOffer(), 0), "no GPU"),
        (words.gpu(GpuOffer(type=("a100", "h100")), 2), "2 GPUs"),
        (words.gpu(GpuOffer(type="1g.10gb"), 1), "1 × 1g.10gb"),
        (words.gpu(GpuOffer(kind="shard"), 2), "2 shares of a GPU"),
        (words.gpu(GpuOffer(type="a100", kind="shard"), 1), "1 share of A100"),
        (words.dates(date(2026, 1, 12), date(2026, 1, 14)), "12–14 Jan 2026"),
        (words.dates(date(2026, 1, 30), date(2026, 2, 2)), "30 Jan – 2 Feb 2026"),
        (words.dates(None, None), ""),
        (words.idle({"cpus": 1, "gpu:a100": 3, "gpu": 2}), "idle: 1 CPU, 3 × A100, 2 GPUs"),
        (words.idle({}), ""),
    ],
)
def test_amounts_read_as_people_say_them(said: str, text: str) -> None:
    assert said == text


NOW = datetime(2026, 1, 14, 12, tzinfo=UTC)


def row(name: str, **facts: Any) -> Any:
    return SimpleNamespace(
        name=name,
        display_name=None,
        started=NOW.replace(tzinfo=None) - timedelta(minutes=125),
        last_activity=NOW.replace(tzinfo=None) - timedelta(days=3),
        state={"v": 1, "summary": facts, "ended": facts.pop("ended", "")},
    )


def live(name: str, *, pending: str | None = None, ready: bool = False, **facts: Any) -> Any:
    return SimpleNamespace(
        orm_spawner=row(name), name=name, pending=pending, ready=ready, session_summary=facts
    )


def test_sessions_tell_state_backend_proposal_template_and_age() -> None:
    (session,) = sessions(
        [live("", ready=True, backend="slurm", profile="Small", proposal="HG-123", template="T")],
        "amember", "/hub/", "/", NOW,
    )  # fmt: skip
    assert (session.state, session.backend, session.profile) == ("running", "Slurm", "Small")
    assert (session.proposal, session.template, session.age) == ("HG-123", "T", "2 h 5 min ago")
    assert session.open_url == "/user/amember/"
    assert session.stop_url == "/hub/api/users/amember/server"


def test_a_stopped_session_says_why_from_the_saved_state() -> None:
    (session,) = sessions([row("old", backend="slurm", ended="memory")], "a", "/hub/", "/", NOW)
    assert (session.state, session.ended, session.age) == ("stopped", "memory", "3 days ago")
    assert not session.active


def test_a_starting_session_opens_its_own_pending_page() -> None:
    (session,) = sessions([live("gpu", pending="spawn")], "a@b", "/x/hub/", "/x/", NOW)
    assert session.state == "starting"
    assert session.open_url == "/x/hub/spawn-pending/a@b/gpu"
    assert session.stop_url == "/x/hub/api/users/a@b/servers/gpu"


def test_odd_saved_state_does_not_break_the_list() -> None:
    odd = row("odd")
    odd.state = {"v": 1, "summary": "nonsense", "ended": ["x"]}
    assert sessions([odd], "a", "/hub/", "/", NOW)[0].backend == ""
