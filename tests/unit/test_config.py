"""The production examples in ``config/`` are good as they are."""

from __future__ import annotations

import configparser
import fnmatch
import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jinja2 import Environment
from jupyterhub.app import JupyterHub
from jupyterhub.spawner import Spawner
from traitlets import TraitError
from traitlets.config import Config, PyFileConfigLoader

import panosc_hub
from panosc_hub.auth.umbrella import UmbrellaAuthenticator
from panosc_hub.backends.slurm.client import SlurmClient
from panosc_hub.cli.main import main
from panosc_hub.hook import pre_spawn_hook
from panosc_hub.spawner import PanoscSpawner

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
TEMPLATES = f"templates={ROOT / 'examples' / 'templates'}"


def check(site: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["check", str(site), *arguments])
    return result.exit_code, result.output


def test_the_site_file_passes_its_check() -> None:
    status, output = check(CONFIG / "site.yaml", "--set", TEMPLATES)
    assert status == 0, output
    assert "3 profiles" in output


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The Hub's configuration, read as JupyterHub reads it."""
    for name in ("client_secret", "proxy_token", "crypt_key"):
        (tmp_path / name).write_text(("ab" * 32) + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    loader = PyFileConfigLoader("jupyterhub_config.py", path=str(CONFIG))
    loaded: Config = loader.load_config()
    return loaded


def test_the_hubs_configuration_loads_and_wires_everything(config: Config, tmp_path: Path) -> None:
    assert config.JupyterHub.spawner_class is PanoscSpawner
    assert config.PanoscSpawner.pre_spawn_hook is pre_spawn_hook
    assert config.JupyterHub.authenticator_class == "umbrella"
    authenticator = UmbrellaAuthenticator(config=config)
    assert authenticator.enable_auth_state
    assert authenticator.facility_title == "Example Light Source"
    assert authenticator.client_secret == "ab" * 32
    assert SlurmClient(config=config).run_as[0] == "sudo"
    assert config.JupyterHub.db_url == f"sqlite:///{tmp_path / 'hub.sqlite'}"


def test_no_secret_is_written_in_the_examples(config: Config) -> None:
    for path in CONFIG.rglob("*"):
        if path.is_file():
            assert not re.search(r"(secret|token|password) *= *[\"'][^\"']+[\"']", path.read_text())


def sudoers() -> str:
    return (CONFIG / "sudoers.d" / "panosc-hub").read_text().replace("\\\n", "")


def test_sudoers_is_accepted_by_visudo(tmp_path: Path) -> None:
    visudo = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin")
    if visudo is None:
        pytest.skip("visudo is not installed (Debian package sudo)")
    copy = tmp_path / "panosc-hub"
    shutil.copy(CONFIG / "sudoers.d" / "panosc-hub", copy)
    copy.chmod(0o440)
    said = subprocess.run([visudo, "-cf", str(copy)], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_sudo_keeps_every_variable_that_jupyterhub_sends() -> None:
    kept = re.search(r'env_keep = "([^"]+)"', sudoers())
    assert kept
    patterns = kept.group(1).split()
    source = inspect.getsource(Spawner.get_env)
    names = set(re.findall(r"env\[['\"]([A-Z_]+)['\"]\]", source)) | set(Spawner().env_keep)
    # What the backend adds; sudo itself sets USER and LOGNAME.
    names = {n for n in names if n.startswith(("JUPYTERHUB", "JPY", "MEM", "CPU"))}
    names |= {"HOME", "SHELL", "SLURM_CONF", "SLURM_TIME_FORMAT"}
    assert len(names) > 20
    assert not [n for n in sorted(names) if not any(fnmatch.fnmatchcase(n, p) for p in patterns)]


def test_sudo_allows_the_four_commands_that_run_as_the_user_and_never_root(config: Config) -> None:
    commands = re.search(r"Cmnd_Alias PANOSC_SLURM = (.*)", sudoers())
    assert commands
    client = SlurmClient(config=config)
    assert set(commands.group(1).split(", ")) == {
        client.sbatch,
        client.scancel,
        client.squeue,
        client.sacct,
    }
    rules = [line for line in sudoers().splitlines() if line.startswith("panosc-hub ")]
    assert rules == ["panosc-hub ALL = (%experiments) NOPASSWD: PANOSC_SLURM"]


def test_a_way_through_sudo_that_logs_the_token_is_refused() -> None:
    bad = Config()
    bad.SlurmClient.run_as = ["sudo", "-u", "{username}", "--preserve-env=JUPYTERHUB_API_TOKEN"]
    with pytest.raises(TraitError, match="env_keep"):
        SlurmClient(config=bad)


def unit(name: str) -> dict[str, Any]:
    # systemd allows a key twice; what is asked here is asked of all of them.
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(CONFIG / "systemd" / name)
    return dict(parser["Service"])


IMPLY_NO_NEW_PRIVILEGES = (
    "SystemCall", "RestrictAddress", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
    "PrivateDevices", "ProtectKernel", "ProtectClock", "ProtectHostname", "MemoryDenyWrite",
    "LockPersonality", "DynamicUser", "NoNewPrivileges",
)  # fmt: skip


@pytest.mark.parametrize("name", ["jupyterhub.service", "jupyterhub-proxy.service"])
def test_systemd_understands_the_units(name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    file = CONFIG / "systemd" / name
    said = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True)
    program = unit(name)["ExecStart"].split()[0]
    # The programs are where a facility installs them, which need not be this machine.
    missing = f"{name}: Command {program} is not executable: No such file or directory"
    ours = [line for line in said.stderr.splitlines() if line.startswith((name, str(file)))]
    assert [line for line in ours if line != missing] == []


def test_systemd_would_name_a_mistake(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    text = (CONFIG / "systemd" / "jupyterhub.service").read_text()
    file = tmp_path / "jupyterhub.service"
    file.write_text(text.replace("ProtectHome=yes", "ProtectHomes=yes"))
    said = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True)
    assert "ProtectHomes" in said.stderr


def test_the_hub_is_an_unprivileged_service_that_can_still_use_sudo() -> None:
    service = unit("jupyterhub.service")
    assert service["User"] == "panosc-hub"
    assert service["ProtectHome"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert not [key for key in service if key.startswith(IMPLY_NO_NEW_PRIVILEGES)]


def test_every_secret_of_the_configuration_is_a_credential_of_the_service() -> None:
    asked = set(re.findall(r'secret\("(\w+)"\)', (CONFIG / "jupyterhub_config.py").read_text()))
    text = (CONFIG / "systemd" / "jupyterhub.service").read_text()
    assert asked == set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE))


def test_the_proxy_is_where_the_hub_looks_for_it(config: Config) -> None:
    command = unit("jupyterhub-proxy.service")["ExecStart"]
    assert "--api-ip 127.0.0.1 --api-port 8001" in command
    assert config.ConfigurableHTTPProxy.api_url == "http://127.0.0.1:8001"
    assert "--ip 127.0.0.1 --port 8000" in command
    assert config.JupyterHub.bind_url == "http://127.0.0.1:8000"


SITE = """
facility: {id: test, title: Test}
areas: {raw: {path: "/data/{instrument}/{proposal}/raw"}}
catalogue: {kind: static, file: proposals.yaml}
environments: [{id: one, title: One}]
profiles: [{id: small, title: Small, backend: local, memory: 1G}]
"""

PROPOSALS = """
proposals:
  - id: HG-1
    instrument: ID02
    datasets:
      - {pid: a, name: inside, location: /data/ID02/HG-1/raw/a}
      - {pid: b, name: outside, location: /etc}
  - id: HG-2
    instrument: ../..
  - id: HG-1
    instrument: ID02
"""


def test_the_check_names_proposals_that_the_layout_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "proposals.yaml").write_text(PROPOSALS)
    status, output = check(tmp_path / "site.yaml", "--json")
    assert status == 1
    found = {(m["line"], m["where"]): m["message"] for m in json.loads(output)["mistakes"]}
    assert set(found) == {(7, "HG-1"), (8, "HG-2"), (10, "HG-1")}
    assert "outside" in found[7, "HG-1"]
    assert "does not fit" in found[8, "HG-2"]
    assert "twice" in found[10, "HG-1"]


