"""When a server's child is made, and what answers for it until then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from panosc_hub.children import Children
from panosc_hub.core.state import ServerState

RUNNING = ServerState(active="x", backends={"x": {"job": "7"}})


class Known:
    ended = ""


class Child:
    """A backend that counts its instances."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.state: dict[str, Any] = {}

    def get_state(self) -> dict[str, Any]:
        return self.state

    def lasting_state(self) -> dict[str, Any]:
        return {"owed": {}}

    @classmethod
    def known(cls, kwargs: Mapping[str, Any], saved: Mapping[str, Any]) -> Known | None:
        return Known() if saved.get("job") else None


def children() -> Children:
    Child.made = 0
    return Children({}, lambda: {"x": Child}, lambda name, child: None)


def test_a_server_that_is_only_polled_gets_no_child() -> None:
    mine = children()
    first = mine.answering(RUNNING)
    assert isinstance(first, Known)
    assert mine.answering(RUNNING) is first
    assert Child.made == 0


def test_a_server_of_which_too_little_is_known_gets_its_child() -> None:
    mine = children()
    assert isinstance(mine.answering(ServerState(active="x")), Child)
    assert mine.answering(RUNNING) is mine.existing("x")
    assert Child.made == 1


def test_once_made_the_child_itself_answers() -> None:
    mine = children()
    mine.answering(RUNNING)
    child = mine.existing("x")
    assert mine.answering(RUNNING) is child


def test_nothing_answers_for_a_server_of_no_backend() -> None:
    mine = children()
    assert mine.answering(ServerState()) is None
    assert mine.answering(ServerState(active="gone", backends={"gone": {"job": "7"}})) is None


def test_another_state_is_asked_for_anew() -> None:
    mine = children()
    first = mine.answering(RUNNING)
    mine.clear()
    assert mine.answering(RUNNING) is not first


def test_the_child_of_a_server_that_runs_may_rest_with_its_state_kept() -> None:
    mine, state = children(), ServerState(active="x")
    child = mine.existing("x")
    assert child is not None
    child.state = {"job": "8"}
    mine.rest(state)
    assert mine.made("x") is None
    assert state.backends == {"x": {"job": "8", "owed": {}}}
    assert isinstance(mine.answering(state), Known)
    assert mine.existing("x") is not child


def test_a_child_that_nothing_can_stand_for_stays() -> None:
    mine, state = children(), ServerState(active="x")
    child = mine.existing("x")
    mine.rest(state)
    assert mine.made("x") is child
    assert state.backends == {}
    children().rest(state)  # none was made
