"""What came of a call: the exit code, and how it is printed for people and for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mcp_types import CallToolResult, TextContent

from runtype_mcp.commands.output import failed, print_json, print_table, say
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.policy.redaction import Redactor
from runtype_mcp.policy.sanitize import sanitize_line
from runtype_mcp.policy.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

EXIT_CODES = {
    "done": 0,
    "failed": 1,
    "bad_input": 2,
    "not_found": 3,
    "preview": 4,
    "refused": 5,
    "unknown": 6,
    "waiting": 7,
    "stopped": 130,
}
"""By outcome."""
ERROR = "runtype-mcp/error"
"""The key in a result's `_meta` under which a server says what came of a call that was not done."""
WHOLE = 10_000
"""Characters: more than any text of a result has."""


@dataclass(frozen=True)
class Failure:
    """A call that was not done. `approval` is the code under which it waits for one."""

    outcome: str
    message: str
    approval: str | None = None

    @classmethod
    def of(cls, error: ClientTokenError) -> Failure:
        return cls(error.outcome, str(error))


def failure(result: CallToolResult) -> Failure | None:
    """What went wrong, as the server tells it; None where nothing did."""
    if not result.is_error:
        return None
    told = (result.meta or {}).get(ERROR)
    told = told if isinstance(told, Mapping) else {}
    outcome, approval = told.get("outcome"), told.get("approval")
    text = re.sub(r"^Error \(\w+\): ", "", _text(result))
    # A server of another version, or of somebody else, says less.
    known = outcome if isinstance(outcome, str) and outcome in EXIT_CODES else "failed"
    return Failure(known, sanitize_line(text, WHOLE), approval if isinstance(approval, str) else None)


def report(answer: CallToolResult | Failure, *, as_json: bool, hint: str = "") -> int:
    """Print what came of a call. Returns the exit code. `hint` tells how a call that was only previewed goes ahead."""
    problem = answer if isinstance(answer, Failure) else failure(answer)
    if problem is not None:
        if as_json:
            told = {name: value for name, value in asdict(problem).items() if value is not None}
            print_json({"error": told})
        else:
            failed(problem.message)
        return EXIT_CODES[problem.outcome]
    assert isinstance(answer, CallToolResult)
    data: dict[str, Any] = answer.structured_content or {"text": _text(answer)}
    status = data.get("status")
    if as_json:
        # The value is the one secret that a result exists to carry, and its tool alone puts it there.
        value = {"value": data["value"]} if "value" in data else {}
        rest = Redactor().redact_json({name: item for name, item in data.items() if name != "value"})
        sys.stdout.write(json.dumps(rest | value, indent=2) + "\n")
    else:
        show(data)
        if status == "preview" and hint:
            say(hint)
    return EXIT_CODES["preview" if status == "preview" else "done"]


def show(data: Mapping[str, Any], to: Console | None = None) -> None:
    """Print a structured result for a person: its tables as tables, and a line for each other field."""
    for name, item in data.items():
        match item:
            case [[*_], *_]:
                print_table(data.get("columns") or [""] * len(item[0]), _cells(item), to=to)
            case [{}, *_]:
                heads = list(dict.fromkeys(head for row in item for head in row))
                print_table(heads, _cells([[row.get(head) for head in heads] for row in item]), to=to)
            case {}:
                say(f"{name}:", "bold", to=to)
                for key, part in item.items():
                    say(sanitize_line(f"{key}: {_cell(part)}", WHOLE), indent=4, to=to)
            case [str(), *_] if name == "columns":
                continue  # the head of the table
            case [str(), *_] if any(" " in part for part in item):
                say(f"{name}:", "bold", to=to)
                for part in item:
                    say(f"- {sanitize_line(part, WHOLE)}", to=to)
            case str() if name == "value":
                say(f"value: {item if item.isprintable() else json.dumps(item)}", to=to)  # whole, to be copied
            case str() if "\n" in item:
                say(f"{name}:", "bold", to=to)
                for line in item.splitlines():
                    say(visible(line), indent=4, to=to)
            case _ if name != "confirmCall":  # how a model would make it
                say(sanitize_line(f"{name}: {_cell(item)}", WHOLE), to=to)


def _cells(rows: Iterable[Iterable[Any]]) -> list[list[str]]:
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case [*items] if all(isinstance(item, str) for item in items):
            return ", ".join(items)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))
