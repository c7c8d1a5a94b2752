"""The Redis server of the tests keeps what it held when it is stopped, and refuses others."""

from pathlib import Path

from tests.redis_server import redis_server


def test_what_a_stopped_server_held_is_there_again(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server, server.client() as client:
        client.set("key", "value")
        server.stop()
        server.start()
        assert client.get("key") == "value"
