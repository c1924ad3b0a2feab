"""Policy and authorisation: fail closed, with a sentence."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from panosc_hub import library
from panosc_hub.catalogue.base import Catalogue
from panosc_hub.core.choices import Menu, Option
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import summary
from panosc_hub.core.policy import Moment
from panosc_hub.core.profiles import Limits, tighten
from panosc_hub.core.proposals import Dataset, Proposal
from panosc_hub.core.selection import Selection
from panosc_hub.errors import (
    CatalogueUnavailable,
    InvalidSelection,
    NotAllowed,
    NotFound,
    Refusal,
)
from panosc_hub.facility import FacilityService

ROOT = Path(__file__).resolve().parents[2]
PAULA = Person("paula", frozenset({"proposal:HG-123"}))
MIRA = Person("mira", frozenset({"proposal:HG-123", "proposal:p2222"}))
INGO = Person("ingo", frozenset({"instrument:id02"}))
NOBODY = Person("nora")
HG = Selection(profile="small", proposal="HG-123", dataset="20.500.12345/agbh-0001",
               template="saxs-azimuthal")  # fmt: skip


@pytest.fixture
def service(tmp_path: Path) -> FacilityService:
    """The example facility on an empty data root."""
    return FacilityService(
        ROOT / "examples" / "site.yaml",
        {"data": str(tmp_path), "venv": "/usr"},
        log=logging.getLogger("test"),
    )


async def test_the_plan_holds_only_the_selected_proposals_areas(
    service: FacilityService, tmp_path: Path
) -> None:
    plan = await service.plan(service.choose(HG, PAULA), PAULA)
    assert plan.workspace == "panosc/demo/HG-123/saxs-azimuthal-1.0.0"
    assert {a.name: a.path for a in plan.areas} == {
        "raw": f"{tmp_path}/ID02/HG-123/raw",
        "processed": f"{tmp_path}/ID02/HG-123/processed",
        "scratch": f"{tmp_path}/ID02/HG-123/scratch",
    }
    assert {a.name: str(a.mode) for a in plan.areas}["raw"] == "ro"
    assert plan.open == "saxs-agbh_0001.ipynb"
    assert f"{tmp_path}/ID02/HG-123/raw/agbh_0001" in plan.files[0].text
    assert plan.environment["PANOSC_DATASET"] == "20.500.12345/agbh-0001"


async def test_the_same_selection_gives_the_same_bytes(service: FacilityService) -> None:
    first = await service.plan(service.choose(HG, PAULA), PAULA)
    second = await service.plan(service.choose(HG, PAULA), PAULA)
    assert first.to_dict() == second.to_dict()


async def test_an_archived_dataset_is_told(service: FacilityService) -> None:
    selection = Selection(proposal="HG-123", dataset="20.500.12345/agbh-0003")
    plan = await service.plan(service.choose(selection, PAULA), PAULA)
    assert "archived" in plan.notices[0]


@pytest.mark.parametrize(
    "person", [NOBODY, Person("paula"), Person("x", frozenset({"proposal:HG-12"}))]
)
async def test_a_stranger_gets_nothing(service: FacilityService, person: Person) -> None:
    with pytest.raises(NotFound, match="not among yours"):
        await service.plan(service.choose(HG, person), person)


@pytest.mark.parametrize("person", [PAULA, MIRA, INGO])
async def test_members_and_instrument_scientists_are_authorised(
    service: FacilityService, person: Person
) -> None:
    assert (await service.plan(service.choose(HG, person), person)).proposal == "HG-123"


async def test_a_dataset_of_another_proposal_is_refused(service: FacilityService) -> None:
    mixed = Selection(proposal="p2222", dataset="20.500.12345/agbh-0001")
    with pytest.raises(NotFound, match="does not belong"):
        await service.plan(service.choose(mixed, MIRA), MIRA)


class Broken(Catalogue):
    """A catalogue that fails in a way nobody thought of."""

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        raise KeyError("ownerGroup")

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        return []


class Outside(Broken):
    """A catalogue that names a location outside the layout."""

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        return [Proposal("HG-123", instrument="ID02")]

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        return [Dataset("20.500.12345/agbh-0001", "x", "/etc")]


class Oddly(Outside):
    """A catalogue that names an instrument which is no plain name."""

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        return [Proposal("HG-123", instrument="../..")]


@pytest.mark.parametrize(
    ("catalogue", "error"),
    [(Broken(), CatalogueUnavailable), (Outside(), Refusal), (Oddly(), Refusal)],
)
async def test_a_broken_catalogue_never_opens_a_path(
    service: FacilityService,
    catalogue: Catalogue,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_build", lambda *_: catalogue)
    with pytest.raises(error):
        await service.plan(service.choose(HG, PAULA), PAULA)


def test_policy_refuses_with_the_reason(service: FacilityService) -> None:
    with pytest.raises(NotAllowed, match="ask your local contact"):
        service.choose(Selection(profile="staff"), PAULA)
    with pytest.raises(InvalidSelection, match="not offered here"):
        service.choose(Selection(profile="gone"), PAULA)
    with pytest.raises(InvalidSelection) as refused:
        service.choose(
            Selection(profile="medium", memory=99 * 2**30, environment="container", template="x"),
            PAULA,
        )
    assert {p.field for p in refused.value.problems} == {"memory", "environment", "template"}


def test_the_default_is_the_remembered_profile_if_it_is_still_allowed(
    service: FacilityService,
) -> None:
    assert service.choose(Selection(), PAULA, "medium").profile.id == "medium"
    assert service.choose(Selection(), PAULA, "staff").profile.id == "small"
    assert service.choose(Selection(), PAULA, "gone").profile.id == "small"
    assert service.choose(Selection(), INGO, "staff").profile.id == "staff"


def test_a_broken_template_is_left_out_and_named(tmp_path: Path) -> None:
    good = ROOT / "examples" / "templates" / "nexus-browser"
    for name in ("good", "bad", "worse"):
        (tmp_path / name).mkdir()
        for file in good.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    manifest = tmp_path / "bad" / "template.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: one"))
    (tmp_path / "worse" / "template.yaml").write_text("schema: [")
    templates, problems = library.read_all([tmp_path, tmp_path / "missing"])
    assert [t.id for t in templates] == ["nexus-browser"]
    assert len(problems) == 3
    assert any("template.yaml:" in p and "version" in p for p in problems)


def _parameters(source: object, tags: object = ("parameters",)) -> str:
    cell = {"cell_type": "code", "id": "a", "metadata": {"tags": tags}, "outputs": []}
    cells = [{**cell, "execution_count": None, "source": source}]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


@pytest.mark.parametrize(
    "notebook",
    [
        _parameters("%matplotlib inline\ndataset_path = ''"),
        _parameters("dataset_path = = ''"),
        _parameters(5),
        _parameters("dataset_path = ''", tags=None),
        '{"nbformat": 4}',
        "[]",
        "not JSON",
        "\x00",
    ],
)
def test_a_notebook_that_cannot_be_read_takes_no_other_template_with_it(
    tmp_path: Path, notebook: str
) -> None:
    manifest = (
        "{schema: panosc-hub/template/1, id: ID, version: 1.0.0, title: T, entrypoint: n.ipynb,"
        " parameters: {dataset_path: {source: dataset.path}}}"
    )
    for name, text in (("bad", notebook), ("good", _parameters("dataset_path = ''"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "template.yaml").write_text(manifest.replace("ID", name))
        (tmp_path / name / "n.ipynb").write_text(text)
    templates, problems = library.read_all([tmp_path])
    assert [t.id for t in templates] == ["good"]
    assert len(problems) == 1
    assert problems[0].startswith(str(tmp_path / "bad" / "n.ipynb")), problems


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    (tmp_path / "bomb").mkdir()
    (tmp_path / "bomb" / "template.yaml").write_text("\n".join(lines))
    templates, problems = library.read_all([tmp_path])
    assert templates == ()
    assert "with all aliases" in problems[0]


def test_a_linked_file_in_a_template_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for file in (ROOT / "examples" / "templates" / "nexus-browser").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    notebook = next(folder.glob("*.ipynb"))
    notebook.unlink()
    notebook.symlink_to("/etc/passwd")
    assert library.read_all([tmp_path])[0] == ()


def test_the_default_skips_profiles_whose_backend_is_absent(service: FacilityService) -> None:
    without = Moment(present=lambda p: p.id != "small")
    assert service.choose(Selection(), PAULA, "small", without).profile.id == "medium"
    with pytest.raises(InvalidSelection, match="Small is not available at the moment"):
        service.choose(Selection(profile="small"), PAULA, moment=without)
    with pytest.raises(NotAllowed, match="at the moment"):
        service.choose(Selection(), PAULA, moment=Moment(present=lambda p: False))


def tightened(limits: Limits) -> Moment:
    return Moment(offered=lambda profile: tighten(profile, limits))


def test_limits_are_those_that_the_backend_offers_now(service: FacilityService) -> None:
    asked, moment = Selection(profile="medium", cpus=2), tightened(Limits(cpus=1))
    assert service.choose(asked, PAULA).resources.cpus == 2
    with pytest.raises(InvalidSelection, match="2 asked, but on Medium it is fixed at 1"):
        service.choose(asked, PAULA, moment=moment)
    # What nobody asked for is what there is, not what the site would like.
    chosen = service.choose(Selection("medium"), PAULA, moment=moment)
    assert chosen.resources.cpus == 1


def test_a_profile_of_which_nothing_can_be_had_is_refused_with_the_reason(
    service: FacilityService,
) -> None:
    gone = Moment(offered=lambda p: "no node is up" if p.id == "small" else p)
    with pytest.raises(InvalidSelection, match="Small cannot be used now: no node is up"):
        service.choose(Selection(profile="small"), PAULA, moment=gone)
    assert service.choose(Selection(), PAULA, moment=gone).profile.id == "medium"


ACCOUNTS = Menu("account", "Account", (Option("hg123"), Option("mx1")), "hg123")


def with_menus(*menus: Menu) -> Moment:
    return Moment(menus=lambda profile, person: menus if person.name == "paula" else ())


def test_answers_are_those_that_the_person_is_offered_now(service: FacilityService) -> None:
    mine, moment = Selection("small", choices=(("account", "mx1"),)), with_menus(ACCOUNTS)
    assert service.choose(mine, PAULA, moment=moment).selection == mine
    with pytest.raises(InvalidSelection, match="choice-account: is not to be chosen on Small"):
        service.choose(mine, MIRA, moment=moment)
    wrong = Selection("small", cpus=99, choices=(("account", "vip"), ("qos", "high")))
    with pytest.raises(InvalidSelection) as refused:
        service.choose(wrong, PAULA, moment=moment)
    assert [p.field for p in refused.value.problems] == ["cpus", "choice-account", "choice-qos"]
    assert "vip is not offered on Small; there is hg123, mx1" in refused.value.sentence


def test_what_was_not_answered_is_not_written_down(service: FacilityService) -> None:
    choice = service.choose(Selection("small"), PAULA, moment=with_menus(ACCOUNTS))
    assert choice.selection.to_options() == {"v": 1, "profile": "small"}


OWN = """
facility: {id: own, title: Own}
environments:
  - {id: fixed, title: Fixed, prefix: /opt/fixed}
  - {id: own, title: Own, prefix: /opt/base, paths: ["/home/{username}/**", "/images/*.sif"]}
