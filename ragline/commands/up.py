"""``ragline up``: the whole system on embedded parts, supervised."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer

from pipeline.prompt_check import accounts_of, check_folder
from pipeline.routes import text_route
from ragline.channels import channel_specs
from ragline.commands.output import console, plain_errors
from ragline.logs import get_logger
from ragline.settings import Settings, config_file, get_settings, load_settings
from ragline.stack import folder
from ragline.stack.parts import Part, application_parts, chroma_part, redis_part, redis_url
from ragline.stack.ports import claim, free_port, is_free, web_address
from ragline.stack.supervision import Supervision
from storage import index, knowledge
from storage.migrate import upgrade
from storage.session import Database, make_engine, parse_url

app = typer.Typer(add_completion=False)
log = get_logger(__name__)


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Port of the HTTP address; 0 picks a free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of everything embedded.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
) -> None:
    """Start the whole system on this machine and supervise it. Ctrl-C stops it."""
    began = time.monotonic()
    for name, value in (("PORT", port), ("RAGLINE_DATA", data), ("RAGLINE_HOST", host)):
        if value is not None:
            os.environ[name] = str(value)
    with plain_errors():
        settings = get_settings()
        check_folder(settings.prompts.folder, accounts_of(settings.channels))
        path = folder.prepare(settings.data)
        with folder.locked(path):
            _run(settings, path, began)


@dataclass(frozen=True)
class _Plan:
    """What is to run, and where it will be found."""

    settings: Settings
    data: Path
    parts: list[Part]
    replaced: list[str]
    indexing: bool


def _run(settings: Settings, data: Path, began: float) -> None:
    ended = folder.end_orphans(data)
    if ended:
        console.print(f"Ended {ended} processes that an earlier stack on this folder left running.")
    folder.withdraw(data)
    plan = _plan(settings, data)
    supervision = Supervision(plan.parts, data)
    announcer = threading.Thread(target=_announce, args=(plan, began), name="announcer", daemon=True)
    try:
        supervision.run(started=announcer.start)
    finally:
        folder.withdraw(data)
    console.print("Stopped.")


def _plan(settings: Settings, data: Path) -> _Plan:
    """Choose ports, make secrets, migrate; the environment of this process becomes that of every part."""
    for name in ("run", "logs"):
        (data / name).mkdir(exist_ok=True)
    secrets = folder.read_secrets(data)
    port = claim(settings.port, settings.host, "--port or PORT")
    flower_port = settings.flower_port
    if flower_port == 0 or ("FLOWER_PORT" not in os.environ and not is_free(flower_port)):
        flower_port = free_port()
    else:
        claim(flower_port, "127.0.0.1", "FLOWER_PORT")
    parts: list[Part] = []
    environment = {
        "PORT": str(port),
        "FLOWER_PORT": str(flower_port),
        "RAGLINE_DATA": str(data),
        folder.MARK: str(data),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "ANONYMIZED_TELEMETRY": "False",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": _search_path(),
        # glibc keeps an arena a thread; with many threads a process, two are enough and spare much memory
        "MALLOC_ARENA_MAX": "2",
        **{name: secrets[name] for name in ("RAGLINE_API_KEY", "RAGLINE_ADMIN_PASSWORD", "RAGLINE_FLOWER_PASSWORD")},
    }
    environment |= _absolute(settings)
    if not settings.redis_url:
        redis_port, password = free_port(), secrets["RAGLINE_REDIS_PASSWORD"]
        environment["REDIS_URL"] = redis_url(password, redis_port)
        parts.append(redis_part(data, redis_port, password))
    if not settings.chroma_url:
        chroma_port = free_port()
        environment["CHROMA_URL"] = f"http://127.0.0.1:{chroma_port}"
        parts.append(chroma_part(data, chroma_port))
    os.environ.update(environment)
    get_settings.cache_clear()
    resolved = load_settings()
    upgrade(resolved.database)
    indexing = _to_index(resolved)
    parts += application_parts(resolved, data, indexing=indexing)
    names = {"REDIS_URL": settings.redis_url, "CHROMA_URL": settings.chroma_url, "DATABASE_URL": settings.database_url}
    return _Plan(resolved, data, parts, [name for name, value in names.items() if value], indexing)


def _search_path() -> str:
    """Parts work in the working folder and look for modules there last. Celery would put it first were it missing."""
    here = os.getcwd()
    found = [str(Path(__file__).parents[2]), *(path for path in sys.path if path not in ("", here)), here]
    return os.pathsep.join(dict.fromkeys(found))


def _absolute(settings: Settings) -> dict[str, str]:
    """What names a file, for parts and for commands started in another folder."""
    found = {"RAGLINE_CONFIG": str(config.resolve()) if (config := config_file()) else os.devnull}
    if settings.database_url:
        url = parse_url(settings.database)
        if url.get_backend_name() == "sqlite" and url.database:
            url = url.set(database=str(Path(url.database).resolve()))
        found["DATABASE_URL"] = url.render_as_string(hide_password=False)
    if Path(settings.knowledge.embedder).exists():
        found["RAGLINE__KNOWLEDGE__EMBEDDER"] = str(Path(settings.knowledge.embedder).resolve())
    if settings.knowledge.reranker and Path(settings.knowledge.reranker).exists():
        found["RAGLINE__KNOWLEDGE__RERANKER"] = str(Path(settings.knowledge.reranker).resolve())
    if settings.prompts.folder:
        found["RAGLINE__PROMPTS__FOLDER"] = str(settings.prompts.folder.resolve())
    return found


def _to_index(settings: Settings) -> bool:
    """Whether the demo base is to be loaded, or an earlier start was ended before it had indexed everything."""
    database = Database(make_engine(settings.database))
    try:
        with database.read() as session:
            if knowledge.count_items(session) == 0:
                return settings.knowledge.demo
            return index.pending(session) > 0
    finally:
        database.close()


def _announce(plan: _Plan, began: float) -> None:
    """Wait until every part answers, make the stack findable, print where it is."""
    settings = plan.settings
    home = web_address(settings.host, settings.port)
    flower = f"http://127.0.0.1:{settings.flower_port}"
    probes: list[tuple[str, Callable[[], bool]]] = []
    if plan.indexing:
        probes.append(("the knowledge base", lambda: _indexed(plan)))
    probes += [("parts", lambda: _answers(f"{home}/readyz")), ("flower", lambda: _answers(f"{flower}/healthcheck"))]
    complained = time.monotonic() + 60
    for name, ready in probes:
        while not ready():
            time.sleep(0.1)
            if time.monotonic() > complained:
                complained += 60
                log.warning("not_ready_yet", waiting_for=name, hint=f"see {plan.data / 'logs'} and {home}/readyz")
    assert settings.redis_url
    assert settings.chroma_url
    folder.publish(
        plan.data,
        folder.StackFile(
            os.getpid(), settings.port, settings.redis_url, settings.database, settings.chroma_url, settings.flower_port
        ),
    )
    _print_table(plan, home, flower, time.monotonic() - began)


def _indexed(plan: _Plan) -> bool:
    database = Database(make_engine(plan.settings.database))
    try:
        with database.read() as session:
            return knowledge.count_items(session) > 0 and index.pending(session) == 0
    finally:
        database.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _print_table(plan: _Plan, home: str, flower: str, seconds: float) -> None:
    settings = plan.settings
    used = [name for name in channel_specs() if settings.channels.get(name)]
    no_model = "none: stored answers only; `ragline doctor` says how to add one"
    rows = {
        "demo page and widget": f"{home}/",
        "API": f"{home}/api/v1/messages, described at {home}/docs",
        "health and metrics": f"{home}/healthz, /readyz, /metrics",
        "tasks (Flower)": f"{flower}, user admin, password RAGLINE_FLOWER_PASSWORD",
        "keys and passwords": str(plan.data / "secrets.env"),
        "logs": str(plan.data / "logs"),
        "channels": "; ".join(f"{name}: {', '.join(settings.channels[name])}" for name in used),
        "language model": ", ".join(text_route(settings)) or no_model,
        "your own parts": ", ".join(plan.replaced) or "none: all parts are embedded",
        "stop": "Ctrl-C",
    }
    # Plain lines: they are read in terminals of any width, in log files and by scripts.
    lines = [f"  {name:<22}{value}" for name, value in rows.items()]
    print("\n".join(["", f"Ragline is ready after {seconds:.1f} s", *lines, ""]), flush=True)
