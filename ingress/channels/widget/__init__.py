"""The website widget: a script for any page, and the chat behind it."""

from ingress.channels.widget.routes import mount

__all__ = ["mount"]
