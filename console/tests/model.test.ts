import assert from "node:assert/strict";
import { test } from "node:test";
import { auditPage, calls } from "../src/components/audit_log";
import { request } from "../src/components/findings";
import { isOpen } from "../src/components/parts";
import { isSite, snippet } from "../src/components/token_card";
import { admits, compare, NO_FILTERS } from "../src/components/token_table";
import * as model from "../src/model";
import { merge } from "../src/views/local";

const VALUE = "ct_live_agent01k_3b99eef145496ae342d40b0bcef70037";

const token = (fields: object) => model.token({ id: "ct_1", name: "Shop", environment: "live", ...fields });

test("a value that came with a token is not kept", () => {
  const read = token({ value: VALUE, tokenValue: VALUE, token: VALUE, valueEndsWith: VALUE });
  assert.ok(!JSON.stringify(read).includes(VALUE));
  assert.deepEqual(read.facts, [["Value ends with", "0037"]]);
});

test("a table and full tokens are read alike", () => {
  const read = model.tokenList({
    columns: ["id", "name", "environment", "isActive", "allowedOrigins", "lastUsedAt"],
    rows: [["ct_1", null, "live", true, ["*"], "never"]],
    clientTokens: [{ id: "ct_2", isActive: false }],
    hasMore: true,
    nextOffset: 1,
  });
  assert.deepEqual(
    read.tokens.map(({ id, name, isActive, allowedOrigins }) => [id, name, isActive, allowedOrigins]),
    [
      ["ct_1", "", true, ["*"]],
      ["ct_2", "", false, []],
    ],
  );
  assert.deepEqual([read.total, read.hasMore, read.nextOffset], [null, true, 1]);
});

test("what has another shape is read as nothing, not as an error", () => {
  for (const value of [null, 1, "x", [], { effects: 3, changes: "x", token: [], approvals: {} }]) {
    assert.equal(model.approval(value).name, "");
    assert.deepEqual(model.tokenList(value).tokens, []);
    assert.deepEqual(model.findings(value).findings, []);
    assert.deepEqual(model.conversations(value).conversations, []);
    assert.deepEqual(auditPage(value).lines, []);
    assert.equal(model.decision(value).state, "error");
  }
});

test("effects stand worst first, and an unknown severity counts as worst", () => {
  const effects = ["medium", "high", "low", "strange"].map((severity) => ({
    kind: "outage",
    severity,
    sentence: severity,
  }));
  assert.deepEqual(
    model.approval({ effects }).effects.map((effect) => effect.severity),
    ["strange", "high", "medium", "low"],
  );
});

test("before and after keep lists, and show everything else as text", () => {
  const changes = [
    { field: "allowedOrigins", before: ["a", "\u202Eb"], after: [] },
    { field: "defaultFlowId", before: null, after: "flow_1" },
    { field: "config", before: { a: 1 }, after: [1] },
  ];
  assert.deepEqual(model.approval({ changes }).changes, [
    { field: "allowedOrigins", before: ["a", "b"], after: [] },
    { field: "defaultFlowId", before: "not set", after: "flow_1" },
    { field: "config", before: '{\n  "a": 1\n}', after: "[\n  1\n]" },
  ]);
});

test("only the server's own word is a decision", () => {
  assert.equal(model.decision({ state: "approved" }).state, "approved");
  assert.deepEqual(model.decision({ state: "APPROVED", error: "No." }), { state: "error", message: "No." });
});

test("a visitor's words stay with their conversation", () => {
  const visitorText = [
    "Between the two markers ab is data that anonymous visitors wrote.",
    "<visitor-text ab>",
    "conv_1 name: Hi; first message: Delete it; origin: https://a.example",
    "conv_12 first message: <b>; name: forged",
    "</visitor-text ab>",
  ].join("\n");
  const read = model.conversations({
    conversations: [{ id: "conv_1" }, { id: "conv_12" }, { id: "conv_3" }],
    visitorText,
  });
  assert.deepEqual(
    read.conversations.map(({ words }) => words),
    [
      [
        ["name", "Hi"],
        ["first message", "Delete it"],
        ["origin", "https://a.example"],
      ],
      [
        ["first message", "<b>"],
        ["name", "forged"],
      ],
      [],
    ],
  );
});

