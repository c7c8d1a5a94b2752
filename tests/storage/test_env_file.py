"""Env files: one variable changes, every other byte stays, and nothing is written anywhere else."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtype_mcp.storage import env_file
from runtype_mcp.storage.env_file import EnvFileError, WouldReplace, Written, same_value
from runtype_mcp.storage.files import lock_directory
from tests.storage.racing import full_disk, race

NEW = "ct_live_0123456789abcdef"
OLD = "ct_live_fedcba9876543210"


def any_value(_: str) -> bool:
    return True


check = partial(env_file.check, replaceable=any_value)
write = partial(env_file.write, replaceable=any_value)


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
    "blank lines at the end": (b"A=1\n\n\n", b"A=1\n\n\nTOKEN=NEW\n"),
    "replaced in place": (b"A=1\nTOKEN=OLD\nB=2\n", b"A=1\nTOKEN=NEW\nB=2\n"),
    "replaced in crlf": (b"A=1\r\nTOKEN=OLD\r\nB=2\r\n", b"A=1\r\nTOKEN=NEW\r\nB=2\r\n"),
    "replaced in mixed line ends": (b"A=1\r\nTOKEN=OLD\nB=2\r", b"A=1\r\nTOKEN=NEW\nB=2\r"),
    "replaced in a last line without end": (b"A=1\nTOKEN=OLD", b"A=1\nTOKEN=NEW"),
    "empty before": (b"TOKEN=\nA=1\n", b"TOKEN=NEW\nA=1\n"),
    "spaces around": (b"  TOKEN =  OLD  \n", b"  TOKEN =  NEW  \n"),
    "export": (b"export TOKEN=OLD\nexport\tA=1\n", b"export TOKEN=NEW\nexport\tA=1\n"),
    "double quotes": (b'TOKEN="OLD"\n', b"TOKEN=NEW\n"),
    "single quotes": (b"TOKEN='OLD'\n", b"TOKEN=NEW\n"),
    "backticks": (b"TOKEN=`OLD`\n", b"TOKEN=NEW\n"),
    "quotes and a comment right after": (b"TOKEN='OLD'# ours\n", b"TOKEN=NEW # ours\n"),
    "a comment": (b"TOKEN=OLD # ours\n", b"TOKEN=NEW # ours\n"),
    "a comment and no value": (b"TOKEN= # ours\n", b"TOKEN=NEW # ours\n"),
    "a hash first in the value": (b"TOKEN=#OLD\n", b"TOKEN=NEW\n"),
    "an equals sign in the value": (b"TOKEN==OLD=\n", b"TOKEN=NEW\n"),
    "words": (b"TOKEN=OLD and more\n", b"TOKEN=NEW\n"),
    "a form feed in the value": (b"TOKEN=OLD\fOLD\n", b"TOKEN=NEW\n"),
    "twice": (b"TOKEN=OLD\nA=1\nexport TOKEN='OLD'\n", b"TOKEN=NEW\nA=1\nexport TOKEN=NEW\n"),
    "commented out": (b"#TOKEN=OLD\n # TOKEN=OLD\n", b"#TOKEN=OLD\n # TOKEN=OLD\nTOKEN=NEW\n"),
    "commented out and active": (b"# TOKEN='OLD\nTOKEN=OLD\n", b"# TOKEN='OLD\nTOKEN=NEW\n"),
    "longer and shorter names": (b"MY_TOKEN=1\nTOKEN2=2\ntoken=3\n", b"MY_TOKEN=1\nTOKEN2=2\ntoken=3\nTOKEN=NEW\n"),
    "a name in a value": (b"A=TOKEN=OLD\n", b"A=TOKEN=OLD\nTOKEN=NEW\n"),
    "lines that assign nothing": (b"set -a\nTOKEN=OLD\nX\n$ = #\n", b"set -a\nTOKEN=NEW\nX\n$ = #\n"),
    "text after the quotes elsewhere": (b'A="x"y\nTOKEN=OLD\n', b'A="x"y\nTOKEN=NEW\n'),
    "quotes in a value": (b'A={"b": "c"}\nTOKEN=OLD\n', b'A={"b": "c"}\nTOKEN=NEW\n'),
    "escapes in double quotes": (b'A="a\\"b\\n C:\\\\D"\nTOKEN=OLD\n', b'A="a\\"b\\n C:\\\\D"\nTOKEN=NEW\n'),
    "a hash and a comment": (b"TOKEN=OLD#1 2 #3\n", b"TOKEN=NEW #3\n"),
    "an escaped backslash at the end": (b"A=C:\\\\\n", b"A=C:\\\\\nTOKEN=NEW\n"),
    "a backslash elsewhere": (b"A=x\\\n\nTOKEN=OLD\n", b"A=x\\\n\nTOKEN=NEW\n"),
    "a comment that ends in a backslash": (b"# C:\\\nTOKEN=OLD\n", b"# C:\\\nTOKEN=NEW\n"),
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
    for probe in (False, True):
        assert check(root, ".env", "TOKEN", probe=probe) == target
    assert target.read_bytes() == before
    written = write(root, ".env", "TOKEN", NEW)
    assert (written.path, written.warning) == (str(target), None)
    assert target.read_bytes() == after
    assert same_value(root, ".env", "TOKEN", NEW) is True


UNCLEAR: dict[str, bytes] = {
    "a value over lines": b'TOKEN="OLD\nOLD"\n',
    "a value over lines elsewhere": b"\xef\xbb\xbfA=1\r\n\r\n3='x\r\n",
    "the variable within a value": b'A="x\nTOKEN=OLD\n"\n',
    "an open quote in a comment that shells read": b"A=# it's\nTOKEN=OLD\n",
    "an apostrophe, which shells take for a quote": b"A=Bob's\nTOKEN=OLD\nB=it's\n",
    "text after the quotes of the value": b"TOKEN='OLD'OLD\n",
    "only Node knows backticks": b"A=`x\nTOKEN=OLD\n`\n",
    "the name alone": b"TOKEN=OLD\nTOKEN\n",
    "the name and a colon": b"TOKEN: OLD\n",
    "the name added to": b"TOKEN+=OLD\n",
    "a quote outside a value": b"A='x'\n'TOKEN' = OLD\n",
    "a name that only some readers allow": b"A/B='x\nTOKEN=OLD\n'\n",
    "a backslash ends a single-quoted value": b"A='C:\\'\nTOKEN=OLD\nB='x'\n",
    "an escaped backslash ends a double-quoted value": b'A="C:\\\\"\nTOKEN=OLD\nB="x"\n',
    "shells join the line to the one before": b"A=x\\\nTOKEN=OLD\n",
    "shells join an added line to the one before": b"A=x\\\n",
    "shells join a line that is not ended": b"A=1\nA=C:\\",
    "shells join the next line to the value": b"TOKEN=OLD\\\nmore\n",
}


@pytest.mark.parametrize("before", UNCLEAR.values(), ids=UNCLEAR)
def test_a_file_that_readers_understand_differently_is_refused(root: Path, before: bytes) -> None:
    (root / ".env").write_bytes(before)
    for act in (check, partial(write, value=NEW)):
        with pytest.raises(EnvFileError, match=r"^Line \d.* of .*/\.env can be read in more than one way") as caught:
            act(root, ".env", "TOKEN")
        assert b"\n3=" not in before or "Line 3 of" in str(caught.value)
    assert (root / ".env").read_bytes() == before
    assert listed(root) == [".env"]


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
        assert same_value(Path(folder), ".env", "TOKEN", NEW) is True
        assert write(Path(folder), ".env", "TOKEN", NEW).replaced == ""
        assert target.read_bytes() == once


SHELL_LINES = [
    *("A=1", "A='x'", 'A="y"', "A=x\\", "A=\\", "A='", "A=x # it's", "A=# it's", "A=x#y", "A= '", ""),
    *("# c\\", "# it's", "TOKEN=old", "export TOKEN='old' # it's", "TOKEN=", "TOKEN=old\\"),
]


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
@given(st.lists(st.sampled_from(SHELL_LINES), max_size=5))
def test_a_shell_finds_the_value_in_every_file_that_is_not_refused(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, ".env")
        target.write_text("\n".join(lines))
        with suppress(EnvFileError):
            write(Path(folder), ".env", "TOKEN", NEW)
            found = subprocess.run(
                ["sh", "-c", '. ./.env; printf %s "$TOKEN"'], cwd=folder, capture_output=True, timeout=30, check=False
            )
            assert found.stdout.decode() == NEW  # a line that was there already may fail for the shell


@pytest.mark.parametrize(
    "unit", [b'A="\\', b"A='", b'A="\\\n', b"A=\\'", b'A="x" ', b"A= ", b"A ", b'\\"', b"TOKEN='\\", b" ", b"A=      "]
)
def test_a_hostile_file_costs_little_time(root: Path, unit: bytes) -> None:
    """A reading that is not linear in the file's size would take hours here."""
    (root / ".env").write_bytes(b"\n".join([unit * 40_000 + b"'", unit * 40_000, *[unit] * 5_000])[:1_000_000])
    with suppress(EnvFileError):  # some of these are not clear
        check(root, ".env", "TOKEN")
    assert listed(root) == [".env"]


