"""One call to install the suite: ``panosc_hub.configure(c, site="site.yaml")``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets.config import LazyConfigValue

from .paths import template_path


def configure(
    c: Any,
    *,
    site: str | Path,
    variables: Mapping[str, str] | None = None,
    authenticator: str | None = None,
) -> None:
    """Wire spawner, hook, pages and endpoints into a ``jupyterhub_config.py``.

    ``c`` is traitlets' config object, ``site`` the path of ``site.yaml``, ``variables`` override
    the variables in it, ``authenticator`` is one of ours (``umbrella``, ``eduteams``); leave it
    out to keep the one that is configured. What it sets are ordinary traitlets, so each can be
    set differently afterwards.

    Raises :class:`~panosc_hub.errors.SiteError`, with file and line, when the site cannot be
    used: an admin is there to read it.
    """
    from .facility import FacilityService
    from .hook import pre_spawn_hook
    from .spawner import PanoscSpawner
    from .web.page import jinja_extension

    service = FacilityService.shared(site, variables)
    facility = service.site.facility

    c.JupyterHub.spawner_class = PanoscSpawner
    c.PanoscSpawner.site = str(service.path)
    c.PanoscSpawner.site_variables = dict(variables or {})
    c.PanoscSpawner.pre_spawn_hook = pre_spawn_hook
    paths, jinja = c.JupyterHub.get("template_paths"), c.JupyterHub.get("jinja_environment_options")
    if isinstance(paths, LazyConfigValue):  # it was appended to; so it can take one more
        paths.append(template_path())
    else:
        c.JupyterHub.template_paths = [*(paths or ()), template_path()]
    # Not in ``template_vars``: who assigns those later, for an announcement, would drop ours.
    given = jinja.to_dict().get("update") if isinstance(jinja, LazyConfigValue) else jinja
    extensions = [*(given or {}).get("extensions", ()), jinja_extension(service)]
    c.JupyterHub.jinja_environment_options = {**(given or {}), "extensions": extensions}
    if authenticator is not None:
        c.JupyterHub.authenticator_class = authenticator
        for section in (c.UmbrellaAuthenticator, c.EduTeamsAuthenticator):
            section.facility_title = facility.title
            section.support_contact = facility.support
