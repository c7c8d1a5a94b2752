"""Env files: one variable changes, every other byte stays, and nothing is written anywhere else."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtype_mcp.storage import env_file, files
from runtype_mcp.storage.env_file import EnvFileError, Written, check, same_value, values, write
from tests.storage.test_audit_log import race

NEW = "ct_live_0123456789abcdef"
OLD = "ct_live_fedcba9876543210"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# What changes in the file

EDITS: dict[str, tuple[bytes, bytes]] = {
    "no file content": (b"", b"TOKEN=NEW\n"),
    "only another variable": (b"A=1\n", b"A=1\nTOKEN=NEW\n"),
    "no last line end": (b"A=1", b"A=1\nTOKEN=NEW\n"),
    "crlf": (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\nTOKEN=NEW\r\n"),
    "crlf and no last line end": (b"A=1\r\nB=2", b"A=1\r\nB=2\r\nTOKEN=NEW\r\n"),
    "cr": (b"A=1\rB=2\r", b"A=1\rB=2\rTOKEN=NEW\r"),
    "blank lines at the end": (b"A=1\n\n\n", b"A=1\n\n\nTOKEN=NEW\n"),
    "replaced in place": (b"A=1\nTOKEN=OLD\nB=2\n", b"A=1\nTOKEN=NEW\nB=2\n"),
    "replaced in crlf": (b"A=1\r\nTOKEN=OLD\r\nB=2\r\n", b"A=1\r\nTOKEN=NEW\r\nB=2\r\n"),
    "replaced in cr": (b"A=1\rTOKEN=OLD\rB=2\r", b"A=1\rTOKEN=NEW\rB=2\r"),
    "replaced in mixed line ends": (b"A=1\r\nTOKEN=OLD\nB=2\r", b"A=1\r\nTOKEN=NEW\nB=2\r"),
    "replaced in a last line without end": (b"A=1\nTOKEN=OLD", b"A=1\nTOKEN=NEW"),
    "empty before": (b"TOKEN=\nA=1\n", b"TOKEN=NEW\nA=1\n"),
    "spaces around": (b"  TOKEN =  OLD  \n", b"  TOKEN =  NEW  \n"),
    "export": (b"export TOKEN=OLD\nexport\tA=1\n", b"export TOKEN=NEW\nexport\tA=1\n"),
    "double quotes": (b'TOKEN="OLD"\n', b"TOKEN=NEW\n"),
    "single quotes": (b"TOKEN='OLD'\n", b"TOKEN=NEW\n"),
    "backticks": (b"TOKEN=`OLD`\n", b"TOKEN=NEW\n"),
    "quotes and a comment": (b"TOKEN='OLD' # ours\n", b"TOKEN=NEW # ours\n"),
    "quotes and a comment right after": (b"TOKEN='OLD'# ours\n", b"TOKEN=NEW # ours\n"),
    "a comment": (b"TOKEN=OLD # ours\n", b"TOKEN=NEW # ours\n"),
    "a comment and no value": (b"TOKEN= # ours\n", b"TOKEN=NEW # ours\n"),
    "a hash in the value": (b"TOKEN=OLD#1 2 #3\n", b"TOKEN=NEW #3\n"),
    "a hash first in the value": (b"TOKEN=#OLD\n", b"TOKEN=NEW\n"),
    "an equals sign in the value": (b"TOKEN==OLD=\n", b"TOKEN=NEW\n"),
    "words": (b"TOKEN=OLD and more\n", b"TOKEN=NEW\n"),
    "text after the quotes": (b"TOKEN='OLD'OLD\n", b"TOKEN=NEW\n"),
    "an open quote": (b"TOKEN='OLD\nA=1\n", b"TOKEN=NEW\nA=1\n"),
    "an open quote elsewhere": (b"A='x\nTOKEN=OLD\nB=2\n", b"A='x\nTOKEN=NEW\nB=2\n"),
    "an apostrophe": (b"A=Bob's\nTOKEN=OLD\nB=it's\n", b"A=Bob's\nTOKEN=NEW\nB=it's\n"),
    "a form feed in the value": (b"TOKEN=OLD\fOLD\n", b"TOKEN=NEW\n"),
    "twice": (b"TOKEN=OLD\nA=1\nexport TOKEN='OLD'\n", b"TOKEN=NEW\nA=1\nexport TOKEN=NEW\n"),
    "commented out": (b"#TOKEN=OLD\n # TOKEN=OLD\n", b"#TOKEN=OLD\n # TOKEN=OLD\nTOKEN=NEW\n"),
    "commented out and active": (b"# TOKEN='OLD\nTOKEN=OLD\n", b"# TOKEN='OLD\nTOKEN=NEW\n"),
    "longer and shorter names": (b"MY_TOKEN=1\nTOKEN2=2\ntoken=3\n", b"MY_TOKEN=1\nTOKEN2=2\ntoken=3\nTOKEN=NEW\n"),
    "a name in a value": (b"A=TOKEN=OLD\n", b"A=TOKEN=OLD\nTOKEN=NEW\n"),
    "lines that assign nothing": (b"set -a\nTOKEN=OLD\nX\n$ = #\n", b"set -a\nTOKEN=NEW\nX\n$ = #\n"),
    "own value over lines": (b'TOKEN="OLD\nOLD"\nA=1\n', b"TOKEN=NEW\nA=1\n"),
    "own value over crlf lines": (b'TOKEN="OLD\r\nOLD" # c\r\nA=1\r\n', b"TOKEN=NEW # c\r\nA=1\r\n"),
    "inside double quotes": (b'A="x\nTOKEN=OLD\n"\n', b'A="x\nTOKEN=OLD\n"\nTOKEN=NEW\n'),
    "inside single quotes": (b"A='x\nTOKEN=OLD\n'\n", b"A='x\nTOKEN=OLD\n'\nTOKEN=NEW\n"),
    "inside and outside": (b'A="x\nTOKEN=OLD\n"\nTOKEN=OLD\n', b'A="x\nTOKEN=OLD\n"\nTOKEN=NEW\n'),
    "inside with an escaped quote": (
        b'A="x \\" y\nTOKEN=OLD\n"\nTOKEN=OLD\n',
        b'A="x \\" y\nTOKEN=OLD\n"\nTOKEN=NEW\n',
    ),
    "inside with other quotes": (b'A="it\'s\nTOKEN=OLD\n"\n', b'A="it\'s\nTOKEN=OLD\n"\nTOKEN=NEW\n'),
    "quotes closed with text after": (b'A="x"y\nTOKEN=OLD\n', b'A="x"y\nTOKEN=NEW\n'),
    "a byte order mark": (b"\xef\xbb\xbfTOKEN=OLD\n", b"\xef\xbb\xbfTOKEN=NEW\n"),
    "a byte order mark alone": (b"\xef\xbb\xbf", b"\xef\xbb\xbfTOKEN=NEW\n"),
    "any alphabet": ("A=客服 é\nTOKEN=OLD\n".encode(), "A=客服 é\nTOKEN=NEW\n".encode()),
}


@pytest.mark.parametrize(("before", "after"), EDITS.values(), ids=EDITS)
def test_one_variable_changes_and_every_other_byte_stays(root: Path, before: bytes, after: bytes) -> None:
    before, after = (text.replace(b"OLD", OLD.encode()).replace(b"NEW", NEW.encode()) for text in (before, after))
    target = root / ".env"
    target.write_bytes(before)
    target.chmod(0o600)
    appended = after.count(NEW.encode()) == 1 and len(after) > len(before) and after.startswith(before)
    assert check(root, ".env", "TOKEN") == target
    assert target.read_bytes() == before
    assert write(root, ".env", "TOKEN", NEW) == Written(".env", "TOKEN", False, not appended, None, None)
    assert target.read_bytes() == after
    assert values(root, ".env", "TOKEN")[-1] == NEW


AMBIGUOUS: dict[str, bytes] = {
    "only a shell ends the value at a backslash": b"A='C:\\'\nTOKEN=OLD\nB='\n",
    "only Node knows backticks": b"A=`x\nTOKEN=OLD\n`\n",
    "the name alone": b"TOKEN=OLD\nTOKEN\n",
    "the name and a colon": b"TOKEN: OLD\n",
    "a quote outside a value": b"A='x'\n'TOKEN' = OLD\n",
    "a name that only some readers allow": b"A/B='x\nTOKEN=OLD\n'\n",
    "an apostrophe comes first": b"A='tis\nTOKEN=OLD\nB='x'\n",
    "a backslash ends a single-quoted value": b"A='C:\\'\nTOKEN=OLD\nB='x'\n",
    "an escaped backslash ends a double-quoted value": b'A="C:\\\\"\nTOKEN=OLD\nB="x"\n',
    "an open quote pairs up anew once the others are gone": (b"""A="\r\nA="'\r\nTOKEN="TOKEN=A=" # B='\\A=\""""),
    "an open quote would pair up anew": b'A="x\nTOKEN="OLD"\nB="\n',
    "an open quote would pair up in another value": b'A="x\nTOKEN="OLD"\nB="y"\n',
}


@pytest.mark.parametrize("before", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_file_that_readers_understand_differently_is_refused(root: Path, before: bytes) -> None:
    (root / ".env").write_bytes(before)
    for act in (check, partial(write, value=NEW)):
        with pytest.raises(EnvFileError, match="more than one way"):
            act(root, ".env", "TOKEN")
    assert (root / ".env").read_bytes() == before
    assert listed(root) == [".env"]


LINE_ENDS = st.sampled_from(["\n", "\r\n"])
VALUES = st.text(st.characters(exclude_characters="'\"`\\\r\n\0", exclude_categories=["Cs"]), max_size=12)
INSIDE = st.lists(st.one_of(VALUES, VALUES.map("TOKEN={}".format), VALUES.map("# {}".format)), max_size=3)
OTHERS = st.one_of(
    VALUES.map("# {}".format),
    st.just(""),
    st.builds("{}{}={}".format, st.sampled_from(["", " ", "export "]), st.sampled_from(["A", "TOKENS"]), VALUES),
    st.builds("B={0}{1}{0}".format, st.sampled_from("'\""), st.builds(str.join, LINE_ENDS, INSIDE)),
)
OWN = st.builds(
    lambda prefix, quote, tail: (f"{prefix}TOKEN=", quote, tail),
    st.sampled_from(["", "\t", "export "]),
    st.sampled_from(["", "'", '"']),
    st.sampled_from(["", "  ", " # note"]),
)


@given(st.lists(st.one_of(OTHERS, OWN), max_size=8), LINE_ENDS, st.booleans())
def test_whatever_else_a_file_holds_is_kept_byte_for_byte(
    lines: list[str | tuple[str, str, str]], end: str, closed: bool
) -> None:
    def text(value: Callable[[str], str]) -> bytes:
        shown = [line if isinstance(line, str) else line[0] + value(line[1]) + line[2] for line in lines]
        return (end.join(shown) + (end if closed else "")).encode()

    before, after = text(lambda quote: f"{quote}{OLD}{quote}"), text(lambda _: NEW)
    if not any(isinstance(line, tuple) for line in lines):
        gap = "" if not before or before.endswith((b"\n", b"\r")) else "?"
        first = before.find(b"\n")
        eol = b"\r\n" if first > 0 and before[first - 1 : first] == b"\r" else b"\n"
        after = before + (eol if gap else b"") + f"TOKEN={NEW}".encode() + eol
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, ".env")
        target.write_bytes(before)
        write(Path(folder), ".env", "TOKEN", NEW)
        assert target.read_bytes() == after


@given(st.text(st.sampled_from("TA='\"`\\#\n\r \té="), max_size=30).map(lambda text: text.replace("T", "TOKEN")))
def test_any_text_is_refused_or_holds_the_value_afterwards(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, ".env")
        target.write_bytes(text.encode())
        try:
            check(Path(folder), ".env", "TOKEN")
        except EnvFileError:
            with pytest.raises(EnvFileError):
                write(Path(folder), ".env", "TOKEN", NEW)
            assert target.read_bytes() == text.encode()
            return
        write(Path(folder), ".env", "TOKEN", NEW)
        once = target.read_bytes()
        assert values(Path(folder), ".env", "TOKEN")[-1] == NEW
        assert write(Path(folder), ".env", "TOKEN", NEW).replaced
        assert target.read_bytes() == once


@pytest.mark.parametrize(
    "unit", [b'A="\\', b"A='", b'A="\\\n', b"A=\\'", b'A="x" ', b"A= ", b"A ", b'\\"', b"TOKEN='\\"]
)
def test_a_hostile_file_costs_little_time(root: Path, unit: bytes) -> None:
    """A reading that is not linear in the file's size would take hours here."""
    (root / ".env").write_bytes(b"\n".join([unit * 5_000, *[unit] * 5_000]))
    with suppress(EnvFileError):  # some of these are ambiguous
        check(root, ".env", "TOKEN")
    assert listed(root) == [".env"]


