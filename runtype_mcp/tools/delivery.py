"""Bringing a token's value to where it is wanted: into the result, or into a file that the model never reads."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from runtype_mcp.api.models import ClientToken
from runtype_mcp.errors import ClientTokenError, Refused, UserInputError
from runtype_mcp.policy.redaction import looks_like_value
from runtype_mcp.storage import env_file
from runtype_mcp.tools.arguments import Delivery
from runtype_mcp.tools.spec import ToolContext


def root(context: ToolContext) -> Path:
    """The directory below which files may be written and compared."""
    if context.settings.files_root is None:
        raise UserInputError(
            "No project folder is configured, so there is no place for env files.",
            "Ask the operator to set RUNTYPE_MCP_FILES_ROOT to the project's folder. A server over HTTP has none.",
        )
    return context.settings.files_root


async def check(context: ToolContext, args: Delivery, token: ClientToken | None = None) -> None:
    """Refuse what cannot be delivered before a value is made: a regenerated value that is lost is an outage.

    Args:
        token: its present value may be replaced in the file.
    """
    if args.deliver != "env_file":
        return
    if context.settings.read_only:
        raise Refused(
            "This server is read-only (RUNTYPE_MCP_READ_ONLY), and env_file writes a file.",
            "Do not retry; only the operator can change this.",
        )
    try:
        try:
            await _check_file(context, args, ())
        except env_file.WouldReplace:
            await _check_file(context, args, await present_value(context, args, token))
    except env_file.WouldReplace as exc:
        raise UserInputError(str(exc), _LOSE, changed="") from exc
    except env_file.EnvFileError as exc:
        raise UserInputError(str(exc), changed="") from exc


async def _check_file(context: ToolContext, args: Delivery, own: Collection[str]) -> None:
    may_replace = partial(_replaceable, replace=args.replace, own=own)
    # Only a call that is confirmed tries whether there is room on the disk: a preview writes nothing at all.
    probe = bool(getattr(args, "confirm", False))
    work = partial(env_file.check, root(context), *args.file_and_variable, replaceable=may_replace, probe=probe)
    await anyio.to_thread.run_sync(work)


async def present_value(context: ToolContext, args: Delivery, token: ClientToken | None) -> Collection[str]:
    """The token's value as it is now, if a file is to be written and the value can be known.

    Whoever writes a token's value over its own value loses nothing.
    """
    try:
        return (
            () if token is None or args.deliver != "env_file" else (await context.api.get_client_token_value(token.id),)
        )
    except ClientTokenError:
        return ()


_LOSE = "If it is a client token's value, and the user agrees to lose it, set replace to true."


def _replaceable(before: str, replace: bool, own: Collection[str]) -> bool:
    # A wrong variable's name must not cost somebody their DATABASE_URL, and a file not another token's value: the API
    # may not be able to show that one again.
    return not before or before in own or (replace and looks_like_value(before))


async def deliver(context: ToolContext, args: Delivery, value: str, own: Collection[str] = ()) -> dict[str, Any]:
    """Hand the value over, and say where it is: fields of a `results.SecretResult`.

    A file that fails after all is a warning, not an error: the value exists, and can be fetched again.
    """
    if args.deliver == "show":
        return {"value": value}
    may_replace = partial(_replaceable, replace=args.replace, own=(*own, value))
    work = partial(
        env_file.write,
        root(context),
        *args.file_and_variable,
        value,
        replaceable=may_replace,
        lock_dir=context.settings.state_dir and context.settings.state_dir / "locks",
    )
    try:
        written = await anyio.to_thread.run_sync(work)
    except env_file.EnvFileError as exc:
        return {"warnings": [f"The value was not delivered. {exc} Call get_client_token_value to deliver it."]}
    where = f"{written.variable} in {written.path}, ending with {value[-4:]}"
    if written.replaced:
        where += f"; it replaced a value that ended with {written.replaced}"
    return {"delivered": where, "warnings": [written.warning] if written.warning else None}
