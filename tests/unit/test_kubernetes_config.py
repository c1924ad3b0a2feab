"""``config/kubernetes``: rights, values of the chart, image and site are good as they are.

The chart itself is not here. Its keys are written down below as ``values.yaml`` of release 4.1.0
has them; ``hub.config`` and what ``extraEnv`` and ``extraVolumes`` hold are free.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kubespawner import KubeSpawner
from ruamel.yaml import YAML
from traitlets.config import Config, PyFileConfigLoader

import panosc_hub
from panosc_hub.auth.umbrella import UmbrellaAuthenticator
from panosc_hub.backends.kubernetes.mounts import plan_mounts
from panosc_hub.backends.kubernetes.spawner import KubernetesBackend
from panosc_hub.cli.main import main
from panosc_hub.core.proposals import Proposal
from panosc_hub.site import load_site
from panosc_hub.spawner import PanoscSpawner

CONFIG = Path(__file__).resolve().parents[2] / "config"
HERE = CONFIG / "kubernetes"

CHART = frozenset(
    {
        "rbac.create",
        "hub.image.name",
        "hub.image.tag",
        "hub.serviceAccount.create",
        "hub.serviceAccount.name",
        "hub.consecutiveFailureLimit",
        "hub.allowNamedServers",
        "hub.namedServerLimitPerUser",
        "hub.config.*",
        "hub.extraEnv.*",
        "hub.extraConfig.*",
        "hub.extraVolumes",
        "hub.extraVolumeMounts",
        "singleuser.startTimeout",
        "singleuser.storage.type",
        "singleuser.extraLabels.*",
        "singleuser.networkPolicy.enabled",
        "singleuser.cloudMetadata.blockWithIptables",
        "scheduling.userScheduler.enabled",
        "scheduling.userPlaceholder.enabled",
        "prePuller.hook.enabled",
        "prePuller.continuous.enabled",
        "proxy.service.type",
        "proxy.https.enabled",
        "ingress.enabled",
        "ingress.hosts",
        "ingress.tls",
        "cull.enabled",
        "cull.timeout",
    }
)

PROPOSAL = Proposal(id="HG-123", title="x", instrument="ID02", fields={"cycle": "2026-1"})


def documents(name: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all((HERE / name).read_text()))


@pytest.fixture
def values() -> dict[str, Any]:
    (found,) = documents("values.yaml")
    return found


def leaves(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path


def granted(kind: str) -> set[tuple[str, str]]:
    (role,) = (each for each in documents("rbac.yaml") if each["kind"] == kind)
    rules = role["rules"]
    assert all(rule["apiGroups"] == [""] for rule in rules)
    return {(r, v) for rule in rules for r in rule["resources"] for v in rule["verbs"]}


def test_the_hub_has_these_rights_and_no_other() -> None:
    pods = {("pods", verb) for verb in ("create", "get", "list", "watch", "delete")}
    assert granted("Role") == pods | {
        ("pods/log", "get"),
        ("events", "list"),
        ("events", "watch"),
        ("secrets", "create"),
        ("persistentvolumeclaims", "get"),
        ("persistentvolumeclaims", "create"),
    }
    looks = {(what, verb) for what in ("nodes", "pods") for verb in ("list", "watch")}
    assert granted("ClusterRole") == looks


def test_the_rights_are_bound_to_the_account_that_the_chart_runs_the_hub_with(
    values: dict[str, Any],
) -> None:
    parts = documents("rbac.yaml")
    (account,) = (p["metadata"]["name"] for p in parts if p["kind"] == "ServiceAccount")
    for binding in (p for p in parts if p["kind"].endswith("RoleBinding")):
        assert [(s["kind"], s["name"]) for s in binding["subjects"]] == [
            ("ServiceAccount", account)
        ]
    assert values["hub"]["serviceAccount"] == {"create": False, "name": account}
    # The chart's own role may read every Secret of the namespace.
    assert values["rbac"]["create"] is False


def test_parts_of_the_chart_that_would_have_no_rights_are_off(values: dict[str, Any]) -> None:
    assert values["scheduling"]["userScheduler"]["enabled"] is False
    assert values["prePuller"]["hook"]["enabled"] is False
    assert values["proxy"]["https"]["enabled"] is False


def test_every_value_is_a_key_of_the_chart(values: dict[str, Any]) -> None:
    known = CHART
    free = tuple(key[:-1] for key in known if key.endswith("*"))
    assert not [key for key in leaves(values) if key not in known and not key.startswith(free)]


def test_pods_may_reach_the_hub_and_be_reached(values: dict[str, Any]) -> None:
    labels = values["singleuser"]["extraLabels"]
    assert labels["hub.jupyter.org/network-access-hub"] == "true"
    # What the chart's NetworkPolicy for sessions selects.
    assert KubeSpawner.component_label.default_value == "singleuser-server"
    # A privileged container in each pod cannot be, where a session may not be root.
    assert values["singleuser"]["cloudMetadata"]["blockWithIptables"] is False


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Both files as the ConfigMap has them, in one folder."""
    shutil.copy(HERE / "site.yaml", tmp_path)
    shutil.copy(CONFIG / "proposals.yaml", tmp_path)
    return tmp_path / "site.yaml"


