"""Whether what a model is asked leaves the company's own machines."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from pipeline.routes import Deployment, deployment, make_routes
from ragline.settings import Settings

#: Names that only a network of one's own resolves (RFC 6761, 6762, 8375, and the reserved ``.internal``).
_OWN_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
#: Providers whose server stands on this machine, where no address is set.
_LOCAL_PROVIDERS = ("ollama", "ollama_chat")


def masks(settings: Settings) -> bool:
    """Whether prompts are masked: ``on``, or ``external`` with one model outside in any route.

    One is enough: which model of a route will answer is known only after the request was written.
    """
    if settings.privacy.masking != "external":
        return settings.privacy.masking == "on"
    routes = make_routes(settings).named()
    return _any_outside(one for route in routes.values() for one in route)


def masks_questions(settings: Settings, model: str) -> bool:
    """Whether questions are masked before this embedding model turns them into vectors."""
    if settings.privacy.masking != "external":
        return settings.privacy.masking == "on"
    route = make_routes(settings).pick("embed")
    return _any_outside(route or [deployment(model, settings.llm, "knowledge.embedder")])


def _any_outside(deployments: Iterable[Deployment]) -> bool:
    return any(is_outside(one.model, one.api_base) for one in deployments)


def is_outside(model: str, base: str | None) -> bool:
    """Whether calls of a model (LiteLLM's name) at a base address reach somebody else's machine.

    Inside are loopback and private addresses, names without a dot such as a container's, and names that only a network
    of one's own knows. Nothing is looked up: a public name of one's own server counts as outside.
    """
    if not base:
        return model.partition("/")[0] not in _LOCAL_PROVIDERS
    host = (urlsplit(base if "//" in base else f"//{base}").hostname or "").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return "." in host and not host.endswith(_OWN_NAMES)
    return not (address.is_loopback or address.is_private or address.is_link_local)
