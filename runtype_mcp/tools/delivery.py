"""Bringing a token's value to where it is wanted: into the result, or into a file that the model never reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.to_thread

from runtype_mcp.errors import Refused, UserInputError
from runtype_mcp.policy.redaction import looks_like_value
from runtype_mcp.storage import env_file
from runtype_mcp.tools.arguments import Delivery
from runtype_mcp.tools.spec import Call


def root(call: Call) -> Path:
    """The directory below which files may be written and compared."""
    if call.settings.files_root is None:
        instead = "" if call.settings.secrets == "file" else ", or use deliver show"
        raise UserInputError(
            "This server was started in no project, so there is no folder for env files.",
            f"Ask the operator to set RUNTYPE_MCP_FILES_ROOT{instead}.",
        )
    return call.settings.files_root


async def check(call: Call, args: Delivery) -> None:
    """Refuse what cannot be delivered before a value is made: a regenerated value that is lost is an outage."""
    if args.deliver == "env_file":
        if call.settings.read_only:
            raise Refused(
                "This server is read-only (RUNTYPE_MCP_READ_ONLY), and env_file writes a file.",
                "Do not retry; only the operator can change this.",
            )
        try:
            await anyio.to_thread.run_sync(_check_file, root(call), *args.file_and_variable)
        except env_file.EnvFileError as exc:
            raise UserInputError(str(exc), changed="") from exc


def _check_file(root: Path, file: str, variable: str) -> None:
    env_file.check(root, file, variable)
    # A wrong variable's name must not cost somebody their DATABASE_URL.
    if any(before and not looks_like_value(before) for before in env_file.values(root, file, variable)):
        raise UserInputError(
            f"{variable} in {file} holds something that is not a client token, and would be lost.",
            "Name another variable.",
        )


async def deliver(call: Call, args: Delivery, value: str) -> dict[str, Any]:
    """Hand the value over, and say where it is: fields of a `views.WithValue`.

    A file that fails after all is a warning, not an error: the value exists, and can be fetched again.
    """
    if args.deliver == "show":
        return {"value": value}
    try:
        written = await anyio.to_thread.run_sync(env_file.write, root(call), *args.file_and_variable, value)
    except env_file.EnvFileError as exc:
        return {"warnings": [f"The value was not delivered. {exc} Call get_client_token_value to deliver it."]}
    where = f"{written.variable} in {written.path}, ending with {value[-4:]}"
    return {"delivered": where, "warnings": [written.warning] if written.warning else None}
