"""The base of the fake servers: a real HTTP server on loopback, in a thread of this process.

`with SomeFake() as fake:` listens on a free port at `fake.url`. Everything public may be called from any
thread. Stopping breaks every open connection at once, hanging requests included, and joins the thread. A
stopped server keeps its port and its records and can be started again, which is how an outage is played.

Another process scripts and reads a fake over `/_control/` (never subject to faults):

- `GET  /_control/health`
- `GET  /_control/<records>[?wait=N&timeout=S&since=I&<field>=<value>]`: recorded items, waiting for N of
  them; 504 with the items so far when they did not come
- `POST /_control/<action>` with a JSON object of keyword arguments: a helper method of the fake
- `GET | POST | DELETE /_control/faults`: the fault plan; the POST body is `FaultPlan.add_json`'s
- `POST /_control/reset`: forget the records and the faults
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import signal
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from tests.support.faults import Fault, FaultPlan

T = TypeVar("T")
JSON = dict[str, Any]
_STOP_TIMEOUT = 10.0
_REQUEST_TIMEOUT = 2.0


@dataclasses.dataclass(slots=True)
class Call:
    """A request as it came in. `status` is None while it is open and 0 when no answer was given."""

    method: str
    chat: str | None
    params: JSON
    at: float
    fault: str | None = None
    status: int | None = None

    @property
    def intact(self) -> bool:
        """Whether no fault keeps the answer from the client."""
        return self.fault in (None, "slow")


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A file of a multipart request."""

    filename: str
    content_type: str
    content: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Posted:
    """What a POST to the system under test came to; `status` is None when there was no answer."""

    status: int | None
    retry_after: str | None = None
    error: str | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class ControlError(Exception):
    """A control action that cannot be done as asked; answered with 400 and this text."""