profiles:
  - {id: p, title: P, backend: local, memory: 1G}
  - id: g
    title: G
    backend: local
    memory: 1G
    gpus: {type: [a100, h100], count: {max: 4}, most: {h100: 2}}
"""


@pytest.fixture
def own(tmp_path: Path) -> FacilityService:
    (tmp_path / "own.yaml").write_text(OWN)
    return FacilityService(tmp_path / "own.yaml", log=logging.getLogger("test"))


@pytest.mark.parametrize(
    ("path", "prefix", "image"),
    [
        ("/home/paula/env", "/home/paula/env", None),
        ("/home/paula/a/b.sif", None, "/home/paula/a/b.sif"),
        ("/images/saxs.sif", None, "/images/saxs.sif"),
    ],
)
async def test_an_own_environment_is_what_the_backend_gets(
    own: FacilityService, path: str, prefix: str | None, image: str | None
) -> None:
    choice = own.choose(Selection("p", environment="own", choices=(("path", path),)), PAULA)
    launch = own.launch(choice, await own.plan(choice, PAULA), PAULA)
    assert (launch.environment.prefix, launch.environment.apptainer) == (prefix, image)
    assert launch.environment.id == "own"
    assert launch.plan.provenance["selection"]["choices"] == {"path": path}


@pytest.mark.parametrize(
    ("environment", "path", "why"),
    [
        ("own", "/home/mira/env", "may be: /home/paula/"),
        ("own", "/images/../x.sif", "may be"),
        ("own", "/tmp/env", "may be"),
        ("own", "relative", "may be"),
        ("fixed", "/home/paula/env", "cannot be used with Fixed"),
        (None, "/home/paula/env", "cannot be used with Fixed"),
    ],
)
def test_an_own_environment_elsewhere_is_refused(
    own: FacilityService, environment: str | None, path: str, why: str
) -> None:
    with pytest.raises(InvalidSelection, match=f"choice-path: .*{why}"):
        own.choose(Selection("p", environment=environment, choices=(("path", path),)), PAULA)


def test_a_backend_that_does_not_look_where_a_path_leads_takes_none(own: FacilityService) -> None:
    asked = Selection("p", environment="own", choices=(("path", "/home/paula/env"),))
    assert own.choose(asked, PAULA).environment.prefix == "/home/paula/env"
    with pytest.raises(InvalidSelection, match="choice-path: cannot be used with Own"):
        own.choose(asked, PAULA, moment=Moment(own_paths=lambda profile: False))


def test_an_environment_without_an_own_path_is_the_facilitys(own: FacilityService) -> None:
    chosen = own.choose(Selection("p", environment="own"), PAULA).environment
    assert (chosen.prefix, chosen.apptainer) == ("/opt/base", None)


def test_the_type_of_gpu_is_a_menu_of_every_backend(own: FacilityService) -> None:
    def gpus(*, count: int | None = None, **choices: str) -> str:
        asked = Selection("g", gpus=count, choices=tuple(choices.items()))
        return str(own.choose(asked, PAULA).resources.gpus)

    assert (gpus(), gpus(gpu="h100"), gpus(count=4)) == ("1 x a100", "1 x h100", "4 x a100")
    with pytest.raises(InvalidSelection, match="of h100 there are at most 2"):
        gpus(count=3, gpu="h100")
    with pytest.raises(InvalidSelection, match="choice-gpu: v100 is not offered on G"):
        gpus(gpu="v100")
    with pytest.raises(InvalidSelection, match="choice-gpu"):
        own.choose(Selection("p", choices=(("gpu", "a100"),)), PAULA)


async def test_names_that_become_alike_get_notebooks_of_their_own(
    service: FacilityService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Alike(Outside):
        async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
            raw = f"{tmp_path}/ID02/HG-123/raw"
            return [Dataset("1", "a b", f"{raw}/1"), Dataset("2", "a/b", f"{raw}/2")]

    monkeypatch.setattr(service, "_build", lambda *_: Alike())
    opened = set()
    for pid in ("1", "2"):
        selection = Selection(proposal="HG-123", dataset=pid, template="saxs-azimuthal")
        opened.add((await service.plan(service.choose(selection, PAULA), PAULA)).open)
    assert len(opened) == 2


def test_only_templates_that_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LOOK_INTERVAL", 0.0)
    source = ROOT / "examples" / "templates" / "nexus-browser"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in source.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
        manifest = tmp_path / name / "template.yaml"
        manifest.write_text(manifest.read_text().replace("id: nexus-browser", f"id: {name}"))
    shelf = library.Library(logging.getLogger("test"))
    read: list[str] = []
    real = library.read_template
    monkeypatch.setattr(library, "read_template", lambda f: (read.append(f.name), real(f))[1])
    assert {t.id for t in shelf.templates([tmp_path])} == {"one", "two"}
    changed = tmp_path / "two" / "template.yaml"
    changed.write_text(changed.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    versions = {t.id: t.manifest.version for t in shelf.templates([tmp_path])}
    assert versions == {"one": "1.0.0", "two": "1.0.1"}
    assert read == ["one", "two", "two"]


def test_a_picture_that_browsers_may_not_show_is_a_mistake(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for file in (ROOT / "examples" / "templates" / "nexus-browser").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "picture.svg").write_bytes(b"GIF89a")
    templates, problems = library.read_all([tmp_path])
    assert not templates
    assert "must be a PNG or an SVG" in problems[0]


GATED = """
  - id: gated
    title: Gated
    backend: local
    memory: 1G
    allow: {allow}
