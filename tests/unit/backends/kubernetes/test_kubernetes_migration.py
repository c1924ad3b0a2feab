"""KubeSpawner's profile lists become profiles that load, and nothing of them is lost silently."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from panosc_hub.backends.kubernetes.migration.choices import whole
from panosc_hub.backends.kubernetes.migration.notes import Fate, plain_text
from panosc_hub.backends.kubernetes.migration.profiles import Migration
from panosc_hub.backends.kubernetes.migration.sources import from_config, from_values
from panosc_hub.backends.kubernetes.migration.text import site_text
from panosc_hub.backends.kubernetes.options import KubernetesOptions, validate_options
from panosc_hub.core.profiles import Profile
from panosc_hub.core.site import Site
from panosc_hub.site import load_site

ANSWERS = Path(__file__).resolve().parents[3] / "answers" / "kubespawner"


def values_of(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load((ANSWERS / name).read_text())
    return loaded


def loaded(migration: Migration, folder: Path) -> Site:
    """The site, checked as a Hub and ``panosc-hub check`` read it."""
    file = folder / "site.yaml"
    file.write_text(site_text(migration, facility_id="test", title="Test", source="x"))
    site = load_site(file)
    for profile in site.profiles:
        validate_options(profile.options)
        assert site.environments_of(profile)
    return site


def profiles(listed: Any, folder: Path, **singleuser: Any) -> list[Profile]:
    body = {"singleuser": {"profileList": listed, **singleuser}}
    return list(loaded(from_values(body), folder).profiles)


def one(entry: dict[str, Any], folder: Path, **singleuser: Any) -> Profile:
    (found,) = profiles([{"display_name": "One", **entry}], folder, **singleuser)
    return found


def options_of(profile: Profile) -> KubernetesOptions:
    return validate_options(profile.options)


@pytest.mark.parametrize("name", ["community.yaml", "federated.yaml"])
def test_a_profile_list_becomes_a_site_that_loads(name: str, tmp_path: Path) -> None:
    site = loaded(from_values(values_of(name)), tmp_path)
    assert len(site.profiles) in (3, 4)
    assert {profile.backend for profile in site.profiles} == {"kubernetes"}


def test_images_become_environments_with_their_titles_the_default_first(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("community.yaml")), tmp_path)
    profile = site.profile("only-choice-mem-8")
    assert profile
    offered = site.environments_of(profile)
    assert [e.title for e in offered] == ["Jupyter SciPy", "Pangeo Notebook", "RStudio"]
    assert [e.image for e in offered][1] == "pangeo/pangeo-notebook:2026.09.11"
    assert offered[2].command == ("jupyterhub-singleuser", "--debug")
    assert {e.backends for e in site.environments} == {("kubernetes",)}


def test_amounts_that_belong_together_become_profiles_of_their_own(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("community.yaml")), tmp_path)
    big, small = site.profile("only-choice-mem-8"), site.profile("only-choice-mem-2")
    assert big
    assert small
    assert (big.memory.default, small.memory.default) == (7680 * 2**20, 1991244775)
    assert big.memory.fixed
    # 3.75 CPUs are 4 whole ones, of which as much is kept free as before.
    assert big.cpus.default == 4
    assert options_of(small).guarantee.millicpus(4000) == 234
    assert site.profiles.index(big) < site.profiles.index(small)
    assert options_of(big).node_selector == {"node.kubernetes.io/instance-type": "r5.xlarge"}


def test_amounts_of_one_thing_become_a_range(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("community.yaml")), tmp_path)
    gpu = site.profile("gpu")
    assert gpu
    assert gpu.gpus
    assert (gpu.memory.min, gpu.memory.max, gpu.memory.default) == (2**34, 2**35, 2**35)
    assert (gpu.gpus.count.min, gpu.gpus.count.max, gpu.gpus.count.default) == (1, 4, 1)
    assert gpu.start_timeout == 1200
    found = options_of(gpu)
    assert found.shm == 2 * 2**30
    assert (found.runtime_class, found.priority_class) == ("nvidia", "gpu-users")
    assert [t.key for t in found.tolerations] == ["nvidia.com/gpu", "slow"]
    assert found.tolerations[1].seconds == 60


def test_the_default_profile_is_the_first(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("community.yaml")), tmp_path)
    assert site.profiles[0].title == "Bring your own image"


def test_a_typed_image_has_to_match_as_a_whole(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("community.yaml")), tmp_path)
    options = options_of(site.profiles[0])
    assert options.image == ("quay.io/community/base:2026.1",)
    assert options.allows_image("quay.io/community/mine:1")
    assert not options.allows_image("quay.io/community/mine:1\n")
    assert not options.allows_image("evil.example.org/quay.io/community/mine:1")


@pytest.mark.parametrize(
    ("expression", "template", "yes", "no"),
    [
        ("^pangeo/.*$", "{value}", "pangeo/notebook:1", "other/pangeo/notebook:1"),
        # KubeSpawner looked at the beginning alone, so what follows must stay possible.
        ("^quay.io/ours/", "{value}", "quay.io/ours/image:1", "quay.io/others/image:1"),
        ("^a/.*$|^b/.*", "{value}", "b/x", "c/a/x"),
        (r"[0-9.]+$", "ours/image:{value}", "ours/image:1.2", "oursXimage:1.2"),
        (r"v\$", "{value}", "v$", "w$"),
    ],
)
def test_a_regular_expression_means_the_same_for_the_whole_name(
    expression: str, template: str, yes: str, no: str
) -> None:
    pattern = whole(expression, template)
    assert pattern is not None
    assert re.fullmatch(pattern, yes)
    assert not re.fullmatch(pattern, no)


def test_a_broken_expression_allows_nothing(tmp_path: Path) -> None:
    option = {
        "display_name": "Image",
        "unlisted_choice": {
            "enabled": True,
            "validation_regex": "^(",
            "kubespawner_override": {"image": "{value}"},
        },
    }
    profile = one({"profile_options": {"image": option}}, tmp_path)
    assert not options_of(profile).image_patterns
    option["unlisted_choice"] = {"enabled": True, "kubespawner_override": {"image": "{value}"}}
    migration = from_values(
        {"singleuser": {"profileList": [{"profile_options": {"image": option}}]}}
    )
    assert not options_of(loaded(migration, tmp_path).profiles[0]).image_patterns
    assert any("any image was allowed" in note.text for note in migration.of(Fate.HAND))


def test_a_limit_is_the_amount_and_a_guarantee_is_kept(tmp_path: Path) -> None:
    profile = one(
        {"kubespawner_override": {"mem_limit": "8G", "mem_guarantee": "2G", "cpu_limit": 0.5}},
        tmp_path,
    )
    assert (profile.memory.default, profile.cpus.default) == (8 * 2**30, 1)
    guarantee = options_of(profile).guarantee
    assert guarantee.bytes(8 * 2**30) == 2 * 2**30
    assert guarantee.millicpus(1000) == 500


def test_settings_for_all_are_part_of_each_profile_and_none_takes_one_away(tmp_path: Path) -> None:
    listed = [
        {"display_name": "As all"},
        {
            "display_name": "Own",
            "kubespawner_override": {"mem_limit": None, "image": "own/image:1"},
        },
    ]
    of_all = {"memory": {"limit": "4G", "guarantee": "1G"}, "image": {"name": "a/b", "tag": "1"}}
    first, second = profiles(listed, tmp_path, **of_all)
    site = load_site(tmp_path / "site.yaml")
    assert (first.memory.default, second.memory.default) == (4 * 2**30, 2**30)
    assert [site.environments_of(p)[0].image for p in (first, second)] == ["a/b:1", "own/image:1"]


def test_nodes_of_all_sessions_are_left_to_the_backend_that_adds_them(tmp_path: Path) -> None:
    profile = one(
        {"kubespawner_override": {"node_selector": {"gpu": "yes"}}},
        tmp_path,
        nodeSelector={"purpose": "user"},
    )
    assert options_of(profile).node_selector == {"gpu": "yes"}


@pytest.mark.parametrize(
    ("resources", "kind", "count", "shared", "resource"),
    [
        ({"nvidia.com/gpu": "2"}, "", 2, False, "nvidia.com/gpu"),
        ({"nvidia.com/gpu.shared": 1}, "", 1, True, "nvidia.com/gpu.shared"),
        ({"nvidia.com/mig-1g.10gb": 1}, "1g.10gb", 1, False, "nvidia.com/mig-1g.10gb"),
        ({"amd.com/gpu": 1}, "", 1, False, "amd.com/gpu"),
    ],
)
def test_gpus_are_counted_as_the_same_resource(
    resources: dict[str, Any], kind: str, count: int, shared: bool, resource: str, tmp_path: Path
) -> None:
    profile = one({"kubespawner_override": {"extra_resource_limits": resources}}, tmp_path)
    assert profile.gpus
    assert (profile.gpus.types, profile.gpus.count.default) == ((kind,), count)
    assert (profile.gpus.kind == "shard") is shared
    assert options_of(profile).resource_of(kind, shared) == resource


def test_terms_of_which_one_is_enough_are_not_made_to_hold_together(tmp_path: Path) -> None:
    migration = from_values(values_of("federated.yaml"))
    site = loaded(migration, tmp_path)
    matlab, both = site.profile("matlab-r2026a"), site.profile("datahub")
    assert matlab
    assert both
    affinity = options_of(matlab).node_affinity
    assert [e.operator for e in affinity.required] == ["In", "DoesNotExist"]
    assert affinity.preferred[0].weight == 10
    assert not options_of(both).node_affinity.required
    key = "singleuser.profileList[2].kubespawner_override.node_affinity_required"
    assert key in {note.key for note in migration.of(Fate.HAND)}


def test_a_profile_that_was_not_for_everybody_is_never_opened(tmp_path: Path) -> None:
    site = loaded(from_values(values_of("federated.yaml")), tmp_path)
    assert [p.allow.admins for p in site.profiles] == [True, True, False]
    ours = loaded(from_values(values_of("community.yaml")), tmp_path)
    assert ours.profiles[0].allow.groups == ("community:staff", "community:researchers")
    unknown = one({"only_on": "Mondays"}, tmp_path)
    assert unknown.allow.admins
    listed = one({"access": "yaml", "groups": ["a"], "users": ["b"]}, tmp_path)
    assert (listed.allow.groups, listed.allow.users) == (("a",), ("b",))


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<b>Big</b> &amp; <i>fast</i>", "Big & fast"),
        ("one<br>two", "one two"),
        ("A &lt;B&gt;", "A <B>"),
        ("ok<script>alert(1)</script>", "ok"),
        ("line\n  two\x07", "line two"),
        ("x" * 90, "x" * 79 + "…"),
    ],
)
def test_titles_are_plain_text(markup: str, text: str, tmp_path: Path) -> None:
    assert plain_text(markup, 80) == text
    assert one({"display_name": markup}, tmp_path).title == text


def test_profiles_by_name_keep_it_and_ids_are_never_twice(tmp_path: Path) -> None:
    named = {"Small_1": {"display_name": "S"}, "other": {"display_name": "S", "slug": "small-1"}}
    assert [p.id for p in profiles(named, tmp_path)] == ["small-1", "small-1-2"]


def test_more_profiles_than_anybody_reads_become_the_defaults_alone(tmp_path: Path) -> None:
    def option(name: str) -> dict[str, Any]:
        choices = {
            f"c{n}": {"kubespawner_override": {"node_selector": {name: str(n)}}, "default": n == 1}
            for n in range(6)
        }
        return {"choices": choices}

    entry = {"profile_options": {"a": option("a"), "b": option("b")}}
    profile = one(entry, tmp_path)
    assert options_of(profile).node_selector == {"a": "1", "b": "1"}


def test_a_function_is_named_and_one_profile_is_made_of_the_rest(tmp_path: Path) -> None:
    config = {"KubeSpawner": {"profile_list": lambda spawner: [], "mem_limit": "3G"}}
    migration = from_config(config)
    assert [n.key for n in migration.of(Fate.HAND)] == ["c.KubeSpawner.profile_list"]
    (profile,) = loaded(migration, tmp_path).profiles
    assert profile.memory.default == 3 * 2**30


def test_what_is_said_twice_counts_as_kubespawners_own(tmp_path: Path) -> None:
    config = {"KubeSpawner": {"mem_limit": "3G"}, "Spawner": {"mem_limit": "1G"}}
    migration = from_config(config)
    assert loaded(migration, tmp_path).profiles[0].memory.default == 3 * 2**30
    assert [n.key for n in migration.of(Fate.HAND)] == ["c.Spawner.mem_limit"]


def mappings(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every mapping below ``node``."""
    if isinstance(node, dict):
        yield path
        for key, value in node.items():
            yield from mappings(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from mappings(value, (*path, number))


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in parts:
        if isinstance(value, (dict, list)) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def told(migration: Migration, path: tuple[Any, ...]) -> list[Fate]:
    return [n.fate for n in migration.notes if n.path and path[: len(n.path)] == n.path]


@pytest.mark.parametrize("name", ["community.yaml", "federated.yaml"])
def test_every_key_of_the_input_is_mapped_or_listed(name: str) -> None:
    values = values_of(name)
    migration = from_values(values)
    lost = [path for path in leaves(values) if not told(migration, path)]
    assert not lost


@pytest.mark.parametrize("name", ["community.yaml", "federated.yaml"])
def test_a_key_that_nobody_knows_is_never_lost(name: str, tmp_path: Path) -> None:
    """One strange key at a time, in every mapping that there is."""
    original = values_of(name)
    for place in mappings(original):
        values = copy.deepcopy(original)
        node: Any = values
        for part in place:
            node = node[part]
        node["zz_strange"] = "zz_value"
        migration = from_values(values)
        own = (*place, "zz_strange")
        fates = told(migration, own)
        assert fates, own
        if "profileList" in place:
            # Either somebody must look, or the value is there; what is off is known as a whole.
            text = site_text(migration, facility_id="t", title="T", source="x")
            off = "dynamic_image_building" in place
            assert Fate.HAND in fates or "zz_value" in text or off, own
        loaded(migration, tmp_path)


def test_no_value_of_a_setting_outside_of_profiles_is_shown() -> None:
    migration = from_values(values_of("community.yaml"))
    text = site_text(migration, facility_id="t", title="T", source="x")
    assert "do-not-print-me" not in text
    assert not [n for n in migration.notes if "do-not-print-me" in n.text + n.key]


def test_a_comment_beside_the_profile_says_what_was_left_out() -> None:
    text = site_text(
        from_values(values_of("federated.yaml")), facility_id="t", title="T", source="x\ny: 1"
    )
    before = text.partition("- id: matlab-r2026a")[0].rpartition("- id: ")[2]
    assert "image_pull_policy" in before
    assert "only admins" in before
    # Whatever was read, it is in comments and in values, and never a line of its own.
    assert text.startswith("# From x y: 1.\n")


def test_values_of_another_chart_are_left_alone() -> None:
    migration = from_values(values_of("community.yaml"))
    keeps = {note.key for note in migration.of(Fate.KEEPS)}
    assert {"nfs", "jupyterhub.custom", "jupyterhub.cull", "jupyterhub.singleuser.storage"} <= keeps
