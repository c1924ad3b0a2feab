"""As whom a session runs, and what a source of accounts may not do to it."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from panosc_hub.backends.kubernetes import accounts
from panosc_hub.backends.kubernetes.accounts import (
    Account,
    AccountFile,
    find_account,
    from_nss,
    read_accounts,
    supplemental,
)
from panosc_hub.core.identity import Person
from panosc_hub.errors import BackendError, BackendUnavailable

PAULA = Person("paula")
ACCOUNT = Account(20001, 20000, {"HG-123": 40123, "hg-123": 40124, "prop-MX-2417": 42417})
TABLE = {
    "users": {"paula": {"uid": 20001, "gid": 20000, "groups": ["hg123"]}},
    "groups": {"hg123": 40123, "mx2417": 42417},
}


@pytest.mark.parametrize(
    ("proposal", "template", "gids"),
    [
        ("HG-123", "{proposal}", (40123,)),
        ("HG-123", "{proposal_lower}", (40124,)),
        ("MX-2417", "prop-{proposal}", (42417,)),
        ("HG-124", "{proposal}", ()),
        (None, "{proposal}", ()),
        ("", "HG-123", ()),
        ("../HG-123", "{proposal}", ()),
        ("HG-123\n", "{proposal}", ()),
        ("{proposal}", "{proposal}", ()),
        ("HG-123", "{proposal.__class__}", ()),
    ],
)
def test_only_the_chosen_proposals_group_is_given(
    proposal: str | None, template: str, gids: tuple[int, ...]
) -> None:
    assert supplemental(ACCOUNT, proposal, template) == gids


def test_groups_for_everybody_come_after_it_and_a_server_of_files_is_told_no_more_than_16() -> None:
    many = range(100, 140)
    found = supplemental(ACCOUNT, "HG-123", "{proposal}", many)
    assert found[0] == 40123
    assert len(found) == 16
    assert supplemental(ACCOUNT, None, "", (20000, 7, 7)) == (7,)


async def test_the_machine_knows_its_accounts() -> None:
    entry = pwd.getpwnam("daemon")
    found = await from_nss(Person("daemon"), None)
    assert found is not None
    assert (found.uid, found.gid) == (entry.pw_uid, entry.pw_gid)
    assert found.groups[grp.getgrgid(entry.pw_gid).gr_name] == entry.pw_gid
    assert await from_nss(Person("nobody-has-this-name"), None) is None


async def test_no_session_runs_as_root_or_as_nobody_known() -> None:
    with pytest.raises(BackendError, match="number that no session may have"):
        await find_account(from_nss, Person("root"), None)
    with pytest.raises(BackendError, match="account nobody-has-this-name is not known"):
        await find_account(from_nss, Person("nobody-has-this-name"), None)


@pytest.mark.parametrize("uid", [0, -1, 2**31, True, "20001", 1.5, None])
async def test_a_number_that_is_none_is_refused(uid: Any) -> None:
    for made in (Account(uid, 5), Account(5, uid), Account(5, 5, {"g": uid})):
        with pytest.raises(BackendError, match="number that no session may have"):
            await find_account(lambda person, proposal, made=made: made, PAULA, None)


async def test_a_source_may_be_async_and_is_told_the_proposal() -> None:
    asked = []

    async def source(person: Person, proposal: str | None) -> Account:
        asked.append((person.name, proposal))
        return ACCOUNT

    assert await find_account(source, PAULA, "HG-123") is ACCOUNT
    assert asked == [("paula", "HG-123")]


async def test_a_source_that_does_not_answer_holds_no_start_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "PATIENCE", 0.05)

    async def source(person: Person, proposal: str | None) -> Account:
        await asyncio.Event().wait()
        return ACCOUNT

    with pytest.raises(BackendUnavailable, match="does not answer"):
        await find_account(source, PAULA, None)


def write(path: Path, text: str) -> None:
    """Whole, and with another inode, as an editor or a configuration tool does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    os.replace(fresh, path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "uids.yaml"
    write(path, json.dumps(TABLE))
    return path


async def test_a_file_of_accounts_is_read_again_when_it_changes(file: Path) -> None:
    source = AccountFile(file)
    assert await source(PAULA, None) == Account(20001, 20000, {"hg123": 40123})
    assert await source(Person("eve"), None) is None
    write(file, "users:\n  eve: {uid: 5, gid: 6}\n")
    assert await source(PAULA, None) is None
    assert await source(Person("eve"), None) == Account(5, 6)


@pytest.mark.parametrize(
    "text", ["users: [", "- a", "users: {a: {uid: 5, gid: 5}, a: {}}", "[" * 9000]
)
async def test_an_unusable_file_is_no_evidence_that_somebody_is_unknown(
    file: Path, text: str
) -> None:
    write(file, text)
    with pytest.raises(BackendUnavailable, match="cannot be read"):
        await AccountFile(file)(PAULA, None)


async def test_a_file_that_others_may_write_is_not_believed(file: Path) -> None:
    file.chmod(0o622)
    with pytest.raises(BackendUnavailable) as caught:
        await AccountFile(file)(PAULA, None)
    assert "chmod go-w" in str(caught.value.__cause__)
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(BackendUnavailable) as caught:
        await AccountFile(file)(PAULA, None)
    assert "not a regular file" in str(caught.value.__cause__)


def test_the_file_may_be_empty_of_people() -> None:
    assert read_accounts({"groups": {"a": 5}}) == {}
    assert read_accounts({"users": None}) == {}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "must have the keys users and groups"),
        ({"user": {}}, "must have the keys users and groups"),
        ({"users": [1]}, "must be mappings"),
        ({"users": {"a": {"uid": 5}}}, "user 'a': needs uid and gid"),
        ({"users": {"a": {"uid": 5, "gid": 5, "home": "/"}}}, "user 'a': needs uid and gid"),
        ({"users": {"a": {"uid": 0, "gid": 5}}}, "user 'a', uid: 0 is not a whole number"),
        ({"users": {"a": {"uid": "5", "gid": 5}}}, "user 'a', uid: '5' is not a whole"),
        ({"users": {"a": {"uid": 5, "gid": 5, "groups": ["b"]}}}, "names that 'groups' has"),
        ({"users": {"a": {"uid": 5, "gid": 5, "groups": "b"}}}, "names that 'groups' has"),
        ({"groups": {"a": -5}}, "group 'a': -5 is not a whole number"),
        ({"groups": {"a": True}}, "group 'a': True is not a whole number"),
    ],
)
def test_a_mistake_in_the_file_is_named(data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        read_accounts(data)
