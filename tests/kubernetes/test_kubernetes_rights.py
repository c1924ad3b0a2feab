"""What ``config/kubernetes/rbac.yaml`` gives, as a real API server understands it."""

from __future__ import annotations

import pytest

from tests.kubernetes.cluster.access import Kubernetes

YES = [
    ("create", "pods", "", True),
    ("delete", "pods", "", True),
    ("get", "pods", "log", True),
    ("create", "secrets", "", True),
    ("create", "persistentvolumeclaims", "", True),
    ("watch", "events", "", True),
]
NO = [
    ("get", "secrets", "", False),
    ("list", "secrets", "", False),
    ("delete", "secrets", "", False),
    ("create", "pods", "exec", False),
    ("create", "pods", "attach", False),
    ("patch", "pods", "", False),
    ("get", "configmaps", "", False),
    ("create", "rolebindings", "", False),
    ("delete", "persistentvolumeclaims", "", False),
    ("create", "serviceaccounts", "token", False),
]


def allowed(
    kubernetes: Kubernetes, hub: str, namespace: str, verb: str, resource: str, part: str
) -> bool:
    group = "rbac.authorization.k8s.io" if resource == "rolebindings" else ""
    asked = {"namespace": namespace, "verb": verb, "resource": resource, "subresource": part}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{hub}:panosc-hub",
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": asked | {"group": group},
        },
    }
    return bool(kubernetes.create(review, "")["status"]["allowed"])


@pytest.mark.parametrize(("verb", "resource", "part", "answer"), [*YES, *NO])
def test_the_hub_may_do_this_in_its_namespace_and_no_more(
    verb: str, resource: str, part: str, answer: bool, kubernetes: Kubernetes, namespace: str
) -> None:
    kubernetes.hub_kubeconfig(namespace)
    assert allowed(kubernetes, namespace, namespace, verb, resource, part) is answer


def test_the_hub_only_looks_beyond_its_namespace(kubernetes: Kubernetes, namespace: str) -> None:
    kubernetes.hub_kubeconfig(namespace)
    for verb, resource in (("list", "nodes"), ("watch", "nodes"), ("list", "pods")):
        assert allowed(kubernetes, namespace, "", verb, resource, "")
    for verb, resource in (("create", "pods"), ("delete", "pods"), ("create", "secrets")):
        assert not allowed(kubernetes, namespace, "kube-system", verb, resource, "")
    assert not allowed(kubernetes, namespace, "", "patch", "nodes", "")


def test_without_the_second_part_the_hub_does_not_see_nodes(
    kubernetes: Kubernetes, namespace: str
) -> None:
    kubernetes.hub_kubeconfig(namespace, cluster_wide=False)
    assert not allowed(kubernetes, namespace, "", "list", "nodes", "")
    assert allowed(kubernetes, namespace, namespace, "list", "pods", "")