def test_the_site_has_no_mistake(site: Path) -> None:
    done = CliRunner().invoke(main, ["check", str(site)])
    assert done.exit_code == 0, done.output
    loaded = load_site(site)
    for profile in loaded.profiles:
        assert not list(KubernetesBackend.check_profile(profile))
        assert loaded.environments_of(profile)


def chart_runs(values: dict[str, Any], site: Path) -> Config:
    """The Hub's configuration as the chart makes it: hub.config, then extraConfig by its names."""
    c = Config()
    c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
    for section, traits in values["hub"]["config"].items():
        c[section].update(traits)
    for _, text in sorted(values["hub"]["extraConfig"].items()):
        exec(text.replace("/etc/panosc-site/site.yaml", str(site)), {"c": c})
    return c


def test_the_chart_makes_the_hub_ours(
    values: dict[str, Any], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMBRELLA_CLIENT_SECRET", "from the Secret")
    config = chart_runs(values, site)
    assert config.JupyterHub.spawner_class is PanoscSpawner
    assert config.PanoscSpawner.backends == {"kubernetes": KubernetesBackend}
    authenticator = UmbrellaAuthenticator(config=config)
    assert authenticator.client_secret == "from the Secret"
    assert authenticator.facility_title == "Example Light Source"
    mounted = {v["mountPath"] for v in values["hub"]["extraVolumeMounts"]}
    assert str(Path(config.FileMapper.path).parent) in mounted
    assert str(config.KubernetesBackend.account.path.parent) in mounted
    names = set(config.KubernetesBackend) - set(KubernetesBackend.class_trait_names(config=True))
    assert not names


def areas_mounted(data_volumes: dict[str, Any], site: Path) -> set[str]:
    areas = load_site(site).areas_of(PROPOSAL)
    mounts = plan_mounts(areas, data_volumes, host_path_allowed=False, recursive="IfPossible")
    return {mount["mountPath"] for mount in mounts.mounts}


def test_every_area_of_the_site_has_a_volume(values: dict[str, Any], site: Path) -> None:
    wanted = {area.path for area in load_site(site).areas_of(PROPOSAL)}
    found = areas_mounted(values["hub"]["config"]["KubernetesBackend"]["data_volumes"], site)
    assert found == wanted
    assert len(found) == 3


def test_the_files_are_mounted_as_folders_so_that_changes_are_seen(values: dict[str, Any]) -> None:
    assert values["hub"]["extraVolumeMounts"]
    assert not [m for m in values["hub"]["extraVolumeMounts"] if "subPath" in m]


def test_a_hub_outside_of_the_clusters_knows_each_by_itself(site: Path, tmp_path: Path) -> None:
    text = (HERE / "jupyterhub_config.py").read_text()
    (tmp_path / "jupyterhub_config.py").write_text(
        text.replace("/etc/panosc-hub/site.yaml", str(site))
    )
    config = PyFileConfigLoader("jupyterhub_config.py", path=str(tmp_path)).load_config()
    backends = config.PanoscSpawner.backends
    assert set(backends) == {"slurm", "kubernetes", "gpu-cluster"}
    other = backends["gpu-cluster"]
    assert issubclass(other, KubernetesBackend)
    assert other.backend_name == "gpu-cluster"
    first, second = (config[name].cluster for name in ("KubernetesBackend", "GpuCluster"))
    assert first["kubeconfig"] != second["kubeconfig"]
    assert set(config.GpuCluster) <= set(other.class_trait_names(config=True))


def instructions() -> list[tuple[str, str]]:
    text = (HERE / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_is_the_charts_hub_pinned_and_not_roots(values: dict[str, Any]) -> None:
    found = instructions()
    assert found[0] == ("FROM", "quay.io/jupyterhub/k8s-hub:4.4.0")
    assert "--version 4.4.0" in (HERE / "values.yaml").read_text()
    assert found[-1] == ("USER", "1000:1000")
    assert not [i for i in found if i[0] in ("ENV", "ARG")]  # no place for secrets
    (run,) = (text for name, text in found if name == "RUN")
    version = panosc_hub.__version__
    wheel = f"panosc_hub-{version}-py3-none-any.whl"
    assert f'"/tmp/{wheel}[kubernetes]" "jupyterhub==5.5.*"' in run
    assert ("COPY", f"dist/{wheel} /tmp/") in found
    assert values["hub"]["image"]["tag"] == version


def test_no_secret_is_written_in_the_examples() -> None:
    for file in HERE.iterdir():
        assert not re.search(r"(secret|token|password) *= *[\"'][^\"']+[\"']", file.read_text())
    for text in ("client_secret:", "password:", "secretToken:", "cookieSecret:", "cryptoKey:"):
        assert text not in (HERE / "values.yaml").read_text()
