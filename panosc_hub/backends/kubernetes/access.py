"""Where a cluster's API is and what opens it: a kubeconfig, or what a pod in the cluster has.

Each client has its own ``Configuration``; the library's global one is never touched, for then
one process could use one cluster only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes_asyncio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
)

from ...errors import BackendUnavailable

SERVICE_TOKEN = Path(SERVICE_TOKEN_FILENAME)
"""The token that a pod has; renewed by the kubelet, hence read again each minute."""

SERVICE_CA = Path(SERVICE_CERT_FILENAME)

_LOADING = 30.0
"""Seconds for a credential plug-in of a kubeconfig, which is a program of the site's."""


class NoAccess(BackendUnavailable):
    """The Hub's own access cannot be read; ``detail`` is for the log."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "The Hub has no access to the Kubernetes cluster; tell the facility's support."
        )
        self.detail = detail


def in_cluster() -> bool:
    """Whether this process runs in a pod that may use its cluster's API."""
    return bool(os.environ.get(SERVICE_HOST_ENV_NAME)) and SERVICE_TOKEN.is_file()


def kubeconfig_path(path: str) -> str:
    """The file (or list of files) that is read where nothing else is set."""
    found = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return os.pathsep.join(os.path.expanduser(each) for each in found.split(os.pathsep))


def present(path: str, context: str, host: str) -> bool:
    """Whether there is anything to reach a cluster with."""
    files = kubeconfig_path(path).split(os.pathsep)
    return bool(host) or in_cluster() or any(os.path.isfile(each) for each in files if each)


async def load(path: str, context: str, host: str = "") -> Configuration:
    """Address and credentials, read anew. Raises :class:`NoAccess`."""
    configuration = Configuration()
    try:
        async with asyncio.timeout(_LOADING):
            if not path and not context and in_cluster():
                load_incluster_config(
                    configuration, token_filename=str(SERVICE_TOKEN), cert_filename=str(SERVICE_CA)
                )
            elif path or not host or present(path, context, ""):
                await load_kube_config(
                    kubeconfig_path(path),
                    context=context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
    except TimeoutError:
        raise NoAccess(f"the kubeconfig's plug-in took more than {_LOADING:g} s") from None
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise NoAccess(f"{type(error).__name__}: {error}") from None
    except Exception as error:  # a plug-in's or the YAML reader's own; never the end of a watch
        raise NoAccess(f"{type(error).__name__}: {error}") from error
    _without_newlines(configuration)
    return configuration


def _without_newlines(configuration: Configuration) -> None:
    """A token file ends with a newline as a rule, and no header may hold one."""
    hook: Any = configuration.refresh_api_key_hook

    def strip() -> None:
        keys: dict[str, str] = configuration.api_key
        for name in keys:
            keys[name] = keys[name].strip()

    def refreshed(given: Configuration) -> None:
        hook(given)
        strip()

    strip()
    if hook is not None:
        configuration.refresh_api_key_hook = refreshed


def fingerprint(configuration: Configuration) -> str:
    """Changes when the connection itself must be made anew: address, CA or certificate."""
    parts = hashlib.sha256()
    for name in ("host", "verify_ssl", "tls_server_name", "proxy"):
        parts.update(f"{getattr(configuration, name, None)!r};".encode())
    for name in ("ssl_ca_cert", "cert_file", "key_file"):
        file = getattr(configuration, name, None)
        try:
            parts.update(Path(file).read_bytes() if file else b"-")
        except OSError:
            parts.update(b"unreadable")
    return parts.hexdigest()
