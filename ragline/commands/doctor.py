"""``ragline doctor``: what is configured, what is reachable, and how to mend what is not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import httpx
import typer

from pipeline.prompt_check import accounts_of, check_folder
from pipeline.providers import DEFAULTS, KEYED
from pipeline.routes import Deployment, make_routes
from ragline.channels import TelegramAccount, UmnicoAccount, channel_specs
from ragline.clock import utcnow
from ragline.commands.output import AsJson, console, plain_errors, print_json
from ragline.errors import ConfigurationError, RaglineError
from ragline.settings import Settings, get_settings
from ragline.stack import folder
from ragline.stack.folder import StackFile
from ragline.stack.parts import QUEUES
from ragline.stack.ports import web_address
from storage import gloss, index, knowledge, migrate
from storage.embedder import full_name
from storage.embedder.language import MOSTLY, MULTILINGUAL, READABLE, cyrillic_share, pieces_per_word
from storage.reranker import make_reranker
from storage.session import Database, DatabaseUnavailable, make_engine
from storage.spending import limits_of
from storage.spending_report import Budgeted, budgets
from storage.vectors import make_store

app = typer.Typer(add_completion=False)
_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do about it where something is to be done."""

    part: str
    level: Literal["ok", "warn", "fail"]
    found: str
    remedy: str | None = None


