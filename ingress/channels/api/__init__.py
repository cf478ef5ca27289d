"""The generic JSON channel: any system can post a message and read the answer."""

from ingress.channels.api.routes import mount

__all__ = ["mount"]
