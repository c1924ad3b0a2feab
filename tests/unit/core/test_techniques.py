"""Names of techniques."""

from __future__ import annotations

import re

import pytest

from panosc_hub.core import techniques
from panosc_hub.core.techniques import short_name, words_for


@pytest.mark.parametrize(
    ("technique", "name"),
    [
        ("PaNET01188", "SAXS"),
        ("PaNET01168", "SFX"),
        ("PaNET01245", "inelastic neutron spectroscopy"),
        ("PaNET99999", "PaNET99999"),
        ("something else", "something else"),
        ("", ""),
    ],
)
def test_a_technique_has_the_name_that_people_use_or_stays_as_it_is(
    technique: str, name: str
) -> None:
    assert short_name(technique) == name


def test_a_technique_is_found_by_id_short_name_and_label() -> None:
    assert words_for("PaNET01189") == "PaNET01189 SANS small angle neutron scattering"
    assert words_for("PaNET99999") == "PaNET99999"


def test_no_line_of_the_table_is_misread() -> None:
    lines = techniques._TABLE.strip().splitlines()
    assert len(techniques._NAMES) == len(lines)  # no id twice
    assert lines == sorted(lines)
    for line in lines:
        assert re.fullmatch(r"\d{5} (-|[A-Z][A-Z-]+) [a-z][a-z -]+", line), line