def test_the_check_names_an_unreadable_catalogue(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    status, output = check(tmp_path / "site.yaml")
    assert status == 1
    assert "proposals.yaml:1" in output.replace("\n", "")
    (tmp_path / "proposals.yaml").write_text("proposals: [{id: HG-1, titel: x}]")
    status, output = check(tmp_path / "site.yaml", "--json")
    assert status == 1
    assert "not a key known here" in output


@pytest.mark.parametrize("how", ["nothing", "set", "appended", "set later"])
def test_configure_keeps_the_pages_that_an_admin_has(how: str) -> None:
    c = Config()
    if how == "set":
        c.JupyterHub.template_paths = ["/own"]
        c.JupyterHub.template_vars = {"announcement": "hello"}
        c.JupyterHub.jinja_environment_options = {"extensions": ["jinja2.ext.do"]}
    elif how == "appended":
        c.JupyterHub.template_paths.append("/own")
        c.JupyterHub.template_vars.update({"announcement": "hello"})
        c.JupyterHub.jinja_environment_options.update({"extensions": ["jinja2.ext.do"]})
    panosc_hub.configure(c, site=CONFIG / "site.yaml")
    if how == "set later":
        c.JupyterHub.template_paths.insert(0, "/own")
        c.JupyterHub.template_vars = {"announcement": "hello"}
    hub = JupyterHub(config=c)
    own = [] if how == "nothing" else ["/own"]
    assert [p for p in hub.template_paths if p in ("/own", panosc_hub.template_path())] == [
        *own,
        panosc_hub.template_path(),
    ]
    assert hub.template_vars.get("announcement") == (None if how == "nothing" else "hello")
    jinja = Environment(**hub.jinja_environment_options)
    assert jinja.from_string("{{ panosc.title() }}").render(**hub.template_vars)
    assert ("jinja2.ext.ExprStmtExtension" in jinja.extensions) is (how in ("set", "appended"))