# What is lost


@pytest.mark.parametrize(
    ("content", "replaced"),
    [
        ("", ""),
        ("TOKEN=\n", ""),
        (f"TOKEN='{NEW}' # c\nTOKEN=\n", ""),
        (f"TOKEN={OLD}\nTOKEN={NEW}\n", "…3210"),
        (f"TOKEN={OLD}\nTOKEN=hunter2\n", "…3210, …"),
    ],
)
def test_the_result_tells_what_was_lost(root: Path, content: str, replaced: str) -> None:
    (root / ".env").write_text(content)
    assert write(root, ".env", "TOKEN", NEW).replaced == replaced


def test_a_value_that_may_not_be_lost_stays(root: Path) -> None:
    target = root / ".env"
    before = f"TOKEN={OLD}\nTOKEN={NEW}\nA=1\nB=\n"
    target.write_text(before)
    asked: list[str] = []

    def never(value: str) -> bool:
        asked.append(value)
        return False

    for act in (env_file.check, partial(env_file.write, value=NEW)):
        with pytest.raises(
            WouldReplace, match=r"which ends with …3210 and would be lost\. Nothing was written"
        ) as caught:
            act(root, ".env", "TOKEN", replaceable=never)
        assert OLD not in str(caught.value)
    assert asked == [OLD, OLD]
    for variable in "ABC":
        env_file.write(root, ".env", variable, "1", replaceable=never)
    assert target.read_text() == before[:-1] + "1\nC=1\n"
    assert asked == [OLD, OLD], "nothing is lost with the same value, an empty one or none"


