"""The store: the same in memory and in a file, which survives restarts."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtype_mcp.sandbox.seed import seed
from runtype_mcp.sandbox.store import Record, Store


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store() if request.param == "memory" else Store.open(tmp_path / "data.db") as store:
        yield store


def _record(token_id: str, name: str = "Shop") -> Record:
    return Record({"id": token_id, "name": name}, "value", [{"id": "conv_1", "name": None}])


def test_a_record_is_found_until_deleted(store: Store) -> None:
    store.put(_record("ct_1"))
    assert store.get("ct_1") == _record("ct_1")
    store.delete("ct_1")
    assert store.get("ct_1") is None
    assert len(store) == 0


def test_a_replaced_record_keeps_its_place(store: Store) -> None:
    store.put(_record("ct_1"), _record("ct_2"), _record("ct_3"))
    store.put(_record("ct_2", "Renamed"))
    assert store.newest_first() == [_record("ct_3"), _record("ct_2", "Renamed"), _record("ct_1")]


def test_a_store_is_new_until_something_is_put(store: Store) -> None:
    assert store.is_new
    store.put(_record("ct_1"))
    assert not store.is_new


def test_a_file_survives_a_restart_exactly(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data.db") as store:
        seed(store)
        gone, changed = store.newest_first()[:2]
        store.delete(gone.token["id"])
        store.put(Record(changed.token | {"name": "Renamed \x1b 🥐 \ud83e"}, "new value"))
        before = store.newest_first()
    with Store.open(tmp_path / "data.db") as again:
        assert again.newest_first() == before
        assert not again.is_new


def test_an_emptied_file_is_not_new(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data.db") as store:
        store.put(_record("ct_1"))
        store.delete("ct_1")
    with Store.open(tmp_path / "data.db") as again:
        assert len(again) == 0
        assert not again.is_new


def test_a_failed_put_leaves_file_and_memory_as_they_were(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data.db") as store:
        store.put(_record("ct_1"))
        with pytest.raises(TypeError):
            store.put(_record("ct_2"), Record({"id": "ct_3", "name": object()}, None))
        assert [record.token["id"] for record in store.newest_first()] == ["ct_1"]
    with Store.open(tmp_path / "data.db") as again:
        assert [record.token["id"] for record in again.newest_first()] == ["ct_1"]


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("my notes, which are longer than a header of SQLite: " * 30)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE customers (id)")
    connection.close()
    for path in (text, database, tmp_path / "missing" / "data.db"):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(OSError, match=path.name):
            Store.open(path)
        assert (path.read_bytes() if path.exists() else None) == before


def test_a_sandbox_in_memory_does_not_load_sqlite() -> None:
    # None in its place makes every import of it fail, and holds even where a coverage tool has loaded it before.
    code = (
        "import sys; sys.modules['sqlite3'] = None; import runtype_mcp.sandbox.app as a; a.create_app(); print('fine')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "fine\n"
