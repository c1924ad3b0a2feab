"""What passes between the outer spawner and its child, and what does not."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from traitlets import Unicode
from traitlets.config import Config

from panosc_hub.delegation import pull, push


class Outer(LocalProcessSpawner):
    """Stands for the outer spawner: a spawner with no user."""


class Child(LocalProcessSpawner):
    image = Unicode("").tag(config=True)
    applied: dict[str, Any]

    def _apply_overrides(self, spawner_override: dict[str, Any]) -> None:
        self.applied = spawner_override


def pair(config: Config | None = None) -> tuple[Outer, Child]:
    return Outer(config=config or Config()), Child(config=config or Config())


def test_runtime_fields_go_down() -> None:
    outer, child = pair()
    outer.api_token, outer.admin_access = "secret", True
    push(outer, child, set(), {}, {})
    assert (child.api_token, child.admin_access) == ("secret", True)


def test_only_what_was_set_after_init_goes_down() -> None:
    config = Config()
    config.Child.mem_limit = "4G"
    outer, child = pair(config)
    push(outer, child, set(), dict(outer.environment), {})
    assert child.mem_limit == 4 * 2**30
    outer.mem_limit = "1G"
    push(outer, child, {"mem_limit"}, dict(outer.environment), {})
    assert child.mem_limit == 2**30


def test_an_environment_changed_in_place_goes_down_entry_by_entry() -> None:
    config = Config()
    config.Child.environment = {"OWN": "child"}
    outer, child = pair(config)
    before = dict(outer.environment)
    outer.environment["ADDED"] = "by a hook"
    push(outer, child, set(), before, {})
    assert child.environment == {"OWN": "child", "ADDED": "by a hook"}


def test_hooks_and_forms_stay_with_the_outer_spawner() -> None:
    outer, child = pair()
    outer.pre_spawn_hook = lambda spawner: None
    outer.options_form = "<b>"
    push(outer, child, {"pre_spawn_hook", "options_form", "port"}, {}, {})
    assert child.pre_spawn_hook is None
    assert child.options_form == ""


def test_time_limits_come_up() -> None:
    config = Config()
    config.Child.start_timeout = 600
    outer, child = pair(config)
    assert outer.start_timeout == Spawner.start_timeout.default_value
    pull(child, outer)
    assert outer.start_timeout == 600


def test_group_overrides_that_only_the_child_knows_reach_it() -> None:
    outer, child = pair()
    push(outer, child, set(), {}, {"image": "quay.example/x"})
    assert child.applied == {"image": "quay.example/x"}
