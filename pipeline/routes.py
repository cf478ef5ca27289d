"""Which models are asked for what, in which order: the routes of the settings, or what the keys at hand allow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pipeline.providers import DEFAULTS, KEYED, environment_names, provider_of
from pipeline.spending import Modality, Purpose
from ragline.errors import ConfigurationError
from ragline.settings import LlmSettings, ModelEntry, RouteName, Settings

#: What a purpose's calls are made of.
_MODALITY: dict[Purpose, Modality] = {"caption": "image", "transcribe": "voice"}
#: A modality without a route of its own: image and video models are mostly those that write, too.
_INSTEAD: dict[str, tuple[RouteName, ...]] = {"image": ("text",), "video": ("image", "text")}


@dataclass(frozen=True)
class Deployment:
    """One model at one place, as it is called. Times are seconds; ``cooldown`` is the longest one.

    ``setting`` is where it is named, for messages.
    """

    model: str
    api_base: str | None = None
    key_name: str | None = None
    api_version: str | None = None
    timeout: float = 45.0
    max_retries: int = 0
    cooldown: float = 15.0
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    setting: str = field(default="llm.routes", compare=False)

    @property
    def provider(self) -> str:
        return provider_of(self.model)

    @cached_property
    def id(self) -> str:
        """What it is counted under: the model, with the server and the key where they are not the provider's own."""
        host = urlsplit(self.api_base).netloc.rpartition("@")[2] if self.api_base else ""
        own_key = self.key_name and self.key_name != environment_names(self.provider)[0]
        return self.model + (f"@{host}" if host else "") + (f"#{self.key_name}" if own_key else "")

    @property
    def api_key(self) -> str | None:
        """The key as it stands in the environment now; a server of one's own mostly needs none, but clients ask."""
        return (os.environ.get(self.key_name) if self.key_name else None) or ("none" if self.api_base else None)

    @property
    def missing(self) -> str | None:
        """The variable that is needed and not set; None where nothing is known to be missing."""
        if self.provider == "azure" and not self.api_base:
            return environment_names(self.provider)[1]
        if self.api_key or "api_key" in self.extra or self.provider not in KEYED:
            return None
        return None if any(map(os.environ.get, KEYED[self.provider])) else self.key_name


class Routes:
    """The deployments of each route, in order."""

    def __init__(self, table: Mapping[RouteName, Sequence[Deployment]]) -> None:
        self._table = {name: tuple(route) for name, route in table.items() if route}

    def pick(self, purpose: Purpose, modality: Modality | None = None) -> tuple[Deployment, ...]:
        """The route of a call: its purpose's own, else its modality's; empty where there is none.

        What is not of the purpose's usual modality, such as a question about a photo, goes by its modality first.
        """
        if purpose == "embed":  # another model's vectors would be of no use
            return self._table.get(purpose, ())
        usual = _MODALITY.get(purpose, "text")
        modality = modality or usual
        by_modality: tuple[RouteName, ...] = (modality, *_INSTEAD.get(modality, ()))
        own: tuple[RouteName, ...] = (purpose,)
        names = own + by_modality if modality == usual else (modality, *own, *by_modality)
        return next((self._table[name] for name in names if name in self._table), ())

    def named(self) -> dict[RouteName, tuple[Deployment, ...]]:
        """Every route that is set or comes by default."""
        return dict(self._table)


def make_routes(settings: Settings) -> Routes:
    """The routes of the settings; text and voice come by default from the keys in the environment.

    Raises :class:`ConfigurationError` for an entry that names a variable which is not set.
    """
    llm = settings.llm
    table: dict[RouteName, Sequence[Deployment]] = {
        name: [_deployment(entry, llm, f"llm.routes.{name}") for entry in entries]
        for name, entries in llm.routes.items()
    }
    present = [default for default in DEFAULTS if any(os.environ.get(name) for name in default.names)]
    if "text" not in table:
        table["text"] = [deployment(default.text, llm, "llm.routes.text") for default in present]
    if "voice" not in table:
        listening = [default.voice for default in present if default.voice]
        table["voice"] = [deployment(model, llm, "llm.routes.voice") for model in listening]
    return Routes(table)


def deployment(model: str, llm: LlmSettings, setting: str) -> Deployment:
    """A model by its name alone."""
    return _deployment(ModelEntry(model=model), llm, setting)


def text_route(settings: Settings) -> list[str]:
    """Names of the models that write answers, in the order they are asked."""
    return [one.model for one in make_routes(settings).pick("answer")]


def _deployment(entry: ModelEntry, llm: LlmSettings, setting: str) -> Deployment:
    provider = provider_of(entry.model)
    key_name, base_name = environment_names(provider)
    if entry.api_key_env and not os.environ.get(entry.api_key_env):
        raise ConfigurationError(
            f"{setting}: {entry.model} takes its key from {entry.api_key_env}, which is not in the environment; "
            "put it into .env"
        )
    version = entry.api_version or (os.environ.get("AZURE_API_VERSION") if provider == "azure" else None)
    return Deployment(
        model=entry.model,
        api_base=entry.api_base or os.environ.get(base_name) or None,
        key_name=entry.api_key_env or key_name,
        api_version=version,
        timeout=(entry.timeout or llm.timeout).total_seconds(),
        max_retries=llm.max_retries if entry.max_retries is None else entry.max_retries,
        cooldown=llm.cooldown.total_seconds(),
        extra=entry.extra,
        setting=setting,
    )
