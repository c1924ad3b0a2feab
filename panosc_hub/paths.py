"""Where the package's own files are, from a wheel and from a source checkout alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def template_path() -> str:
    """The directory of the Jinja pages, for ``JupyterHub.template_paths``.

    In a wheel the top-level ``templates/`` is installed as ``panosc_hub/templates``; in an
    editable install it stays beside the package. Raises ``FileNotFoundError`` if neither is
    there, for then the installation is broken.
    """
    for candidate in (_PACKAGE / "templates", _PACKAGE.parent / "templates"):
        if (candidate / "spawn.html").is_file():
            return str(candidate)
    raise FileNotFoundError(f"panosc_hub's templates are missing beside {_PACKAGE}; reinstall it")


def static_path() -> str:
    """The directory of the pages' own CSS and JavaScript."""
    return str(Path(template_path()) / "static")
