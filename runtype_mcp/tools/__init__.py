"""The tools: one module and one async function per endpoint of `/v1/client-tokens`, an audit over all of them, and
the list of what they can run.
"""

from runtype_mcp.tools.audit_client_tokens import AUDIT
from runtype_mcp.tools.create_client_token import CREATE
from runtype_mcp.tools.decide_approval import DECIDE_APPROVAL
from runtype_mcp.tools.delete_client_token import DELETE
from runtype_mcp.tools.get_client_token import GET
from runtype_mcp.tools.get_client_token_value import VALUE
from runtype_mcp.tools.list_agents_and_flows import LIST_AGENTS_AND_FLOWS
from runtype_mcp.tools.list_approvals import LIST_APPROVALS
from runtype_mcp.tools.list_client_token_conversations import CONVERSATIONS
from runtype_mcp.tools.list_client_tokens import LIST
from runtype_mcp.tools.regenerate_client_token import REGENERATE
from runtype_mcp.tools.spec import ToolSpec
from runtype_mcp.tools.update_client_token import UPDATE

SPECS: tuple[ToolSpec, ...] = (
    LIST,
    CREATE,
    GET,
    UPDATE,
    DELETE,
    VALUE,
    REGENERATE,
    CONVERSATIONS,
    AUDIT,
    LIST_AGENTS_AND_FLOWS,
)
"""In this order they are listed."""

FOR_A_SECOND_PERSON: tuple[ToolSpec, ...] = (LIST_APPROVALS, DECIDE_APPROVAL)
"""Only where the policy asks for one."""
