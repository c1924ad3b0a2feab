"""site.yaml: every mistake with its line, all at once; a broken new version changes nothing."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from panosc_hub import site as site_module
from panosc_hub.cli.main import main
from panosc_hub.errors import SiteError
from panosc_hub.facility import FacilityService
from panosc_hub.site import SiteMistakes, load_site

GOOD = """\
facility: {id: test, title: Test}
variables: {data: ./data}
areas:
  raw: {path: "{data}/{instrument}/{proposal}/raw", mode: ro}
environments:
  - {id: one, title: One, prefix: "{data}/env"}
profiles:
  - id: small
    title: Small
    backend: local
    memory: 2G
"""

BAD = """\
facility: {id: Test Facility, title: Test}
areas:
  raw: {path: "/data/{instrument}/raw", mode: readonly}
environments: [{id: one, title: One},
  {id: one, title: Another}]
profiles:
  - id: small
    title: Small
    backend: local
    memory: lots
    partition: vip
  - id: big
    title: Big
    backend: local
    environments: [two]
"""


def test_a_good_site_is_read_with_units_inside(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(GOOD)
    site = load_site(tmp_path / "site.yaml")
    assert site.profiles[0].memory.default == 2 * 2**30
    assert site.variables["data"] == str(tmp_path / "data")
    assert site.environments[0].prefix == f"{tmp_path}/data/env"


def test_variables_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(GOOD)
    assert load_site(tmp_path / "site.yaml", {"data": "/d"}).environments[0].prefix == "/d/env"


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(BAD)
    with pytest.raises(SiteMistakes) as failed:
        load_site(tmp_path / "site.yaml")
    found = [(m.line, m.where, m.message) for m in failed.value.mistakes]
    expected = [
        (1, "facility.id", "lower-case letters"),
        (3, "areas.raw.mode", "must be 'ro' or 'rw'"),
        (3, "areas.raw.path", "must contain {proposal}"),
        (5, "environments.1.id", "'one' is used twice"),
        (10, "profiles.0.memory", "write for example 8G"),
        (11, "profiles.0.partition", "not a key known here"),
        (12, "profiles.1.memory", "missing"),
        (15, "profiles.1.environments.0", "'two' is not defined"),
    ]
    assert [(line, where) for line, where, _ in found] == [e[:2] for e in expected]
    for (_, _, message), (_, _, words) in zip(found, expected, strict=True):
        assert words in message
    assert str(tmp_path / "site.yaml") + ":10: profiles.1" not in failed.value.sentence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("environments: [", "environments: [nope, "), "'nope' is not defined"),
        (("{instrument}/{proposal}", "{instrument}"), "must contain {proposal}"),
        (("id: small", "id: small\n    environments: [two]"), "'two' is not defined"),
        (("title: Test", "title: Test, support: call me"), "support"),
    ],
)
def test_references_are_checked(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = GOOD.replace("memory: 2G", "memory: 2G\n    environments: [one]", 1)
    if change[0].startswith("id: small"):
        text = GOOD
    (tmp_path / "site.yaml").write_text(text.replace(*change, 1))
    with pytest.raises(SiteMistakes, match=message):
        load_site(tmp_path / "site.yaml")


@pytest.mark.parametrize("wrong", ["[data]", "data", "7"])
def test_variables_that_are_no_mapping_are_a_mistake(tmp_path: Path, wrong: str) -> None:
    text = GOOD.replace("variables: {data: ./data}", f"variables: {wrong}")
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(SiteMistakes, match=r"site\.yaml:2: variables: "):
        load_site(tmp_path / "site.yaml")


def test_the_check_tells_what_backends_refuse_beside_every_other_mistake(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    broken = BAD + "  - {id: l, title: L, backend: local, memory: 1G, walltime: 4h}\n"
    site.write_text(
        broken + "  - {id: s, title: S, backend: slurm, memory: 1G, options: {foo: 1}}\n"
    )
    result = CliRunner().invoke(main, ["check", str(site)])
    assert result.exit_code == 1
    told = {f"{site}:16 profiles.l": "walltime", f"{site}:17 profiles.s": "foo"}
    for place, words in told.items():
        (line,) = [line for line in result.output.splitlines() if line.startswith(place)]
        assert words in line
    assert f"{site}:10 profiles.0.memory" in result.output
    assert "10 mistakes" in result.output


def test_the_check_notes_a_backend_that_is_not_ours(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(GOOD + "  - {id: l, title: L, backend: locall, memory: 1G}\n")
    result = CliRunner().invoke(main, ["check", str(site)])
    assert result.exit_code == 0
    assert "Profiles with 'backend: locall' are not shown unless" in result.output
    answer = json.loads(CliRunner().invoke(main, ["check", "--json", str(site)]).output)
    assert answer["ok"]
    assert len(answer["notes"]) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("facility: [a]", "must be a mapping of keys and values"),
        ('facility: {id: test, title: ""}', "must not be so short"),
        ("facility: {id: test, title: 7}", "must be text; put it into quotes"),
        ("facility: {id: test, title: T, support: call me}", "must be a mail address, or a URL"),
    ],
)
def test_mistakes_are_told_in_words_for_people_who_write_yaml(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "site.yaml").write_text(GOOD.replace(GOOD.splitlines()[0], line))
    with pytest.raises(SiteMistakes) as failed:
        load_site(tmp_path / "site.yaml")
    (mistake,) = failed.value.mistakes
    assert mistake.line == 1
    assert message in mistake.message


def test_an_open_range_needs_a_backend_that_tells_its_limits(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(GOOD + "    cpus: {min: 1, default: 2}\n")
    result = CliRunner().invoke(main, ["check", str(site)])
    assert result.exit_code == 1
    assert f"{site}:12 profiles.small.cpus: needs a 'max'" in result.output


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- just a list",
        "",
        "\tx: 1",
        "a: 1\na: 2",
        "a: \x01",
        "a: 2026-02-30",
        "a: !!int x",
        "[" * 3000,
    ],
)
def test_what_is_no_yaml_mapping_is_told_with_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(SiteMistakes, match=r"site\.yaml:\d+: "):
        load_site(tmp_path / "site.yaml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="cannot be read"):
        load_site(tmp_path / "none.yaml")


def replace(path: Path, text: str) -> None:
    """As editors do: a new file under the old name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def test_a_broken_new_version_keeps_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site_module, "CHECK_INTERVAL", 0.0)
    path = tmp_path / "site.yaml"
    path.write_text(GOOD)
    service = FacilityService(path, log=logging.getLogger("test"))
    assert service.site.facility.title == "Test"
    replace(path, BAD)
    assert service.site.facility.title == "Test"
    assert "lots" in service.site_error
    assert [r for r in caplog.records if "stays in use" in r.message]
    replace(path, GOOD.replace("title: Test", "title: Better"))
    assert service.site.facility.title == "Better"
    assert service.site_error == ""
    aside = path.rename(tmp_path / "aside")
    assert service.site.facility.title == "Better"
    assert "cannot be read" in service.site_error
    aside.rename(path)
    assert service.site.facility.title == "Better"
    assert service.site_error == "", "the same file is back"
    replace(path, "a: \x01")
    assert service.site.facility.title == "Better"
    assert "not YAML" in service.site_error


def test_a_site_that_never_was_good_tells_its_mistakes_every_time(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(BAD)
    service = FacilityService(path, log=logging.getLogger("test"))
    for _ in range(2):
        with pytest.raises(SiteError, match="lots"):
            _ = service.site


def test_an_error_is_logged_once_not_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site_module, "CHECK_INTERVAL", 0.0)
    path = tmp_path / "site.yaml"
    path.write_text(GOOD)
    service = FacilityService(path, log=logging.getLogger("test"))
    assert service.site
    path.unlink()
    for _ in range(10):
        assert service.site
    assert len([r for r in caplog.records if "stays in use" in r.message]) == 1


@pytest.mark.parametrize("text", [None, "a: \x01"])
def test_the_check_tells_of_a_file_that_cannot_be_read(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "site.yaml"
    if text is not None:
        path.write_text(text)
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert f"{path}:1" in result.output
    assert "1 mistake" in result.output
