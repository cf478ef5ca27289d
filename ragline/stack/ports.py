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
    """Whether a server could listen on ``port``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise PortTaken(f"this machine has no address {host}; change --host or RAGLINE_HOST") from error
            if error.errno == errno.EACCES:
                raise PortTaken(f"port {port} needs privileges; choose one above 1023 with --port or PORT") from error
            return False
    return True


def claim(port: int, host: str, setting: str) -> int:
    """``port`` if it is free, any free one for 0. Raises :class:`PortTaken`."""
    if port == 0:
        return free_port()
    if not is_free(port, host):
        raise PortTaken(f"port {port} is taken by another program; choose another with {setting}")
    return port