class FakeServer:
    """Start, stop, fault injection, records and the control API. Subclasses add routes."""

    name: ClassVar[str] = "fake"

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        self.port = port
        self.latency = latency
        self.faults = FaultPlan()
        self.calls: list[Call] = []
        self.lock = threading.RLock()
        self._condition = threading.Condition(self.lock)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: aiohttp.ClientSession | None = None

    # What subclasses provide

    def routes(self) -> list[BaseRoute]:
        """The vendor's routes."""
        return []

    def records(self) -> dict[str, Sequence[Any]]:
        """What `GET /_control/<name>` shows."""
        return {"calls": self.calls}

    def actions(self) -> dict[str, Callable[..., Any]]:
        """What `POST /_control/<name>` may call."""
        return {}

    def clear(self) -> None:
        """Forget what was recorded; called with the lock held."""
        self.calls.clear()

    def error_body(self, fault: Fault) -> JSON:
        """A scripted error in the vendor's own form."""
        return {"error": fault.description or f"error {fault.status}"}

    def broken_response(self, fault: Fault) -> Response:
        """A 200 whose body is of no use."""
        if fault.shape == "html":
            return Response("<html><body>Welcome</body></html>", media_type="text/html")
        if fault.shape == "empty":
            return Response(b"", media_type="application/json")
        return Response(b'{"ok": true, "resul', media_type="application/json")

    def on_start(self) -> None:
        """Called in the server's loop before the first request."""

    # Life

    @property
    def url(self) -> str:
        """The base address, without a slash at the end; known once started."""
        if not self.port:
            raise RuntimeError(f"{self.name} has no address before it is started")
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Listen and return when requests are answered; OSError if the port is taken."""
        if self._thread is not None:
            raise RuntimeError(f"{self.name} is running already")
        # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(512)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._failure = None
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name=self.name, daemon=True)
        self._thread.start()
        ready.wait(_STOP_TIMEOUT)
        if self._failure is not None or not ready.is_set():
            self.stop()
            raise RuntimeError(f"{self.name} did not start") from self._failure
        return self

    def stop(self) -> None:
        """Break every connection and end the thread; harmless when stopped already."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.soon(self._close)
        thread.join(_STOP_TIMEOUT)
        if thread.is_alive():
            raise RuntimeError(f"{self.name} did not stop within {_STOP_TIMEOUT} s")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget the records and the faults; the vendor's state (webhooks, chats, leads) stays."""
        self.faults.clear()
        with self.lock:
            self.faults.fired.clear()
            self.clear()
        self.changed()

    # Waiting and waking

    def changed(self) -> None:
        """Wake everybody who waits for something to be recorded."""
        with self._condition:
            self._condition.notify_all()
        self.soon(self._wake)

    def wait_for(self, found: Callable[[], T], timeout: float, what: str) -> T:
        """The first true value of `found()`, looked at whenever something changes; TimeoutError otherwise."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while not (value := found()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{self.name}: no {what} within {timeout:g} s")
                self._condition.wait(left)
            return value

    def wait_items(self, items: Callable[[], list[T]], n: int, timeout: float, what: str) -> list[T]:
        """`items()` once it holds at least `n`; a TimeoutError names those that came."""
        try:
            self.wait_for(lambda: len(items()) >= n, timeout, what)
        except TimeoutError:
            with self.lock:
                came = items()
            text = f"{self.name}: {len(came)} of {n} {what} within {timeout:g} s: {came[-5:]}"
            raise TimeoutError(text) from None
        with self.lock:
            return items()

    async def until(self, found: Callable[[], object], timeout: float) -> None:
        """In the loop: return when `found()` is true, the time is over or the server stops."""
        deadline = time.monotonic() + timeout
        while not found() and not self._closing.is_set():
            pulse, left = self._pulse, deadline - time.monotonic()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(pulse.wait(), left)
            except TimeoutError:
                return

    async def pause(self, seconds: float) -> None:
        """In the loop: sleep, cut short when the server stops."""
        if seconds <= 0:
            return
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return

    @property
    def closing(self) -> bool:
        """Whether the server is about to stop; to be asked in the loop."""
        return self._closing.is_set()

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Run `function` in the server's loop; nothing happens when it is stopped."""
        loop = self._loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(function, *args)
            except RuntimeError:  # the loop closed between the two lines
                return

    def spawn(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the server's loop, cancelled when the server stops."""

        def begin() -> None:
            task = asyncio.ensure_future(function())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self.soon(begin)

    async def post_json(self, url: str, body: JSON, headers: Mapping[str, str], timeout: float) -> Posted:
        """In the loop: POST to the system under test; what went wrong is told in the result, not raised."""
        if self._client is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=False)
            self._client = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._client.post(url, json=body, headers=headers, timeout=limit) as response:
                await response.read()
                return Posted(response.status, response.headers.get("Retry-After"))
        except (aiohttp.ClientError, TimeoutError) as error:
            return Posted(None, error=f"{type(error).__name__}: {error}")

    # Requests

    async def perform(
        self,
        method: str,
        params: JSON,
        action: Callable[[Call], Awaitable[Response]],
        *,
        chat: object = None,
    ) -> Response:
        """Record the call, run `action` under the fault scripted for it and return what is to be answered."""
        fault = self.faults.take(method, chat)
        call = Call(method, None if chat is None else str(chat), params, time.time())
        call.fault = fault.kind if fault else None
        with self.lock:
            self.calls.append(call)
        self.changed()
        await self.pause(self.latency)
        response = await self._under_fault(fault, call, action)
        call.status = 0 if isinstance(response, _Reset | _Cut) else response.status_code
        self.changed()
        return response

    async def _under_fault(
        self, fault: Fault | None, call: Call, action: Callable[[Call], Awaitable[Response]]
    ) -> Response:
        if fault is None:
            return await action(call)
        if fault.kind == "slow":
            await self.pause(fault.seconds)
            return await action(call)
        done = await action(call) if fault.after else Response()
        if fault.kind == "status":
            return self._status_response(fault)
        if fault.kind == "broken":
            return self.broken_response(fault)
        if fault.kind == "cut":
            return _Cut(self, done, fault.chunks, properly=fault.shape == "end")
        if fault.kind == "hang":
            await self.pause(fault.seconds)
        return _Reset(self)

    def _status_response(self, fault: Fault) -> Response:
        headers = dict(fault.headers)
        if fault.retry_after is not None:
            headers.setdefault("Retry-After", f"{fault.retry_after:g}")
        if isinstance(fault.body, str):
            media = "text/html" if fault.body.lstrip().startswith("<") else "text/plain"
            return Response(fault.body, fault.status, headers, media)
        body = self.error_body(fault) if fault.body is None else fault.body
        return JSONResponse(body, fault.status, headers)

    def transport(self, scope: Scope) -> asyncio.Transport | None:
        """The connection a request came over, None if it is gone."""
        for connection in self._server.server_state.connections if self._server else ():
            transport: asyncio.Transport = connection.transport
            if tuple(transport.get_extra_info("peername") or ()) == tuple(scope["client"]):
                return transport
        return None

    # The thread

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main(listener, ready))
        except BaseException as error:  # handed to the thread that starts the server
            self._failure = error
        finally:
            listener.close()
            ready.set()

    async def _main(self, listener: socket.socket, ready: threading.Event) -> None:
        self._pulse, self._closing = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        config = uvicorn.Config(
            Starlette(routes=[*self._control_routes(), *self.routes()]),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            date_header=False,
            server_header=False,
            timeout_keep_alive=75,
        )
        self._server = _Server(config, ready, self._closing)
        try:
            self.on_start()
            await self._server.serve(sockets=[listener])
        finally:
            self._loop = None
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._client is not None:
                await self._client.close()
                self._client = None

    def _close(self) -> None:
        for connection in list(self._server.server_state.connections) if self._server else []:
            connection.transport.abort()  # first, or those who wait would still be answered
        self._closing.set()
        self._wake()

    def _wake(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()

    # Control

    def _control_routes(self) -> list[BaseRoute]:
        return [
            Route("/_control/health", self._control_health),
            Route("/_control/reset", self._control_reset, methods=["POST"]),
            Route("/_control/faults", self._control_faults, methods=["GET", "POST", "DELETE"]),
            Route("/_control/{name}", self._control_records, methods=["GET"]),
            Route("/_control/{name}", self._control_action, methods=["POST"]),
        ]

    async def _control_health(self, _: Request) -> Response:
        return JSONResponse({"ok": True, "name": self.name, "url": self.url})

    async def _control_reset(self, _: Request) -> Response:
        self.reset()
        return JSONResponse({"ok": True})

    async def _control_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            try:
                self.faults.add_json(await request.json())
            except (ValueError, TypeError) as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"pending": self.faults.pending(), "fired": to_json(self.faults.fired)})

    async def _control_records(self, request: Request) -> Response:
        query = dict(request.query_params)
        wait, since = int(query.pop("wait", 0)), int(query.pop("since", 0))
        timeout = float(query.pop("timeout", 10))
        name = request.path_params["name"]
        if name not in self.records():
            return JSONResponse({"error": f"no records {name!r}: {sorted(self.records())}"}, 404)

        def items() -> list[Any]:
            with self.lock:
                rows = list(self.records()[name])[since:]
            return [row for row in rows if all(str(_field(row, key)) == query[key] for key in query)]

        await self.until(lambda: len(items()) >= wait, timeout)
        found = items()
        return JSONResponse(to_json(found), 200 if len(found) >= wait else 504)

    async def _control_action(self, request: Request) -> Response:
        action = self.actions().get(request.path_params["name"])
        if action is None:
            return JSONResponse({"error": f"actions are {sorted(self.actions())}"}, 404)
        try:
            arguments = await request.json() if await request.body() else {}
            return JSONResponse({"ok": True, "result": to_json(action(**arguments))})
        except (ControlError, TypeError, ValueError, LookupError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)


