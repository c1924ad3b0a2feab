"""The Hub of the example facility; ``make demo`` starts it.

A facility's own file has the same parts: see ``config/jupyterhub_config.py`` for one without
the demonstration's temporary folders.
"""

import hashlib
import json
import os
from pathlib import Path

import panosc_hub

c = get_config()  # noqa: F821 (JupyterHub provides it)

here = Path(__file__).parent
var = Path(os.environ["PANOSC_DEMO_VAR"])
port, host = int(os.environ["PANOSC_DEMO_PORT"]), "127.0.0.1"

panosc_hub.configure(
    c,
    site=os.environ.get("PANOSC_DEMO_SITE", here / "site.yaml"),
    variables={"data": str(var / "data"), "venv": os.environ["PANOSC_DEMO_VENV"]},
    authenticator="umbrella",
)

# -- who people are ---------------------------------------------------------------------------
people = json.loads((here / "idp" / "people.json").read_text())


def subject(username: str) -> str:
    """The provider's stable key of an example person."""
    return (
        hashlib.sha256(f"panosc-hub demo {username}".encode()).hexdigest() + f"@{people['scope']}"
    )


c.UmbrellaAuthenticator.issuer = os.environ["PANOSC_DEMO_ISSUER"]
c.UmbrellaAuthenticator.client_id = "panosc-hub"
c.UmbrellaAuthenticator.client_secret = os.environ["PANOSC_IDP_CLIENT_SECRET"]
c.UmbrellaAuthenticator.oauth_callback_url = f"http://{host}:{port}/hub/oauth_callback"
c.UmbrellaAuthenticator.entitlement_namespace = people["namespace"]
c.UmbrellaAuthenticator.entitlement_authority = people["authority"]
c.UmbrellaAuthenticator.group_root = "umbrella:demo"
c.UmbrellaAuthenticator.account_mappers = ["panosc_hub.auth.accounts.StaticMapper"]
# Asks for a refresh token, so that a session of the Hub may outlast the first access token.
c.UmbrellaAuthenticator.extra_authorize_params = {"prompt": "consent"}
c.StaticMapper.accounts = {
    subject(p["username"]): p["username"] for p in people["people"] if p["groups"]
}

# -- where sessions run -----------------------------------------------------------------------
# One account for everybody: good for a demonstration on one machine, and for nothing else.
c.LocalBackend.home_template = str(var / "home/{username}")
c.LocalBackend.log_template = str(var / "log/{username}-{servername}.log")
c.SlurmBackend.home_template = str(var / "home/{username}")
# The demonstration's nodes all live on this machine and their names are in no DNS.
c.SlurmBackend.connect_to = "address"
pods_see = os.environ.get("PANOSC_DEMO_KUBERNETES")  # this machine's address for pods
backends = {"local": "panosc_hub.backends.local.LocalBackend"}
if os.environ.get("PANOSC_DEMO_SLURM") == "1":
    backends["slurm"] = "panosc_hub.backends.slurm.SlurmBackend"
if pods_see:
    backends["kubernetes"] = "panosc_hub.backends.kubernetes.spawner.KubernetesBackend"
    c.KubeSpawner.namespace = os.environ["PANOSC_KUBERNETES_NAMESPACE"]
    # The image is on the node and in no registry.
    c.KubeSpawner.image_pull_policy = "Never"
    # Nobody's account, and a home that outlives the session.
    c.KubeSpawner.uid = c.KubeSpawner.gid = c.KubeSpawner.fs_gid = 1000
    c.KubeSpawner.storage_pvc_ensure = True
    c.KubeSpawner.storage_capacity = "1Gi"
    c.KubeSpawner.volumes = {
        "home": {"name": "home", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    }
    c.KubeSpawner.volume_mounts = {"home": {"name": "home", "mountPath": "/home/jovyan"}}
    c.KubeSpawner.working_dir = "/home/jovyan"
    c.KubeSpawner.environment = {"HOME": "/home/jovyan"}
    # The node is this machine, so the data are simply there. A facility has NFS or a claim here.
    c.KubernetesBackend.allow_host_path = True
    c.KubernetesBackend.data_volumes = {
        str(var / "data"): {"hostPath": {"path": str(var / "data")}}
    }
c.PanoscSpawner.backends = backends

# No question about Jupyter's news over the first notebook that somebody sees.
c.Spawner.environment = {"JUPYTER_CONFIG_PATH": str(here / "jupyter")}
# Sessions of root refuse to start otherwise; a real facility's sessions never run as root.
if os.getuid() == 0:
    c.Spawner.args = ["--allow-root"]

# -- the Hub ----------------------------------------------------------------------------------
c.JupyterHub.bind_url = f"http://{host}:{port}"
c.JupyterHub.hub_bind_url = f"http://{pods_see or host}:{os.environ['PANOSC_DEMO_HUB_PORT']}"
c.ConfigurableHTTPProxy.api_url = f"http://{host}:{os.environ['PANOSC_DEMO_PROXY_PORT']}"
c.ConfigurableHTTPProxy.command = [
    str(here / "proxy" / "node_modules" / ".bin" / "configurable-http-proxy")
]
c.ConfigurableHTTPProxy.pid_file = str(var / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{var / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(var / "cookie_secret")
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 3
c.JupyterHub.cleanup_servers = os.environ.get("PANOSC_DEMO_KEEP") != "1"
c.Spawner.http_timeout = 120
