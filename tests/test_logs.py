"""The lines on stderr: whole JSON, and no secret in it."""

from __future__ import annotations

import json
import logging
import sys

from runtype_mcp.logs import JsonFormatter, request_id
from runtype_mcp.policy.redaction import Redactor

KEY = 'odd "key" \\ of ours'


def formatted(message: str, *arguments: object, **more: object) -> dict[str, object]:
    record = logging.LogRecord("some.logger", logging.WARNING, __file__, 1, message, arguments, None)
    vars(record).update(more)
    line = JsonFormatter(Redactor([KEY])).format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_a_record_is_one_object() -> None:
    found = formatted("It took %s", "long\nand longer", fields={"status": 200, "peer": None})
    assert found.pop("time")
    assert found == {"level": "WARNING", "logger": "some.logger", "message": "It took long\nand longer", "status": 200}


def test_it_names_the_request_that_is_answered() -> None:
    token = request_id.set("abc")
    assert formatted("x")["request_id"] == "abc"
    request_id.reset(token)
    assert "request_id" not in formatted("x")


def test_no_secret_is_in_it_and_the_line_stays_json() -> None:
    try:
        raise ValueError(f"It was {KEY} and Bearer abc.def\\n")  # noqa: TRY301
    except ValueError:
        info = sys.exc_info()
    found = formatted("%s", f'"{KEY}"', fields={"path": f"/{KEY}"}, exc_info=info, stack_info=f"at {KEY}")
    assert KEY not in repr(found)
    assert "odd" not in json.dumps(found)
    assert "Traceback" in str(found["exception"])
