"""What runs as the user, inside the job, pod or process.

``start.py`` is one file that needs only Python 3.8's standard library. A backend ships its text
(`source`) in a batch script, or uses `bootstrap_argv` with `bootstrap_environment`, which work
with any spawner and nothing installed on the other side.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

MAX_ENVIRONMENT_VALUE = 128 * 1024 - 1024
"""Bytes that we put into one environment variable: Linux refuses ``NAME=value`` from 128 KiB."""

# No braces, dollar signs or line breaks: spawners format, expand and quote what they are given.
_LOADER = (
    "import base64,os,zlib;"
    "exec(compile(zlib.decompress(base64.b64decode(os.environ.pop('PANOSC_SESSION'))),"
    "'panosc-session','exec'))"
)


LAB_FILES = ("main.js", "package.json")
"""The JupyterLab extension that shows when the session ends, in the folder ``lab``."""


@functools.cache
def source() -> str:
    """The text of ``start.py``, to be run by ``python3 -I`` as the user.

    The JupyterLab extension travels inside, for it need not be installed on the other side.
    """
    folder = resources.files(__name__)
    files = {n: folder.joinpath("lab", n).read_text(encoding="utf-8") for n in LAB_FILES}
    start = folder.joinpath("start.py").read_text(encoding="utf-8")
    return start.replace('\nLAB = ""', f'\nLAB = "{_pack(json.dumps(files))}"', 1)


def encode_plan(plan: Mapping[str, Any]) -> str:
    """The plan as the value of ``PANOSC_PLAN``: base64 of zlib-compressed JSON.

    Raises ValueError when it does not fit into an environment variable; then hand the plan over
    as a file or an open descriptor (``--plan-file``, ``--plan-fd``).
    """
    text = json.dumps(plan, ensure_ascii=False, separators=(",", ":"))
    value = _pack(text)
    if len(value) > MAX_ENVIRONMENT_VALUE:
        raise ValueError(
            f"the session plan takes {len(value)} bytes when packed, an environment variable "
            f"holds {MAX_ENVIRONMENT_VALUE}: strip the outputs of the notebook or pass a file"
        )
    return value


def bootstrap_argv(
    cmd: Sequence[str], *, options: Sequence[str] = (), python: str = "python3"
) -> list[str]:
    """The command that prepares the session and then becomes ``cmd``.

    ``options`` are those of ``start.py``, such as ``--pick-port``. It needs the variables of
    `bootstrap_environment`, and puts neither plan nor token into the argument list.
    """
    return [python, "-I", "-c", _LOADER, *options, "--", *cmd]


def bootstrap_environment(plan: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The variables that go with `bootstrap_argv`; both are gone when the server runs.

    Raises ValueError when the plan is too large, as `encode_plan` does.
    """
    environment = {"PANOSC_SESSION": _pack(source())}
    if plan is not None:
        environment["PANOSC_PLAN"] = encode_plan(plan)
    return environment


def _pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")
