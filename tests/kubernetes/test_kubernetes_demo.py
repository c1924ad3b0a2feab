"""The example facility with sessions in pods: what ``make demo-kubernetes`` shows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from examples.check import check
from examples.demo import Demo, free_port
from tests.kubernetes.cluster.cluster import Cluster


@pytest.mark.demo
@pytest.mark.skipif(shutil.which("npm") is None, reason="proxy and provider need Node.js and npm")
async def test_from_login_to_the_plot_in_a_pod(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log in, choose proposal and template, get a pod, run the notebook, find its plot."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.hub_kubeconfig(namespace)))
    monkeypatch.setenv("PANOSC_KUBERNETES_NAMESPACE", namespace)
    # Not pytest's own directory: the pod's account must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="panosc-demo-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        demo = Demo(Path(name), free_port(), slurm=False, kubernetes=cluster.address)
        try:
            demo.prepare()
            demo.start()
            held = await check(demo, ["kubernetes"])
        finally:
            demo.stop()
        log = (Path(name) / "log" / "hub.log").read_text(errors="replace")
        assert held, log[-4000:]
    cluster.until(lambda seen: not seen["items"], "pods", "-n", namespace)
    claims = cluster.get("pvc", "-n", namespace)["items"]
    assert [each["status"]["phase"] for each in claims] == ["Bound"], "the home stays"