class _Server(uvicorn.Server):
    """uvicorn that reports readiness, sleeps until told to stop, and then does not wait for its clients."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._ready, self._closing = ready, closing

    async def main_loop(self) -> None:
        await self.on_tick(0)
        self._ready.set()
        await self._closing.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            _, pending = await asyncio.wait(self.server_state.tasks, timeout=_REQUEST_TIMEOUT)
            for task in pending:
                task.cancel()


class _Reset(Response):
    """No answer: the connection is reset."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__()
        self._fake = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = self._fake.transport(scope)
        if transport is not None:
            handle = transport.get_extra_info("socket")
            if handle is not None:  # a linger of zero turns the close into a reset
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        await _gone(receive)


class _Cut(Response):
    """The beginning of another response, then the connection closes."""

    def __init__(self, server: FakeServer, whole: Response, chunks: int, *, properly: bool) -> None:
        super().__init__()
        self._fake, self._whole, self._chunks, self._properly = server, whole, chunks, properly

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left, over = self._chunks, False

        async def some(message: Message) -> None:
            nonlocal left, over
            if over:
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body = bytes(message.get("body", b""))
            if message.get("more_body") and left > 0:
                left -= 1
                await send(message)
                return
            over = True
            if self._properly:
                await send({**message, "body": b"", "more_body": False})
                return
            if not message.get("more_body"):
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            transport = self._fake.transport(scope)
            if transport is not None:
                transport.close()

        await self._whole(scope, receive, some)
        if not self._properly:
            await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _field(row: object, name: str) -> object:
    return row.get(name) if isinstance(row, dict) else getattr(row, name, None)


def to_json(value: Any) -> Any:
    """Records as JSON: dataclasses as objects, bytes as base64."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return value


def content_from(content: bytes | str) -> bytes:
    """File content: bytes as they are, a string (from the control API) as base64."""
    return content if isinstance(content, bytes) else base64.b64decode(content)


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every fake has when run as a process."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    return parser


def serve_forever(server: FakeServer, *notes: str) -> None:
    """Run as a process until SIGINT or SIGTERM; the first line printed ends with the address."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the thread starts: it inherits the mask
    with server:
        print(f"{server.name} {server.url}", *notes, sep="\n", flush=True)
        signal.sigwait(signals)
