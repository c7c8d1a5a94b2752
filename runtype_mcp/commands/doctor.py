"""`runtype-mcp doctor`: what keeps this server from working here, one line for each check, with what to do."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Container, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from runtype_mcp import __version__
from runtype_mcp.commands.finding import Finding
from runtype_mcp.commands.host_checks import check_hosts
from runtype_mcp.commands.login import access, kind, shown
from runtype_mcp.commands.network_checks import check_network
from runtype_mcp.commands.output import print_json, print_table, working
from runtype_mcp.console.browser import can_open_browser, this_machine
from runtype_mcp.credentials import ApiKey, config_dir
from runtype_mcp.environment import usable, user_folder
from runtype_mcp.errors import ClientTokenError
from runtype_mcp.hosts.launch import Machine
from runtype_mcp.policy.redis_url import shown_redis_url
from runtype_mcp.server import build_server
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.settings import Settings, SettingsError
from runtype_mcp.storage.opening import open_state
from runtype_mcp.storage.state import StateError

_SHOWN = ("mcp", "httpx2", "pydantic")
_EXTRAS = ("keyring", "redis")
_PROJECT = (
    *(".git", ".hg", "package.json", "pyproject.toml", "composer.json", "Gemfile", "go.mod", "Cargo.toml", "deno.json"),
    *("index.html", "wp-config.php", "requirements.txt", "pubspec.yaml", "Package.swift"),
)
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
_SECRET: dict[str, Callable[[Any], str]] = {
    "api_key": shown,
    "redis_url": shown_redis_url,
    "request_state_keys": lambda keys: f"{len(keys)} keys, which are not shown",
}


def doctor(flags: Mapping[str, object], *, as_json: bool) -> int:
    """Check everything and print it. `flags` are those of a server, by the fields of `Settings`.

    Returns:
        The exit code: 0 nothing fails, 1 something does, 2 a setting cannot be used, so no server would start.
    """
    with working("Checking the settings, the network and the hosts."):
        findings, is_broken = asyncio.run(_checked(flags))
    failed = any(finding.status == "fail" for finding in findings)
    if as_json:
        print_json({"version": __version__, "ok": not failed, "checks": [finding._asdict() for finding in findings]})
    else:
        rows = [(found.status, found.check, " ".join(filter(None, (found.says, found.todo)))) for found in findings]
        print_table(("", "check", "finding"), rows, lead=2, longest=600, styles=_STYLES)
    return 2 if is_broken else int(failed)


async def _checked(flags: Mapping[str, object]) -> tuple[list[Finding], bool]:
    """All findings, and whether a setting cannot be used."""
    settings, broken = _settings(flags)
    findings = [_versions(), *broken.values()]
    if settings is not None:
        findings += _given(settings, flags)
    seconds = settings.total_timeout if settings else 30.0
    has_browser = can_open_browser(os.environ, this_machine())
    outside, hosts = await asyncio.gather(_in_time(settings, broken.keys()), _hosts(seconds, has_browser))
    findings += outside
    if settings is not None:
        findings += [_files_root(settings), await _state(settings), *_directories(settings)]
        findings.append(_browser(has_browser))
    return [*findings, *hosts], bool(broken)


async def _in_time(settings: Settings | None, broken: Container[str]) -> list[Finding]:
    """What `_outside` finds. Each of its steps has the time of one operation, and all of them have that of two."""
    if settings is None:
        return []
    seconds = 2 * settings.total_timeout
    try:
        async with asyncio.timeout(seconds):
            return await _outside(settings, broken)
    except TimeoutError:
        todo = "Try from another network, and unlock the system's keyring if it asks."
        return [Finding("fail", "network", f"The key and the network took more than {seconds:g} seconds.", todo)]


def _versions() -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in _SHOWN)
    extras = ", ".join(name for name in _EXTRAS if _is_installed(name)) or "none"
    return Finding("ok", "version", f"runtype-mcp {__version__} on Python {python}; {libraries}; extras: {extras}.")


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def _settings(flags: Mapping[str, object]) -> tuple[Settings | None, dict[str, Finding]]:
    """The settings without those that cannot be used, and a finding for each of these, by its variable."""
    environ, flags, broken = dict(os.environ), dict(flags), dict[str, Finding]()
    while True:
        try:
            settings = Settings.from_env(environ, **flags)
            build_server(settings)  # as a server does: it knows which tools there are
        except SettingsError as exc:
            name = (re.match(r"\w*", str(exc)) or [""])[0]
            broken[name] = Finding("fail", "settings", str(exc), "No server starts with that.")
            field = VARIABLES[name].field if name in VARIABLES else ""
            if flags.pop(field, None) is None and environ.pop(name, None) is None:
                return None, broken
        else:
            return settings, broken


def _given(settings: Settings, flags: Mapping[str, object]) -> Iterable[Finding]:
    """Each setting that is not its default, and where it came from."""
    environ = usable(os.environ)
    for name, row in VARIABLES.items():
        flag = f"--{row.field.replace('_', '-')}"
        source = f"from {flag}" if flags.get(row.field) is not None else "from the environment"
        if name not in environ and flags.get(row.field) is None:
            continue
        value = getattr(settings, row.field)
        text = _SECRET[row.field](value) if row.field in _SECRET and value else f"{value}"
        text = text.lower() if isinstance(value, bool) else text
        if settings.sandbox and row.field in ("api_key", "base_url"):
            text = "not used in the sandbox"
        elif row.field in ("api_key", "api_key_file") and value is None:
            text = f"not used, because of {'--profile' if flags.get('profile') else 'RUNTYPE_API_KEY'}"
        yield Finding("ok", "settings", f"{name} is {text} ({source}).")


async def _outside(settings: Settings, broken: Container[str]) -> list[Finding]:
    """The key, the network and what the API says. `broken` variables were left out of the settings."""
    if settings.sandbox:
        return [Finding("skip", "network", "The sandbox is in this process: it needs no key and no network.")]
    if "RUNTYPE_BASE_URL" in broken:
        return [Finding("skip", "network", "Not checked, because RUNTYPE_BASE_URL cannot be used.")]
    key, found = await _key(settings, broken)
    network = await check_network(settings)
    if any(finding.status == "fail" for finding in network):
        access_found = [Finding("skip", "access", "Not checked, because the API cannot be reached.")]
    else:
        access_found = [await _access(key, settings)] if key else []
    return [found, *network, *access_found]


async def _key(settings: Settings, broken: Container[str]) -> tuple[str | None, Finding]:
    if any(name in broken for name in ("RUNTYPE_API_KEY", "RUNTYPE_API_KEY_FILE", "RUNTYPE_MCP_PROFILE")):
        return None, Finding("skip", "key", "Not checked, because the setting that names it cannot be used.")
    try:
        key = await ApiKey(settings).get()
    except ClientTokenError as exc:
        return None, Finding("fail", "key", exc.what, "Correct that, or run `runtype-mcp login` again.")
    if key is None:
        what = f"There is no key: RUNTYPE_API_KEY is not set, and profile '{settings.profile}' is not stored."
        todo = "Run `runtype-mcp login`. Without an account, use --sandbox: `runtype-mcp doctor --sandbox`."
        return None, Finding("fail", "key", what, todo)
    return key, Finding("ok", "key", f"{shown(key)}, from {settings.key_source}. {kind(key)}")


async def _access(key: str, settings: Settings) -> Finding:
    found = await access(key, settings)
    if found.problem:
        todo = "Run `runtype-mcp login` with another key." if found.known else "Try again in some minutes."
        return Finding("fail", "access", found.problem, todo)
    return Finding("ok", "access", found.says.partition("\n")[2])


async def _hosts(seconds: float, has_browser: bool) -> list[Finding]:
    try:
        machine = Machine(Path.home())
    except (RuntimeError, OSError):  # there is no home directory, or the working directory was removed
        return [Finding("skip", "hosts", "Not checked, because there is no home or no working directory.")]
    return await check_hosts(machine, seconds, has_browser=has_browser)


def _browser(can_be_opened: bool) -> Finding:
    """Whether a page for a person can be opened here."""
    if can_be_opened:
        return Finding("ok", "person", "A browser can be opened here, for `runtype-mcp console`.")
    what = "No browser can be opened from here. A person is asked in the client's form, or by `runtype-mcp approve`."
    return Finding("skip", "person", what)


def _files_root(settings: Settings) -> Finding:
    root, todo = settings.files_root, "Set RUNTYPE_MCP_FILES_ROOT to your project's folder."
    if root is None:
        here = f"This starts in {os.getcwd()}, which is no project" if os.path.isdir(".") else "There is no folder here"
        return Finding("warn", "files root", f"{here}: values cannot be written into env files.", todo)
    if not any((root / name).exists() for name in _PROJECT):
        return Finding(
            "warn", "files root", f"{root} does not look like a project: none of the usual files is in it.", todo
        )
    if not settings.read_only and not os.access(root, os.W_OK):
        return Finding("fail", "files root", f"{root} cannot be written to.", "Choose another or change its mode.")
    return Finding("ok", "files root", f"{root} is a project: env files are written below it.")


async def _state(settings: Settings) -> Finding:
    """Whether what servers share can be kept."""
    if settings.redis_url:
        state = open_state(settings.redis_url, None)
        try:
            await state.write_epoch()
        except StateError as exc:
            return Finding("fail", "state", str(exc), "Correct RUNTYPE_MCP_REDIS_URL, or start that Redis.")
        finally:
            await state.aclose()
        return Finding("ok", "state", f"{shown_redis_url(settings.redis_url)} answers.")
    if settings.state_dir is None:
        what = "There is no home directory: approvals are kept in memory, so nobody can give one in a terminal."
        return Finding("warn", "state", what, "Set RUNTYPE_MCP_STATE_DIR.")
    if problem := _unwritable(settings.state_dir):
        what = f"{settings.state_dir} cannot hold the state: {problem}. Calls that ask a person fail."
        return Finding("fail", "state", what, "Set RUNTYPE_MCP_STATE_DIR to a folder of your own.")
    return Finding("ok", "state", f"{settings.state_dir} can be written.")


def _directories(settings: Settings) -> Iterable[Finding]:
    environ = os.environ
    if settings.audit is None:
        yield Finding("ok", "audit", "No audit log is kept; RUNTYPE_MCP_AUDIT names one.")
    elif isinstance(settings.audit, str):
        yield Finding("ok", "audit", f"It goes to {settings.audit}.")
    else:
        yield Finding("ok", "audit", f"{settings.audit} can be written.")
    for check, folder, consequence in (
        ("cache", user_folder(environ, "XDG_CACHE_HOME", "~/.cache", "~/Library/Caches"), "Each start takes longer."),
        ("config", str(config_dir(environ) or ""), "`runtype-mcp login` cannot store a key."),
    ):
        if not folder or (problem := _unwritable(Path(folder))):
            what = f"{folder}: {problem}." if folder else "There is no home directory."
            yield Finding("warn", check, f"{what} {consequence}", "Correct that folder, or set HOME.")
        else:
            yield Finding("ok", check, f"{folder} can be written.")


def _unwritable(folder: Path) -> str:
    """Why a folder cannot be written to, or made; empty if it can. Writes nothing."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            if place == folder and place.is_symlink():
                return "it is a symbolic link"
            if not place.is_dir():
                return f"{place} is not a folder" if place != folder else "it is not a folder"
            return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} may not be written to"
    return "its disk does not exist"
