"""What is evened out between JupyterHub's versions: here, the log of refusals."""

from __future__ import annotations

import logging
import re

import pytest

from panosc_hub.compat import log_refusals_in_one_line, refused
from panosc_hub.errors import BackendError, NotFound, PanoscError


@pytest.fixture
def hub_log() -> logging.Logger:
    log_refusals_in_one_line()
    log_refusals_in_one_line()
    return logging.getLogger("JupyterHub")


def log(logger: logging.Logger, error: PanoscError) -> None:
    try:
        raise refused(error)
    except Exception:
        logger.exception("Failed to spawn %s", "paula's server")


def test_a_refusal_is_one_line_of_the_log(
    hub_log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    log(hub_log, NotFound("Proposal X-1 is not among yours."))
    assert re.search(r"Failed to spawn paula's server: .*404.*X-1 is not among yours", caplog.text)
    assert "Traceback" not in caplog.text


def test_what_went_wrong_inside_keeps_its_traceback(
    hub_log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    log(hub_log, BackendError("Slurm said no."))
    assert "Traceback" in caplog.text