# Which files

NAMES = [".env", ".env.local", ".env.production.local", "prod.env", "a b.env", "*.env", "-rf.env", "-.env"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["", "apps/web/", "./apps/./web//"])
def test_a_new_env_file_is_created_private(root: Path, folder: str, name: str) -> None:
    (root / "apps" / "web").mkdir(parents=True)
    where = "apps/web/" if folder else ""
    assert check(root, folder + name, "TOKEN") == root / where / name
    assert not (root / where / name).exists()
    assert write(root, folder + name, "TOKEN", NEW) == Written(where + name, "TOKEN", True, False, None, None)
    assert (root / where / name).read_text() == f"TOKEN={NEW}\n"
    assert stat.S_IMODE((root / where / name).stat().st_mode) == 0o600
    assert len(listed(root)) == 3


REFUSED_PATHS = {
    "": "Only env files",
    ".": "Only env files",
    "main.py": "Only env files",
    ".bashrc": "Only env files",
    ".envrc": "Only env files",
    ".env~": "Only env files",
    ".ENV": "Only env files",
    "env": "Only env files",
    ".ssh/authorized_keys": "Only env files",
    ".env/config": "Only env files",
    "../.env": r"'\.\.'",
    "apps/../.env": r"'\.\.'",
    "apps/../../.env": r"'\.\.'",
    "../project/.env": r"'\.\.'",
    "/etc/prod.env": "outside the allowed folder",
    "/../.env": "outside the allowed folder",
    "//x/.env": "outside the allowed folder",
    ".git/.env": r"\.git",
    ".GIT/x.env": r"\.git",
    "apps/.git/hooks/.env": r"\.git",
    "a\n.env": "characters",
    "a\0.env": "characters",
    "a\u202e.env": "characters",
    "a\ud800.env": "characters",
    "missing/.env": "No such file",
    "file/.env": "not a folder",
    "x" * 300 + ".env": "too long",
}


