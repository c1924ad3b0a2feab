"""One Kubernetes for all tests of this folder: the one of ``$KUBECONFIG``, else our own.

``make test-kubernetes`` builds the programs first; the start of the cluster is no test's time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.harness import HubProcess
from tests.kubernetes.cluster.access import Failed, Kubernetes
from tests.kubernetes.cluster.cluster import CannotRun, Cluster, why_not
from tests.kubernetes.hubs import make_hub

Make = Callable[..., HubProcess]

GIVEN = "the cluster of $KUBECONFIG is not ours to harm"


@pytest.fixture(scope="session")
def _kubernetes() -> Iterator[Kubernetes | str]:
    """The cluster, or why there is none."""
    if folder := os.environ.get("PANOSC_KUBERNETES_DIR"):
        yield Cluster.attach(folder)
    elif given := os.environ.get("KUBECONFIG"):
        cluster = Kubernetes(given)
        try:
            cluster.kubectl("get", "namespaces")
        except Failed as error:
            pytest.fail(f"The cluster of $KUBECONFIG does not answer: {error}")
        yield cluster
    elif reason := why_not():
        yield reason
    else:
        own = Cluster()
        try:
            own.start()
        except CannotRun as error:
            pytest.fail(f"The test cluster did not start: {error}")
        print(f"\nKubernetes: {own.summary()}")
        try:
            yield own
        finally:
            own.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test pays for the start of the cluster; its own time starts afterwards."""
    for item in items:
        if "_kubernetes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kubernetes)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def kubernetes(_kubernetes: Kubernetes | str) -> Kubernetes:
    """A cluster's API; enough for most tests."""
    if isinstance(_kubernetes, str):
        pytest.skip(f"no real Kubernetes: {_kubernetes}")
    return _kubernetes


@pytest.fixture(scope="session")
def cluster(kubernetes: Kubernetes) -> Cluster:
    """Our own cluster, with its API server, kubelet and node to fault."""
    if not isinstance(kubernetes, Cluster):
        pytest.skip(GIVEN)
    return kubernetes


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    """A namespace of the test's own."""
    with kubernetes.namespace() as name:
        yield name


@pytest.fixture
def make(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Make]:
    hubs: list[HubProcess] = []

    def build(extra: str = "", **kwargs: str) -> HubProcess:
        hubs.append(make_hub(tmp_path, cluster, namespace, extra, **kwargs))
        return hubs[-1]

    yield build
    for hub in hubs:
        hub.stop()