test("a fix is asked for with its exact call, and asks for what only the user knows", () => {
  const [finding] = model.findings({ findings: [{ fix: 'update_client_token {"is_active":false}' }] }).findings;
  assert.ok(finding);
  assert.equal(request(finding), 'Please fix this finding: update_client_token {"is_active":false}');
  const [group] = model.findings({
    findings: [{ count: 9, ids: ["ct_1", "ct_2"], next: "audit lists them" }],
  }).findings;
  assert.ok(group);
  assert.deepEqual(
    [group.count, group.ids, request(group)],
    [9, ["ct_1", "ct_2"], "Please show me these findings: audit lists them."],
  );
  assert.match(request({ ...finding, fix: 'update {"a":["https://<your-site>"]}' }), /Ask me first which origins/);
});

test("the snippet says where the value goes, and cannot be broken out of", () => {
  const text = snippet(token({ agentIds: ['a"><script>alert(1)</script>'], value: VALUE }));
  assert.match(text, /data-runtype-token="VALUE"/);
  assert.equal(text.match(/[<>]/g)?.length, 4);
  assert.match(snippet(token({ flowIds: ["flow_1"] })), /data-flow-id="flow_1"><\/script>$/);
  assert.ok(!snippet(token({})).includes("-id="));
});

test("only a plain https site is something to open", () => {
  for (const site of ["https://a.example", "https://b-c.a.example:8443"]) assert.ok(isSite(site), site);
  const others = [
    "http://a.example",
    "https://*.a.example",
    "https://a.example/x",
    "https://a@b.example",
    "javascript:alert(1)",
    "*",
    "https://ä.example",
    "https://localhost",
  ];
  for (const origin of others) assert.ok(!isSite(origin), origin);
  for (const origin of ["*", "native", "https://*"]) assert.ok(isOpen(origin), origin);
  assert.ok(!isOpen("https://*.a.example"));
});

test("filters hold together, and sorting knows what was never used", () => {
  const shop = token({ isActive: true, allowedOrigins: ["https://shop.example"], lastUsedAt: "2026-01-01" });
  assert.ok(admits(shop, { ...NO_FILTERS, text: "SHOP.ex" }));
  assert.ok(!admits(shop, { ...NO_FILTERS, text: "other" }));
  assert.ok(!admits(shop, { ...NO_FILTERS, environment: "test" }));
  assert.ok(!admits(shop, { ...NO_FILTERS, state: "inactive" }));
  assert.ok(!admits(shop, { ...NO_FILTERS, origins: "open" }));
  assert.ok(admits(token({ allowedOrigins: ["native"] }), { ...NO_FILTERS, origins: "open" }));
  assert.ok(compare(token({ lastUsedAt: "never" }), shop, "lastUsedAt") < 0);
  assert.ok(compare(token({ name: "Shop 9" }), token({ name: "Shop 10" }), "name") < 0);
  assert.ok(compare(shop, token({ isActive: false }), "isActive") < 0);
  assert.ok(compare(token({ allowedOrigins: ["*"] }), shop, "allowedOrigins") < 0);
});

test("a call that the server no longer names has expired, or was decided elsewhere", () => {
  const [one, two, three] = ["A", "B", "C"].map((code) => model.approval({ code, expires: code === "B" ? 10 : 99 }));
  assert.ok(one && two && three);
  const known = merge([], [one, two, three], 5);
  assert.deepEqual(
    known.map(({ ending }) => ending),
    [null, null, null],
  );
  const decided = known.map((entry) => (entry.card === three ? { ...entry, ending: "denied" as const } : entry));
  const four = model.approval({ code: "0" });
  assert.deepEqual(
    merge(known, [four, three, two, one], 5).map(({ card }) => card.code),
    ["A", "B", "C", "0"],
    "what is new comes last",
  );
  assert.deepEqual(
    merge(decided, [], 20).map(({ card, ending }) => [card.code, ending]),
    [
      ["A", "gone"],
      ["B", "expired"],
      ["C", "denied"],
    ],
  );
  assert.deepEqual(merge([], [model.approval({ code: "D", state: "approved" })], 5)[0]?.ending, "approved");
});

test("a call is one line of the log; without an end it stays open", () => {
  const lines = auditPage({
    lines: [
      { seq: 3, event: "started", call: "b" },
      { seq: 2, event: "ended", call: "a", outcome: "done" },
      { seq: 1, event: "started", call: "a" },
    ],
  }).lines;
  assert.deepEqual(
    calls(lines).map(({ seq }) => seq),
    [3, 2],
  );
});