ACTIONS: dict[str, Callable[[Path, str], object]] = {
    "check": lambda root, path: check(root, path, "TOKEN"),
    "write": lambda root, path: write(root, path, "TOKEN", NEW),
    "values": lambda root, path: values(root, path, "TOKEN"),
    "same_value": lambda root, path: same_value(root, path, "TOKEN", NEW),
}


@pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize(("path", "says"), REFUSED_PATHS.items(), ids=map(repr, REFUSED_PATHS))
def test_a_path_that_is_not_an_env_file_below_the_folder_is_refused(
    root: Path, path: str, says: str, act: Callable[[Path, str], object]
) -> None:
    for folder in (".git", "apps", "apps/.git/hooks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "file").write_text("")
    before = listed(root.parent)
    with pytest.raises(EnvFileError, match=says) as caught:
        act(root, path)
    assert "Nothing was written" in str(caught.value)
    assert listed(root.parent) == before


def test_an_absolute_path_below_the_folder_is_the_same_file(root: Path) -> None:
    assert write(root, str(root / ".env"), "TOKEN", NEW).path == ".env"
    link = root.with_name("link")
    link.symlink_to(root)
    assert write(link, str(link / ".env"), "TOKEN", OLD).path == ".env"
    assert write(link, str(root / ".env"), "TOKEN", NEW).path == ".env"
    assert (root / ".env").read_text() == f"TOKEN={NEW}\n"


def test_a_sibling_whose_name_begins_alike_is_outside(root: Path) -> None:
    root.with_name("project2").mkdir()
    with pytest.raises(EnvFileError, match="outside"):
        write(root, str(root) + "2/.env", "TOKEN", NEW)


def test_an_allowed_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match="No such file"):
        check(tmp_path / "none", ".env", "TOKEN")


