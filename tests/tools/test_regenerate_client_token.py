"""regenerate_client_token: a new value, the same token, and the pages that need it."""

import pytest

from tests.confirmations import OTHER_SITE, SITE, put
from tests.support import MODERN, Api, accept, mcp_client
from tests.tools.checks import call, not_sent

pytestmark = pytest.mark.anyio

TOOL = "regenerate_client_token"
YES = {"confirm": True, "expected_name": "Shop"}


def value_of(api: Api, target: str) -> str:
    record = api.store.get(target)
    assert record is not None
    assert record.value is not None
    return record.value


async def test_the_new_value_is_shown_and_the_old_one_is_gone(api: Api, era: str) -> None:
    target = put(api.store, rateLimitPerHour=77, config={"theme": "dark"}, allowedOrigins=[SITE, OTHER_SITE])
    old = value_of(api, target)
    async with mcp_client(api, era, accept("Shop")) as model:
        before = (await call(api, model, "get_client_token", client_token=target))["clientToken"]
        data = await call(api, model, TOOL, client_token=target, **YES)
        assert data["value"] == value_of(api, target) != old
        assert old not in str(data)
        assert (data["status"], data["clientToken"]["id"]) == ("done", target)
        assert api.writes == [("POST", f"/v1/client-tokens/{target}/regenerate", None)]
        after = (await call(api, model, "get_client_token", client_token=target))["clientToken"]
        moved = ("updatedAt", "valueEndsWith")
        assert {k: v for k, v in after.items() if k not in moved} == {k: v for k, v in before.items() if k not in moved}


async def test_the_next_step_names_every_place_that_needs_the_new_value(api: Api, era: str) -> None:
    target = put(api.store, allowedOrigins=[SITE, OTHER_SITE, "native"])
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, client_token=target, **YES)
        for place in (SITE, OTHER_SITE, "native"):
            assert place in data["next"]
        assert data["value"] not in data["next"]


async def test_a_preview_names_the_way_without_an_outage(api: Api, era: str) -> None:
    target = put(api.store)
    old = value_of(api, target)
    async with mcp_client(api, era) as model:
        data = await call(api, model, TOOL, client_token=target)
        assert data["status"] == "preview"
        assert "second token" in data["undo"]
        assert "value" not in data
        assert value_of(api, target) == old


@pytest.mark.parametrize(
    ("allowed_origins", "said"),
    [
        ([SITE, OTHER_SITE], f"embedded: on {SITE}, {OTHER_SITE}."),
        (["native"], "embedded: in apps (native)."),
        (["*"], "embedded: on sites that only the user knows, since every origin is allowed."),
        ([SITE, "native"], f"embedded: on {SITE}; in apps (native)."),
    ],
    ids=str,
)
async def test_the_next_step_fits_what_the_token_allows(
    api: Api, era: str, allowed_origins: list[str], said: str
) -> None:
    target = put(api.store, allowedOrigins=allowed_origins)
    async with mcp_client(api, era) as model:
        assert (await call(api, model, TOOL, client_token=target, **YES))["next"].endswith(said)


async def test_a_token_whose_value_was_never_stored_gets_one(api: Api, era: str) -> None:
    api.seeded()
    async with mcp_client(api, era) as model:
        yes = {"confirm": True, "expected_name": "Help centre 2023"}
        data = await call(api, model, TOOL, client_token="Help centre 2023", **yes)
        assert data["value"] == value_of(api, data["clientToken"]["id"])


async def test_two_in_a_row_are_two_values(api: Api, era: str) -> None:
    target = put(api.store)
    async with mcp_client(api, era) as model:
        values = {(await call(api, model, TOOL, client_token=target, **YES))["value"] for _ in range(2)}
        assert len(values) == 2
        assert len(api.writes) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"deliver": "env_file"}, "file:VARIABLE"),
        ({"deliver": "verify", "env_file": ".env:T"}, "'show' or 'env_file'"),
        ({"value": "x"}, "value: unknown argument"),
        ({"grace_period": 60}, "grace_period: unknown argument"),
    ],
    ids=str,
)
async def test_bad_arguments_are_explained_and_nothing_is_sent(api: Api, given: dict[str, object], said: str) -> None:
    target = put(api.store)
    async with mcp_client(api, MODERN) as model:
        assert said in await not_sent(api, model, TOOL, client_token=target, **given, **YES)
