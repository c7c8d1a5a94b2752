"""The store: the same in memory and in a file, which survives restarts."""

from pathlib import Path

import pytest

from runtype_mcp.sandbox.seed import seed
from runtype_mcp.sandbox.store import Record, Store


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(None if request.param == "memory" else tmp_path / "data.json")


def _record(token_id: str, name: object = "Shop") -> Record:
    return Record({"id": token_id, "name": name}, "value", [{"id": "conv_1", "name": None}])


def test_a_record_is_found_until_deleted(store: Store) -> None:
    assert store.is_new
    store.put(_record("ct_1"))
    assert store.get("ct_1") == _record("ct_1")
    store.delete("ct_1")
    assert store.get("ct_1") is None
    assert (len(store), store.is_new) == (0, False)


def test_a_replaced_record_keeps_its_place(store: Store) -> None:
    store.put(_record("ct_1"), _record("ct_2"), _record("ct_3"))
    store.put(_record("ct_2", "Renamed"))
    assert store.newest_first() == [_record("ct_3"), _record("ct_2", "Renamed"), _record("ct_1")]


def test_a_file_survives_a_restart_exactly(tmp_path: Path) -> None:
    store = Store(tmp_path / "data.json")
    seed(store)
    gone, changed = store.newest_first()[:2]
    store.delete(gone.token["id"])
    store.put(Record(changed.token | {"name": "Renamed \x1b 🥐 \ud83e"}, "new value"))
    again = Store(tmp_path / "data.json")
    assert again.newest_first() == store.newest_first()
    assert not again.is_new


def test_a_failed_put_leaves_file_and_memory_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path / "data.json")
    store.put(_record("ct_1"))
    with pytest.raises(TypeError):
        store.put(_record("ct_2"), _record("ct_3", object()))
    for left in (store, Store(tmp_path / "data.json")):
        assert left.newest_first() == [_record("ct_1")]


@pytest.mark.parametrize("text", ["my notes", "", '{"a": 1}', "[1]", '[{"token": {}}]', "[" * 100_000, "\xff"])
def test_a_file_of_something_else_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(OSError, match=r"notes\.txt"):
        Store(path)
