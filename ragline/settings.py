"""Settings: ``ragline.yaml`` and the environment, the environment winning.

Read through :func:`get_settings`, never at import. Nested names can be given by environment as
``RAGLINE__ANSWER__DIRECT_THRESHOLD=0.8``; the fixed names (``PORT``, ``TELEGRAM_BOT_TOKEN``, ...)
are listed in :data:`FIXED_ENVIRONMENT`. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError, model_validator

from ragline.channels import Account, channel_specs
from ragline.errors import ConfigurationError
from ragline.setting_types import Duration, Group, PositiveDuration, Switch, switch_word
from ragline.spending_settings import BudgetSettings, Priced

AnyAccount = TypeVar("AnyAccount", bound=Account)

Mode = Literal["direct", "grounded", "clarify", "smalltalk"]


class TurnSettings(Group):
    quiet_window: Duration = Field(timedelta(seconds=1), description="Silence that ends a burst.")
    longest_wait: Duration = Field(timedelta(seconds=8), description="A burst is answered after this in any case.")
    max_messages: int = Field(20, ge=1, le=100, description="Messages one turn gathers at most.")
    lease: PositiveDuration = Field(
        timedelta(seconds=20), description="A step or send silent for this long is taken over."
    )
    patience: PositiveDuration = Field(
        timedelta(seconds=20), description="Work that nobody has begun after this is handed to the workers again."
    )
    max_attempts: int = Field(5, ge=1, le=50, description="Attempts of one step before the turn fails.")
    max_crashes: int = Field(5, ge=1, le=50, description="Deaths of its process before a step is a dead letter.")
    max_send_attempts: int = Field(10, ge=1, le=100, description="Attempts to send a part (about two minutes).")
    retry_base: PositiveDuration = Field(timedelta(seconds=0.5), description="First retry delay; doubles each time.")
    retry_max: PositiveDuration = Field(timedelta(seconds=30), description="Longest retry delay.")
    longest_retry_after: Duration = Field(
        timedelta(seconds=60), description="A provider that asks for a longer wait fails the step at once."
    )
    sweep_period: PositiveDuration = Field(timedelta(seconds=5), description="How often lost work is looked for.")


class AnswerSettings(Group):
    modes: tuple[Mode, ...] = Field(
        ("direct", "grounded", "clarify", "smalltalk"), description="Modes that may be used; unknown always may."
    )
    direct_threshold: float | None = Field(
        None, ge=0, le=1, description="Confidence from which a stored answer is sent as written."
    )
    grounded_threshold: float | None = Field(
        None, ge=0, le=1, description="Confidence from which the language model is asked over the passages."
    )
    clarify_threshold: float = Field(
        0.5, ge=0, le=1, description="Probability that one of the offered items is meant, from which they are offered."
    )
    history_tokens: int = Field(1500, ge=0, description="Tokens of earlier conversation put in the prompt.")
    max_tokens: int = Field(700, ge=16, description="Longest generated answer, in tokens.")
    ground_check: Annotated[Literal["off", "llm"], BeforeValidator(switch_word)] = Field(
        "off", description="llm: a model judges each generated answer too before it is sent."
    )
    classify_with_llm: Switch = Field(
        False, description="A model tells what kind of message it is that no stored answer is sure for."
    )


class PromptSettings(Group):
    folder: Path | None = Field(
        None, description="Own templates in the place of the packaged ones, see docs/prompts.md."
    )


class ModelEntry(Group):
    """One model of a route. In ``ragline.yaml`` a name alone will do, where the rest stays as it is."""

    model: str = Field(description="LiteLLM's name of it: provider/model, for Azure azure/deployment.")
    api_base: str | None = Field(None, description="Address of the server; default: that of the provider's variable.")
    api_key_env: str | None = Field(
        None, description="Name of the environment variable that holds the key; default: the provider's."
    )
    api_version: str | None = Field(None, description="Azure's API version; default: AZURE_API_VERSION.")
    timeout: PositiveDuration | None = Field(None, description="Deadline of one call; default: llm.timeout.")
    max_retries: int | None = Field(
        None, ge=0, le=10, description="Calls more before the next model is asked; default: llm.max_retries."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Passed on with each call, such as organization or extra_headers."
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"model": value} if isinstance(value, str) else value


#: What a route is for: a modality, or a purpose that is to have its own.
RouteName = Literal[
    "text", "image", "voice", "video",
    "answer", "classify", "check", "summary", "draft", "caption", "transcribe", "embed",
]  # fmt: skip


class LlmSettings(Priced):
    routes: dict[RouteName, list[ModelEntry]] = Field(
        default_factory=dict, description="Models in order of preference, by modality, or by purpose over that."
    )
    timeout: PositiveDuration = Field(timedelta(seconds=45), description="Deadline of one call.")
    deadline: PositiveDuration = Field(
        timedelta(seconds=90), description="Deadline of one request over all models it is tried on."
    )
    max_retries: int = Field(0, ge=0, le=10, description="Calls more of one model before the next one is asked.")
    cooldown: Duration = Field(
        timedelta(seconds=15),
        description="Longest time a model that fails is left alone: 1 s first, doubling. 0: never, but where it asks.",
    )


class PrivacySettings(Group):
    masking: Annotated[Literal["on", "off", "external"], BeforeValidator(switch_word)] = Field(
        "external",
        description="Whether models see marks for phones, addresses, card numbers …; external: if one is not your own.",
    )


class StreamingSettings(Group):
    enabled: Switch = Field(True, description="Show an answer while a model writes it (widget, API, Telegram).")
    period: PositiveDuration = Field(timedelta(seconds=0.025), description="Time between two additions to a text.")
    at_once: int = Field(
        16, ge=1, description="Texts one worker process shows at once; others come when they are whole."
    )


class KnowledgeSettings(Group):
    demo: Switch = Field(True, description="Load the demo base into an empty knowledge base on the first start.")
    store: str = Field("chroma", description="Vector store of a new index: chroma, faiss, pgvector or pinecone.")
    embedder: str = Field(
        "minilm",
        description="Embedding model: minilm (in the package), a sentence-transformers name or path, or litellm:MODEL.",
    )
    query_prefix: str | None = Field(
        None, description="Put before a question that is embedded; default: what the model itself names."
    )
    passage_prefix: str | None = Field(
        None, description="Put before a text of the base that is embedded; default: what the model itself names."
    )
    reranker: str | None = Field(
        None, description="Model that reads the best candidates anew: a CrossEncoder's name or path; none: off."
    )
    rerank_top: int = Field(10, ge=2, le=50, description="Candidates that the re-ranking model reads.")
    top_k: int = Field(5, ge=1, le=50, description="Passages handed to the answer step.")
    max_wrong_direct: float = Field(0.02, gt=0, lt=1, description="Share of direct answers that may be wrong.")
    train_period: PositiveDuration = Field(
        timedelta(seconds=60), description="How often a changed base is learned from anew."
    )


class MediaSettings(Group):
    store: str | None = Field(
        None,
        description="Where files are kept: a folder, or s3://bucket/path; default: media in the data folder.",
    )
    store_options: dict[str, Any] = Field(
        default_factory=dict, description="Of the fsspec file system, such as {endpoint_url: https://s3.example}."
    )
    keep: PositiveDuration = Field(
        timedelta(days=30), description="Files are deleted after this, in whole days; what they said stays."
    )
    largest: int = Field(20, ge=1, le=2000, description="Megabytes of the largest file that is taken.")
    longest: PositiveDuration = Field(timedelta(minutes=15), description="Length of the longest recording or video.")
    kinds: tuple[Literal["photo", "recording", "document"], ...] = Field(
        ("photo", "recording", "document"), description="What is read; a recording is sound or video."
    )
    frames: int = Field(4, ge=0, le=16, description="Pictures of a video that a model describes; 0: its sound alone.")
    caption_tokens: int = Field(400, ge=64, description="Longest description of pictures, in tokens.")
    document_tokens: int = Field(3000, ge=100, description="Tokens of a customer's document that are read.")
    timeout: PositiveDuration = Field(
        timedelta(seconds=60), description="Time for fetching one file, and for decoding it."
    )
    private_addresses: Switch = Field(False, description="Fetch files from addresses inside the network too.")
    whisper: str | None = Field(
        None, description="Folder of a faster-whisper model: speech is transcribed on this host, by no provider."
    )


class WorkerSettings(Group):
    cpu_threads: int = Field(4, ge=1, description="Threads of the cpu queue's worker.")
    io_threads: int = Field(16, ge=1, description="Threads of the io queue's worker.")
    control_threads: int = Field(2, ge=1, description="Threads of the control queue's worker.")
    jobs_threads: int = Field(1, ge=1, description="Threads of the jobs queue's worker.")


class LoadSettings(Group):
    short_history: int = Field(200, ge=1, description="Backlog from which models are shown no earlier conversation.")
    direct_only: int = Field(1000, ge=1, description="Backlog from which no model is asked.")


class LimitSettings(Group):
    per_sender: int = Field(60, ge=1, description="Turns of one conversation in the window.")
    per_account: int = Field(6000, ge=1, description="Turns of one account in the window.")
    window: PositiveDuration = Field(timedelta(seconds=60), description="The window both are counted in.")


class LogSettings(Group):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level written.")
    format: Literal["console", "json"] = Field("console", description="json in production.")


class Settings(Group):
    port: int = Field(8080, ge=0, le=65535, description="Port of the one HTTP address; 0 picks a free one.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    data: Path = Field(Path("data"), description="Folder of everything embedded.")
    public_url: str | None = Field(None, description="Address the channels reach this system at.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite in the data folder.")
    redis_url: str | None = Field(None, description="Redis; default: a private one.")
    chroma_url: str | None = Field(None, description="Chroma server; default: a private one.")
    pgvector_url: str | None = Field(
        None, description="PostgreSQL with pgvector; default: the database, where that is PostgreSQL."
    )
    pinecone_api_key: SecretStr | None = Field(None, description="Key of Pinecone.")
    pinecone_host: str | None = Field(None, description="Host of the Pinecone index, as its page shows it.")
    flower_port: int = Field(5555, ge=0, le=65535, description="Port of Flower; 0 picks a free one.")
    flower_password: SecretStr | None = Field(None, description="Flower's password; generated when missing.")
    admin_password: SecretStr | None = Field(None, description="Console password; generated when missing.")
    channels: dict[str, dict[str, Account]] = Field(
        default_factory=lambda: _read_accounts({}, "defaults"), description="Accounts by channel and name."
    )
    turn: TurnSettings = Field(default_factory=lambda: TurnSettings())
    answer: AnswerSettings = Field(default_factory=lambda: AnswerSettings())
    prompts: PromptSettings = Field(default_factory=lambda: PromptSettings())
    llm: LlmSettings = Field(default_factory=lambda: LlmSettings())
    budget: BudgetSettings = Field(default_factory=lambda: BudgetSettings())
    privacy: PrivacySettings = Field(default_factory=lambda: PrivacySettings())
    streaming: StreamingSettings = Field(default_factory=lambda: StreamingSettings())
    knowledge: KnowledgeSettings = Field(default_factory=lambda: KnowledgeSettings())
    load: LoadSettings = Field(default_factory=lambda: LoadSettings())
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings())
    media: MediaSettings = Field(default_factory=lambda: MediaSettings())
    workers: WorkerSettings = Field(default_factory=lambda: WorkerSettings())
    log: LogSettings = Field(default_factory=lambda: LogSettings())
    analytics: dict[str, Switch] = Field(default_factory=dict, description="Analytics modules, on or off.")

    def accounts(self, channel: str, kind: type[AnyAccount]) -> dict[str, AnyAccount]:
        """The accounts of one channel by name; empty for a channel that is switched off."""
        found = self.channels.get(channel, {})
        return {name: account for name, account in found.items() if isinstance(account, kind)}

    def quiet_window(self, channel: str, account: str) -> timedelta:
        """The silence that ends a burst on this account."""
        own = self.channels.get(channel, {}).get(account)
        return own.quiet_window if own and own.quiet_window is not None else self.turn.quiet_window

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        if self.database_url:
            # psycopg 3 is the driver that is installed; a bare postgresql:// means psycopg 2 to SQLAlchemy
            for prefix in ("postgres://", "postgresql://"):
                if self.database_url.startswith(prefix):
                    return "postgresql+psycopg://" + self.database_url.removeprefix(prefix)
            return self.database_url
        return f"sqlite:///{(self.data / 'ragline.sqlite3').resolve()}"


#: Environment names that are part of the public surface, and the setting each one sets.
FIXED_ENVIRONMENT: dict[str, str] = {
    "PORT": "port",
    "DATABASE_URL": "database_url",
    "REDIS_URL": "redis_url",
    "CHROMA_URL": "chroma_url",
    "PGVECTOR_URL": "pgvector_url",
    "PINECONE_API_KEY": "pinecone_api_key",
    "PINECONE_HOST": "pinecone_host",
    "FLOWER_PORT": "flower_port",
    "RAGLINE_DATA": "data",
    "RAGLINE_HOST": "host",
    "RAGLINE_PUBLIC_URL": "public_url",
    "RAGLINE_ADMIN_PASSWORD": "admin_password",
    "RAGLINE_FLOWER_PASSWORD": "flower_password",
    "RAGLINE_QUIET_WINDOW": "turn.quiet_window",
    "RAGLINE_API_KEY": "channels.api.default.key",
    "TELEGRAM_BOT_TOKEN": "channels.telegram.default.token",
    "TELEGRAM_WEBHOOK_SECRET": "channels.telegram.default.webhook_secret",
    "TELEGRAM_API_BASE": "channels.telegram.default.api_base",
    "TELEGRAM_MODE": "channels.telegram.default.mode",
    "UMNICO_API_TOKEN": "channels.umnico.default.token",
    "UMNICO_API_BASE": "channels.umnico.default.api_base",
    "UMNICO_WEBHOOK_SECRET": "channels.umnico.default.webhook_secret",
    "UMNICO_USER_ID": "channels.umnico.default.user_id",
}
#: Names with the prefix that are no settings: where the file is, and what `ragline up` hands its children.
RESERVED_ENVIRONMENT = {"RAGLINE_CONFIG", "RAGLINE_STACK", "RAGLINE_COMPONENT", "RAGLINE_REDIS_PASSWORD"}


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"'{name}'" + (f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}")


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for part in parents:
        child = tree.setdefault(part, {})
        if not isinstance(child, dict):
            raise ConfigurationError(f"{path}: '{part}' is not a group of settings")
        tree = child
    tree[leaf] = value


def _environment_tree(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in environ.items():
        if value == "":
            continue
        if name in FIXED_ENVIRONMENT:
            _put(tree, FIXED_ENVIRONMENT[name], value)
        elif name.startswith("RAGLINE__"):
            try:
                parsed = yaml.safe_load(value) if value[:1] in "[{" else value
            except yaml.YAMLError:
                raise ConfigurationError(f"{name}: is neither a list such as [a, b] nor a plain value") from None
            _put(tree, name.removeprefix("RAGLINE__").lower().replace("__", "."), parsed)
        elif name.startswith("RAGLINE_") and name not in RESERVED_ENVIRONMENT:
            raise ConfigurationError(f"unknown environment variable {_nearest(name, FIXED_ENVIRONMENT)}")
    return tree


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", "it cannot be parsed")
        raise ConfigurationError(f"{path}: is not valid YAML{where}: {reason}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{path}: must hold settings by name, such as `port: 8080`")
    return loaded


def _explain(error: ValidationError, source: str, group: type[BaseModel], prefix: str = "") -> str:
    # A misspelt name is the reason, a field that is missing then only its consequence.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    path = prefix + ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        name = next((name for name, known in FIXED_ENVIRONMENT.items() if known == path), None)
        return f"{source}: {path} is missing; set it" + (f", or {name} in the environment" if name else "")
    if first["type"] != "extra_forbidden":
        return f"{source}: {path or 'settings'}: {first['msg'].removeprefix('Value error, ')}"
    model: Any = group
    for part in first["loc"][:-1]:
        # below a mapping or a list the part is a key or a position, and the last argument is what it holds
        fields = getattr(model, "model_fields", None)
        model = fields[str(part)].annotation if fields else get_args(model)[-1]
    return f"{source}: unknown setting '{path}': {_nearest(str(first['loc'][-1]), model.model_fields)}"


def _read_accounts(tree: object, source: str) -> dict[str, dict[str, Account]]:
    """``channels.<name>.<account>``. A channel set to null or off has no accounts."""
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{source}: channels: must hold accounts by channel, such as telegram: {{default: ...}}"
        )
    tree.setdefault("widget", {"default": {}})
    found: dict[str, dict[str, Account]] = {}
    for channel, accounts in tree.items():
        spec = channel_specs().get(channel)
        if spec is None:
            raise ConfigurationError(f"{source}: unknown channel {_nearest(str(channel), channel_specs())}")
        if accounts in (None, False, "off"):
            continue
        if not isinstance(accounts, dict):
            raise ConfigurationError(f"{source}: channels.{channel}: must hold accounts by name, or off")
        for name, values in accounts.items():
            if not isinstance(values, dict | None):
                raise ConfigurationError(f"{source}: channels.{channel}.{name}: must hold settings by name")
            if spec.credential and spec.credential not in (values or {}) and name == "default":
                # its other names may stay in the environment while the channel is not in use
                for key in values or {}:
                    if key not in spec.account.model_fields:
                        raise ConfigurationError(
                            f"{source}: unknown setting 'channels.{channel}.{name}.{key}': "
                            + _nearest(str(key), spec.account.model_fields)
                        )
                continue
            try:
                account = spec.account.model_validate(values or {})
            except ValidationError as error:
                prefix = f"channels.{channel}.{name}."
                raise ConfigurationError(_explain(error, source, spec.account, prefix)) from None
            found.setdefault(channel, {})[str(name)] = account
    return found


def config_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """``$RAGLINE_CONFIG``, else ``ragline.yaml`` of the working folder; None where there is neither."""
    named = (os.environ if environ is None else environ).get("RAGLINE_CONFIG")
    if named:
        return Path(named)
    return Path("ragline.yaml") if Path("ragline.yaml").exists() else None


def load_settings(environ: Mapping[str, str] | None = None, config: Path | None = None) -> Settings:
    """Settings from ``config`` (default ``$RAGLINE_CONFIG``, else ``ragline.yaml`` if present) and the environment.

    Raises :class:`ConfigurationError` with one line that says which key is wrong and what is expected.
    """
    environ = os.environ if environ is None else environ
    path = config or config_file(environ)
    tree = _read_yaml(path) if path else {}
    tree = _merge(tree, _environment_tree(environ))
    source = str(path) if path else "environment"
    tree["channels"] = _read_accounts({} if tree.get("channels") is None else tree["channels"], source)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, source, Settings)) from None


def load_dotenv_once() -> None:
    """Put ``.env`` of the working folder into the environment; what is set there already wins.

    A part of a running stack has its whole environment from the stack.
    """
    if "RAGLINE_STACK" in os.environ:
        return
    for name, value in dotenv_values(".env").items():
        if value is not None:
            os.environ.setdefault(name, value)


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    load_dotenv_once()
    return load_settings()
