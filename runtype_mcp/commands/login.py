"""Accounts: `runtype-mcp login`, `logout` and `whoami`.

The key is typed without echo or comes over stdin. It is never an argument, because those are in the shell's history and
in every list of processes.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from runtype_mcp import keyring_access
from runtype_mcp.api.client import RuntypeClient
from runtype_mcp.commands.output import Report, failed, interruptible, print_json, say, working
from runtype_mcp.credentials import MAX_BYTES, ApiKey, KeyringError, Profile, key_in, read_private, replace_file
from runtype_mcp.errors import ClientTokenError, KeyRejected, KeyUnavailable, MissingScope
from runtype_mcp.setting_values import checked_key
from runtype_mcp.settings import Settings

_MORE = " `runtype-mcp doctor` says more."
NO_HOME = "There is no home directory to store a key in: set RUNTYPE_API_KEY_FILE or RUNTYPE_API_KEY."


def login(settings: Settings, *, use_keyring: bool, as_json: bool = False) -> int:
    """Ask for a key, check it with one read, and store it. Returns the exit code: 0 it is stored, 1 it is not."""
    report = Report(as_json=as_json, stored=False, api=settings.base_url)
    code = _login(settings, use_keyring, report)
    report.print()
    return code


def _login(settings: Settings, use_keyring: bool, report: Report) -> int:
    profile = Profile.of(settings)
    if profile is None and settings.api_key_file is None:
        return report.failed(NO_HOME)
    try:
        key = checked_key(_asked(settings))
    except ValueError as exc:
        return report.failed(f"What was given {exc} Nothing was stored.")
    with working("Checking the key with the API."):
        found = asyncio.run(access(key, settings))
    if found.problem:
        return report.failed(f"{found.problem} Nothing was stored.{'' if found.known else _MORE}")
    report.say(found.says, key=shown(key), says=found.says)
    try:
        if settings.api_key_file is not None:
            where = _into_file(settings.api_key_file, key)
        else:
            assert profile is not None
            unlock = " Your system may ask you to unlock its keyring." if use_keyring else ""
            with working(f"Storing the key.{unlock}"):
                stored = asyncio.run(_into_profile(profile, key, use_keyring))
            where = f"{stored}, as profile '{profile.name}'"
    except (KeyringError, OSError) as exc:
        why = getattr(exc, "strerror", None) or exc
        return report.failed(f"The key cannot be stored. {why} Nothing was stored.")
    report.say(f"Stored in {where}.", stored=True, where=where)
    if settings.api_key:
        note = "RUNTYPE_API_KEY is set here as well, and wins over what is stored. Remove it where servers start."
    else:
        note = "Servers on this machine use it from their next call on."
    report.say(note, note=note)
    return 0


def logout(settings: Settings, *, as_json: bool = False) -> int:
    """Forget the stored key. Returns the exit code: 0 it is forgotten, 1 there was none or it cannot be deleted."""
    report = Report(as_json=as_json, forgotten=False, api=settings.base_url)
    code = _logout(settings, report)
    report.print()
    return code


def _logout(settings: Settings, report: Report) -> int:
    profile, file = Profile.of(settings), settings.api_key_file
    try:
        if file is not None:
            key_in(read_private(file, ours=False)[1], file)  # or it is not ours to delete
            file.unlink()
            where = str(file)
        elif profile is None or not asyncio.run(profile.remove()):
            return report.failed(f"No key is stored as profile '{settings.profile}' for {settings.base_url}.")
        else:
            where = f"profile '{profile.name}' for {profile.base_url}"
    except KeyringError as exc:
        return report.failed(f"The stored key cannot be deleted. {exc}")
    except KeyUnavailable as exc:
        return report.failed(f"{exc.what} It was left as it is.")
    except OSError as exc:
        return report.failed(f"The stored key cannot be deleted ({exc.strerror}).")
    note = "Runtype still accepts the key: revoke it in the dashboard if nobody is to use it."
    report.say(f"Forgotten: {where}. {note}", forgotten=True, where=where, note=note)
    if settings.api_key:
        report.say("RUNTYPE_API_KEY is still set here.", alsoSet="RUNTYPE_API_KEY")
    return 0


def whoami(settings: Settings, *, as_json: bool = False) -> int:
    """Say which key is used and what it may do. Returns the exit code: 0 the API accepts it, 1 it does not."""
    with working("Checking the key with the API."):
        key, found = asyncio.run(_own_access(settings))
    profile = Profile.of(settings)
    used = None if settings.api_key or settings.api_key_file else settings.profile
    others = [name for name in profile.names() if name != used] if profile else []
    if key is None and not found.problem:
        other = f" Stored profiles: {', '.join(others)}." if others else ""
        problem = f"No key is set, and none is stored as profile '{settings.profile}' for {settings.base_url}."
        found = Access(f"{problem}{other} Run `runtype-mcp login`.")
    if as_json:
        used_key = {"api": settings.base_url, "key": key and shown(key), "source": settings.key_source}
        says = found.problem or found.says
        print_json(used_key | {"otherProfiles": others, "accepted": not found.problem, "says": says})
        return 1 if found.problem else 0
    if key is not None:
        say(f"API:  {settings.base_url}\nKey:  {shown(key)}, from {settings.key_source}")
        if others:
            say(f"Also stored: {', '.join(others)}")
    if found.problem:
        return failed(f"{found.problem}{'' if found.known else _MORE}")
    say(found.says)
    return 0


async def _own_access(settings: Settings) -> tuple[str | None, Access]:
    """The key that is used here, and what it may do."""
    try:
        key = await ApiKey(settings).get()
    except ClientTokenError as exc:
        return None, Access(f"{exc.what} {exc.next_step}")
    return key, await access(key, settings) if key else Access()


class Access(NamedTuple):
    """What one read told of a key.

    Attributes:
        problem: why the key is of no use; empty where it is of use.
        says: what it may do.
        known: whether the API said anything about the key at all.
    """

    problem: str = ""
    says: str = ""
    known: bool = True


async def access(key: str, settings: Settings) -> Access:
    """What a key may do, found out with one read."""
    api = RuntypeClient(
        key, settings.base_url, connect_timeout=settings.connect_timeout, total_timeout=settings.total_timeout
    )
    try:
        page = await api.list_client_tokens(1, 0)
    except KeyRejected:
        why = "It was mistyped, was revoked, or belongs to another API."
        return Access(f"{settings.base_url} does not accept the key {shown(key)}. {why}")
    except MissingScope:
        needs = "It needs the scope CLIENT_TOKENS:READ, and CLIENT_TOKENS:WRITE to change any."
        return Access(f"{settings.base_url} accepts the key {shown(key)}, but it may not read client tokens. {needs}")
    except ClientTokenError as exc:
        return Access(f"The key cannot be checked. {exc.what}", known=False)
    finally:
        await api.aclose()
    reads = "The key may read client tokens" + ("." if page.client_tokens else ", of which there are none yet.")
    writes = "Whether it may also change them is known only once it does."
    return Access(says=f"{settings.base_url} accepts the key {shown(key)}. {kind(key)}\n{reads} {writes}")


def kind(key: str) -> str:
    """For which environment a key is, by its prefix."""
    if key.startswith("rt_live_"):
        return "It is a live key: it reaches what visitors use."
    if key.startswith("rt_test_"):
        return "It is a test key."
    return "It does not say for which environment it is."


def shown(key: str) -> str:
    """A key by which a person knows it, and nobody can use it."""
    start = key[:8] if key.startswith(("rt_live_", "rt_test_")) else ""
    return f"{start}…{key[-4:]}" if len(key) >= 24 else f"{start}…"


def _asked(settings: Settings) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.read(MAX_BYTES)
    try:
        with interruptible(), warnings.catch_warnings():  # Ctrl+C must turn the terminal's echo on again
            warnings.simplefilter("error", getpass.GetPassWarning)  # the key would be shown
            return getpass.getpass(f"API key for {settings.base_url} (it stays invisible): ")
    except (getpass.GetPassWarning, EOFError):
        return ""


async def _into_profile(profile: Profile, key: str, use_keyring: bool) -> str:
    if use_keyring:
        try:
            return await profile.store(key, in_keyring=True)
        except KeyringError as exc:
            if exc.code not in (keyring_access.NOT_INSTALLED, keyring_access.NO_KEYRING):
                raise
    return await profile.store(key, in_keyring=False)


def _into_file(file: Path, key: str) -> str:
    """Replace a file that holds a key and nothing else, or make one."""
    file = file.resolve()
    if os.path.lexists(file):
        try:
            key_in(read_private(file, ours=False)[1], file)
        except KeyUnavailable as exc:
            raise OSError(0, exc.what) from None
    replace_file(file, f"{key}\n".encode())
    return str(file)
