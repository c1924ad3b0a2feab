"""The shared looks at accounts and at what the cluster has: when Slurm is asked, and what then."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable

import pytest
from traitlets.config import Config

from panosc_hub.backends.slurm import offers
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.backends.slurm.memberships import AccountWatcher
from panosc_hub.backends.slurm.nodes import NodeWatcher
from panosc_hub.backends.slurm.options import validate_options
from panosc_hub.backends.slurm.shared import watchers
from panosc_hub.core.identity import Person
from panosc_hub.core.profiles import Profile
from panosc_hub.errors import BackendUnavailable
from tests.slurm_answers import ASSOCIATIONS, NODES, PARTITIONS, QOS, RESERVATIONS, USERS

CONFIG = (
    "SLURM_VERSION = 22.05.8\nClusterName = panosc-test\n"
    "AccountingStorageType = accounting_storage/slurmdbd\n"
    "AccountingStorageEnforce = associations,limits,qos\n"
)


class Answers(SlurmClient):
    """The recorded answers, any of which can be replaced or fail; counts what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.texts: dict[str, str | Exception] = {
            "sinfo": NODES,
            "partition": PARTITIONS,
            "reservation": RESERVATIONS,
            "config": CONFIG,
            "associations": ASSOCIATIONS,
            "user": USERS,
            "qos": QOS,
        }

    async def query(self, command: str, *arguments: str) -> str:
        what = next((word for word in self.texts if word in (command, *arguments)), command)
        self.asked.append(what)
        text = self.texts[what]
        if isinstance(text, Exception):
            raise text
        return text


@pytest.fixture
def answers() -> Answers:
    return Answers()


AWAY = BackendUnavailable("SLURM does not answer (test).")


async def test_accounts_are_asked_for_once_for_all(answers: Answers) -> None:
    watcher = AccountWatcher(answers)
    assert watcher.snapshot() is None  # at once, before the first look
    await watcher.at_hand(10)
    for _ in range(100):
        found = watcher.snapshot()
        assert found is not None
        assert found.accounts("paula") == ("beam", "hg123", "staff")
    assert sorted(answers.asked) == ["associations", "config", "qos", "user"]
    assert found.longest == {"normal": 8 * 3600, "long": 2 * 86400}
    assert (found.enforced, found.qos_enforced, found.complete) == (True, True, True)


async def test_accounts_that_cannot_be_told_stay_as_they_were_and_are_asked_for_again(
    answers: Answers,
) -> None:
    watcher = AccountWatcher(answers)
    await watcher.refresh()
    before = watcher.snapshot()
    answers.texts["associations"] = AWAY
    await watcher.refresh()
    assert watcher.accounts is before
    assert watcher.trouble == AWAY.sentence
    asked = len(answers.asked)
    watcher.snapshot()
    assert len(answers.asked) == asked  # not at every page
    watcher._tried -= 61
    answers.texts["associations"] = ASSOCIATIONS
    await watcher.at_hand(10)
    assert watcher.trouble == ""
    assert watcher.accounts is not before


async def test_where_slurm_shows_only_ones_own_rows_nothing_is_known_of_others(
    answers: Answers,
) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    header = ASSOCIATIONS.splitlines()[0]
    answers.texts["associations"] = f"{header}\nroot|||normal|||\nstaff|{me}||normal|||\n"
    watcher = AccountWatcher(answers)
    await watcher.refresh()
    found = watcher.snapshot()
    assert found is not None
    assert (found.knows("paula"), found.knows(me)) == (False, True)


async def test_limits_that_slurm_does_not_enforce_are_none(answers: Answers) -> None:
    answers.texts["config"] = CONFIG.replace("associations,limits,qos", "associations")
    watcher = AccountWatcher(answers)
    await watcher.refresh()
    found = watcher.snapshot()
    assert found is not None
    assert (found.enforced, found.qos_enforced, found.longest) == (True, False, {})


async def test_a_slurm_without_accounting_is_asked_for_nothing_more(answers: Answers) -> None:
    answers.texts["config"] = CONFIG.replace("slurmdbd", "none")
    watcher = AccountWatcher(answers)
    await watcher.refresh()
    found = watcher.snapshot()
    assert found is not None
    assert (found.accounts("paula"), found.enforced) == ((), False)
    assert answers.asked == ["config"]


