import assert from "node:assert/strict";
import { test } from "node:test";
import { type Events, Host, HostError, type Surroundings } from "../src/host";
import { type Json, record } from "../src/model";

class Frame implements Surroundings {
  sent: { message: Json; target: string }[] = [];
  listeners = new Set<(event: MessageEvent) => void>();
  parent = {
    postMessage: (message: unknown, target: string) => void this.sent.push({ message: message as Json, target }),
  };
  addEventListener(_: "message", listener: (event: MessageEvent) => void) {
    this.listeners.add(listener);
  }
  removeEventListener(_: "message", listener: (event: MessageEvent) => void) {
    this.listeners.delete(listener);
  }
  hear(data: unknown, from: { source?: unknown; origin?: string } = {}) {
    const event = { source: this.parent, origin: "https://host.example", data, ...from } as unknown as MessageEvent;
    for (const listener of this.listeners) listener(event);
  }
  last(): { message: Json; target: string } {
    return this.sent.at(-1) ?? assert.fail("nothing was sent");
  }
}

function connected() {
  const frame = new Frame();
  const heard: unknown[] = [];
  const events: Events = {
    context: (context) => heard.push(["context", context]),
    input: (input) => heard.push(["input", input]),
    result: (result) => heard.push(["result", result]),
    cancelled: () => heard.push(["cancelled"]),
  };
  const looks: Json[] = [];
  const host = new Host(frame, events, (look) => looks.push(look));
  return { frame, heard, looks, host };
}

async function ready() {
  const all = connected();
  const done = all.host.connect();
  const hostContext = {
    theme: "dark",
    toolInfo: { tool: { name: "list_client_tokens" } },
    availableDisplayModes: ["inline"],
  };
  all.frame.hear({ jsonrpc: "2.0", id: 1, result: { hostCapabilities: { message: {} }, hostContext } });
  await done;
  return all;
}

test("the page says hello, and then that it is ready, to the host that answered", async () => {
  const { frame, heard, looks, host } = await ready();
  assert.equal(frame.sent[0]?.message.method, "ui/initialize");
  assert.equal(record(frame.sent[0]?.message.params).protocolVersion, "2026-01-26");
  assert.deepEqual(frame.last(), {
    message: { jsonrpc: "2.0", method: "ui/notifications/initialized", params: {} },
    target: "https://host.example",
  });
  assert.deepEqual(heard, [
    ["context", { tool: "list_client_tokens", displayMode: "inline", displayModes: ["inline"] }],
  ]);
  assert.equal(looks[0]?.theme, "dark");
  assert.deepEqual(host.capabilities, { message: {} });
});

test("a message from another window, another origin or of another kind is not heard", async () => {
  const { frame, heard } = await ready();
  const result = { jsonrpc: "2.0", method: "ui/notifications/tool-result", params: { structuredContent: {} } };
  frame.hear(result, { source: {} });
  frame.hear(result, { origin: "https://evil.example" });
  frame.hear({ ...result, jsonrpc: "1.0" });
  frame.hear("text");
  assert.equal(heard.length, 1);
  frame.hear(result);
  assert.deepEqual(heard.at(-1), ["result", { structuredContent: {} }]);
});

test("input, cancellation and a changed context are told", async () => {
  const { frame, heard, looks } = await ready();
  frame.hear({ jsonrpc: "2.0", method: "ui/notifications/tool-input", params: { arguments: { a: 1 } } });
  frame.hear({ jsonrpc: "2.0", method: "ui/notifications/tool-cancelled", params: {} });
  frame.hear({
    jsonrpc: "2.0",
    method: "ui/notifications/host-context-changed",
    params: { displayMode: "fullscreen" },
  });
  assert.deepEqual(heard.slice(1, 3), [["input", { a: 1 }], ["cancelled"]]);
  const context = { tool: "list_client_tokens", displayMode: "fullscreen", displayModes: ["inline"] };
  assert.deepEqual(heard[3], ["context", context]);
  assert.equal(looks.at(-1)?.theme, "dark");
});

test("an answer goes to the request that it answers", async () => {
  const { frame, host } = await ready();
  const [first, second] = [host.callTool("confirm_in_app", { name: "Shop" }), host.say("Hello")];
  const [tool, message] = frame.sent.slice(-2).map(({ message: sent }) => sent);
  assert.deepEqual(tool?.params, { name: "confirm_in_app", arguments: { name: "Shop" } });
  assert.deepEqual(message?.params, { role: "user", content: [{ type: "text", text: "Hello" }] });
  frame.hear({ jsonrpc: "2.0", id: message?.id, result: { isError: true } });
  frame.hear({ jsonrpc: "2.0", id: tool?.id, result: { structuredContent: { state: "approved" } } });
  frame.hear({ jsonrpc: "2.0", id: 99, result: {} });
  assert.deepEqual(await first, { structuredContent: { state: "approved" } });
  assert.equal(await second, false);
});

test("a host that refuses is told from one that takes a message", async () => {
  const { frame, host } = await ready();
  const refused = host.openLink("https://a.example");
  frame.hear({ jsonrpc: "2.0", id: frame.last().message.id, error: { code: -32601, message: "no" } });
  assert.equal(await refused, false);
  const taken = host.tellModel("Denied");
  assert.equal(frame.last().message.method, "ui/update-model-context");
  frame.hear({ jsonrpc: "2.0", id: frame.last().message.id, result: {} });
  assert.equal(await taken, true);
  const call = host.callTool("confirm_in_app", {});
  frame.hear({ jsonrpc: "2.0", id: frame.last().message.id, error: { code: 1, message: "no" } });
  await assert.rejects(call, HostError);
});

test("the display mode is the one that the host set", async () => {
  const { frame, heard, host } = await ready();
  const shown = host.show("fullscreen");
  frame.hear({ jsonrpc: "2.0", id: frame.last().message.id, result: { mode: "inline" } });
  await shown;
  assert.equal((heard.at(-1) as [string, { displayMode: string }])[1].displayMode, "inline");
});

test("a teardown and a ping are answered, and an unknown request is refused", async () => {
  const { frame } = await ready();
  frame.hear({ jsonrpc: "2.0", id: 5, method: "ping" });
  assert.deepEqual(frame.last().message, { jsonrpc: "2.0", id: 5, result: {} });
  frame.hear({ jsonrpc: "2.0", id: 6, method: "tools/list" });
  assert.equal(record(frame.last().message.error).code, -32601);
  frame.hear({ jsonrpc: "2.0", id: 7, method: "ui/resource-teardown", params: {} });
  assert.deepEqual(frame.last().message, { jsonrpc: "2.0", id: 7, result: {} });
  assert.equal(frame.listeners.size, 0);
});

test("a host whose origin cannot be named is answered all the same, and no other", async () => {
  const { frame, host } = connected();
  const done = host.connect();
  frame.hear({ jsonrpc: "2.0", id: 1, result: {} }, { origin: "null" });
  await done;
  assert.equal(frame.last().target, "*");
});
