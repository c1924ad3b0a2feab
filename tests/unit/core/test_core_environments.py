"""Which paths users may give themselves, letter by letter."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from panosc_hub.core.environments import Environment, path_allowed

HOME, SOFTWARE = "/home/{username}/**", "/software/*/envs/*"


@pytest.mark.parametrize(
    ("path", "patterns", "allowed"),
    [
        ("/home/paula/env", [HOME], True),
        ("/home/paula/a/b/c.sif", [HOME], True),
        ("/home/paula", [HOME], False),
        ("/home/paula/", [HOME], False),
        ("/home/paulas/env", [HOME], False),
        ("/home/ingo/env", [HOME], False),
        ("/home/paula/../ingo/env", [HOME], False),
        ("/home/paula/./env", [HOME], False),
        ("/home/paula//env", [HOME], False),
        ("home/paula/env", [HOME], False),
        ("/home/paula/env\n", [HOME], False),
        ("/x/home/paula/env", [HOME], False),
        ("/software/saxs/envs/3.11", [SOFTWARE], True),
        ("/software/saxs/envs/3.11/bin", [SOFTWARE], False),
        ("/software/a/b/envs/x", [SOFTWARE], False),
        ("/software//envs/x", [SOFTWARE], False),
        ("/software/saxs/envs/x", [HOME, SOFTWARE], True),
        ("/images/saxs-1.sif", ["/images/*.sif"], True),
        ("/images/saxs-1.sifx", ["/images/*.sif"], False),
        ("/images/saxsXsif", ["/images/*.sif"], False),
        ("/images/a/b.sif", ["/images/*.sif"], False),
        ("/images/b.sif", ["/images/**/*.sif"], True),
        ("/images/a/b/c.sif", ["/images/**/*.sif"], True),
        ("/opt/env", ["/opt/env"], True),
        ("/opt/env2", ["/opt/env"], False),
        ("/opt/env", [], False),
    ],
)
def test_a_path_must_match_a_pattern(path: str, patterns: list[str], allowed: bool) -> None:
    assert path_allowed(path, patterns, "paula") is allowed


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("*", "/home/ingo/env"),
        ("**", "/home/ingo/env"),
        (".*", "/home/ingo/env"),
        ("..", "/home/../env"),
        ("", "/home//env"),
        ("a/b", "/home/a/b/env"),
        ("p.ula", "/home/paula/env"),
        ("{username}", "/home/{username}/env"),
    ],
)
def test_an_account_name_is_never_a_pattern(name: str, path: str) -> None:
    assert not path_allowed(path, [HOME], name)


def test_an_account_with_a_dot_has_its_own_home() -> None:
    assert path_allowed("/home/p.ula/env", [HOME], "p.ula")


def environment(**body: Any) -> Environment:
    return Environment.model_validate({"id": "e", "title": "E", **body})


@pytest.mark.parametrize(
    "body",
    [
        {"paths": ["home/**"]},
        {"paths": ["/**"]},
        {"paths": ["/*/x"]},
        {"paths": ["/home/../**"]},
        {"paths": ["/home//x"]},
        {"paths": ["/home/{user}/**"]},
        {"paths": ["/home/[ab]/x"]},
        {"paths": ["/home/a**/x"]},
        {"paths": ["/home/**x"]},
        {"paths": ["/home/x\n"]},
        {"paths": "/home/x"},
        {"archive": "env.tar.gz"},
        {"archive": "/env.zip"},
        {"archive": "/a/../env.tar"},
        {"unpack_to": "tmp"},
        {"unpack_to": "$TMPDIR"},
        {"unpack_to": "/tmp/.."},
    ],
)
def test_a_wrong_environment_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        environment(**body)


def test_an_archive_is_unpacked_to_memory_unless_said_otherwise() -> None:
    assert environment(archive="/sw/env.tar.zst").unpack_to == "/dev/shm"
    assert environment(archive="/sw/env.tgz", unpack_to="/local").unpack_to == "/local"


def test_an_own_path_takes_the_place_of_what_the_site_says() -> None:
    base = environment(prefix="/sw/base", archive="/sw/env.tar", paths=[HOME])
    own = base.at("/home/paula/env")
    assert (own.prefix, own.apptainer, own.archive) == ("/home/paula/env", None, None)
    image = base.at("/home/paula/x.sif")
    assert (image.prefix, image.apptainer, image.archive) == (None, "/home/paula/x.sif", None)
    assert own.paths == base.paths