async def test_one_look_at_the_cluster_is_three_questions(answers: Answers) -> None:
    watcher = NodeWatcher(answers)
    await watcher.refresh()
    made = profile()
    for _ in range(50):
        assert watcher.availability(made).usable
        assert watcher.offered(made) == made
    assert sorted(answers.asked) == ["partition", "reservation", "sinfo"]


@pytest.mark.parametrize("text", [AWAY, "", "PartitionName=x MaxTime=soon\n"])
@pytest.mark.parametrize("what", ["partition", "reservation"])
async def test_the_nodes_tell_what_is_free_although_the_rest_is_not_told(
    answers: Answers, what: str, text: str | Exception
) -> None:
    answers.texts[what] = text
    watcher = NodeWatcher(answers)
    await watcher.refresh()
    assert watcher.trouble == ""
    assert watcher.look is not None
    told = watcher.look.partitions if what == "partition" else watcher.look.reservations
    assert told is None
    assert watcher.availability(profile()).usable


async def test_a_look_that_hangs_holds_up_nobody_for_long(answers: Answers) -> None:
    watcher = NodeWatcher(answers)
    watcher.refresh()
    await watcher.at_hand(0)
    assert watcher.look is None  # it has not even begun
    await watcher.at_hand(10)
    assert watcher.look is not None


async def test_members_of_a_reservations_group_may_use_it(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = RESERVATIONS.splitlines()[0].replace(
        "Users=root Groups=(null)", "Users=(null) Groups={}"
    )
    lines = [line.replace("=b2 ", f"={n} ").format(g) for n, g in (("a", "lab"), ("b", "-lab,no"))]
    answers.texts["reservation"] = "\n".join(lines) + "\n"
    known: dict[str, grp.struct_group] = {
        "lab": grp.struct_group(("lab", "x", 100, ["paula", "mira"]))
    }
    monkeypatch.setattr("grp.getgrnam", known.__getitem__)
    watcher = NodeWatcher(answers)
    await watcher.refresh()
    assert watcher.look is not None
    found = watcher.look.reservations
    assert found is not None
    assert found["a"].users == {"paula", "mira"}
    # Nobody is in the other group, which must not read as "everybody".
    assert found["b"].users == {"-paula", "-mira", "@no"}


def profile(**options: object) -> Profile:
    return Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "1G", "options": options}
    )


async def test_accounts_are_not_asked_for_where_no_profile_needs_them(
    answers: Answers, asked_of: Callable[[Config], None]
) -> None:
    config = Config()
    asked_of(config)
    person = Person("paula")
    listed = profile(partition=["cpu", "gpu"], constraint=["ib", "avx2"])
    assert len(offers.menus_for(listed, person, config)) == 2
    shared = watchers(config)
    await shared.at_hand(validate_options(listed.options), 10)
    assert "associations" not in answers.asked
    mine = profile(account={"mine": True})
    offers.menus_for(mine, person, config)
    await shared.at_hand(validate_options(mine.options), 10)
    assert "associations" in answers.asked


@pytest.fixture
def asked_of(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Callable[[Config], None]:
    """Let the watchers of a configuration ask the recorded answers."""

    def use(config: Config) -> None:
        config.SlurmClient.sinfo = f"sinfo-{id(answers)}"  # a configuration of its own
        monkeypatch.setattr("panosc_hub.backends.slurm.shared.SlurmClient", lambda config: answers)
        watchers(config)

    return use


async def test_the_sites_own_defaults_count_for_pages_too(
    answers: Answers, asked_of: Callable[[Config], None]
) -> None:
    config = Config()
    config.SlurmSpawner.req_partition = "gone"
    asked_of(config)
    shared = watchers(config)
    await shared.nodes.refresh()
    assert offers.offered({"p": profile()}, config) == {"p": "SLURM has no partition gone"}
    own = profile(partition="cpu")
    assert offers.offered({"p": own}, config) == {"p": own}
