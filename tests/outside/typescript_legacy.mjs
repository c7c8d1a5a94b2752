// The client that most hosts ship today: it opens with a handshake and answers the server's own requests.
// Usage: typescript_legacy.mjs URL | COMMAND ARGS...
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { journey, Person, report } from "./journey.mjs";

const [target, ...args] = process.argv.slice(2);
const http = target.startsWith("http://");
const person = new Person();
const client = new Client({ name: "outside-legacy", version: "1" }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, person.answer);
const transport = http
  ? new StreamableHTTPClientTransport(new URL(target))
  : new StdioClientTransport({ command: target, args, env: process.env, stderr: "inherit" });
// The client does not tell which version was agreed on, but it tells its transport.
let version;
const told = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (agreed) => {
  version = agreed;
  told?.(agreed);
};
await client.connect(transport);
const checks = await journey(client, person, http ? "legacy http" : "legacy stdio");
checks["2025-11-25 is spoken"] = version === "2025-11-25" ? "passed" : `failed: ${version}`;
await client.close();
report(checks);
