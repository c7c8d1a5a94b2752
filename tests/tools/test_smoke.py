import pytest

from tests.support import Api, accept, mcp_client, stdio_client

pytestmark = pytest.mark.anyio


async def test_a_token_is_created_and_deleted(api: Api, era: str) -> None:
    async with mcp_client(api, era, accept("Shop")) as model:
        token = await model.create()
        result = await model.call("delete_client_token", client_token=token["id"], confirm=True, expected_name="Shop")
        assert not result.is_error
        assert [write[0] for write in api.writes] == ["POST", "DELETE"]
        assert len(model.asked) == 1


async def test_a_subprocess_serves_the_sandbox(era: str) -> None:
    async with stdio_client(["--sandbox"], era) as model:
        assert "rows:" in await model.text("list_client_tokens", limit=2)
