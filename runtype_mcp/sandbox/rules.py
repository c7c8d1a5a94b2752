"""What the API accepts in a body or a query, and how it says no."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .store import Json


class ApiError(Exception):
    """An answer other than success: `body` goes out with `status` and `headers`."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(error)
        self.status, self.headers, self.body = status, headers, {"error": error, **more}


class _Field(NamedTuple):
    kind: type[Any]
    expected: str
    low: int = 0  # of a number, or of the length of anything else
    high: int = 1_000_000
    default: Any = None


def _whole(high: int, default: int) -> _Field:
    return _Field(int, f"a whole number from 1 to {high}", 1, high, default)


_TEXT = _Field(str, "some text", 1)
_FIELDS = {
    "name": _Field(str, "text of 1 to 255 characters", 1, 255),
    "allowedOrigins": _Field(list, "an array of at least one origin", 1),
    "flowIds": _Field(list, "an array of flow ids", default=[]),
    "defaultFlowId": _TEXT,
    "agentIds": _Field(list, "an array of agent ids", default=[]),
    "environment": _Field(str, "test or live", default="live"),
    "pinToVersion": _Field(str, "latest or published", 1, default="latest"),
    "targetAlias": _TEXT,
    "targetVersionId": _TEXT,
    "productSurfaceId": _TEXT,
    "rateLimitPerMinute": _whole(1000, 10),
    "rateLimitPerHour": _whole(10_000, 100),
    "maxMessagesPerSession": _whole(1000, 100),
    "sessionIdleTimeoutMinutes": _whole(1440, 30),
    "config": _Field(dict, "an object", default={}),
    "isActive": _Field(bool, "true or false", default=True),
}
DEFAULTS: Json = {name: field.default for name, field in _FIELDS.items()}
_REQUIRED = ("name", "allowedOrigins")
_IMMUTABLE = ("environment", "productSurfaceId")
_TARGETS = ("targetAlias", "targetVersionId")
_KNOWN_ID = {kind: re.compile(rf"{kind}_(?!unknown)[a-z0-9]{{6,}}") for kind in ("flow", "agent")}


def created(body: Any) -> Json:
    """The settings of the token that `body` asks for, defaults filled in. ApiError 400 or 404."""
    values, problems = _read(body, without=("isActive",), nullable=_TARGETS)
    problems += (_problem(name, "MISSING_REQUIRED_FIELD") for name in _REQUIRED if name not in body)
    token = DEFAULTS | values
    return _settled(token, values, problems + _nothing_to_run(token), stored_pin=None)


def updated(token: Json, body: Any) -> Json:
    """`token` with the fields that `body` names. ApiError 400 or 404."""
    values, problems = _read(body, without=_IMMUTABLE, nullable=(*_TARGETS, "defaultFlowId"))
    problems += (
        _problem(name, "IMMUTABLE_FIELD", f"no {name}, or create another token", f"{name} cannot be changed")
        for name in _IMMUTABLE
        if name in body
    )
    if values.get("flowIds") == []:
        problems.append(_problem("flowIds", "MISSING_REQUIRED_FIELD", "an array of at least one flow id"))
    elif values.keys() & {"flowIds", "agentIds"}:  # a token that never had any keeps none
        problems += _nothing_to_run(token | values)
    return _settled(token | values, values, problems, stored_pin=token["pinToVersion"])


def _nothing_to_run(token: Json) -> list[Json]:
    if token["flowIds"] or token["agentIds"]:
        return []
    return [_problem("agentIds", "MISSING_REQUIRED_FIELD", "at least one agent or flow id")]


def _read(body: Any, *, without: tuple[str, ...], nullable: tuple[str, ...]) -> tuple[Json, list[Json]]:
    """The fields of the body that count, and what is wrong with each; unknown ones are passed over."""
    if not isinstance(body, dict):
        raise ApiError(400, "Validation failed", details=[_problem("", "INVALID_TYPE", "a JSON object")])
    values = {name: body[name] for name in _FIELDS if name in body and name not in without}
    # The API takes any JSON number, so 10.0 as well, and answers with integers.
    values = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in values.items()}
    given = ((name, value) for name, value in values.items() if value is not None or name not in nullable)
    return values, [problem for name, value in given for problem in _wrong(name, value, _FIELDS[name])]


