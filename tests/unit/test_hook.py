"""The hook with a spawner that is not ours, as far as it goes without a Hub."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from panosc_hub.compat import SpawnRefused
from panosc_hub.hook import PanoscHook

SITE = """
facility: {id: test, title: Test}
environments: [{id: one, title: One}]
profiles: [{id: small, title: Small, backend: local, memory: 1G}]
"""


def spawner(cmd: list[str] | None) -> Any:
    orm_user = SimpleNamespace(groups=[], admin=False)
    user = SimpleNamespace(name="paula", orm_user=orm_user, settings={})
    return SimpleNamespace(user=user, user_options={}, environment={}, cmd=cmd, _log_name="paula")


async def test_a_spawner_without_a_command_gets_the_single_user_server(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE)
    kube_like, other = spawner(None), spawner(["jupyter-labhub", "--debug"])
    await PanoscHook(site)(kube_like)
    await PanoscHook(site)(other)
    assert kube_like.cmd[-2:] == ["--", "jupyterhub-singleuser"]
    assert other.cmd[-3:] == ["--", "jupyter-labhub", "--debug"]
    assert "PANOSC_PLAN" in other.environment


async def test_a_notebook_too_large_for_the_environment_is_refused_with_a_sentence(
    tmp_path: Path,
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE + "templates: [{path: templates}]\n")
    folder = tmp_path / "templates" / "large"
    folder.mkdir(parents=True)
    (folder / "template.yaml").write_text(
        "{schema: panosc-hub/template/1, id: large, version: 1.0.0, title: T, entrypoint: n.ipynb}"
    )
    picture = random.Random(1).randbytes(150_000).hex()
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": picture}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    (folder / "n.ipynb").write_text(json.dumps(notebook))
    other = spawner(None)
    other.handler, other.user_options = None, {"template": "large"}
    with pytest.raises(SpawnRefused, match="too large to be handed over"):
        await PanoscHook(site)(other)
    assert (other.cmd, other.environment) == (None, {})
