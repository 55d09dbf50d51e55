"""Structured logs of the office: one JSON line per event on standard error, those of the libraries included."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor

QUIET = {
    "apscheduler": logging.WARNING,
    "apscheduler.executors": logging.CRITICAL,  # a job that fails is told once, by our own listener
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.ERROR,
    "alembic": logging.WARNING,
}


def set_up_logs() -> None:
    """Sends structlog and standard logging through one JSON renderer."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*final, structlog.processors.JSONRenderer()])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
