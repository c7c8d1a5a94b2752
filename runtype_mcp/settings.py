"""What the operator decided: one frozen value, read once from the environment and the flags.

Nothing here is reachable by a model. A value that cannot be used, or a name that only resembles a setting's, is a
`SettingsError`: one line, exit code 2. A misspelt `READ_ONLY` must not be a server that writes.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from runtype_mcp import setting_values as values
from runtype_mcp.environment import usable, user_folder
from runtype_mcp.setting_variables import VARIABLES

SANDBOX_BASE_URL = "http://sandbox.invalid"
SANDBOX_KEY = "rt_test_sandbox"


class SettingsError(ValueError):
    """A setting that cannot be used. The message is one line that names the variable, never its value."""


CALLERS_TOKEN = "RUNTYPE_MCP_TOKEN"  # noqa: S105  # a name
"""The variable of a bearer token for a server that `runtype-mcp call --url` calls. Servers do not read it."""
_FROM_FILES = ("RUNTYPE_MCP_REDIS_URL", "RUNTYPE_MCP_REQUEST_STATE_KEYS")
"""What may be in a file, as secrets are mounted into containers: NAME_FILE says in which."""
_RENAMED = {"RUNTYPE_MCP_FRONT": "RUNTYPE_MCP_FAST_START"}
_SYNONYMS = {"KEY": "RUNTYPE_API_KEY", "URL": "RUNTYPE_BASE_URL", "APIURL": "RUNTYPE_BASE_URL"}


_LOWER = BeforeValidator(str.lower)
Approval = Annotated[Literal["auto", "human", "second-person", "flag", "deny"], _LOWER]
Seconds = Annotated[float, Field(ge=0.1, le=600)]


class Settings(BaseModel):
    """Every choice that is the operator's. Times are in seconds."""

    model_config = ConfigDict(frozen=True, validate_default=True)

    callers_elsewhere: bool = False
    """No variable sets it: a server over HTTP does. Its callers' files are on other machines."""
    sandbox: bool = False
    api_key: str | None = Field(default=None, repr=False)
    api_key_file: Annotated[Path, BeforeValidator(values.key_file)] | None = None
    profile: Annotated[str, BeforeValidator(values.profile)] = "default"
    base_url: str = "https://api.runtype.com"
    read_only: bool = False
    approval: Approval = "auto"
    approval_live: Approval | None = None
    human_in_app: bool = False
    pages: bool = True
    approval_wait: Seconds = 50.0
    environment: Annotated[Literal["test", "live"], _LOWER] | None = None
    tools: Annotated[tuple[str, ...], BeforeValidator(values.patterns)] = ("*",)
    secrets: Annotated[Literal["show", "file"], _LOWER] = "show"
    files_root: Annotated[Path, BeforeValidator(values.directory)] | None = None
    audit: Annotated[Literal["stdout", "redis"] | Path, BeforeValidator(values.audit)] | None = None
    connect_timeout: Seconds = 5.0
    total_timeout: Seconds = 30.0
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "WARNING"
    log_format: Annotated[Literal["text", "json"], _LOWER] = "text"
    state_dir: Annotated[Path, BeforeValidator(values.absolute)] | None = None
    redis_url: Annotated[str, BeforeValidator(values.redis_url)] | None = Field(default=None, repr=False)
    redis_url_file: Annotated[Path, BeforeValidator(values.file)] | None = None
    request_state_keys: Annotated[tuple[str, ...], BeforeValidator(values.request_state_keys)] | None = Field(
        default=None, repr=False
    )
    request_state_keys_file: Annotated[Path, BeforeValidator(values.file)] | None = None
    max_requests: Annotated[int, BeforeValidator(values.count)] = 512
    rate_limit: Annotated[int, BeforeValidator(values.count)] = 600
    metrics: bool = False
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(values.networks)] | None = None
    drain: Seconds = 30.0
    auth: Annotated[Literal["none", "passthrough", "static", "jwt"], _LOWER] = "none"
    public_url: Annotated[str, BeforeValidator(values.public_url)] | None = None
    callers: Annotated[Path, BeforeValidator(values.file)] | None = None
    jwt_issuer: Annotated[str, BeforeValidator(values.address)] | None = None
    jwt_audience: Annotated[str, BeforeValidator(values.no_key)] | None = None
    jwt_jwks_url: Annotated[str, BeforeValidator(values.address)] | None = None
    oidc_client_id: Annotated[str, BeforeValidator(values.no_key)] | None = None
    oidc_client_secret_file: Annotated[Path, BeforeValidator(values.key_file)] | None = None
    fast_start: bool = True

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **flags: object) -> Self:
        """Read the settings. A flag that is given (not None) wins over its variable.

        Raises:
            SettingsError: a setting cannot be used; the message is one line for a person.
        """
        environ = os.environ if environ is None else environ
        _refuse_unknown(environ)
        usual = {"files_root": default_files_root(environ), "state_dir": default_state_dir(environ)}
        given_here = _with_files(usable(environ))
        read = {VARIABLES[name].field: value for name, value in given_here.items() if name in VARIABLES}
        given = {field: value for field, value in flags.items() if value is not None}
        if "profile" in given:
            # Who names an account on the command line means it, whatever key the shell happens to hold.
            read = {field: value for field, value in read.items() if field not in ("api_key", "api_key_file")}
        try:
            return cls.model_validate(usual | read | given)
        except ValidationError as exc:
            error = exc.errors()[0]
        # In our words: pydantic's are for programmers, and repeat the value.
        variable = next(name for name, row in VARIABLES.items() if row.field == error["loc"][0])
        match error["type"]:
            case "value_error":
                problem = str(error["ctx"]["error"])
            case "literal_error":
                expected = str(error["ctx"]["expected"])
                near = _nearest(str(error["input"]), re.findall(r"[\w-]+", expected))
                problem = f"must be {expected}{near}"
            case "bool_parsing":
                problem = "must be true or false."
            case _:
                problem = "must be a number of seconds from 0.1 to 600."
        raise SettingsError(f"{variable} {problem}")

    @field_validator("api_key")
    @classmethod
    def _api_key(cls, raw: str | None, others: ValidationInfo) -> str | None:
        if others.data.get("sandbox"):
            return SANDBOX_KEY
        return values.checked_key(raw) if raw else None

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, raw: str, others: ValidationInfo) -> str:
        if others.data.get("sandbox"):
            return SANDBOX_BASE_URL
        return values.base_url(raw)

    @property
    def key_source(self) -> str:
        """Where the key comes from, in words for people and models."""
        if self.sandbox:
            return "the sandbox's own"
        if self.api_key:
            return "RUNTYPE_API_KEY"
        return "RUNTYPE_API_KEY_FILE" if self.api_key_file else f"profile '{self.profile}' of runtype-mcp login"

    @property
    def shares_state(self) -> bool:
        """Whether what is kept can be seen by other processes: an approval in a terminal, for example."""
        return self.redis_url is not None or self.state_dir is not None

    def approval_for(self, environment: str) -> Approval:
        """The policy for a token's environment. What is not `test` counts as live."""
        return self.approval if environment == "test" else self.approval_live or self.approval

    @property
    def wants_second_person(self) -> bool:
        """Whether the policy of an environment asks for a second person."""
        return "second-person" in (self.approval, self.approval_live)

    def allows_tool(self, name: str) -> bool:
        """Whether the operator's list of tools admits `name`. The last pattern that matches wins; `!` excludes."""
        allowed = self.tools[0].startswith("!")  # a list of exclusions alone starts from everything
        for pattern in self.tools:
            if fnmatchcase(name, pattern.removeprefix("!")):
                allowed = not pattern.startswith("!")
        return allowed

    def check_tools(self, names: Iterable[str]) -> None:
        """Check the operator's list of tools against the tools that exist, `names`.

        Raises:
            SettingsError: a pattern matches none of them, or the list admits none of them.
        """
        names = list(names)
        for pattern in (pattern.removeprefix("!") for pattern in self.tools):
            if not any(fnmatchcase(name, pattern) for name in names):
                raise SettingsError(f"RUNTYPE_MCP_TOOLS: no tool matches '{pattern}'{_nearest(pattern, names)}")
        if not any(map(self.allows_tool, names)):
            raise SettingsError("RUNTYPE_MCP_TOOLS leaves no tool to offer.")


