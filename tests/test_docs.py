"""The documents say what is so: their commands run, their links lead somewhere, their tables are complete."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from runtype_mcp import __version__
from runtype_mcp.hosts.table import HOSTS
from runtype_mcp.setting_variables import VARIABLES
from runtype_mcp.tools import SPECS
from scripts import docs_site
from tests import docs_pages
from tests.processes import TIMEOUT, environment, run
from tests.support import LEGACY, Api, stdio_client

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = TEXTS["README.md"]
LLMS = (ROOT / "llms.txt").read_text("utf-8")
PACKAGE = [ast.parse(path.read_text("utf-8")) for path in (ROOT / "runtype_mcp").rglob("*.py")]

# Commands that test_first_steps.py runs as a new user does, and .ci/run.
RUN_IN_A_FRESH_COPY = ("python3 -m venv", "source .venv")
# Of this page, what is not ours is run by tests/deploy/test_teams_page.py.
RUN_ELSEWHERE = "docs/teams.md"
# Commands of other programs: only the part that is ours is run.
OTHERS = ("claude mcp add",)
# Commands of other programs that take the checkout, which is described by files that tests/scripts looks at.
TAKE_THE_CHECKOUT = ("claude plugin", "gemini extensions", "python -m scripts.")


def blocks(language: str) -> list[tuple[str, str]]:
    """The page and the text of each block of a language."""
    pattern = re.compile(rf"^( *)```{language}\n(.*?)^\1```", re.M | re.S)
    return [(page, found[2]) for page, text in TEXTS.items() for found in pattern.finditer(text)]


def commands() -> list[str]:
    pages = [block for page, block in blocks("sh") if page != RUN_ELSEWHERE]
    ours = [line for page, block in blocks("sh") if page == RUN_ELSEWHERE for line in block.splitlines()]
    lines = [line.strip() for block in pages for line in block.splitlines()]
    lines += [line for line in ours if line.startswith("runtype-mcp ")]
    return sorted({line for line in lines if not line.startswith(RUN_IN_A_FRESH_COPY)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_llms_txt_names_every_page_once() -> None:
    assert sorted(re.findall(r"^- \[[^\]]+\]\((docs/[^)]+)\): ", LLMS, re.M)) == sorted(p for p in TEXTS if "/" in p)
    assert LLMS.startswith("# runtype-mcp\n\n> ")


def test_the_site_has_every_page_once() -> None:
    def pages(items: list[dict[str, Any]]) -> list[str]:
        values = [value for item in items for value in item.values()]
        return [page for value in values for page in ([value] if isinstance(value, str) else pages(value))]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert sorted(pages(site["nav"])) == sorted(path.name for path in DOCS.glob("*.md"))
    assert site["strict"] is True
    assert all((DOCS / site["theme"][name]).is_file() for name in ("logo", "favicon"))


def test_on_the_site_no_link_leaves_the_pages() -> None:
    for name, text in TEXTS.items():
        if name.startswith("docs/"):
            assert "](../" not in docs_site.on_page_markdown(text)
    assert docs_site.on_page_markdown("[a](../b.md) [c](d.md)") == "a [c](d.md)"


@pytest.mark.parametrize("command", commands())
def test_every_command_in_a_block_is_one(command: str, tmp_path: Path) -> None:
    words = command.split()
    if command.startswith(OTHERS):
        assert words[-1].endswith(".venv/bin/runtype-mcp")
        return
    if command.startswith(TAKE_THE_CHECKOUT):
        paths = [word for word in words if word.startswith("/")]
        assert all(path == "/path/to/runtype-mcp" for path in paths)
        return
    assert words[0] == "runtype-mcp"
    log = tmp_path / "audit.jsonl"
    log.touch(mode=0o600)
    fill = {"8765": "0", "8766": "0", "audit.jsonl": str(log), "sandbox.json": str(tmp_path / "sandbox.json")}
    fill |= {"https://mcp.example/mcp": "http://127.0.0.1:1/mcp"}  # where nobody answers
    arguments = [fill.get(word, word) for word in words[1:]]
    if words[1] in ("install", "uninstall"):
        arguments.append("--yes")  # a person answers
    process = subprocess.Popen(
        [sys.executable, "-m", "runtype_mcp", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(CI="true", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "config")),
    )
    if words[1] in ("http", "sandbox"):  # these serve until they are stopped
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=TIMEOUT)
        return
    _, errors = process.communicate(timeout=TIMEOUT)
    # Two insist on a terminal, and here nobody types a key.
    alone = ("approve", "console", "login", "whoami", "doctor", "logout")
    expected = 1 if words[1] in alone or "--url" in words else 0
    assert process.returncode == expected, errors


def spans(page: Path) -> list[str]:
    """The commands that stand inside sentences and tables."""
    return re.findall(
        r"`((?:runtype-mcp|python -m|\.venv/bin/\w+|bash) [^`]+|\.venv/bin/\w+)`", page.read_text("utf-8")
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_inside_a_sentence_exists(page: Path) -> None:
    extras = PROJECT["optional-dependencies"]
    tools = {re.split("[^a-z-]", need)[0].removesuffix("-material") for need in [*extras["test"], *extras["docs"]]}
    for command in re.split(r"\n| && ", "\n".join(spans(page))):
        match command.removeprefix(".venv/bin/").split():
            case ["python", "-m", module, *_]:
                path = ROOT / module.replace(".", "/")
                assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), command
            case ["runtype-mcp", *words]:
                known = run(*[word for word in words if word.islower()], "--help")
                assert known.returncode == 0, command
            case ["bash", script]:
                assert (ROOT / script).is_file()
            case [tool, *_]:
                assert tool in tools, command


@pytest.mark.anyio
async def test_each_configuration_of_a_host_starts_the_server(tmp_path: Path) -> None:
    found = [json.loads(block) for _, block in blocks("json")]
    configs = [config.get("mcpServers") or config.get("servers") for config in found]
    servers = [config["runtype"] for config in configs if config]
    assert len(servers) >= 3
    # What the reader or the host puts there: with a placeholder the server does not start.
    fill = {"RUNTYPE_API_KEY": "rt_test_0123456789", "RUNTYPE_MCP_FILES_ROOT": str(tmp_path)}
    for server in servers:
        assert server["command"].endswith(".venv/bin/runtype-mcp")
        environ = {name: fill[name] for name in server["env"]}
        with anyio.fail_after(TIMEOUT):
            async with stdio_client(server.get("args", []), LEGACY, None, **environ) as model:
                assert (await model.client.list_tools()).tools


def test_the_readme_lists_every_tool_in_order() -> None:
    assert re.findall(r"^\| `(\w+_(?:client|agents)_\w+)` \|", README, re.M) == [spec.name for spec in SPECS]


def test_the_readme_is_short_and_shows_the_terminal() -> None:
    assert len(README.splitlines()) < 120
    assert "](docs/images/demo.svg)" in README


def test_the_pages_name_every_host_that_can_be_installed() -> None:
    for page in ("README.md", "docs/index.md", "docs/clients.md"):
        assert set(re.findall(r"`([a-z-]+)`", TEXTS[page])) >= set(HOSTS) - {"claude-code", "cursor"}, page
        assert "runtype-mcp install c" in TEXTS[page]


def test_the_page_of_clients_and_doctor_agree_on_who_shows_forms() -> None:
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| ([^|]+) \|", TEXTS["docs/clients.md"], re.M)
    told = {name: forms for names, forms in rows for name in re.findall("`([^`]+)`", names)}
    assert told == {host.name: host.forms for host in HOSTS.values()}


def test_the_readmes_settings_are_rows_of_the_whole_table() -> None:
    rows = re.findall(r"^\| `RUNTYPE_\w+` \|.*$", README, re.M)
    assert 3 < len(rows) < len(VARIABLES)
    assert set(rows) <= set(TEXTS["docs/settings.md"].splitlines())


def test_the_settings_are_all_that_the_code_reads() -> None:
    """A prefix alone, such as the one by which variables are found, ends with an underscore."""
    code = "\n".join(ast.unparse(tree) for tree in PACKAGE)
    names = {name for name in re.findall(r"\bRUNTYPE_\w+\b", code) if not name.endswith("_")}
    assert names - set(VARIABLES) == {
        "RUNTYPE_CLIENT_TOKEN",  # the variable of an env file in examples
        "RUNTYPE_MCP_FRONT",  # a name of before
        "RUNTYPE_MCP_TOKEN",  # of `call --url`, which is no server
    }


# The pages that are generated


def test_the_page_of_tools_is_what_the_calls_answer(api: Api, tmp_path: Path) -> None:
    made = docs_pages.pages(api, tmp_path)["tools.md"]()
    assert made == TEXTS["docs/tools.md"], "run `python -m tests.docs_pages`"
    assert re.findall(r"^## `(\w+)`$", made, re.M) == [spec.name for spec in SPECS]


def test_the_page_of_settings_is_what_the_code_has() -> None:
    assert docs_pages.settings_page() == TEXTS["docs/settings.md"], "run `python -m tests.docs_pages`"


def test_the_picture_is_what_the_demo_prints() -> None:
    picture = (DOCS / "images/demo.svg").read_text("utf-8")
    assert docs_pages.same_picture(docs_pages.terminal_picture(), picture), "run `python -m tests.docs_pages`"
    assert not re.search(r"url\((?!#)|@import|href=|<script", picture)  # it loads nothing
    assert (DOCS / "images/icon.svg").read_bytes() == (ROOT / "icon.svg").read_bytes()


# Troubleshooting


def texts() -> set[str]:
    """Every text in the code. What is filled in is …"""
    found = set()
    for tree in PACKAGE:
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)):
                    found.add(text)
                case ast.JoinedStr(values=parts):
                    found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts))
    return found


def test_each_heading_of_troubleshooting_is_a_text_that_the_code_can_produce() -> None:
    page, produced = TEXTS["docs/troubleshooting.md"], texts()
    headings = re.findall(r"^### (.+)$", page, re.M)
    assert len(headings) > 20
    assert len(set(headings)) == len(headings)
    for heading in headings:
        variable, _, problem = heading.partition(" ")
        # A setting's problem is put behind its name.
        wanted = (heading, problem) if variable in VARIABLES else (heading,)
        assert any(words in text for words in wanted for text in produced), heading


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert PROJECT["dynamic"] == ["version"]


def test_each_of_the_forty_checks_is_shown_by_a_test_that_exists() -> None:
    rows = re.findall(
        r"^\| (\d+) \|.*\| \[(test_\w+)\]\(\.\./([\w/.]+)\) \|$", (ROOT / "docs/tool-design.md").read_text(), re.M
    )
    assert [int(number) for number, _, _ in rows] == list(range(1, 41))
    for _, name, file in rows:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{name} is not in {file}"
