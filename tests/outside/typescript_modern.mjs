// The client of 2026-07-28: it discovers instead of shaking hands, and calls again with a person's answer.
// Usage: typescript_modern.mjs URL | COMMAND ARGS...
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { journey, Person, report } from "./journey.mjs";

const [target, ...args] = process.argv.slice(2);
const http = target.startsWith("http://");
const person = new Person();
const client = new Client(
  { name: "outside-modern", version: "1" },
  { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: "auto" } },
);
client.setRequestHandler("elicitation/create", person.answer);
await client.connect(
  http
    ? new StreamableHTTPClientTransport(new URL(target))
    : new StdioClientTransport({ command: target, args, env: process.env, stderr: "inherit" }),
);
const version = client.getNegotiatedProtocolVersion();
const checks = await journey(client, person, http ? "modern http" : "modern stdio");
checks["2026-07-28 is spoken"] = version === "2026-07-28" ? "passed" : `failed: ${version}`;
await client.close();
report(checks);
