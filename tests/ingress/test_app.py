"""The application as a whole: health, metrics, errors, headers, start and stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route

from ingress.app import create_app
from ragline.errors import ConfigurationError, TransientError
from tests.support.server import FakeServer

MESSAGE = {"conversation": "c1", "text": "My secret is 42", "id": "1"}
QUEUES = ("cpu", "io", "control", "jobs")


@pytest.fixture
def talk(make_settings, opened):
    """``talk(scenario, **environ)``: run ``scenario(client, app)`` against a running application."""

    def run(scenario, **environ):
        async def inside():
            app = create_app(make_settings(**environ))
            async with opened(app) as client:
                return await scenario(client, app)

        return asyncio.run(inside())

    return run


class FakeChroma(FakeServer):
    """Answers the heartbeat, and nothing else is asked of it here."""

    def routes(self):
        async def beat(_):
            await self.pause(self.latency)
            return JSONResponse({"nanosecond heartbeat": 1})

        return [Route("/api/v2/heartbeat", beat)]


@pytest.fixture
def chroma():
    with FakeChroma() as server:
        yield server


@pytest.fixture
def ready(redis):
    """Plays the workers' announcements."""

    def announce(*queues):
        for queue in queues:
            redis.set(f"ragline:ready:{queue}", "host", ex=30)

    return announce


async def get(client, _):
    return await client.get("/readyz")


def test_alive(talk):
    async def scenario(client, _):
        return await client.get("/healthz")

    assert talk(scenario).json() == {"status": "alive"}


def test_ready_when_every_part_answers(talk, chroma, ready):
    ready(*QUEUES)
    response = talk(get, CHROMA_URL=chroma.url)
    report = response.json()
    assert response.status_code == 200
    assert (report["ready"], report["accepting"], report["down"]) == (True, True, [])
    assert set(report["parts"]) == {"database", "redis", "chroma", *(f"workers.{queue}" for queue in QUEUES)}


def test_what_is_missing_is_named_with_a_reason(talk, ready):
    ready("cpu", "io")
    response = talk(get, CHROMA_URL="http://127.0.0.1:9")
    report = response.json()
    assert response.status_code == 503
    assert report["accepting"] is True
    assert report["down"] == ["chroma", "workers.control", "workers.jobs"]
    assert "CHROMA_URL" in report["parts"]["chroma"]["reason"]
    assert "-Q control" in report["parts"]["workers.control"]["reason"]


def test_without_redis_messages_are_still_accepted(talk, chroma):
    async def scenario(client, _):
        return await client.get("/readyz"), await client.post("/api/v1/messages", json=MESSAGE)

    report, accepted = talk(scenario, REDIS_URL="redis://127.0.0.1:9/0", CHROMA_URL=chroma.url)
    assert report.json()["accepting"] is True
    assert report.json()["down"] == ["redis", *(f"workers.{queue}" for queue in QUEUES)]
    assert accepted.status_code == 202


def test_parts_that_hang_cost_two_seconds_together(talk):
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]

        async def scenario(client, _):
            begun = time.monotonic()
            response = await client.get("/readyz")
            return response.json(), time.monotonic() - begun

        report, took = talk(scenario, REDIS_URL=f"redis://127.0.0.1:{port}/0", CHROMA_URL=f"http://127.0.0.1:{port}")
    assert took < 3.5
    assert {"redis", "chroma"} <= set(report["down"])


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:9/none", "sqlite:////{tmp}/empty.sqlite3"])
def test_a_database_that_is_away_is_503_and_says_so(talk, url, tmp_path):
    async def scenario(client, _):
        report = await client.get("/readyz")
        posted = await client.post("/api/v1/messages", json=MESSAGE)
        read = await client.get("/api/v1/messages/01900000-0000-7000-8000-000000000000")
        metrics = await client.get("/metrics")
        return report, posted, read, metrics

    report, posted, read, metrics = talk(scenario, DATABASE_URL=url.format(tmp=tmp_path))
    assert report.status_code == 503
    assert report.json()["accepting"] is False
    for response in (posted, read):
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert "send it again" in response.json()["detail"]
        assert "42" not in response.text
    assert metrics.status_code == 200
    assert 'ragline_part_up{part="database"} 0.0' in metrics.text


