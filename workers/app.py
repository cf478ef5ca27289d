"""The Celery application. ``celery -A workers.app worker -Q cpu``"""

from __future__ import annotations

from celery import Celery

from ragline import transport
from ragline.settings import load_dotenv_once

load_dotenv_once()
transport.install()
app = Celery("ragline", include=["workers.tasks"], events="workers.events:Events")
app.config_from_object("celeryconfig")

# Imported for its signal handlers: logging, readiness, warm-up.
import workers.signals  # noqa: E402, F401