"""
NOON = datetime(2026, 1, 13, 12, tzinfo=UTC)  # HG-123 has its beam time from 12 to 14 January
WEEKLY = "{days: [wed], from: '08:00', to: '18:00', zone: Europe/Paris}"


def gated(tmp_path: Path, allow: str, *, zone: str = "UTC", others: bool = True) -> FacilityService:
    """The example facility with one more profile, or with that one alone."""
    site = (ROOT / "examples" / "site.yaml").read_text()
    site = site.replace("facility:\n", f"facility:\n  zone: {zone}\n", 1)
    tmp_path.mkdir(exist_ok=True)
    for name in ("proposals.yaml", "templates"):
        (tmp_path / name).symlink_to(ROOT / "examples" / name)
    own = GATED.replace("{allow}", allow)
    head, _, rest = site.partition("\nprofiles:")
    file = tmp_path / "site.yaml"
    file.write_text(f"{head}\nprofiles:{own}{rest if others else ''}")
    variables = {"data": str(tmp_path), "venv": "/usr"}
    return FacilityService(file, variables, log=logging.getLogger("test"))


def test_a_closed_window_refuses_and_says_when_it_opens(tmp_path: Path) -> None:
    service = gated(tmp_path, f"{{windows: [{WEEKLY}]}}")
    closed, open_ = (Moment(clock=lambda at=at: at) for at in (NOON, NOON + timedelta(days=1)))
    asked = Selection(profile="gated")
    with pytest.raises(NotAllowed, match=r"^Gated: it opens on Wednesday 08:00 CET\.$"):
        service.choose(asked, PAULA, moment=closed)
    assert service.choose(asked, PAULA, moment=open_).profile.id == "gated"


def test_a_default_profile_is_one_that_is_open_now(tmp_path: Path) -> None:
    service = gated(tmp_path, f"{{windows: [{WEEKLY}]}}")
    closed = Moment(clock=lambda: NOON)
    assert service.choose(Selection(), PAULA, "gated", closed).profile.id != "gated"
    alone = gated(tmp_path / "x", f"{{windows: [{WEEKLY}]}}", others=False)
    with pytest.raises(NotAllowed, match=r"at the moment\. Gated opens on Wednesday 08:00 CET\.$"):
        alone.choose(Selection(), PAULA, moment=closed)


async def test_beam_time_is_judged_with_the_authorised_proposal(tmp_path: Path) -> None:
    service = gated(tmp_path, "{beamtime: {after: 2d}}", zone="Europe/Paris")
    choice = service.choose(replace(HG, profile="gated", template=None), PAULA)
    for at in (NOON, datetime(2026, 1, 16, 22, 59, tzinfo=UTC)):
        plan = await service.plan(choice, PAULA, clock=lambda at=at: at)
        assert plan.proposal == "HG-123"
    for at in (datetime(2026, 1, 16, 23, tzinfo=UTC), datetime(2026, 1, 11, 22, 59, tzinfo=UTC)):
        with pytest.raises(NotAllowed) as error:
            await service.plan(choice, PAULA, clock=lambda at=at: at)
        assert error.value.sentence == (
            "Gated is for proposals during their beam time and 2 days after it; "
            "HG-123 has its from 12 to 14 January."
        )
    # Whose proposal it is not reads that, and nothing about its dates.
    with pytest.raises(NotFound, match="not among yours"):
        await service.plan(choice, NOBODY, clock=lambda: NOON)


class Undated(Catalogue):
    """A catalogue that knows no dates."""

    async def proposals(self, person: Person) -> Sequence[Proposal]:
        return [Proposal("HG-123", instrument="ID02")]

    async def datasets(self, person: Person, proposal_id: str) -> Sequence[Dataset]:
        return []


async def test_beam_time_without_dates_or_proposal_fails_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = gated(tmp_path, "{beamtime: true, admins: true, roles: [user]}")
    paula = replace(PAULA, roles=frozenset({"user"}))
    with pytest.raises(InvalidSelection, match="proposal: Gated is for proposals during"):
        service.choose(Selection(profile="gated"), paula)
    assert service.choose(Selection(), paula, "gated").profile.id != "gated"
    choice = service.choose(Selection(profile="gated", proposal="HG-123"), paula)
    monkeypatch.setattr(FacilityService, "catalogue", Undated())
    with pytest.raises(NotAllowed, match="does not tell the dates of HG-123"):
        await service.plan(choice, paula, clock=lambda: NOON)
    admin = Person("ada", admin=True)
    choice = service.choose(Selection(profile="gated"), admin)
    assert (await service.plan(choice, admin, clock=lambda: NOON)).proposal is None


def test_what_was_chosen_besides_amounts_is_told_in_words(service: FacilityService) -> None:
    menu = Menu("image", "Image", (Option("a:1", "Plain"),), "a:1", (r"ours/.+",))
    offers = Moment(menus=lambda profile, person: (menu,))
    told = {}
    for value in ("a:1", "ours/b:2"):
        choice = service.choose(
            Selection("small", choices=(("image", value),)), PAULA, moment=offers
        )
        words = summary(
            choice.selection, choice.profile, choice.resources, choice.template, choice.said
        )
        told[value] = words["choices"]
    assert told == {"a:1": "Image Plain", "ours/b:2": "Image ours/b:2"}
    untouched = service.choose(Selection("small"), PAULA, moment=offers)
    assert untouched.said == ()
    with pytest.raises(InvalidSelection, match=r"there is a:1; you may type one like ours/…$"):
        service.choose(Selection("small", choices=(("image", "x/y"),)), PAULA, moment=offers)
