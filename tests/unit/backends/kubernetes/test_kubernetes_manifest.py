"""The pod as it is posted: KubeSpawner's own, and what must hold whatever that says."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from kubespawner.objects import make_pod
from ruamel.yaml import YAML

from panosc_hub.backends.kubernetes.accounts import Account
from panosc_hub.backends.kubernetes.expansion import expand, references
from panosc_hub.backends.kubernetes.manifest import (
    MAX_SECRET,
    finish,
    session_secret,
    show,
    take_variables,
)
from panosc_hub.backends.kubernetes.mounts import plan_mounts
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.errors import BackendError
from panosc_hub.session import source
from tests.unit.backends.kubernetes.makers import is_known, options, serializer

TOKEN = "the-token-of-the-server"
LABELS = {"panosc-hub/session": "0123456789abcdef", "panosc-hub/hub": "h"}


def kubespawners(**parts: Any) -> dict[str, Any]:
    """The pod that KubeSpawner makes, as JSON."""
    pod = make_pod(name="jupyter-paula", cmd=["x"], port=8888, image="i", **parts)
    body: dict[str, Any] = serializer().sanitize_for_serialization(pod)
    return body


def finished(pod: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    pod = kubespawners() if pod is None else pod
    before = copy.deepcopy(pod)
    parts = {"options": options(), "labels": LABELS, "secret": "panosc-session-0", **parts}
    found = finish(pod, **parts)
    assert pod == before
    assert is_known(found, "V1Pod")
    return found


def server(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = (c for c in pod["spec"]["containers"] if c["name"] == "notebook")
    return dict(found)


def secret(**parts: Any) -> dict[str, Any]:
    parts = {"env": {"A": "b"}, "plan": {"v": 1}, "start": "start", **parts}
    return session_secret("s", owner_uid="u-1", pod_name="p", labels=LABELS, **parts)


def values(made: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in made["data"].items()}


# The pod


def test_a_pod_is_found_by_its_labels_and_keeps_those_of_others() -> None:
    found = finished(kubespawners(labels={"app": "jupyterhub", "panosc-hub/hub": "forged"}))
    assert found["metadata"]["labels"] == {"app": "jupyterhub", **LABELS}


def test_a_server_that_ended_is_not_started_again_by_its_node() -> None:
    assert kubespawners()["spec"]["restartPolicy"] == "OnFailure"
    assert finished()["spec"]["restartPolicy"] == "Never"
    kept = kubespawners(extra_pod_config={"restartPolicy": "Always"})
    assert finished(kept, own_restart_policy=True)["spec"]["restartPolicy"] == "Always"


def test_no_token_of_the_cluster_is_in_a_pod_unless_an_account_of_its_own_is() -> None:
    asked = kubespawners(automount_service_account_token=True)
    assert finished(asked)["spec"]["automountServiceAccountToken"] is False
    own = kubespawners(service_account="dask", automount_service_account_token=True)
    assert finished(own)["spec"]["automountServiceAccountToken"] is True
    off = kubespawners(service_account="dask", automount_service_account_token=False)
    assert finished(off)["spec"]["automountServiceAccountToken"] is False


def test_what_nobody_decided_is_decided_safely() -> None:
    found = finished(kubespawners(uid=1000, gid=100, fs_gid=100))
    assert found["spec"]["enableServiceLinks"] is False
    assert found["spec"]["securityContext"] == {
        "fsGroup": 100,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert server(found)["securityContext"] == {
        "runAsUser": 1000,
        "runAsGroup": 100,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_the_administrator_decided_stays() -> None:
    pod = kubespawners(
        uid=1000,
        allow_privilege_escalation=True,
        fs_gid=100,
        pod_security_context={
            "seccompProfile": {"type": "Unconfined"},
            "fsGroupChangePolicy": "Always",
        },
        container_security_context={"capabilities": {"add": ["SYS_PTRACE"]}, "runAsNonRoot": False},
        extra_pod_config={"enableServiceLinks": True},
    )
    found = finished(pod)
    own = server(found)["securityContext"]
    assert own["allowPrivilegeEscalation"] is True
    assert own["capabilities"] == {"add": ["SYS_PTRACE"]}
    assert own["runAsNonRoot"] is False
    assert found["spec"]["securityContext"]["seccompProfile"] == {"type": "Unconfined"}
    assert found["spec"]["securityContext"]["fsGroupChangePolicy"] == "Always"
    assert found["spec"]["enableServiceLinks"] is True


def test_an_entry_script_that_must_be_root_keeps_what_root_needs() -> None:
    own = server(finished(kubespawners(uid=0)))["securityContext"]
    assert "capabilities" not in own
    assert "runAsNonRoot" not in own


def test_helpers_of_the_administrator_are_left_as_they_are() -> None:
    helper = {"name": "block-metadata", "image": "i", "securityContext": {"privileged": True}}
    beside = {"name": "beside", "image": "i"}
    found = finished(kubespawners(init_containers=[helper], extra_containers=[beside]))
    assert found["spec"]["initContainers"] == [helper]
    assert beside in found["spec"]["containers"]


def test_an_account_decides_as_whom_the_server_runs() -> None:
    found = finished(kubespawners(uid=1000), account=Account(20001, 20000))
    own = server(found)["securityContext"]
    assert (own["runAsUser"], own["runAsGroup"]) == (20001, 20000)
    assert own["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("own", "walltime", "result"),
    [
        (None, None, None),
        (None, 3600, 3600),
        (600, 3600, 600),
        (7200, 3600, 3600),
        (600, None, 600),
    ],
)
def test_the_wall_time_is_the_pods_deadline(
    own: int | None, walltime: int | None, result: int | None
) -> None:
    config = {"activeDeadlineSeconds": own} if own else {}
    found = finished(kubespawners(extra_pod_config=config), walltime=walltime)
    assert found["spec"].get("activeDeadlineSeconds") == result


def test_shared_memory_runtime_and_read_only_root_are_as_the_profile_says() -> None:
    wanted = options(shm="8G", runtime_class="nvidia", read_only_root=True)
    found = finished(options=wanted)
    volumes = {v["name"]: v for v in found["spec"]["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in server(found)["volumeMounts"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {
        "medium": "Memory",
        "sizeLimit": str(8 * 2**30),
    }
    assert volumes[mounts["/tmp"]]["emptyDir"] == {}
    assert server(found)["securityContext"]["readOnlyRootFilesystem"] is True
    assert found["spec"]["runtimeClassName"] == "nvidia"
    plain = finished()
    assert "runtimeClassName" not in plain["spec"]
    assert {m["mountPath"] for m in server(plain)["volumeMounts"]} == {"/run/panosc"}


def test_a_temporary_directory_of_the_administrator_is_used() -> None:
    pod = kubespawners(
        volumes=[{"name": "t", "emptyDir": {"medium": "Memory"}}],
        volume_mounts=[{"name": "t", "mountPath": "/tmp"}],
    )
    found = finished(pod, options=options(read_only_root=True))
    assert [m["name"] for m in server(found)["volumeMounts"] if m["mountPath"] == "/tmp"] == ["t"]


def test_start_up_plan_and_variables_are_read_by_the_server_alone() -> None:
    found = finished(kubespawners(extra_containers=[{"name": "beside", "image": "i"}]))
    (volume,) = (v for v in found["spec"]["volumes"] if v["name"] == "panosc-session")
    assert volume["secret"] == {"secretName": "panosc-session-0", "defaultMode": 0o444}
    (mount,) = (m for m in server(found)["volumeMounts"] if m["name"] == "panosc-session")
    assert mount == {"name": "panosc-session", "mountPath": "/run/panosc", "readOnly": True}
    (beside,) = (c for c in found["spec"]["containers"] if c["name"] == "beside")
    assert not beside.get("volumeMounts")


def test_data_are_mounted_after_everything_that_kubespawner_has() -> None:
    areas = [Area("raw", "/data/HG-1/raw", "/data", Mode.READ_ONLY)]
    mounts = plan_mounts(areas, {"/data": {"nfs": {"server": "a.b", "path": "/x"}}})
    home = {"name": "home", "mountPath": "/home/paula"}
    pod = kubespawners(volumes=[{"name": "home", "emptyDir": {}}], volume_mounts=[home])
    found = finished(pod, mounts=mounts)
    paths = [m["mountPath"] for m in server(found)["volumeMounts"]]
    assert paths == ["/home/paula", "/data/HG-1/raw", "/run/panosc"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"volumes": [{"name": "panosc-data-0-raw", "emptyDir": {}}]}, "volume panosc-data-0-raw"),
        ({"volumes": [{"name": "panosc-x", "emptyDir": {}}]}, "begins with panosc-"),
        (
            {
                "volumes": [{"name": "t", "emptyDir": {}}],
                "volume_mounts": [{"name": "t", "mountPath": "/run/panosc"}],
            },
            "something else is mounted at /run/panosc",
        ),
    ],
)
def test_a_pod_with_something_at_a_place_of_ours_is_refused(
    parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(BackendError, match=said):
        finished(kubespawners(**parts))


def test_a_hook_that_took_the_server_away_is_named() -> None:
    with pytest.raises(BackendError, match="no container named notebook"):
        finish({"spec": {"containers": []}}, options=options(), labels={}, secret="s")


# The variables


def test_no_variable_with_a_secret_stays_in_the_pod() -> None:
    key = {"secretKeyRef": {"name": "db", "key": "password"}}
    pod = kubespawners(
        env={
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JPY_API_TOKEN": TOKEN,
            "COPY": "token=$(JPY_API_TOKEN)",
            "PRICE": "5$$",
            "UNKNOWN": "$(NOT_THERE) and $(not closed",
            "EMPTY": "",
            "DB_PASSWORD": {"name": "DB_PASSWORD", "valueFrom": key},
            "DB_URL": "postgres://hub:$(DB_PASSWORD)@db/",
            "DB_URL_TOO": "$(DB_URL)?x",
        }
    )
    taken = take_variables(pod)
    assert taken == {
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JPY_API_TOKEN": TOKEN,
        "COPY": f"token={TOKEN}",
        "PRICE": "5$",
        "UNKNOWN": "$(NOT_THERE) and $(not closed",
        "EMPTY": "",
    }
    assert [each["name"] for each in server(pod)["env"]] == ["DB_PASSWORD", "DB_URL", "DB_URL_TOO"]
    assert TOKEN not in json.dumps(finished(pod))


def test_variables_of_an_entry_script_are_in_both_places() -> None:
    pod = kubespawners(env={"NB_UID": "20001", "GRANT_SUDO": "yes", "NBX": "1", "A": "2"})
    taken = take_variables(pod)
    assert taken.keys() == {"NB_UID", "GRANT_SUDO", "NBX", "A"}
    assert {each["name"] for each in server(pod)["env"]} == {"NB_UID", "GRANT_SUDO"}
    assert not take_variables(kubespawners())


def test_a_variable_that_needs_both_places_is_refused() -> None:
    key = {"secretKeyRef": {"name": "db", "key": "password"}}
    pod = kubespawners(
        env={
            "TOKEN": TOKEN,
            "PASSWORD": {"name": "PASSWORD", "valueFrom": key},
            "Z": "$(TOKEN):$(PASSWORD)",
        }
    )
    with pytest.raises(BackendError) as caught:
        take_variables(pod)
    assert "variable Z refers to" in caught.value.sentence
    assert TOKEN not in caught.value.sentence


def test_a_name_that_may_come_from_elsewhere_is_left_to_the_node() -> None:
    pod = kubespawners(
        env={"A": "1", "B": "$(FROM_MAP)", "C": "$(A)"},
        extra_container_config={"envFrom": [{"configMapRef": {"name": "m"}}]},
    )
    assert take_variables(pod) == {"A": "1", "C": "1"}
    assert [each["name"] for each in server(pod)["env"]] == ["B"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$(B)", "$(B)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A)$(A)", "11"),
    ],
)
def test_references_mean_what_they_mean_to_a_node(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result
    assert references("$$(A) $(B) $(C D)") == {"B", "C D"}


# The Secret


def test_the_secret_belongs_to_the_pod_and_holds_all_that_the_session_needs() -> None:
    made = secret(env={"JUPYTERHUB_API_TOKEN": TOKEN, "TEXT": "ünï\n"}, start=source())
    assert is_known(made, "V1Secret")
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "p", "u-1")
    assert owner["blockOwnerDeletion"] is False
    assert made["metadata"]["labels"] == LABELS
    found = values(made)
    assert json.loads(found["env.json"]) == {"JUPYTERHUB_API_TOKEN": TOKEN, "TEXT": "ünï\n"}
    assert json.loads(found["plan.json"]) == {"v": 1}
    compile(found["start.py"], "start.py", "exec")


def test_a_plan_may_be_given_as_it_is_written() -> None:
    assert values(secret(plan='{"v": 1}'))["plan.json"] == '{"v": 1}'


def test_more_than_kubernetes_takes_is_told_in_a_sentence() -> None:
    small = values(secret(plan=""))
    left = MAX_SECRET - sum(len(text) for text in small.values())
    assert len(values(secret(plan="x" * left))["plan.json"]) == left
    with pytest.raises(BackendError, match=r"is more than Kubernetes takes \(1\.0 MB\)"):
        secret(plan="x" * (left + 1))
    with pytest.raises(BackendError):
        secret(plan="é" * (left // 2 + 1))


def test_a_dry_run_shows_everything_but_the_values() -> None:
    made = secret(env={"JUPYTERHUB_API_TOKEN": TOKEN})
    text = show(finished(), made)
    pod, hidden = YAML(typ="safe").load_all(text)
    assert pod == finished()
    assert hidden["data"].keys() == made["data"].keys()
    assert hidden["data"]["env.json"] == f"({len(values(made)['env.json'])} bytes, not shown)"
    assert TOKEN not in text
    assert made["data"]["env.json"] not in text
    assert "---" not in show(finished())
