"""Ports on loopback."""

from __future__ import annotations

import errno
import socket

from ragline.errors import RaglineError


class PortTaken(RaglineError):
    """Somebody else listens there."""


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on ``port``. Raises :class:`PortTaken` for a host that is none of ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio's servers do
            probe.bind(address)
    except (socket.gaierror, UnicodeError) as error:
        raise PortTaken(f"this machine has no address {host}; change --host or RAGLINE_HOST") from error
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise PortTaken(f"this machine has no address {host}; change --host or RAGLINE_HOST") from error
        if error.errno == errno.EACCES:
            raise PortTaken(f"port {port} needs privileges; choose one above 1023 with --port or PORT") from error
        return False
    return True


def web_address(host: str, port: int) -> str:
    """The address at which a server that listens on ``host`` answers on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def claim(port: int, host: str, setting: str) -> int:
    """``port`` if it is free, any free one for 0. Raises :class:`PortTaken`."""
    if port == 0:
        return free_port()
    if not is_free(port, host):
        raise PortTaken(f"port {port} is taken by another program; choose another with {setting}")
    return port
