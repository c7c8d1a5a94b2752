"""Replacing a host's file: in one step, with its mode and its links, and with what was there before kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtype_mcp.hosts.config_file import KEPT, FileRefused, read, replace, versions

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "state" / "backups"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "host" / "mcp.json"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o640)
    return path


def test_a_file_is_replaced_with_its_mode_and_what_was_there_is_kept_in_private(file: Path, backups: Path) -> None:
    kept = replace(read(file), "new", backups, NOW)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
    assert kept is not None
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("old", 0o600)
    assert backups.stat().st_mode & 0o777 == 0o700
    assert os.listdir(file.parent) == ["mcp.json"]


def test_a_new_file_is_made_with_its_folders_for_its_user_alone(tmp_path: Path, backups: Path) -> None:
    path = tmp_path / "a" / "b" / "mcp.json"
    assert replace(read(path), "new", backups, NOW) is None
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    assert not backups.exists()


def test_a_link_stays_a_link_and_the_file_behind_it_changes(file: Path, tmp_path: Path, backups: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file)
    replace(read(link), "new", backups, NOW)
    assert link.readlink() == file
    assert file.read_text() == "new"
    dangling = tmp_path / "dangling.json"
    dangling.symlink_to(tmp_path / "not yet.json")
    replace(read(dangling), "new", backups, NOW)
    assert (tmp_path / "not yet.json").read_text() == "new"


def test_line_ends_and_a_byte_order_mark_stay(file: Path, backups: Path) -> None:
    content = "\ufeff{\r\n}\r\n"
    file.write_bytes(content.encode())
    assert read(file).text == content
    replace(read(file), content + " ", backups, NOW)
    assert file.read_bytes() == f"{content} ".encode()


def test_a_file_is_deleted_where_that_is_what_was_there_before(file: Path, backups: Path) -> None:
    kept = replace(read(file), None, backups, NOW)
    assert not file.exists()
    assert kept is not None
    assert kept.read_text() == "old"


def test_a_file_that_another_program_has_changed_is_left_as_that_left_it(file: Path, backups: Path) -> None:
    for number, text in enumerate(("new", None)):
        seen = read(file)
        file.write_text(f"{seen.text} and more")
        with pytest.raises(FileRefused, match="changed by another program"):
            replace(seen, text, backups, NOW + timedelta(seconds=number))
        assert file.read_text() == f"{seen.text} and more"
        assert os.listdir(file.parent) == ["mcp.json"]


def test_a_file_that_appeared_in_between_is_not_replaced(tmp_path: Path, backups: Path) -> None:
    path = tmp_path / "mcp.json"
    seen = read(path)
    path.write_text("theirs")
    with pytest.raises(FileRefused, match="changed by another program"):
        replace(seen, "new", backups, NOW)
    assert path.read_text() == "theirs"


def test_the_last_versions_are_kept_newest_first_and_each_files_apart(
    file: Path, tmp_path: Path, backups: Path
) -> None:
    other = tmp_path / "other" / "mcp.json"
    other.parent.mkdir()
    other.write_text("another file")
    replace(read(other), "new", backups, NOW)
    for number in range(KEPT + 3):
        file.write_text(str(number))
        replace(read(file), "new", backups, NOW + timedelta(seconds=number))
    assert list(versions(read(file), backups)) == [str(number) for number in reversed(range(3, KEPT + 3))]
    assert list(versions(read(other), backups)) == ["another file"]
    assert list(versions(read(file), tmp_path / "none")) == []


def test_what_is_no_file_of_text_is_refused_and_says_what_to_do(file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="not a regular file"):
        read(tmp_path)
    file.write_bytes(b"{\n\xff}")
    with pytest.raises(FileRefused, match=r"not UTF-8 text \(line 2\)\. Nothing was changed\. Save it as UTF-8"):
        read(file)
    file.write_text("{}")
    file.chmod(0o444)
    with pytest.raises(FileRefused, match=r"read-only\. Nothing was changed\. Allow writing with chmod u\+w"):
        read(file)


def test_a_folder_that_cannot_be_made_is_refused_and_nothing_is_left(file: Path, backups: Path) -> None:
    with pytest.raises(FileRefused, match="Nothing was changed"):
        replace(read(file / "below" / "mcp.json"), "new", backups, NOW)
    assert file.read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_file_of_another_user_is_refused_and_none_is_made_for_them(file: Path, tmp_path: Path) -> None:
    os.chown(file, 12345, 12345)
    with pytest.raises(FileRefused, match=r"belongs to another user\. Nothing was changed\. Run this as that user"):
        read(file)
    os.chown(file.parent, 12345, 12345)
    with pytest.raises(FileRefused, match=r"belongs to another user\. Nothing was changed\. Run this as that user"):
        read(file.parent / "new" / "mcp.json")
