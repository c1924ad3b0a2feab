"""A facility with Umbrella login and a Slurm cluster.

Facility content (profiles, data areas, templates) is in ``site.yaml`` beside this file; here is
only the wiring. Secrets are files of systemd's ``LoadCredential=`` (see
``systemd/jupyterhub.service``) and never part of this file. Check both before a restart::

    panosc-hub check /etc/panosc-hub/site.yaml
"""

import os
from pathlib import Path

import panosc_hub

c = get_config()  # noqa: F821 (JupyterHub provides it)

here = Path(__file__).resolve().parent
state = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/panosc-hub"))
credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])


def secret(name: str) -> str:
    """A secret that systemd hands to this service alone."""
    return (credentials / name).read_text().strip()


panosc_hub.configure(c, site=here / "site.yaml", authenticator="umbrella")

# -- who people are ---------------------------------------------------------------------------
c.UmbrellaAuthenticator.issuer = "https://login.umbrella.example"
c.UmbrellaAuthenticator.client_id = "panosc-hub"
c.UmbrellaAuthenticator.client_secret = secret("client_secret")
c.UmbrellaAuthenticator.oauth_callback_url = "https://hub.facility.example/hub/oauth_callback"
# urn:geant:umbrella.example:group:umbrella:facility:proposal:HG-123#umbrella.example
# becomes the Hub group proposal:HG-123.
c.UmbrellaAuthenticator.entitlement_namespace = "urn:geant:umbrella.example"
c.UmbrellaAuthenticator.entitlement_authority = "umbrella.example"
c.UmbrellaAuthenticator.group_root = "umbrella:facility"
# The account comes from this list and never from a claim that people can choose.
c.UmbrellaAuthenticator.account_mappers = ["panosc_hub.auth.accounts.FileMapper"]
c.FileMapper.path = str(here / "accounts.yaml")
c.UmbrellaAuthenticator.support_contact = "support@facility.example"
c.UmbrellaAuthenticator.linking_url = "https://useroffice.facility.example/link"

# Members of the group umbrella:facility:admins are administrators; these accounts are as well.
c.Authenticator.admin_users = {"hubadmin"}

# Tokens of the login are stored encrypted, so that groups can be asked for again before every
# spawn. openssl rand -hex 32
c.CryptKeeper.keys = [secret("crypt_key")]
c.UmbrellaAuthenticator.enable_auth_state = True

# -- where sessions run -----------------------------------------------------------------------
c.PanoscSpawner.backends = {"slurm": "panosc_hub.backends.slurm.spawner.SlurmBackend"}
# These run as the user's account; see sudoers.d/panosc-hub.
c.SlurmClient.run_as = ["sudo", "-n", "-u", "{username}", "--"]
c.SlurmClient.sbatch = "/usr/bin/sbatch"
c.SlurmClient.scancel = "/usr/bin/scancel"
c.SlurmClient.squeue = "/usr/bin/squeue"
c.SlurmClient.sacct = "/usr/bin/sacct"
# The firewall of the nodes lets the proxy in on these ports only.
c.SlurmBackend.port_range = "40000-41000"
# Part of every job's name; two Hubs on one cluster need different ones.
c.SlurmBackend.hub_name = "facility-hub"
# JupyterLab on a cold network file system may need a while.
c.Spawner.http_timeout = 120

# -- the Hub ----------------------------------------------------------------------------------
# People come through a web server that has the certificate; nodes talk to the Hub itself.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://hub.facility.example:8081"
c.JupyterHub.cookie_secret_file = str(state / "cookie_secret")
# With many users PostgreSQL; on the same machine it needs no password:
# "postgresql+psycopg2:///panosc_hub?host=/run/postgresql"
c.JupyterHub.db_url = os.environ.get("PANOSC_HUB_DB", f"sqlite:///{state / 'hub.sqlite'}")

# The proxy is a service of its own, so that a restart of the Hub cuts no connection.
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
c.ConfigurableHTTPProxy.auth_token = secret("proxy_token")
# Sessions outlive a restart of the Hub; it finds them again.
c.JupyterHub.cleanup_servers = False

c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 4