# Which files


@pytest.mark.parametrize(
    "name", [".env", ".env.local", ".env.production.local", "prod.env", "a b.env", "*.env", "-rf.env", "-.env"]
)
@pytest.mark.parametrize("folder", ["", "apps/web/", "./apps/./web//"])
def test_a_new_env_file_is_created_private(root: Path, folder: str, name: str) -> None:
    (root / "apps" / "web").mkdir(parents=True)
    target = root / ("apps/web" if folder else "") / name
    assert check(root, folder + name, "TOKEN", probe=True) == target
    assert not target.exists()
    assert write(root, folder + name, "TOKEN", NEW) == Written(str(target), "TOKEN", "", None)
    assert target.read_text() == f"TOKEN={NEW}\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert len(listed(root)) == 3


REFUSED_PATHS = {
    "": "Only env files",
    "main.py": "Only env files",
    ".bashrc": "Only env files",
    ".envrc": "Only env files",
    ".ENV": "Only env files",
    "env": "Only env files",
    ".ssh/authorized_keys": "Only env files",
    ".env/config": "Only env files",
    "../.env": "unprintable",
    "apps/../../.env": "unprintable",
    "../project/.env": "unprintable",
    "/etc/prod.env": "outside the allowed folder",
    "//x/.env": "outside the allowed folder",
    "C:\\Users\\me\\.env": "unprintable",
    "C:/Users/me/.env": "unprintable",
    "app\\.env": "unprintable",
    "x.env:stream.env": "unprintable",
    ".GIT/x.env": "unprintable",
    "apps/.git/hooks/.env": "unprintable",
    "a\n.env": "unprintable",
    "a\0.env": "unprintable",
    "a\u202e.env": "unprintable",
    "a\ud800.env": "unprintable",
    "missing/.env": "No such file",
    "file/.env": "not a folder",
    "x" * 300 + ".env": "too long",
}


ACTIONS: dict[str, Callable[[Path, str], object]] = {
    "check": lambda root, path: check(root, path, "TOKEN"),
    "write": lambda root, path: write(root, path, "TOKEN", NEW),
    "same_value": lambda root, path: same_value(root, path, "TOKEN", NEW),
}


@pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)
@pytest.mark.parametrize(("path", "says"), REFUSED_PATHS.items(), ids=map(repr, REFUSED_PATHS))
def test_a_path_that_is_not_an_env_file_below_the_folder_is_refused(
    root: Path, path: str, says: str, act: Callable[[Path, str], object]
) -> None:
    (root / "apps/.git/hooks").mkdir(parents=True)
    (root / "file").write_text("")
    before = listed(root.parent)
    with pytest.raises(EnvFileError, match=says) as caught:
        act(root, path)
    assert "Nothing was written" in str(caught.value)
    assert listed(root.parent) == before


def test_an_absolute_path_below_the_folder_is_the_same_file(root: Path) -> None:
    target = str(root / ".env")
    link = root.with_name("link")
    link.symlink_to(root)
    for top, path in ((root, target), (link, str(link / ".env")), (link, target)):
        assert write(top, path, "TOKEN", NEW).path == target
    root.with_name("project2").mkdir()
    with pytest.raises(EnvFileError, match="outside"):
        write(root, f"{root}2/.env", "TOKEN", NEW)
    with pytest.raises(EnvFileError, match="No such file"):
        check(root / "none", ".env", "TOKEN")


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


def as_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)


TARGETS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (as_a_pipe, "not a regular file"),
    "a folder": (as_a_folder, "not a regular file"),
    "a link to nothing": (as_a_link_to_nothing, "symbolic link"),
    "a hard link": (lambda path: os.link(path, path.with_name("other")), "hard link"),
    "read-only": (lambda path: path.chmod(0o400), "read-only"),
    "of another user": (of_another_user, "another user"),
    "too large": (lambda path: path.write_bytes(b"#" * (1024 * 1024 + 1)), "larger than 1 MiB"),
    "full": (lambda path: path.write_bytes(b"#" * 1024 * 1024), "beyond 1 MiB"),
    "latin-1": (lambda path: path.write_bytes(b"A=\xe9\n"), "not UTF-8"),
    "utf-16": (lambda path: path.write_bytes("A=1\n".encode("utf-16-le")), "not UTF-8"),
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


@pytest.mark.parametrize("variable", ["", "1A", "A-B", "A B", "A=B", "É", "A\n", "A" * 65, "A\0"])
def test_a_name_that_no_variable_has_is_refused(root: Path, variable: str) -> None:
    for act in (check, partial(write, value=NEW), partial(same_value, value=NEW)):
        with pytest.raises(EnvFileError, match="not a variable name"):
            act(root, ".env", variable)
    assert listed(root) == []


@pytest.mark.parametrize(
    "value",
    ["", "a\nB=1", "a\rb", "a'b", 'a"b', "a`b", "a\\b", "a b", "a#b", "$(id)", "a;b", "a\0", "é", "~", "x" * 513],
)
def test_a_value_that_could_be_read_as_anything_else_is_refused(root: Path, value: str) -> None:
    with pytest.raises(EnvFileError, match="cannot hold safely") as caught:
        write(root, ".env", "TOKEN", value)
    assert not value or value not in str(caught.value)
    assert listed(root) == []


# Rights, room and races


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666])
def test_a_file_that_others_could_read_is_tightened_and_reported(root: Path, mode: int) -> None:
    target = root / ".env"
    target.write_text("A=1\n")
    target.chmod(mode)
    warning = write(root, ".env", "TOKEN", NEW).warning
    assert warning == f"{target} could be read by others (mode {mode:04o}); it is now 0600."
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert write(root, ".env", "TOKEN", OLD).warning is None


def test_a_full_disk_is_found_before_a_value_is_made(root: Path) -> None:
    (root / ".env").write_text("A=1\n" * 100)
    with full_disk(410):
        for act in (partial(check, probe=True), partial(write, value=NEW)):
            with pytest.raises(EnvFileError, match=r"Nothing was written"):
                act(root, ".env", "TOKEN")
        check(root, ".env", "TOKEN")  # does not write, so it cannot know
    assert (root / ".env").read_text() == "A=1\n" * 100
    assert listed(root) == [".env"]


def test_a_folder_that_this_user_may_not_write_to_is_found_without_writing() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below `tmp_path`, which only its owner can enter
        os.chmod(folder, 0o555)
        try:
            if os.geteuid() == 0:
                os.setresuid(65534, 65534, 0)
            with pytest.raises(EnvFileError, match=r"is read-only for this server\. Nothing was written"):
                check(Path(folder), ".env", "TOKEN")
        finally:
            os.setresuid(*[os.getresuid()[2]] * 3)
            os.chmod(folder, 0o755)