@pytest.mark.parametrize("component", ["a", "a/b", "a/b/c", "a/b/c/.env"])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)
def test_a_symbolic_link_anywhere_in_the_path_is_refused(
    root: Path, component: str, inside: bool, act: Callable[[Path, str], object]
) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/.env").write_text("A=1\n")
    link = root / component
    real = (root if inside else root.parent) / "real"
    link.rename(real)
    link.symlink_to(real)
    before = listed(root.parent)
    with pytest.raises(EnvFileError, match="symbolic link"):
        act(root, "a/b/c/.env")
    assert listed(root.parent) == before
    assert (root / "a/b/c/.env").read_text() == "A=1\n"


def test_a_dangling_link_does_not_create_its_target(root: Path) -> None:
    (root / ".env").symlink_to(root.parent / "elsewhere")
    with pytest.raises(EnvFileError, match="symbolic link"):
        write(root, ".env", "TOKEN", NEW)
    assert not (root.parent / "elsewhere").exists()


def as_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


TARGETS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (as_a_pipe, "not a regular file"),
    "a folder": (as_a_folder, "not a regular file"),
    "a hard link": (lambda path: os.link(path, path.with_name("other")), "hard link"),
    "read-only": (lambda path: path.chmod(0o400), "read-only"),
    "too large": (lambda path: path.write_bytes(b"#" * (1024 * 1024 + 1)), "larger than 1 MiB"),
    "full": (lambda path: path.write_bytes(b"#" * 1024 * 1024), "beyond 1 MiB"),
    "latin-1": (lambda path: path.write_bytes(b"A=\xe9\n"), "not UTF-8"),
    "utf-16": (lambda path: path.write_bytes("A=1\n".encode("utf-16-le")), "not a text file"),
}