@app.command()
def doctor(
    asked: Annotated[
        bool, typer.Option("--probe", help="Ask each language model one tiny request, and pay for it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at everything and say how to mend what is wrong. Exit code 1 when something fails."""
    try:
        settings = get_settings()
    except ConfigurationError as error:
        findings = [Finding("settings", "fail", str(error), "mend this line, then run `ragline doctor` again")]
    else:
        with plain_errors():
            findings = list(examine(settings))
            findings.extend(_probed(settings) if asked else ())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.level]
            console.print(f"[{colour}]{mark}[/] [bold]{finding.part:<16}[/]", end=" ")
            console.print(finding.found, markup=False, highlight=False, soft_wrap=True)
            if finding.remedy:
                console.print(f"{'':21} -> {finding.remedy}", markup=False, highlight=False, soft_wrap=True)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, the basics first."""
    yield _python()
    yield _configuration()
    yield from _folder(settings)
    running = folder.find_running(settings.data.resolve())
    if running:
        yield Finding("stack", "ok", f"process {running.pid} serves {web_address(settings.host, running.port)}/")
    else:
        yield Finding("stack", "warn", f"no stack is running on {settings.data.resolve()}", "start it: `ragline up`")
    yield from _database(settings, running)
    yield from _redis(settings, running)
    yield from _chroma(settings, running)
    yield from _store(settings)
    yield from _reranker(settings)
    if running:
        yield _ingress(web_address(settings.host, running.port))
    yield from _channels(settings)
    yield from _prompts(settings)
    yield from _model(settings)


def _python() -> Finding:
    return Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))


def _configuration() -> Finding:
    path = os.environ.get("RAGLINE_CONFIG") or ("ragline.yaml" if Path("ragline.yaml").exists() else None)
    dotenv = " and .env" if Path(".env").exists() else ""
    return Finding("settings", "ok", f"{path or 'defaults'}, the environment{dotenv}")


def _folder(settings: Settings) -> Iterator[Finding]:
    try:
        path = folder.prepare(settings.data)
    except RaglineError as error:
        yield Finding("data folder", "fail", str(error))
        return
    free = shutil.disk_usage(path).free / 1e9
    if free < 1:
        yield Finding("data folder", "warn", f"{path}: {free:.1f} GB free", "make room: the databases live here")
    else:
        yield Finding("data folder", "ok", f"{path}: {free:.0f} GB free")


def _database(settings: Settings, running: StackFile | None) -> Iterator[Finding]:
    url = (settings.database_url and settings.database) or (running.database_url if running else settings.database)
    kind = url.partition(":")[0].partition("+")[0]
    try:
        found, needed = migrate.current(url), migrate.revision_of("head")
        if found != needed:
            yield Finding(
                "database", "warn", f"{kind} at revision {found or 'none'}, needed {needed}", "ragline db upgrade"
            )
            return
        yield Finding("database", "ok", f"{kind} at revision {found}")
        yield from _knowledge(settings, url)
    except RaglineError as error:
        yield Finding("database", "fail", str(error))


def _knowledge(settings: Settings, url: str) -> Iterator[Finding]:
    database = Database(make_engine(url))
    try:
        with database.read() as session:
            items, live, missing = knowledge.count_items(session), index.live_index(session), index.pending(session)
            texts = index.sample_texts(session)
            spent = budgets(session.connection(), limits_of(settings.budget, utcnow()))
    finally:
        database.close()
    yield from map(_budget, spent)
    if not items:
        yield Finding("knowledge", "warn", "the base is empty", "ragline kb import answers.xlsx")
    elif live is None or missing:
        yield Finding("knowledge", "warn", f"{items} items, {missing} texts not indexed yet", "ragline kb reindex")
    else:
        yield Finding("knowledge", "ok", f"{items} items, indexed in {live.store} by {live.embedder}")
    if items:
        yield from _language(live.setting if live and live.setting else settings.knowledge.embedder, texts)
    if live and live.embedder.startswith("all-minilm-l6-v2@") and not live.embedder.endswith(f"+{gloss.version()}"):
        yield Finding(
            "embedding model", "warn", "the index reads Russian through an older glossary", "ragline kb reindex"
        )  # fmt: skip
    wanted = full_name(settings.knowledge.embedder)
    if live and live.setting and live.setting != wanted:
        yield Finding(
            "embedding model", "warn", f"the index was made by {live.setting}, the settings name {wanted}",
            f"ragline kb reindex --embedder {wanted}, or set knowledge.embedder: {live.setting}",
        )  # fmt: skip


def _budget(one: Budgeted) -> Finding:
    shown = one.shown()
    name = f"budget {shown['scope']}"
    found = f"{one.share:.0%} of {Decimal(shown['limit']).normalize():f} used {shown['key']} in {shown['period']}"
    if one.exhausted:
        return Finding(name, "warn", found, "no model is asked until it is raised or its period ends: see `budget`")
    return Finding(name, "warn" if shown["warned_at"] else "ok", found)


def _language(name: str, texts: list[str]) -> Iterator[Finding]:
    """Whether the embedding model knows the language of the base."""
    share, pieces = cyrillic_share(texts), pieces_per_word(name, texts)
    if share < MOSTLY or pieces is None:
        return
    if pieces > READABLE:
        yield Finding(
            "embedding model", "warn",
            f"{share:.0%} of the base is Cyrillic, which {name} spells and does not read ({pieces:.1f} pieces a word)",
            f"set knowledge.embedder: {MULTILINGUAL}, then `ragline kb reindex --embedder {MULTILINGUAL}`",
        )  # fmt: skip


def _redis(settings: Settings, running: StackFile | None) -> Iterator[Finding]:
    url = settings.redis_url or (running.redis_url if running else None)
    if not url:
        yield Finding("redis", "ok", "embedded, not running now")
        return
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
            client.ping()
            with suppress(RedisError):  # hosted servers may forbid CONFIG
                policy = client.config_get("maxmemory-policy").get("maxmemory-policy")
                if policy != "noeviction":
                    yield Finding("redis", "warn", f"evicts keys ({policy})", "set maxmemory-policy noeviction")
                if client.config_get("appendonly").get("appendonly") != "yes":
                    yield Finding("redis", "warn", "keeps no append-only file", "set appendonly yes")
            yield Finding("redis", "ok", "answers")
            if running:
                away = [queue for queue in QUEUES if not client.exists(f"ragline:ready:{queue}")]
                if away:
                    yield Finding("workers", "fail", f"nobody serves {', '.join(away)}", "see the worker's log")
                else:
                    yield Finding("workers", "ok", f"serve {', '.join(QUEUES)}")
    except RedisError as error:
        yield Finding("redis", "fail", f"does not answer ({type(error).__name__})", "check REDIS_URL and the server")


def _chroma(settings: Settings, running: StackFile | None) -> Iterator[Finding]:
    url = settings.chroma_url or (running.chroma_url if running else None)
    if not url:
        yield Finding("chroma", "ok", "embedded, not running now")
    elif _answers(f"{url}/api/v2/heartbeat"):
        yield Finding("chroma", "ok", "answers")
    else:
        yield Finding("chroma", "fail", "does not answer", "check CHROMA_URL and the server")


def _store(settings: Settings) -> Iterator[Finding]:
    """The configured vector store, where it is not the Chroma server that has its own line."""
    name = settings.knowledge.store
    if name == "chroma":
        return
    try:
        store = make_store(name, settings)
        try:
            store.ping()
        finally:
            store.close()
    except ConfigurationError as error:
        yield Finding("vector store", "fail", str(error), "see docs/knowledge.md, Stores")
    except RaglineError as error:
        yield Finding("vector store", "fail", str(error), f"check the address of {name} and its server")
    else:
        yield Finding("vector store", "ok", f"{name} answers")


def _reranker(settings: Settings) -> Iterator[Finding]:
    """The re-ranking model, where one is named: loaded as a worker would load it."""
    name = settings.knowledge.reranker
    if not name:
        return
    try:
        make_reranker(name)
    except ConfigurationError as error:
        yield Finding("re-ranking model", "fail", str(error), "mend knowledge.reranker, or leave it out")
    else:
        yield Finding("re-ranking model", "ok", f"{name} reads {settings.knowledge.rerank_top} candidates a question")


def _ingress(home: str) -> Finding:
    try:
        reply = httpx.get(f"{home}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return Finding("ingress", "fail", f"does not answer ({type(error).__name__})", "see logs/ingress.log")
    return Finding("ingress", "ok" if reply.status_code == 200 else "fail", f"/readyz says {reply.status_code}")


def _prompts(settings: Settings) -> Iterator[Finding]:
    folder = settings.prompts.folder
    try:
        checked = check_folder(folder, accounts_of(settings.channels))
    except ConfigurationError as error:
        yield Finding("prompts", "fail", str(error), "mend it, see docs/prompts.md, then `ragline prompts check`")
    else:
        yield Finding("prompts", "ok", f"{len(checked)} own templates in {folder}" if folder else "the packaged ones")


def _channels(settings: Settings) -> Iterator[Finding]:
    for name in channel_specs():
        for account in settings.channels.get(name, {}):
            yield Finding(f"channel {name}", "ok", f"account {account}")
    for account, telegram in settings.accounts("telegram", TelegramAccount).items():
        if telegram.mode == "webhook" and not telegram.webhook_secret:
            yield Finding(
                "channel telegram", "fail", f"account {account} takes webhooks without a secret: it refuses all",
                "set TELEGRAM_WEBHOOK_SECRET, then `ragline channel set-webhook telegram`",
            )  # fmt: skip
        if telegram.mode == "webhook" and not settings.public_url:
            yield Finding(
                "channel telegram", "warn", "Telegram is not told where to send", "set RAGLINE_PUBLIC_URL (https)"
            )
    for account, umnico in settings.accounts("umnico", UmnicoAccount).items():
        if not umnico.webhook_secret:
            yield Finding(
                "channel umnico", "fail", f"account {account} has no webhook secret: it refuses everything",
                "set UMNICO_WEBHOOK_SECRET, then `ragline channel set-webhook umnico`",
            )  # fmt: skip


def _model(settings: Settings) -> Iterator[Finding]:
    try:
        routes = make_routes(settings).named()
    except ConfigurationError as error:
        yield Finding("language model", "fail", str(error))
        return
    for name, route in routes.items():
        part = "language model" if name == "text" else f"models, {name}"
        yield Finding(part, "ok", " then ".join(one.id for one in route))
        yield from filter(None, (_wrong(part, one) for one in route))
    if not routes:
        keys = ", ".join(default.names[0] for default in DEFAULTS)
        yield Finding(
            "language model", "warn", "none: stored answers are sent as written, everything else is unknown",
            f"put one of {keys} into .env and start again; for a local OpenAI-compatible server set OPENAI_API_BASE; "
            "to choose models set llm.routes.text in ragline.yaml",
        )  # fmt: skip


def _wrong(part: str, one: Deployment) -> Finding | None:
    """What keeps a model from ever being asked."""
    if one.missing:
        remedy = f"put {one.missing} into .env, or take the model out of {one.setting}"
        return Finding(part, "fail", f"{one.model} needs {one.missing}, which is not in the environment", remedy)
    if one.provider in KEYED and "/" in one.model:
        return None
    from pipeline.llm import known_provider  # takes seconds, so only where it is in doubt

    if known_provider(one.model):
        return None
    return Finding(
        part, "fail", f"{one.model} names no provider that LiteLLM knows",
        f"write PROVIDER/MODEL in {one.setting}, such as openai/{one.model.rpartition('/')[2]}",
    )  # fmt: skip


def _probed(settings: Settings) -> Iterator[Finding]:
    from pipeline.probe import probe
    from ragline.commands.ledger import ledger

    with suppress(ConfigurationError, DatabaseUnavailable), ledger(settings) as paid:  # told already
        for found in probe(settings, paid.meter(binding=False)):
            part = f"probe, {found.route}"
            if found.error is None:
                yield Finding(part, "ok", f"{found.model} answers after {found.ms:.0f} ms")
            else:
                yield Finding(part, "fail", found.error, found.remedy)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=3, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
