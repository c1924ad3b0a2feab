"""panosc_hub: JupyterHub for photon and neutron facilities.

In ``jupyterhub_config.py``::

    import panosc_hub

    panosc_hub.configure(c, site="site.yaml")
"""

from __future__ import annotations

from ._version import __version__
from .install import configure
from .paths import static_path, template_path

__all__ = ["__version__", "configure", "static_path", "template_path"]