@pytest.mark.parametrize(("make", "says"), TARGETS.values(), ids=TARGETS)
def test_a_file_that_must_not_be_replaced_is_refused(root: Path, make: Callable[[Path], object], says: str) -> None:
    (root / ".env").write_text("A=1\n")
    make(root / ".env")
    before = listed(root)
    for act in (check, partial(write, value=NEW)):
        with pytest.raises(EnvFileError, match=says):
            act(root, ".env", "TOKEN")
    assert listed(root) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no owners there")
def test_a_file_of_another_user_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".env").write_text("A=1\n")
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(EnvFileError, match="another user"):
        check(root, ".env", "TOKEN")


@pytest.mark.parametrize("variable", ["", "1A", "A-B", "A.B", "A B", "A=B", "É", "A\n", "A" * 65, "A\0"])
def test_a_name_that_no_variable_has_is_refused(root: Path, variable: str) -> None:
    for act in (check, values, partial(write, value=NEW), partial(same_value, value=NEW)):
        with pytest.raises(EnvFileError, match="not a variable name"):
            act(root, ".env", variable)
    assert listed(root) == []


VALUES_REFUSED = [
    "",
    "a\nB=1",
    "a\rb",
    "a'b",
    'a"b',
    "a`b",
    "a\\b",
    "a b",
    "a\tb",
    "a#b",
    "$(id)",
    "a;b",
    "a\0",
    "é",
    "~",
]


