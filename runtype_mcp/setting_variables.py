"""The variables that settings are read from, each with its default and its meaning as the documentation has them."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A variable's field of `Settings`, and its default and its meaning as the README has them."""

    field: str
    default: str
    meaning: str


VARIABLES = {
    "RUNTYPE_API_KEY": Row("api_key", "none", "the key, with or without `Bearer`"),
    "RUNTYPE_API_KEY_FILE": Row(
        "api_key_file", "none", "a file that holds the key, where `RUNTYPE_API_KEY` is not set"
    ),
    "RUNTYPE_MCP_PROFILE": Row(
        "profile", "`default`", "the account of `runtype-mcp login`, where neither is set; also `--profile`, which wins"
    ),
    "RUNTYPE_BASE_URL": Row(
        "base_url", "`https://api.runtype.com`", "the one host that gets the key; also `--base-url`"
    ),
    "RUNTYPE_MCP_SANDBOX": Row("sandbox", "`false`", "the embedded sandbox instead of the API; also `--sandbox`"),
    "RUNTYPE_MCP_READ_ONLY": Row("read_only", "`false`", "no writes, to the API or into files; also `--read-only`"),
    "RUNTYPE_MCP_APPROVAL": Row(
        "approval",
        "`auto`",
        "`auto`: confirm and name, and a person where one can be asked. `human`: always a person. "
        "`second-person`: always another person, on a server for a team. `flag`: confirm and name. `deny`: never",
    ),
    "RUNTYPE_MCP_APPROVAL_LIVE": Row("approval_live", "none", "another policy for live tokens"),
    "RUNTYPE_MCP_HUMAN_IN_APP": Row(
        "human_in_app",
        "`false`",
        "`human` also takes an approval on a card in the conversation, which is worth as much as the host is",
    ),
    "RUNTYPE_MCP_PAGES": Row(
        "pages", "`on`", "`off`: nobody is asked on a page in the browser, where the client shows no forms"
    ),
    "RUNTYPE_MCP_APPROVAL_WAIT": Row(
        "approval_wait", "`50`", "seconds for which a call waits for a decision on the page; then it is to be repeated"
    ),
    "RUNTYPE_MCP_ENVIRONMENT": Row("environment", "none", "`test` or `live`: tokens of the other one are out of reach"),
    "RUNTYPE_MCP_TOOLS": Row("tools", "`*`", "names and patterns of the tools to offer, with commas; `!` excludes"),
    "RUNTYPE_MCP_SECRETS": Row("secrets", "`show`", "`file`: values go into env files, never into a conversation"),
    "RUNTYPE_MCP_FILES_ROOT": Row(
        "files_root",
        "the project: `CLAUDE_PROJECT_DIR`, or the working directory unless it is `/` or your home",
        "env files are written only below it",
    ),
    "RUNTYPE_MCP_AUDIT": Row(
        "audit",
        "none",
        "a file for the audit log, or `stdout` (over HTTP), or `redis`; what cannot be recorded is not done",
    ),
    "RUNTYPE_MCP_CONNECT_TIMEOUT": Row("connect_timeout", "`5`", "seconds for a connection"),
    "RUNTYPE_MCP_TIMEOUT": Row("total_timeout", "`30`", "seconds for one operation of the API, retries included"),
    "RUNTYPE_MCP_LOG_LEVEL": Row("log_level", "`WARNING`", "`DEBUG`, `INFO`, `WARNING`, `ERROR`; to stderr, redacted"),
    "RUNTYPE_MCP_LOG_FORMAT": Row(
        "log_format", "`text`", "`json`: an object for each record, and over HTTP one for each request"
    ),
    "RUNTYPE_MCP_STATE_DIR": Row(
        "state_dir", "the user's state directory", "what your servers share: waiting approvals, who acts on what"
    ),
    "RUNTYPE_MCP_REDIS_URL": Row(
        "redis_url", "none", "a Redis that the servers of a team share instead: `redis://`, `rediss://` or `unix://`"
    ),
    "RUNTYPE_MCP_REDIS_URL_FILE": Row(
        "redis_url_file", "none", "a file that holds it, where `RUNTYPE_MCP_REDIS_URL` is not set"
    ),
    "RUNTYPE_MCP_REQUEST_STATE_KEYS": Row(
        "request_state_keys",
        "one of each process",
        "keys that seal questions to people, the same for all servers, with commas: the first seals, all open",
    ),
    "RUNTYPE_MCP_REQUEST_STATE_KEYS_FILE": Row(
        "request_state_keys_file", "none", "a file that holds them, where `RUNTYPE_MCP_REQUEST_STATE_KEYS` is not set"
    ),
    "RUNTYPE_MCP_MAX_REQUESTS": Row(
        "max_requests", "`512`", "over HTTP: requests that one process answers at the same time, and open streams"
    ),
    "RUNTYPE_MCP_RATE_LIMIT": Row(
        "rate_limit",
        "`600`",
        "over HTTP: requests a minute of an authenticated caller; and of an address without a good token",
    ),
    "RUNTYPE_MCP_METRICS": Row(
        "metrics", "`false`", "over HTTP: `/metrics` for Prometheus, which answers anybody; no names or ids are in it"
    ),
    "RUNTYPE_MCP_TRUSTED_PROXIES": Row(
        "trusted_proxies", "none", "over HTTP: addresses and networks of proxies that say who calls, with commas"
    ),
    "RUNTYPE_MCP_DRAIN": Row("drain", "`30`", "over HTTP: seconds for the calls that run when it is told to end"),
    "RUNTYPE_MCP_AUTH": Row(
        "auth",
        "`none`",
        "over HTTP, who may call: `static`: callers with a token of this server. `jwt`: callers with a token of your "
        "issuer. `passthrough`: callers with their own API keys. `none`: whoever is on this machine; also `--auth`",
    ),
    "RUNTYPE_MCP_PUBLIC_URL": Row("public_url", "none", "the `https://` address by which clients reach this server"),
    "RUNTYPE_MCP_CALLERS": Row("callers", "none", "for `static`: the file that `runtype-mcp callers` keeps"),
    "RUNTYPE_MCP_JWT_ISSUER": Row("jwt_issuer", "none", "for `jwt`: who signs the tokens, as it stands in `iss`"),
    "RUNTYPE_MCP_JWT_AUDIENCE": Row(
        "jwt_audience", "the public URL with `/mcp`", "for `jwt`: for whom they are made out, as it stands in `aud`"
    ),
    "RUNTYPE_MCP_JWT_JWKS_URL": Row(
        "jwt_jwks_url", "what the issuer's metadata names", "for `jwt`: where the issuer's keys are"
    ),
    "RUNTYPE_MCP_OIDC_CLIENT_ID": Row(
        "oidc_client_id",
        "none",
        "for `second-person` with `jwt`: as which client people sign in at the issuer, to approve on `/approvals/`",
    ),
    "RUNTYPE_MCP_OIDC_CLIENT_SECRET_FILE": Row(
        "oidc_client_secret_file", "none", "a file that holds that client's secret, if it has one"
    ),
    "RUNTYPE_MCP_FAST_START": Row("fast_start", "`on`", "`off`: every reply is made anew, also the first ones"),
}