def _with_files(given: dict[str, str]) -> dict[str, str]:
    """Also what is in files. A variable wins over its file."""
    for name in _FROM_FILES:
        if name in given or (path := given.get(f"{name}_FILE")) is None:
            continue
        try:
            given = given | {name: Path(path).expanduser().read_text().strip()}
        except (OSError, ValueError, RuntimeError):
            raise SettingsError(f"{name}_FILE does not name a file that can be read as text.") from None
        if not given[name]:
            raise SettingsError(f"{name}_FILE names a file that holds nothing.")
    return given


def _nearest(given: str, names: Iterable[str]) -> str:
    """The end of a sentence: what was probably meant, if anything is near."""
    spelled = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), spelled, 1)
    return f"; did you mean {spelled[near[0]]}?" if near else "."


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    """Refuse a name that was meant for this server. Other programs may have RUNTYPE_ variables of their own."""
    names = _SYNONYMS | {_core(name): name for name in VARIABLES}
    for name in sorted(environ):
        if (
            name in VARIABLES
            or name == CALLERS_TOKEN
            or not name.upper().startswith("RUNTYPE")
            or not environ[name].strip()
        ):
            continue
        if name in _RENAMED:
            raise SettingsError(f"{name} is called {_RENAMED[name]} now.")
        shown = re.sub(r"\W", "?", name)
        if near := difflib.get_close_matches(_core(name), names, 1, 0.7):
            raise SettingsError(f"{shown} is not a setting; did you mean {names[near[0]]}?")
        if re.match(r"(?i)runtype\W*_?mcp", name):
            raise SettingsError(f"{shown} is not a setting. `runtype-mcp settings` lists them.")


def _core(name: str) -> str:
    """A variable's name without what people forget or double: underscores, and the prefix that is not of every one."""
    return re.sub(r"[\W_]", "", name.upper()).removeprefix("RUNTYPE").removeprefix("MCP")


def default_files_root(environ: Mapping[str, str]) -> Path | None:
    """The folder of the project: what the host says, or the working directory; None where that is no project.

    Desktop hosts start in / or in the home directory.
    """
    said = environ.get("CLAUDE_PROJECT_DIR", "")
    if os.path.isabs(said) and os.path.isdir(said):
        return Path(said)
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return None
    # The working directory comes without links; a home directory may be one.
    return None if here in (Path(here.anchor), Path(os.path.realpath(os.path.expanduser("~")))) else here


def default_state_dir(environ: Mapping[str, str]) -> Path | None:
    """Where the system keeps a program's state for its user; None where there is no home directory."""
    folder = user_folder(environ, "XDG_STATE_HOME", "~/.local/state", "~/Library/Application Support")
    return Path(folder) if folder else None
