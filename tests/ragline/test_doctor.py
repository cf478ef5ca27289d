"""``ragline doctor --probe``: each model of each route is really asked, and what is wrong is named with its remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from typer.testing import CliRunner

from ragline.commands.doctor import app
from ragline.settings import get_settings
from storage.models import ModelCall
from storage.session import Database, make_engine
from tests.support import faults
from tests.support.fake_openai import API_KEY, FakeOpenAI

ROUTES = """
llm:
  routes:
    text:
      - openai/good
      - {model: openai/slow, timeout: 1}
      - {model: openai/other, api_base: "http://127.0.0.1:9/v1"}
    image: [openai/blind]
    voice: [openai/whisper-1]
    embed: [openai/vectors]
    check: [{model: openai/strict, api_key_env: STRICT_KEY}]
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(answer="OK") as server:
        config = tmp_path / "ragline.yaml"
        config.write_text(ROUTES)
        environment = {
            "OPENAI_API_KEY": API_KEY, "OPENAI_API_BASE": server.api_base, "STRICT_KEY": "sk-wrong-0000",
            "RAGLINE_CONFIG": str(config), "RAGLINE_DATA": str(tmp_path / "data"),
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        yield server


def doctor(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def ledger() -> list[ModelCall]:
    get_settings.cache_clear()
    database = Database(make_engine(get_settings().database))
    with database.read() as session:
        calls = list(session.exec(select(ModelCall)).all())
    database.close()
    return calls


def test_every_model_is_asked_and_what_is_wrong_has_a_remedy(server: FakeOpenAI) -> None:
    server.faults.add(faults.hang(3), "chat", chat="slow")
    server.faults.add(faults.status(400, "does not support image input"), "chat", chat="blind")
    code, findings = doctor("--probe")
    probed = [one for one in findings if one["part"].startswith("probe, ")]
    found = {(one["part"].removeprefix("probe, "), one["level"]): one for one in probed if one["level"] == "ok"}
    wrong = {one["part"] + str(number): one for number, one in enumerate(probed) if one["level"] == "fail"}
    assert code == 1
    assert {part for part, _ in found} == {"text", "voice", "embed"}
    assert "ms" in found["text", "ok"]["found"]
    said = [(one["found"], one["remedy"]) for one in wrong.values()]
    assert [any(words in one for one, _ in said) for words in ("slow", "other", "blind", "STRICT_KEY")] == [True] * 4
    remedies = " ".join(remedy for _, remedy in said)
    assert all(words in remedies for words in ("longer timeout", "api_base", "llm.routes.image"))
    assert "sk-wrong" not in json.dumps(findings)
    assert sorted(served.route for served in server.requests) == ["chat", "embeddings", "transcriptions"]
    calls = ledger()
    assert {call.purpose for call in calls} == {"probe"}
    assert sorted(call.outcome for call in calls) == ["answered"] * 3 + ["failed"] * 4
    told = server.totals("chat")
    [good] = [call for call in calls if call.model == "openai/good"]
    assert (good.tokens_in, good.tokens_out) == (told.prompt_tokens, told.completion_tokens)


def test_without_the_option_nobody_is_asked(server: FakeOpenAI) -> None:
    _, findings = doctor()
    assert server.calls == []
    assert any(one["part"] == "language model" and "openai/slow" in one["found"] for one in findings)
    assert {one["part"] for one in findings} >= {"models, image", "models, voice", "models, check"}


def test_a_model_that_can_never_answer_is_found_without_asking(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ragline.yaml").write_text("llm: {routes: {text: [antropic/claude, anthropic/claude, openai/good]}}")
    code, findings = doctor()
    wrong = [one for one in findings if one["part"] == "language model" and one["level"] == "fail"]
    assert code == 1
    assert [("openai/claude" in one["remedy"], "ANTHROPIC_API_KEY" in one["remedy"]) for one in wrong] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert all("llm.routes.text" in one["remedy"] for one in wrong)


def test_a_key_that_is_missing_is_named(server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRICT_KEY")
    code, findings = doctor("--probe")
    (finding,) = [one for one in findings if one["part"] == "language model"]
    assert (code, finding["level"]) == (1, "fail")
    assert "llm.routes.check" in finding["found"]
    assert "STRICT_KEY" in finding["found"]