@pytest.mark.parametrize("value", [*VALUES_REFUSED, "x" * 513])
def test_a_value_that_could_be_read_as_anything_else_is_refused(root: Path, value: str) -> None:
    with pytest.raises(EnvFileError, match="cannot hold safely") as caught:
        write(root, ".env", "TOKEN", value)
    assert not value or value not in str(caught.value)
    assert listed(root) == []


# Rights, room and races


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_file_that_others_could_read_is_tightened_and_reported(root: Path, mode: int) -> None:
    (root / ".env").write_text("A=1\n")
    (root / ".env").chmod(mode)
    assert write(root, ".env", "TOKEN", NEW).warning == (
        f".env could be read by others (mode {mode:04o}); it is now 0600."
    )
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600
    assert write(root, ".env", "TOKEN", OLD).warning is None


def test_a_full_disk_is_found_before_a_value_is_made(root: Path) -> None:
    (root / ".env").write_text("A=1\n" * 100)
    script = """
        import resource, signal, sys
        from pathlib import Path
        from runtype_mcp.storage.env_file import EnvFileError, check, write
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (410, 410))
        # go
        for act in (check, lambda *path: write(*path, sys.argv[3])):
            try:
                act(Path(sys.argv[2]), ".env", "TOKEN")
            except EnvFileError as error:
                print(error)
    """
    (said,) = race(script, 1, root, NEW)
    assert said.count("Nothing was written") == 2
    assert NEW not in said
    assert (root / ".env").read_text() == "A=1\n" * 100
    assert listed(root) == [".env"]


