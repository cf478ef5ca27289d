"""Whether what a model is asked leaves the company's own machines."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

#: Names that only a network of one's own resolves (RFC 6761, 6762, 8375, and the reserved ``.internal``).
_OWN_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
#: Providers whose server stands on this machine, where no address is set.
_LOCAL_PROVIDERS = ("ollama", "ollama_chat")


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
