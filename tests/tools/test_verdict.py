"""What can come of asking, and where a yes counts."""

from typing import get_args

import pytest

from runtype_mcp.settings import Settings
from runtype_mcp.storage.tickets import BY_ANOTHER, BY_ONE, DecidedIn
from runtype_mcp.tools.verdict import counted

COUNTS = {
    #                       terminal page   console app    tool   team page
    ("auto", False): (True, True, True, True, False, False),
    ("auto", True): (True, True, True, True, False, False),
    ("human", False): (True, True, True, False, False, False),
    ("human", True): (True, True, True, True, False, False),
    ("second-person", False): (False, False, False, False, True, True),
    ("second-person", True): (False, False, False, False, True, True),
    ("flag", False): (False, False, False, False, False, False),
    ("flag", True): (False, False, False, False, False, False),
    ("deny", False): (False, False, False, False, False, False),
    ("deny", True): (False, False, False, False, False, False),
}


@pytest.mark.parametrize(("policy", "human_in_app"), COUNTS, ids=str)
def test_a_yes_counts_where_the_policy_says(policy: str, human_in_app: bool) -> None:
    settings = Settings.from_env({"RUNTYPE_MCP_APPROVAL": policy}, human_in_app=human_in_app)
    for place, counts in zip(get_args(DecidedIn), COUNTS[policy, human_in_app], strict=True):
        assert (place in counted(settings, "live")) is counts, place


def test_a_yes_for_a_live_token_counts_by_its_own_policy() -> None:
    settings = Settings.from_env({"RUNTYPE_MCP_APPROVAL": "auto", "RUNTYPE_MCP_APPROVAL_LIVE": "human"})
    assert "app" in counted(settings, "test")
    assert "app" not in counted(settings, "live")
    assert "app" not in counted(settings, "staging"), "what is not a test token counts as a live one"


def test_every_place_is_either_of_one_or_of_another() -> None:
    assert set(get_args(DecidedIn)) == BY_ONE | BY_ANOTHER
    assert not BY_ONE & BY_ANOTHER
