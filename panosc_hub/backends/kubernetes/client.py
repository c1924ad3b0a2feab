"""One Kubernetes cluster's API: what is asked, with which credentials and for how long."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration, CoreV1Api
from traitlets import Bool, Float, Unicode, default
from traitlets.config import LoggingConfigurable

from ...errors import BackendError, BackendUnavailable
from . import access, words

_JSON = "application/json"
_LONGEST_LINE = 64 * 2**20
"""Bytes; an object has at most about 1.5 MB, so more than this is not the API."""

_TRANSIENT = frozenset({401, 408, 429})
"""Refusals that say nothing about what was asked for: they pass without any change of it."""


class ApiRefused(BackendError):
    """The API refused what was asked (4xx). ``why`` is its word, such as ``AlreadyExists``."""

    def __init__(self, status: int, why: str, message: str, details: Mapping[str, Any]) -> None:
        sentence, reason = words.refused(status, why, message)
        super().__init__(sentence, reason=reason)
        self.status = status
        self.why = why
        self.message = message
        """The API's own text; for the log."""
        self.details = details


class ApiAway(BackendUnavailable):
    """No answer, or one that says nothing: it may or may not have done what was asked."""

    def __init__(self, detail: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(words.away(status))
        self.detail = detail
        """The whole of it; for the log."""
        self.status = status
        self.retry_after = retry_after


def where(kind: str, namespace: str = "", name: str = "", part: str = "") -> str:
    """The path of a kind of the core API, such as ``pods``; quoted."""
    words_ = ["/api/v1"]
    words_ += ["namespaces", quote(namespace, safe="")] if namespace else []
    words_ += [kind, *(quote(each, safe="") for each in (name, part) if each)]
    return "/".join(words_)


class KubernetesClient(LoggingConfigurable):
    """The API of one cluster; the only part of the backend that speaks to it."""

    kubeconfig = Unicode(
        "",
        config=True,
        help="""
        Path of a kubeconfig. Empty (the default): the account of the pod that the Hub runs in,
        or else $KUBECONFIG or ~/.kube/config. Example::

            c.KubernetesClient.kubeconfig = "/etc/jupyterhub/kubeconfig"

        Its ``tokenFile`` or credential plug-in is asked again when the API refuses a token.
        """,
    )
    context = Unicode(
        "",
        config=True,
        help="Context of the kubeconfig; empty: its current one. With it no pod's account is used.",
    )
    api_host = Unicode(
        config=True,
        help="""
        Address of the API where it is not the one of kubeconfig or pod, such as
        ``"https://10.0.0.1:6443"``. Defaults to ``c.KubeSpawner.k8s_api_host``.
        """,
    )
    ssl_ca_cert = Unicode(
        config=True,
        help="""
        Path of the certificate authority of the API's certificate. Defaults to
        ``c.KubeSpawner.k8s_api_ssl_ca_cert``; empty: as the kubeconfig says.
        """,
    )
    verify_ssl = Bool(
        None,
        allow_none=True,
        config=True,
        help="""
        Whether the API's certificate is checked. Defaults to
        ``c.KubeSpawner.k8s_api_verify_ssl``; None: as the kubeconfig says, so yes as a rule.
        """,
    )
    request_timeout = Float(
        30,
        min=0.1,
        config=True,
        help="""
        Seconds that one request may take. Long, for admission web hooks of a cluster may take
        30 s by themselves; nobody waits for it but starts and stops.
        """,
    )
    log_interval = Float(
        60,
        min=0,
        config=True,
        help="Seconds between two warnings with the same text: all who ask notice an outage.",
    )

    @default("api_host")
    def _kubespawner_host(self) -> str:
        return str(self._of_kubespawner("k8s_api_host") or "")

    @default("ssl_ca_cert")
    def _kubespawner_ca(self) -> str:
        return str(self._of_kubespawner("k8s_api_ssl_ca_cert") or "")

    @default("verify_ssl")
    def _kubespawner_verify(self) -> bool | None:
        found = self._of_kubespawner("k8s_api_verify_ssl")
        return found if isinstance(found, bool) else None

    def _of_kubespawner(self, name: str) -> Any:
        section = self.config.get("KubeSpawner", {})
        return section.get(name)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.requests = 0
        """Requests sent so far, watches among them."""
        self.failures = 0
        """How many of them the API did not answer."""
        self._api: ApiClient | None = None
        self._core: CoreV1Api | None = None
        self._mark = ""
        self._generation = 0
        self._loading = asyncio.Lock()
        self._complained: dict[str, float] = {}

    def complain(self, log: Any, text: str) -> None:
        """A warning; the same at most once in ``log_interval`` from all who ask this cluster."""
        now = time.monotonic()
        if now - self._complained.get(text, -1e9) < self.log_interval:
            return
        if len(self._complained) > 100:
            self._complained.clear()
        self._complained[text] = now
        log.warning("%s", text)

    def present(self) -> bool:
        """Whether there is anything to reach a cluster with; asks nobody."""
        return access.present(self.kubeconfig, self.context, self.api_host)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (aiohttp's own, of this request)
    ) -> dict[str, Any]:
        """The answer's JSON object. Raises :class:`ApiRefused` or :class:`ApiAway`.

        ``timeout`` in seconds stands for ``request_timeout``.
        """
        limit = aiohttp.ClientTimeout(total=timeout or self.request_timeout)
        async with self._asked(method, path, query, body, content_type, limit) as response:
            text = await response.read()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.failures += 1
            raise ApiAway(f"{method} {path}: the answer is not a JSON object: {text[:200]!r}")
        return answer

    async def text(self, path: str, query: Mapping[str, Any] | None = None) -> str:
        """An answer that is no JSON: a container's log."""
        limit = aiohttp.ClientTimeout(total=self.request_timeout)
        async with self._asked("GET", path, query, None, None, limit) as response:
            return (await response.read()).decode(errors="replace")

    async def stream(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        silence: float | None = None,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[dict[str, Any]]:
        """The JSON objects of a watch, line by line, until the API ends it.

        ``opened`` is called when the API has taken the request.

        Raises :class:`ApiAway` when it breaks off, says nothing for ``silence`` seconds or
        sends what is no JSON object.
        """
        limit = aiohttp.ClientTimeout(
            total=None, sock_connect=self.request_timeout, sock_read=silence
        )
        async with self._asked("GET", path, query, None, None, limit) as response:
            opened()
            rest = bytearray()
            async for chunk in response.content.iter_any():
                searched = len(rest)
                rest += chunk
                while (end := rest.find(b"\n", searched)) >= 0:
                    line = bytes(rest[:end])
                    del rest[: end + 1]
                    searched = 0
                    if line.strip():
                        yield self._line(path, line)
                if len(rest) > _LONGEST_LINE:
                    raise ApiAway(f"GET {path}: a line of more than {_LONGEST_LINE} bytes")
            if rest.strip():
                yield self._line(path, bytes(rest))

    def _line(self, path: str, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.failures += 1
            raise ApiAway(f"GET {path}: a line is no JSON object: {line[:200]!r}")
        return value

    async def core(self) -> CoreV1Api:
        """The library's own interface to this cluster; for what KubeSpawner does by itself."""
        api = await self._connected()
        if self._core is None:
            self._core = CoreV1Api(api)
        return self._core

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        api, self._api = self._api, None
        self._mark, self._core = "", None
        if api is not None:
            await api.close()

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        content_type: str | None,
        limit: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response with a status of success; all else, until its end, as our exceptions."""
        parameters = [
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, value in (query or {}).items()
            if value is not None and value != ""
        ]
        sent = (method, path, parameters, body, content_type or _JSON, limit)
        try:
            api = await self._connected()
            generation = self._generation
            response = await self._send(api, *sent)
            if response.status == 401:  # credentials rotate: read them once again
                response.release()
                api = await self._connected(older_than=generation + 1)
                response = await self._send(api, *sent)
            async with response:
                if not 200 <= response.status < 300:
                    raise await _failure(response, f"{method} {path}")
                yield response
        except ApiAway as error:
            self.failures += 1
            self.log.debug("%s", error.detail)
            raise
        except access.NoAccess as error:
            self.failures += 1
            raise ApiAway(error.detail, status=401) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # ValueError: an address that cannot be one, a header of odd characters.
            self.failures += 1
            what = str(error) or "no answer in time"
            raise ApiAway(f"{method} {path}: {type(error).__name__}: {what}") from None

    async def _send(
        self,
        api: ApiClient,
        method: str,
        path: str,
        parameters: list[tuple[str, str]],
        body: Mapping[str, Any] | None,
        content_type: str,
        limit: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        await api.update_params_for_auth(headers, parameters, ["BearerToken"])
        self.requests += 1
        return await api.rest_client.request(
            method,
            f"{api.configuration.host}{path}",
            query_params=parameters,  # type: ignore[arg-type]  # urlencode takes pairs too
            headers=headers,
            body=body,
            _preload_content=False,
            _request_timeout=limit,
        )

    async def _connected(self, older_than: int = 0) -> ApiClient:
        """The connection; credentials are read again if they were read before ``older_than``."""
        if self._api is not None and self._generation >= older_than:
            return self._api
        async with self._loading:
            if self._api is None or self._generation < older_than:
                await self._load()
            assert self._api is not None
            return self._api

    async def _load(self) -> None:
        configuration: Configuration = await access.load(
            self.kubeconfig, self.context, self.api_host
        )
        if self.api_host:
            configuration.host = self.api_host.rstrip("/")
        if self.ssl_ca_cert:
            configuration.ssl_ca_cert = self.ssl_ca_cert
        if self.verify_ssl is not None:
            configuration.verify_ssl = self.verify_ssl
        mark = access.fingerprint(configuration)
        self._generation += 1
        if self._api is not None and mark == self._mark:
            self._api.configuration = configuration
            return
        old, self._api, self._mark = self._api, ApiClient(configuration), mark
        if self._core is not None:
            self._core.api_client = self._api  # type: ignore[attr-defined]
        if old is not None:  # its certificate is refused, so nothing is under way there
            await old.close()


async def _failure(response: aiohttp.ClientResponse, what: str) -> ApiRefused | ApiAway:
    """What a status of failure means."""
    text = await response.content.read(2**20)
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {"message": text.decode(errors="replace")[:1000]}
    return failure(response.status, told, what, response.headers.get("Retry-After", ""))


def failure(
    code: int, told: Mapping[str, Any], what: str, retry_after: str = ""
) -> ApiRefused | ApiAway:
    """A ``Status`` object of the API as an exception."""
    details = told.get("details") if isinstance(told.get("details"), dict) else {}
    assert isinstance(details, dict)
    why, message = str(told.get("reason") or ""), str(told.get("message") or "")
    if 400 <= code < 500 and code not in _TRANSIENT:
        return ApiRefused(code, why, message, details)
    pause = retry_after if re.fullmatch(r"[0-9]{1,6}", retry_after) else None
    pause = pause or details.get("retryAfterSeconds")
    return ApiAway(
        f"{what}: {code} {why}: {message}",
        status=code,
        retry_after=float(pause) if pause else None,
    )
