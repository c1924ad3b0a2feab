"""Set the parameters of a template notebook; text in, text out.

The cell tagged ``parameters`` is rewritten with ``nbparameterise``, so that the notebook stays
readable and its comments stay where they are. Only names that are assigned in that cell
and declared in the manifest can change: values are written as Python literals, never as code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import nbformat
from nbparameterise import extract_parameters, parameter_values, replace_definitions

from .templates import Scalar


def parameterise(notebook: str, values: Mapping[str, Scalar]) -> str:
    """The notebook's text with ``values`` in its parameters cell.

    Raises ``ValueError`` when the notebook cannot be read or lacks one of the names.
    """
    try:
        nb = nbformat.reads(notebook, as_version=4)
    except Exception as error:
        raise ValueError(f"the template's notebook cannot be read: {error}") from error
    if values:
        try:
            nb = _assign(nb, values)
        except ValueError:
            raise
        except Exception as error:
            # ast and nbparameterise have exceptions of their own for what authors write there.
            raise ValueError(
                f"the parameters cell cannot be read: {error}; it may hold nothing but "
                "assignments of plain values, one a line"
            ) from error
    # One fixed layout: the same selection must give the same bytes, so that an unchanged
    # notebook is recognised by its hash.
    return json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _assign(nb: Any, values: Mapping[str, Scalar]) -> Any:
    if not any("parameters" in c.get("metadata", {}).get("tags", ()) for c in nb.cells):
        raise ValueError("the template's notebook has no cell tagged 'parameters'")
    found = extract_parameters(nb, tag="parameters")
    absent = sorted(set(values) - {p.name for p in found})
    if absent:
        raise ValueError(f"the parameters cell does not assign {', '.join(absent)}")
    return replace_definitions(nb, parameter_values(found, values), tag="parameters")


def digest(text: str) -> str:
    """Hex SHA-256 of the UTF-8 text."""
    return hashlib.sha256(text.encode()).hexdigest()
