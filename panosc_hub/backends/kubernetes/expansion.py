"""``$(NAME)`` in a container's variables, as the node puts them together. Pure.

Variables that are kept out of the pod are not seen by the node, so this is done here, by its
rules: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\$\$|\$\(([^)]*)\)")


def references(text: str) -> set[str]:
    """The names that ``text`` refers to."""
    return {found.group(1) for found in _TOKEN.finditer(text) if found.group(1) is not None}


def expand(text: str, known: Mapping[str, str]) -> str:
    """``text`` with the values of ``known``; an unknown name stays as it is, ``$$`` is ``$``."""

    def value(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return "$"
        return known.get(found.group(1), found.group(0))

    return _TOKEN.sub(value, text)