def test_metrics(talk, workers, redis, ready, chroma, monkeypatch):
    monkeypatch.setattr("ingress.metrics.PATIENCE", 60)
    ready("io")
    redis.rpush("cpu", "a", "b", "c")

    async def scenario(client, _):
        for body in (MESSAGE, MESSAGE, {**MESSAGE, "text": "Other"}, {**MESSAGE, "id": "2"}):
            answer = await client.post("/api/v1/messages", json=body)
        turn = workers.take(answer.json()["message_id"])
        workers.send(turn, "?", status="ambiguous")
        await client.get("/api/v1/messages/01900000-0000-7000-8000-000000000000")
        await client.get("/nowhere/of-a-customer")
        await client.request("BREW", "/healthz")
        return (await client.get("/metrics")).text

    text = talk(scenario, CHROMA_URL=chroma.url, RAGLINE__BUDGET__DAY="5")
    found = dict(re.findall(r"^(ragline_\S+) (\S+)$", text, re.M))
    expected = {
        'ragline_accepted_total{channel="api",outcome="new"}': 2,
        'ragline_accepted_total{channel="api",outcome="duplicate"}': 1,
        'ragline_accepted_total{channel="api",outcome="conflict"}': 1,
        "ragline_accept_seconds_count": 4,
        'ragline_http_requests_total{method="POST",route="/api/v1/messages",status="202"}': 3,
        'ragline_http_requests_total{method="POST",route="/api/v1/messages",status="409"}': 1,
        'ragline_http_requests_total{method="GET",route="/api/v1/messages/{message_id}",status="404"}': 1,
        'ragline_http_requests_total{method="GET",route="(none)",status="404"}': 1,
        "ragline_messages_waiting": 1,
        "ragline_turns_active": 1,
        'ragline_turns{status="answered"}': 0,
        'ragline_outbox{status="ambiguous"}': 1,
        "ragline_red_flags_open": 0,
        "ragline_quarantined": 0,
        'ragline_budget_used{period="day"}': 0,
        'ragline_queue_length{queue="cpu"}': 3,
        'ragline_worker_ready{queue="io"}': 1,
        'ragline_worker_ready{queue="jobs"}': 0,
        'ragline_part_up{part="database"}': 1,
    }
    assert {name: float(found[name]) for name in expected} == expected
    assert "of-a-customer" not in text
    assert any('method="other"' in name for name in found)


def test_counts_of_sql_are_taken_every_few_seconds_only(talk):
    async def scenario(client, _):
        before = (await client.get("/metrics")).text
        await client.post("/api/v1/messages", json=MESSAGE)
        return before, (await client.get("/metrics")).text

    for text in talk(scenario):
        assert "ragline_messages_waiting 0.0" in text


def test_every_response_has_the_headers_of_its_kind(talk):
    async def scenario(client, _):
        return [await client.get(path) for path in ("/healthz", "/docs", "/", "/nowhere", "/widget.js")]

    for response in talk(scenario):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        if response.headers["Content-Type"].startswith("text/html"):
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_errors_have_one_shape_and_no_traceback(talk):
    async def scenario(client, app):
        @app.get("/broken/{what}")
        async def broken(what: str):
            if what == "busy":
                raise TransientError("the model is busy; try again", retry_after=7)
            if what == "wrong":
                raise ConfigurationError("turn.lease: must be positive")
            raise ValueError("secret-of-a-customer")

        return [await client.get(f"/broken/{what}") for what in ("busy", "wrong", "odd")]

    busy, wrong, odd = talk(scenario)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "7")
    assert busy.json() == {"detail": "the model is busy; try again"}
    assert (wrong.status_code, wrong.json()) == (500, {"detail": "turn.lease: must be positive"})
    assert odd.status_code == 500
    assert "secret-of-a-customer" not in odd.text
    assert "Traceback" not in odd.text
    assert odd.headers["X-Content-Type-Options"] == "nosniff"


def test_the_documentation_works_without_the_internet(talk):
    async def scenario(client, _):
        return await client.get("/docs"), await client.get("/openapi.json")

    page, description = talk(scenario)
    assert "POST /api/v1/messages" in page.text
    assert "<script" not in page.text
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    operation = description.json()["paths"]["/api/v1/messages"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ApiMessage"
    }
    assert {"200", "202", "401", "409"} <= set(operation["responses"])


def test_a_channel_without_an_account_is_not_there(talk):
    async def scenario(client, _):
        return [
            await client.post("/telegram/default/webhook", json={}),
            await client.post("/umnico/default/x/webhook", json={}),
        ]

    assert [response.status_code for response in talk(scenario)] == [404, 404]


def test_a_signal_ends_the_process_although_streams_and_waits_are_open(database_url, redis_url, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environ = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "RAGLINE_API_KEY": "k"}
    command = f"import uvicorn; uvicorn.run('ingress.app:create_app', factory=True, port={port}, log_config=None)"
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen([sys.executable, "-c", command], env=environ, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=10) as client:
            _wait_until_up(client)
            token = client.post("/widget/default/session", json={}).json()["token"]
            who = {"Authorization": f"Bearer {token}"}
            assert client.post("/widget/default/messages", json={"id": "1", "text": "hi"}, headers=who).is_success
            waiting = threading.Thread(target=_wait_for_an_answer, args=(url,), daemon=True)
            waiting.start()
            with client.stream("GET", "/widget/default/events", headers=who) as stream:
                lines = stream.iter_lines()
                assert any(line == "id: 1" for line in lines)
                time.sleep(0.3)  # until the other request waits, too
                begun = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert list(lines)[-1] == ""  # a whole event, then a proper end
            process.wait(10)
            assert time.monotonic() - begun < 3
    finally:
        process.kill()
        process.wait()
        log.seek(0)
        written = log.read()
        log.close()
    assert "ingress_stopped" in written
    assert "Traceback" not in written


def _wait_for_an_answer(url):
    httpx.post(f"{url}/api/v1/messages?wait=60", json=MESSAGE, headers={"Authorization": "Bearer k"}, timeout=70)


def _wait_until_up(client):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if client.get("/healthz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the process did not start")