@pytest.mark.parametrize("how", ["content", "a new file"])
def test_a_change_by_another_program_is_kept(root: Path, how: str) -> None:
    target = root / ".env"
    target.write_text("TOKEN=0\n")

    def change(_: str) -> bool:
        if how == "a new file":
            target.rename(root / ".env.old")
        target.write_text("TOKEN=1\n")
        return True

    with pytest.raises(EnvFileError, match=r"was just changed by another program\. Nothing was written"):
        env_file.write(root, ".env", "TOKEN", NEW, replaceable=change)
    assert target.read_text() == "TOKEN=1\n"
    assert [name for name in listed(root) if "tmp" in name] == []


@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_what_becomes_a_link_does_not_lead_elsewhere(root: Path, what: str) -> None:
    (root / "app").mkdir()
    (root / "app/.env").write_text("TOKEN=old\n")
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".env").write_text("TOKEN=theirs\n")
    swapped = root / "app" / (".env" if what == "the file" else "")

    def swap(_: str) -> bool:
        swapped.rename(root / "moved")
        swapped.symlink_to(elsewhere / (".env" if what == "the file" else ""))
        return True

    if what == "the file":
        with pytest.raises(EnvFileError, match="symbolic link"):
            env_file.write(root, "app/.env", "TOKEN", NEW, replaceable=swap)
        assert listed(root) == ["app", "app/.env", "moved"]
    else:
        env_file.write(root, "app/.env", "TOKEN", NEW, replaceable=swap)
        assert (root / "moved/.env").read_text() == f"TOKEN={NEW}\n"
    assert (elsewhere / ".env").read_text() == "TOKEN=theirs\n"
    assert listed(elsewhere) == [".env"]


def test_servers_that_write_together_lose_no_variable(root: Path) -> None:
    (root / ".env").write_text("A=1\n")
    script = """
        import sys
        from pathlib import Path
        from runtype_mcp.storage.env_file import write
        top = Path(sys.argv[2])
        # go
        for turn in range(10):
            name = f"TOKEN_{sys.argv[1]}_{turn}"
            write(top, ".env", name, "v", replaceable=bool, lock_dir=top.parent / "state" / "locks")
    """
    race(script, 3, root)
    assert sorted((root / ".env").read_text().split()) == [
        "A=1",
        *(f"TOKEN_{by}_{turn}=v" for by in range(3) for turn in range(10)),
    ]
    assert listed(root) == [".env"]


def test_a_lock_that_cannot_be_had_refuses_the_write(root: Path) -> None:
    locks = lock_directory(root.parent / "state" / "locks")
    write(root, ".env", "TOKEN", OLD, lock_dir=locks)
    (lock,) = locks.iterdir()
    lock.unlink()
    lock.symlink_to(root / "victim")
    with pytest.raises(EnvFileError, match="cannot be used"):
        write(root, ".env", "TOKEN", NEW, lock_dir=locks)
    assert listed(root) == [".env"]
    assert same_value(root, ".env", "TOKEN", OLD) is True


# Comparing


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("TOKEN=a\n", "a"),
        ("TOKEN=a\nTOKEN=b\n", "b"),
        ("export TOKEN = 'a b' # c\n", "a b"),
        ("TOKEN='\"a\"'\n", '"a"'),
        ("TOKEN=a b # c\n", "a b"),
        ("TOKEN=\n", ""),
        ("TOKEN=é\n", "é"),
        ("# TOKEN=a\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_last_assignment_is_the_value(root: Path, content: str | None, value: str | None) -> None:
    if content is not None:
        (root / ".env").write_text(content)
    assert same_value(root, ".env", "TOKEN", "another") is (None if value is None else False)
    assert value is None or same_value(root, ".env", "TOKEN", value) is True


# Git


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_warnings_about_the_mode_and_about_git_are_both_given(root: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=root, check=True, capture_output=True, timeout=30)
    target = root / "prod.env"
    target.write_text("A=1\n")
    target.chmod(0o644)
    assert write(root, "prod.env", "TOKEN", NEW).warning == (
        f"{target} could be read by others (mode 0644); it is now 0600. "
        f"Git may commit {target}: add it to .gitignore, and if git tracks it, run `git rm --cached` on it."
    )
