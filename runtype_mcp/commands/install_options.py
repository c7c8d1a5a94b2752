"""The options of `runtype-mcp install` and `uninstall`, apart from what they do, which a start does not load."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from runtype_mcp.commands.output import add_json_option
from runtype_mcp.hosts import NAMES
from runtype_mcp.settings import Settings, SettingsError


class _Hosts(tuple[str, ...]):
    """The names of hosts. No name at all is among them: argparse asks for that too, and `--all` needs none."""

    __slots__ = ()

    def __contains__(self, given: object) -> bool:
        return given == [] or super().__contains__(given)


def add_options(parser: argparse.ArgumentParser, *, installs: bool) -> None:
    """Give a parser the arguments of `install`, or else of `uninstall`."""
    parser.description = f"{parser.description}\nIt shows what changes in the file, and asks first." + (
        "\nNo key is written into it: `runtype-mcp login` stores that elsewhere." if installs else ""
    )
    parser.set_defaults(remove=not installs)
    parser.add_argument("hosts", metavar="HOST", nargs="*", choices=_Hosts(NAMES), help=", ".join(NAMES))
    parser.add_argument("--all", action="store_true", help="every host that is found on this machine")
    scope = parser.add_mutually_exclusive_group()
    for name, default, for_whom in (
        ("user", "user", "all your projects (this is the default)"),
        ("project", argparse.SUPPRESS, "the project in the working directory"),
    ):
        scope.add_argument(
            f"--{name}", dest="scope", action="store_const", const=name, default=default, help=f"for {for_whom}"
        )
    parser.add_argument("--name", type=_name, default="runtype", help="what the host calls the server (%(default)s)")
    if installs:
        parser.add_argument("--sandbox", action="store_true", help="the embedded sandbox: no account, no key")
        parser.add_argument("--read-only", action="store_true", help="only list and read")
        parser.add_argument("--profile", metavar="NAME", help="the account of `runtype-mcp login --profile NAME`")
        policies = ("auto", "human", "flag", "deny")
        parser.add_argument("--approval", choices=policies, help="the policy, as RUNTYPE_MCP_APPROVAL has it")
        folder = "the only folder below which env files are written, such as that of your project"
        parser.add_argument("--files-root", metavar="DIR", type=_folder, help=folder)
        parser.add_argument("--print", action="store_true", help="print the entry, to paste it; change nothing")
    parser.add_argument("--dry-run", action="store_true", help="show what would change; change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json_option(parser)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise argparse.ArgumentTypeError("a name is made of letters, digits, - and _")
    return text


def _folder(text: str) -> str:
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError("there is no such folder")
    return str(path)


def run(options: argparse.Namespace, _: object) -> int:
    """Install or uninstall. Returns the exit code."""
    from runtype_mcp.commands.install import Order, run
    from runtype_mcp.credentials import Profile
    from runtype_mcp.hosts.launch import Machine
    from runtype_mcp.hosts.plan import Choice

    given = vars(options)

    def some(*names: str) -> dict[str, object]:
        return {name: given[name] for name in names if name in given}

    if given.get("sandbox") and given.get("profile"):
        raise SettingsError("--sandbox and --profile exclude each other.")
    settings = Settings.from_env(profile=given.get("profile"))
    profile = Profile.of(settings)
    choice = Choice(
        **some("name", "sandbox", "read_only", "approval", "profile", "files_root"),  # type: ignore[arg-type]  # argparse checks them
        key_is_stored=profile is not None and profile.path.is_file(),
    )
    order = Order(choice=choice, **some("hosts", "all", "scope", "remove", "print", "dry_run", "yes", "json"))  # type: ignore[arg-type]
    return run(order, settings.state_dir, Machine(Path.home()))