def _wrong(path: str, value: Any, field: _Field) -> Iterator[Json]:
    if type(value) is not field.kind:
        yield _problem(path, "INVALID_TYPE", field.expected)
    elif path == "environment" and value not in ("test", "live"):
        yield _problem(path, "INVALID_ENUM", field.expected)
    elif not field.low <= (value if isinstance(value, int) else len(value)) <= field.high:
        code = "MISSING_REQUIRED_FIELD" if value in ("", []) else "OUT_OF_RANGE"
        yield _problem(path, code, field.expected)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _wrong(f"{path}.{index}", entry, _TEXT)


def _problem(path: str, code: str, expected: str | None = None, message: str | None = None) -> Json:
    expected = expected or _FIELDS[path].expected
    message = message or f"Expected {expected}"
    return {"path": path, "message": message, "code": code, "suggestion": f"Send {expected}"}


def _settled(token: Json, values: Json, problems: list[Json], *, stored_pin: str | None) -> Json:
    """`token`, once its fields agree with each other and what `values` refers to exists."""
    problems = problems or list(_conflicts(token, stored_pin))
    if problems:
        raise ApiError(400, "Validation failed", details=problems)
    for kind, known in _KNOWN_ID.items():
        if not all(known.match(reference) for reference in values.get(f"{kind}Ids", ())):
            raise ApiError(404, f"Referenced {kind} not found")
    return token


def _conflicts(token: Json, stored_pin: str | None) -> Iterator[Json]:
    version, pin, default = token.get("targetVersionId"), token["pinToVersion"], token["defaultFlowId"]
    if version and token.get("targetAlias"):
        message = "targetAlias and targetVersionId are mutually exclusive"
        yield _problem("targetVersionId", "MUTUALLY_EXCLUSIVE", "null for one of the two", message)
    if version and len(token["agentIds"]) != 1:
        message = "targetVersionId needs exactly one agent id"
        yield _problem("agentIds", "INVALID_COMBINATION", "exactly one agent id", message)
    if pin and pin.startswith("agentver_") and pin != stored_pin:
        message = "pinToVersion does not take an agent version id"
        yield _problem("pinToVersion", "INVALID_VALUE", "the id as targetVersionId", message)
    if default is not None and default not in token["flowIds"]:
        message = "defaultFlowId must be one of flowIds"
        yield _problem("defaultFlowId", "INVALID_VALUE", "one of flowIds", message)


def page(query: Mapping[str, str], most: int) -> tuple[int | None, int]:
    """`limit` (None when not given, else 1 to `most`) and `offset` (default 0). ApiError 400."""
    problems = [
        _problem(name, "OUT_OF_RANGE", f"a whole number from {low} to {high}")
        for name, low, high in (("limit", 1, most), ("offset", 0, 1_000_000_000))
        if name in query and not (re.fullmatch(r"[0-9]{1,10}", query[name]) and low <= int(query[name]) <= high)
    ]
    if problems:
        raise ApiError(400, "Invalid parameters", details=problems)
    return int(query["limit"]) if "limit" in query else None, int(query.get("offset", 0))


def cursor(offset: int) -> str:
    """The cursor of the page that begins at `offset`. Clients pass it back as it is."""
    return base64.urlsafe_b64encode(f"from {offset}".encode()).decode()


def cursor_page(query: Mapping[str, str], most: int) -> tuple[int, int]:
    """`limit` (default 20, 1 to `most`) and the offset that `cursor` stands for. ApiError 400."""
    limit, _ = page({"limit": query.get("limit", "20")}, most)
    if "cursor" not in query:
        return limit or 20, 0
    try:
        text = base64.urlsafe_b64decode(query["cursor"].encode()).decode()
        return limit or 20, int(re.fullmatch(r"from ([0-9]{1,10})", text)[1])  # type: ignore[index]  # TypeError below
    except (ValueError, TypeError):
        problem = _problem("cursor", "INVALID_VALUE", "nextCursor or prevCursor of a page")
        raise ApiError(400, "Invalid parameters", details=[problem]) from None


def warnings(token: Json) -> list[Json]:
    """The API's remarks about the allowed origins, `{type, message}` each."""
    return [warning for origin in token["allowedOrigins"] for warning in _remark(origin, token["environment"])]


def _remark(origin: str, environment: str) -> Iterator[Json]:
    if origin == "*":
        yield {"type": "wildcard_origin", "message": "Any website can use this token."}
    elif origin == "native":
        yield {"type": "native_origin", "message": "Requests without an Origin header can use this token."}
    elif environment == "live" and re.match(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:|$)", origin):
        yield {"type": "localhost_origin", "message": f"A live token allows {origin}."}
    elif environment == "live" and origin.startswith("http://"):
        yield {"type": "insecure_origin", "message": f"{origin} is not encrypted."}
