"""``panosc-hub migrate kubespawner``: the command around the migration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from panosc_hub.cli.migrate import migrate
from panosc_hub.site import load_site

ANSWERS = Path(__file__).resolve().parents[1] / "answers" / "kubespawner"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(migrate, ["kubespawner", *arguments])


def test_values_become_a_file_that_loads(tmp_path: Path) -> None:
    output = tmp_path / "site.yaml"
    done = run(
        str(ANSWERS / "community.yaml"), "--output", str(output), "--facility-id", "els",
        "--title", "Example Light Source",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    site = load_site(output)
    assert (site.facility.id, site.facility.title) == ("els", "Example Light Source")
    assert len(site.profiles) == 4
    assert "4 profiles" in done.output


def test_the_file_alone_is_standard_output(tmp_path: Path) -> None:
    done = run(str(ANSWERS / "federated.yaml"))
    (tmp_path / "site.yaml").write_text(done.stdout)
    assert len(load_site(tmp_path / "site.yaml").profiles) == 3
    assert "By hand" in done.stderr


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "site.yaml"
    output.write_text("precious")
    done = run(str(ANSWERS / "federated.yaml"), "--output", str(output))
    assert done.exit_code == 1
    assert "is there already" in done.output
    assert output.read_text() == "precious"


def test_a_python_configuration_is_said_to_be_run(tmp_path: Path) -> None:
    done = run(str(ANSWERS / "jupyterhub_config.py"), "--json")
    assert done.exit_code == 0, done.output
    assert "which is Python" in done.stderr
    body = json.loads(done.stdout)
    assert body["profiles"] == ["tiny", "shared-gpu"]
    by_hand = {row["key"]: row["text"] for row in body["by_hand"]}
    assert "function" in by_hand["c.KubeSpawner.profile_list.shared-gpu.kubespawner_override.uid"]
    assert "c.KubeSpawner.pre_spawn_hook" in by_hand
    # A setting of long ago is not taken for one that works.
    assert "no setting" in by_hand["c.KubeSpawner.singleuser_uid"]
    keeps = {row["key"] for row in body["keeps"]}
    assert {"c.KubeSpawner.tolerations", "c.KubeSpawner.image_pull_secrets"} <= keeps
    assert "do-not-print-me" not in done.output
    (tmp_path / "site.yaml").write_text(body["site"])
    assert load_site(tmp_path / "site.yaml").profiles[1].title == "GPU share"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("jupyterhub_config.py", "c.X.y = 1 / 0", "ZeroDivisionError"),
        ("jupyterhub_config.py", "raise SystemExit(3)", "exit 3"),
        ("values.yaml", "a: [", "is not YAML"),
        ("values.yaml", "proxy: {}", "no singleuser and no hub"),
        ("values.yaml", "- one", "no singleuser and no hub"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    done = run(str(tmp_path / name))
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("arguments", [("--facility-id", "Not An Id"), ("--title", "")])
def test_a_facility_that_no_site_can_have_is_refused(arguments: tuple[str, str]) -> None:
    done = run(str(ANSWERS / "federated.yaml"), *arguments)
    assert done.exit_code == 2