@pytest.mark.parametrize("broken", ["replace", "fsync", "write"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (root / ".env").write_text(f"TOKEN={OLD}\n")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(EnvFileError, match="Input/output error"):
        write(root, ".env", "TOKEN", NEW)
    monkeypatch.undo()
    assert listed(root) == [".env"]
    assert values(root, ".env", "TOKEN") == [OLD]


def test_a_value_in_place_is_reported_even_if_the_folder_cannot_be_synced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(22, "Invalid argument")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    assert write(root, ".env", "TOKEN", NEW).created
    assert values(root, ".env", "TOKEN")[-1] == NEW


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something after the file was read and before it is replaced."""
    real = env_file.create_private  # type: ignore[attr-defined]  # patched where it is used

    def create(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        act()

    monkeypatch.setattr(env_file, "create_private", create)


def test_a_change_by_another_program_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = root / ".env"
    target.write_text("A=1\n")
    changes = iter([lambda: target.write_text("A=2\n")])
    between(monkeypatch, lambda: next(changes, lambda: None)())
    write(root, ".env", "TOKEN", NEW)
    assert target.read_text() == f"A=2\nTOKEN={NEW}\n"
    assert listed(root) == [".env"]


@pytest.mark.parametrize("existed", [True, False])
def test_a_file_that_keeps_changing_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch, existed: bool) -> None:
    target = root / ".env"
    if existed:
        target.write_text("")
    texts = iter("abcdef")
    between(monkeypatch, lambda: target.write_text(next(texts)))
    with pytest.raises(EnvFileError, match="keeps being changed"):
        write(root, ".env", "TOKEN", NEW)
    assert target.read_text() == "b"
    assert listed(root) == [".env"]


def test_a_file_that_becomes_a_link_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = root.parent / "victim"
    victim.write_text("kept")
    (root / ".env").write_text("A=1\n")

    def swap() -> None:
        (root / ".env").unlink()
        (root / ".env").symlink_to(victim)

    between(monkeypatch, swap)
    with pytest.raises(EnvFileError, match="symbolic link"):
        write(root, ".env", "TOKEN", NEW)
    assert victim.read_text() == "kept"
    assert listed(root) == [".env"]


@pytest.mark.parametrize("moment", ["before it is read", "before it is replaced"])
def test_a_folder_that_is_swapped_for_a_link_does_not_lead_outside(
    root: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (root / "app").mkdir()
    (root / "app/.env").write_text("A=1\n")

    def swap() -> None:
        if not (root / "app").is_symlink():
            (root / "app").rename(root / "moved")
            (root / "app").symlink_to(outside)

    if moment == "before it is replaced":
        between(monkeypatch, swap)
    else:
        real = files.opened

        def opened(*args: Any, **kwargs: Any) -> Any:
            swap()
            return real(*args, **kwargs)

        monkeypatch.setattr(env_file, "opened", opened)
    write(root, "app/.env", "TOKEN", NEW)
    assert listed(outside) == []
    assert (root / "moved/.env").read_text() == f"A=1\nTOKEN={NEW}\n"


def test_servers_that_write_at_once_lose_no_variable(root: Path) -> None:
    (root / ".env").write_text("A=1\n")
    script = """
        import sys
        from pathlib import Path
        from runtype_mcp.storage.env_file import write
        # go
        for turn in range(10):
            write(Path(sys.argv[2]), ".env", f"TOKEN_{sys.argv[1]}_{turn}", "v")
    """
    race(script, 3, root)
    assert sorted((root / ".env").read_text().split()) == [
        "A=1",
        *(f"TOKEN_{by}_{turn}=v" for by in range(3) for turn in range(10)),
    ]
    assert listed(root) == [".env"]


def test_a_lock_that_nobody_gives_back_is_an_error_and_not_a_hang(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_file, "exclusive", partial(files.exclusive, seconds=0.02))
    fd = os.open(root, os.O_RDONLY)
    try:
        with files.exclusive(fd), pytest.raises(EnvFileError, match="keeps it locked"):
            write(root, ".env", "TOKEN", NEW)
    finally:
        os.close(fd)
    assert listed(root) == []


def test_a_folder_that_cannot_be_locked_is_written_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(files, "_lock", no_locks)
    assert write(root, ".env", "TOKEN", NEW).created


def test_without_descriptor_calls_the_rules_are_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(os, "supports_dir_fd", set[Any]())
    (root / "app").mkdir()
    assert check(root, "app/.env", "TOKEN") == root / "app/.env"
    assert write(root, "app/.env", "TOKEN", NEW).created
    assert write(root, "app/.env", "TOKEN", OLD).replaced
    assert values(root, "app/.env", "TOKEN") == [OLD]
    (root / "link").symlink_to(root / "app")
    (root / "app/x.env").symlink_to(root / "app/.env")
    for path in ("link/.env", "app/x.env"):
        with pytest.raises(EnvFileError, match="symbolic link"):
            write(root, path, "TOKEN", NEW)
    assert (root / "app/.env").read_text() == f"TOKEN={OLD}\n"


# Comparing


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("TOKEN=a\n", "a"),
        ("TOKEN=a\nTOKEN=b\n", "b"),
        ("export TOKEN = 'a b' # c\n", "a b"),
        ('TOKEN="a\nb"\n', "a\nb"),
        ("TOKEN=a b # c\n", "a b"),
        ("TOKEN=\n", ""),
        ("TOKEN=é\n", "é"),
        ("# TOKEN=a\n", None),
        ("", None),
    ],
)
def test_the_last_assignment_is_the_value(root: Path, content: str, value: str | None) -> None:
    (root / ".env").write_text(content)
    assert values(root, ".env", "TOKEN")[-1:] == ([] if value is None else [value])
    assert same_value(root, ".env", "TOKEN", "another") is (None if value is None else False)
    if value is not None:
        assert same_value(root, ".env", "TOKEN", value) is True


def test_a_file_that_does_not_exist_holds_nothing(root: Path) -> None:
    assert values(root, ".env", "TOKEN") == []
    assert same_value(root, ".env", "TOKEN", NEW) is None


# Git


@pytest.fixture
def repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    monkeypatch.setenv("HOME", str(root.parent))  # no global ignore rules
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    git(root, "init", "-q")
    (root / ".gitignore").write_text(".env\n")
    (root / "app").mkdir()
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("path", [".env", "app/.env"])
def test_an_ignored_file_needs_no_warning(repository: Path, path: str) -> None:
    written = write(repository, path, "TOKEN", NEW)
    assert (written.ignored, written.warning) == (True, None)


@pytest.mark.parametrize("path", ["prod.env", "app/.env.local", "*.env", "app/-x.env"])
def test_a_file_that_git_would_commit_is_reported(repository: Path, path: str) -> None:
    written = write(repository, path, "TOKEN", NEW)
    assert written.ignored is False
    assert written.warning == f"Git does not ignore {path}: add it to .gitignore."


def test_a_repository_above_the_allowed_folder_counts(repository: Path) -> None:
    assert write(repository / "app", ".env", "TOKEN", NEW).ignored is True
    assert write(repository / "app", "prod.env", "TOKEN", NEW).ignored is False


@pytest.mark.parametrize("path", [".env", "app/prod.env"])
def test_a_file_that_git_tracks_is_reported_even_if_a_rule_ignores_it(repository: Path, path: str) -> None:
    (repository / path).write_text("A=1\n")
    (repository / path).chmod(0o600)
    git(repository, "add", "-f", path)
    written = write(repository, path, "TOKEN", NEW)
    assert written.ignored is False
    assert written.warning is not None
    assert f"{path} is tracked by git" in written.warning


def test_a_name_with_a_star_stands_for_itself(repository: Path) -> None:
    (repository / "prod.env").write_text("A=1\n")
    git(repository, "add", "prod.env")
    assert write(repository, "*.env", "TOKEN", NEW).warning == "Git does not ignore *.env: add it to .gitignore."


def test_warnings_about_the_mode_and_about_git_are_both_given(repository: Path) -> None:
    (repository / "prod.env").write_text("A=1\n")
    (repository / "prod.env").chmod(0o644)
    warning = write(repository, "prod.env", "TOKEN", NEW).warning
    assert warning == (
        "prod.env could be read by others (mode 0644); it is now 0600. "
        "Git does not ignore prod.env: add it to .gitignore."
    )


def test_variables_that_point_git_elsewhere_are_not_passed_on(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository.parent / "none"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository))
    assert write(repository, "app/.env", "TOKEN", NEW).ignored is True


def test_a_program_that_the_repository_names_is_not_run(repository: Path) -> None:
    marker = repository / "ran"
    program = repository / "monitor.sh"
    program.write_text(f"#!/bin/sh\ntouch '{marker}'\n")
    program.chmod(0o700)
    git(repository, "add", ".gitignore")
    git(repository, "config", "core.fsmonitor", str(program))
    git(repository, "ls-files")
    assert marker.exists(), "this git does run it, so the next lines mean something"
    marker.unlink()
    assert write(repository, ".env", "TOKEN", NEW).ignored is True
    assert not marker.exists()


def test_a_git_that_comes_with_the_repository_is_not_run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = repository / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{repository}/ran'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    written = write(repository, ".env", "TOKEN", NEW)
    assert written.ignored is None
    assert written.warning == "It is not known whether git ignores .env: add it to .gitignore."
    assert not (repository / "ran").exists()


def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def slow_git(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 5)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize("fail", [no_git, slow_git])
def test_without_an_answer_from_git_nothing_is_claimed(
    repository: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[pytest.MonkeyPatch], None]
) -> None:
    fail(monkeypatch)
    written = write(repository, ".env", "TOKEN", NEW)
    assert written.ignored is None
    assert written.warning is not None
    assert "not known" in written.warning
    assert values(repository, ".env", "TOKEN") == [NEW]


def test_a_broken_repository_makes_no_claim_either(root: Path) -> None:
    (root / ".git").write_text("nonsense")
    assert write(root, ".env", "TOKEN", NEW).ignored is None
