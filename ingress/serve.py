"""The ingress as a process: ``python -m ingress.serve --port 8080``."""

from __future__ import annotations

import argparse

import uvicorn
from fastapi import FastAPI

from ingress.app import create_app
from ragline import garbage
from ragline.logs import log_uncaught


def make_app() -> FastAPI:
    """The application of this process."""
    app = create_app()
    log_uncaught()
    garbage.settle()
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    uvicorn.run(
        "ingress.serve:make_app",
        factory=True,
        host=options.host,
        port=options.port,
        log_config=None,  # structlog is set up by the application
        access_log=False,  # paths hold webhook secrets
        server_header=False,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=64 * 1024,
    )


if __name__ == "__main__":
    main()
