"""A stateful Kubernetes API server for what a real one cannot be made to show.

It keeps pods, Secrets, nodes, events … with resource versions, answers lists in pages and watches
with bookmarks, brings pods to life at a tempo that a test sets, and fails in the ways that real
ones do: ``server.fail(...)`` for requests, ``server.watches.strike(...)`` for those under way,
``stop``/``start`` for an API that is away. It counts requests by verb and path.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.fake_kubernetes_faults import Call, Fault, forbidden
from tests.fake_kubernetes_life import Cluster, Life
from tests.fake_kubernetes_store import (
    KINDS,
    WITHOUT_NAMESPACE,
    Object,
    Refused,
    Scope,
    Store,
    expired,
)
from tests.fake_kubernetes_watches import Watches

_PATH = re.compile(
    r"/api/v1(?:/namespaces/(?P<ns>[^/]+))?/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[a-z]+))?"
)


@dataclass
class Quota:
    """Of one namespace; only the count of pods."""

    name: str
    pods: int


class Server:
    """The fake; ``url`` once it is started."""

    def __init__(self, life: Life | None = None) -> None:
        self.store = Store()
        self.cluster = Cluster(self.store, life or Life())
        self.counts: Counter[tuple[str, str]] = Counter()
        self.faults: list[Fault] = []
        self.watches = Watches(self.store)
        self.quotas: dict[str, Quota] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.tokens: set[str] | None = None
        """If set, only these are let in."""
        self.port = 0
        self._pages: dict[str, tuple[int, list[Object]]] = {}
        self._runner: web.AppRunner | None = None

    # Set-up.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def total(self) -> int:
        return self.counts.total()

    async def start(self) -> None:
        self.watches.released.clear()
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_get("/fake/counts", self._told_counts)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """The API is away, connections and all; what it keeps stays."""
        self.watches.released.set()
        runner, self._runner = self._runner, None
        if runner is not None:
            for connection in list(runner.server.connections if runner.server else []):
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def close(self) -> None:
        self.cluster.close()
        await self.stop()

    def kubeconfig(self, path: Path, *, token: str = "", token_file: Path | None = None) -> Path:
        user = {"token": token} if token else {}
        user = {"tokenFile": str(token_file)} if token_file else user
        context = {"cluster": "fake", "user": "fake", "namespace": "default"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": user}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
        path.write_text(yaml.safe_dump(config))
        return path

    # What tests do to it.

    def fail(self, how: int | str, verb: str = "", kind: str = "", **more: Any) -> Fault:
        """From now on such requests fail: with a status, or

        ``hang`` (never answered), ``drop`` (hung up), ``garbage`` (no JSON), ``truncate`` (the
        answer breaks off), ``empty`` (status 200 and nothing), ``odd`` (JSON of no known form).
        """
        fault = Fault(how, verb, kind, **more)
        self.faults.append(fault)
        return fault

    def forbid(self, verb: str, kind: str, scope: str = "") -> Fault:
        """The Hub's account may not do this; ``scope`` is ``cluster`` or ``namespace``."""
        return self.fail(403, verb, kind, scope=scope, message="")

    def pod(self, name: str, namespace: str = "hub") -> Object:
        return self.store.get("pods", namespace, name)

    def count(self, verb: str = "", part: str = "") -> int:
        """Requests so far with that verb, and ``part`` in their path."""
        return sum(n for (v, path), n in self.counts.items() if verb in ("", v) and part in path)

    # Requests.

    async def _told_counts(self, _: web.Request) -> web.Response:
        told = {f"{verb} {path}": n for (verb, path), n in sorted(self.counts.items())}
        return web.json_response(told)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = self._call(request)
        path = request.path
        self.counts[call.verb if call else request.method.lower(), path] += 1
        try:
            self._let_in(request)
            if call is None:
                raise Refused(404, "NotFound", "the server could not find the requested resource")
            if (fault := next((f for f in self.faults if f.meets(call)), None)) is not None:
                return await self._suffer(fault, call, request)
            return await self._answer(call, request)
        except Refused as error:
            return web.json_response(error.body(), status=error.code)

    def _call(self, request: web.Request) -> Call | None:
        found = _PATH.fullmatch(request.path)
        if found is None or found["kind"] not in KINDS:
            return None
        kind, name = found["kind"], found["name"] or ""
        if request.method == "GET":
            watch = request.query.get("watch") in ("1", "true", "True")
            verb = "get" if name else "watch" if watch else "list"
        else:
            verb = {"POST": "create", "PUT": "update"}.get(request.method, request.method.lower())
        namespace = "" if kind in WITHOUT_NAMESPACE else found["ns"] or ""
        return Call(verb, kind, namespace, name, found["part"] or "")

    def _let_in(self, request: web.Request) -> None:
        if self.tokens is None:
            return
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refused(401, "Unauthorized", "Unauthorized")

    async def _suffer(self, fault: Fault, call: Call, request: web.Request) -> web.StreamResponse:
        match fault.how:
            case 403 if not fault.message:
                raise forbidden(call)
            case int(code):
                words = {429: "TooManyRequests", 503: "ServiceUnavailable", 410: "Expired"}
                error = Refused(code, words.get(code, "InternalError"), fault.message)
                after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                return web.json_response(error.body(), status=code, headers=after)
            case "hang":
                await self.watches.released.wait()
            case "garbage":
                return web.Response(body=b"<html>Bad gateway</html>", content_type="text/html")
            case "empty":
                return web.Response(body=b"")
            case "odd":
                return web.json_response({"hello": ["world"]})
            case "truncate":
                whole = await self._answer(call, request)
                assert isinstance(whole, web.Response)
                assert isinstance(whole.body, bytes)
                return web.Response(body=whole.body[: len(whole.body) // 2])
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _answer(self, call: Call, request: web.Request) -> web.StreamResponse:
        match call.verb:
            case "watch":
                return await self.watches.serve(call, self._scope(call, request), request)
            case "list":
                return web.json_response(self._list(call, request))
            case "get" if call.part == "log":
                self.store.get("pods", call.namespace, call.name)
                lines = self.logs.get((call.namespace, call.name), "").splitlines(keepends=True)
                return web.Response(
                    text="".join(lines[-int(request.query.get("tailLines", 1000)) :])
                )
            case "get":
                return web.json_response(self.store.get(call.kind, call.namespace, call.name))
        text = await request.read()
        body = json.loads(text) if text else {}
        match call.verb:
            case "create":
                return web.json_response(self._create(call, body), status=201)
            case "update" | "patch":
                kept = self.store.update(call.kind, call.namespace, call.name, body)
                return web.json_response(kept)
            case "delete" if call.name:
                return web.json_response(self._delete(call, body, request))
        raise Refused(405, "MethodNotAllowed", "the server does not allow this method")

    def _create(self, call: Call, body: Object) -> Object:
        quota = self.quotas.get(call.namespace)
        if call.kind == "pods" and quota is not None:
            used = len(self.store.items(Scope("pods", call.namespace)))
            if used >= quota.pods:
                name = body.get("metadata", {}).get("name", "")
                text = (
                    f'pods "{name}" is forbidden: exceeded quota: {quota.name}, requested: pods=1, '
                    f"used: pods={used}, limited: pods={quota.pods}"
                )
                raise Refused(403, "Forbidden", text, name=name, kind="pods")
        made = self.store.create(call.kind, call.namespace, body)
        if call.kind == "pods":
            self.cluster.born(made)
            return self.store.get("pods", call.namespace, made["metadata"]["name"])
        return made

    def _delete(self, call: Call, body: Object, request: web.Request) -> Object:
        options = dict(body)
        if "gracePeriodSeconds" in request.query:
            options["gracePeriodSeconds"] = int(request.query["gracePeriodSeconds"])
        obj, gone = self.store.doom(call.kind, call.namespace, call.name, options)
        if call.kind == "pods" and not gone:
            self.cluster.doomed(obj)
        return obj

    def _scope(self, call: Call, request: web.Request) -> Scope:
        query = request.query
        return Scope(
            call.kind,
            call.namespace,
            query.get("labelSelector", ""),
            query.get("fieldSelector", ""),
        )

    def _list(self, call: Call, request: web.Request) -> Object:
        limit = int(request.query.get("limit", 0) or 0)
        token = request.query.get("continue", "")
        if token and token not in self._pages:
            raise expired("The provided continue parameter is too old to display a consistent list")
        version, items = self._pages.pop(token, (0, [])) if token else (0, [])
        if not token:
            version, items = self.store.version, self.store.items(self._scope(call, request))
        meta: Object = {"resourceVersion": str(version)}
        if limit and len(items) > limit:
            items, rest = items[:limit], items[limit:]
            meta["continue"] = f"page-{version}-{len(rest)}-{self.total}"
            meta["remainingItemCount"] = len(rest)
            self._pages[meta["continue"]] = (version, rest)
        kind = f"{KINDS[call.kind]}List"
        return {"kind": kind, "apiVersion": "v1", "metadata": meta, "items": items}

    def forget_history(self) -> None:
        """Every version until now is too old: for watches, and for lists half read."""
        self.store.forget_history()
        self._pages.clear()
