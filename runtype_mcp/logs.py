"""What goes to stderr: each record through the redactor, as a line for people or as a JSON object for a log store."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from runtype_mcp.policy.redaction import RedactingFormatter, Redactor

LogFormat = Literal["text", "json"]

REQUESTS = "runtype_mcp.requests"
"""The logger of the line about each HTTP request."""

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the HTTP request that is being answered, which every record of it carries."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line. What a record brings as `extra={"fields": {…}}` stands beside its message."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        # Before it is encoded: what is masked afterwards could leave half of an escape.
        told = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(self._redactor.redact_json(told), default=str)


def log_to_stderr(level: str, redactor: Redactor, log_format: LogFormat = "text") -> None:
    """Log to stderr, through the redactor: a traceback is an exit like any other."""
    handler = logging.StreamHandler()
    text = RedactingFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"), redactor)
    handler.setFormatter(JsonFormatter(redactor) if log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # A log store wants every request, whatever else is worth a line.
    logging.getLogger(REQUESTS).setLevel(logging.INFO if log_format == "json" else logging.NOTSET)
