"""Mappers from a person to an account: one hit or nothing, and only from trusted lists."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from traitlets import TraitError

from panosc_hub.auth.accounts import (
    ACCOUNT,
    AccountMapper,
    FileMapper,
    HashMapper,
    Identity,
    StaticMapper,
    find_account,
)
from panosc_hub.auth.problems import AccountsUnavailable, NotLinked

ISSUER = "https://proxy.eduteams.org"
PAULA = Identity(ISSUER, "a1@eduteams.org", {"email": "mira@demo.example", "name": "mira"})
FILE = f'issuer: {ISSUER}\naccounts:\n  "a1@eduteams.org": paula\n'


class Answers(AccountMapper):
    names: frozenset[str] = frozenset()

    async def accounts_of(self, identity: Identity) -> frozenset[str]:
        return self.names


def answering(*names: str) -> Answers:
    mapper = Answers()
    mapper.names = frozenset(names)
    return mapper


async def test_first_mapper_that_knows_the_person_decides() -> None:
    mappers = [answering(), answering("paula"), answering("mira")]
    assert await find_account(mappers, PAULA) == "paula"


async def test_nobody_knows_the_person() -> None:
    with pytest.raises(NotLinked) as caught:
        await find_account([answering(), answering()], PAULA)
    assert caught.value.subject == PAULA.subject


async def test_two_accounts_of_one_mapper_are_refused() -> None:
    with pytest.raises(NotLinked, match="not linked"):
        await find_account([answering("paula", "mira")], PAULA)


async def test_mapper_that_cannot_tell_stops_the_search() -> None:
    broken = FileMapper(path="/nonexistent/accounts.yaml")
    with pytest.raises(AccountsUnavailable):
        await find_account([broken, answering("paula")], PAULA)


@pytest.mark.parametrize(
    "name",
    [
        *("", "root", "slurm", "Paula", "paula\n", "pa ula", "-rf", "a/b", "..", "1abc", "é"),
        *("\u212aim", "a" * 33, "paula;rm", "$(id)", "paula\x00"),
    ],
)
async def test_unusable_account_is_refused_and_never_mended(name: str) -> None:
    with pytest.raises(NotLinked):
        await find_account([answering(name)], PAULA)


async def test_static_mapper_compares_the_subject_exactly() -> None:
    mapper = StaticMapper(accounts={PAULA.subject: "paula"})
    assert await mapper.accounts_of(PAULA) == {"paula"}
    for subject in ("A1@eduteams.org", "a1@eduteams.org ", "a1", "mira@demo.example"):
        assert await mapper.accounts_of(Identity(ISSUER, subject)) == frozenset()


@pytest.mark.parametrize(
    "accounts",
    [{"a": "paula", "b": "paula"}, {"a": "root"}, {"a": "Paula"}, {"a": ""}, {"a": 5}],
    ids=str,
)
def test_static_mapper_refuses_a_wrong_table_at_start(accounts: dict[str, str]) -> None:
    with pytest.raises(TraitError):
        StaticMapper(accounts=accounts)


async def test_hash_mapper_is_stable_opaque_and_bound_to_the_issuer() -> None:
    mapper = HashMapper()
    (name,) = await mapper.accounts_of(PAULA)
    assert {name} == await HashMapper().accounts_of(Identity(ISSUER, PAULA.subject))
    assert len(name) == 32
    assert ACCOUNT.fullmatch(name)
    others = [
        Identity("https://other.example", PAULA.subject),
        Identity(ISSUER, "a2@eduteams.org"),
        Identity(ISSUER + "a1", "@eduteams.org"),
    ]
    for other in others:
        assert await mapper.accounts_of(other) != {name}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., FileMapper]:
    mapper = FileMapper(path=str(tmp_path / "accounts.yaml"))

    def write(text: str, mode: int = 0o640) -> FileMapper:
        path = Path(mapper.path)
        path.write_text(text)
        path.chmod(mode)
        return mapper

    return write


async def test_file_mapper_reads_and_sees_changes(write: Callable[..., FileMapper]) -> None:
    mapper = write(FILE)
    assert await mapper.accounts_of(PAULA) == {"paula"}
    write(FILE.replace("paula", "paulina"))
    assert await mapper.accounts_of(PAULA) == {"paulina"}
    write(f"issuer: {ISSUER}\naccounts: {{}}\n")
    assert await mapper.accounts_of(PAULA) == frozenset()


async def test_file_mapper_is_for_its_issuer_only(write: Callable[..., FileMapper]) -> None:
    mapper = write(FILE)
    other = Identity("https://other.example", PAULA.subject)
    assert await mapper.accounts_of(other) == frozenset()


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o666, 0o620, 0o602], ids=oct)
async def test_file_that_others_can_write_is_refused(
    write: Callable[..., FileMapper], mode: int
) -> None:
    mapper = write(FILE)
    assert await mapper.accounts_of(PAULA) == {"paula"}
    os.chmod(mapper.path, mode)
    with pytest.raises(AccountsUnavailable) as caught:
        await mapper.accounts_of(PAULA)
    assert "chmod" in caught.value.detail
    assert "/" not in caught.value.sentence


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_file_of_another_user_is_refused(write: Callable[..., FileMapper]) -> None:
    mapper = write(FILE)
    os.chown(mapper.path, 12345, 12345)
    with pytest.raises(AccountsUnavailable, match="cannot be used"):
        await mapper.accounts_of(PAULA)


WRONG = {
    "subject twice": FILE + '  "a1@eduteams.org": mira\n',
    "account twice": FILE + '  "a2@eduteams.org": paula\n',
    "no issuer": "accounts: {}\n",
    "unknown key": FILE + "extra: 1\n",
    "list": "- a\n",
    "empty": "",
    "not YAML": "a: [b\n",
    "account is a number": f"issuer: {ISSUER}\naccounts: {{a: 5}}\n",
    "subject is a number": f"issuer: {ISSUER}\naccounts: {{5: paula}}\n",
    "system account": FILE.replace("paula", "root"),
    "python object": f"issuer: {ISSUER}\naccounts: !!python/object/apply:os.getcwd []\n",
    "not UTF-8": FILE + "\udcff",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
async def test_wrong_file_is_unusable_as_a_whole(
    write: Callable[..., FileMapper], text: str
) -> None:
    mapper = write(FILE)
    assert await mapper.accounts_of(PAULA) == {"paula"}
    Path(mapper.path).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AccountsUnavailable):
        await mapper.accounts_of(PAULA)
    write(FILE)
    assert await mapper.accounts_of(PAULA) == {"paula"}


async def test_pipe_instead_of_a_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    with pytest.raises(AccountsUnavailable):
        await FileMapper(path=str(path)).accounts_of(PAULA)
