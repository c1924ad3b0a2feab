"""The error page always has a sentence, also where JupyterHub knows none."""

from __future__ import annotations

import pytest
from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader

from panosc_hub.paths import template_path
from panosc_hub.web.page import template_globals


def render(**values: object) -> str:
    frame = DictLoader({"page.html": "{% block main %}{% endblock %}"})
    pages = Environment(
        loader=ChoiceLoader([frame, FileSystemLoader(template_path())]), autoescape=True
    )
    return pages.get_template("error.html").render(
        base_url="/hub/", panosc=template_globals(), user=None, **values
    )


@pytest.mark.parametrize("status", [500, 503])
def test_a_failure_of_the_hub_says_what_it_means_for_the_person(status: int) -> None:
    html = render(status_code=status, status_message="Error")
    assert "Sessions that run and your files are not affected" in html


def test_a_message_that_is_known_is_shown_instead_and_escaped() -> None:
    html = render(status_code=500, status_message="Error", message="No <space> left")
    assert "No &lt;space&gt; left" in html
    assert "not affected" not in html


def test_a_page_that_is_not_there_is_no_failure_of_the_hub() -> None:
    assert "not affected" not in render(status_code=404, status_message="Not Found")
