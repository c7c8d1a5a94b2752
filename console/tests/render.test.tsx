import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { ApprovalCard } from "../src/components/approval_card";
import { AuditLog, auditPage } from "../src/components/audit_log";
import { ConversationList } from "../src/components/conversations";
import { FindingList } from "../src/components/findings";
import { TokenCard } from "../src/components/token_card";
import { TokenTable } from "../src/components/token_table";
import * as model from "../src/model";

const HOSTILE = `</bdi><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) \u202Eabc\u2066 "' &lt;`;
const raw = {
  id: HOSTILE,
  name: HOSTILE,
  environment: HOSTILE,
  allowedOrigins: [HOSTILE, "*"],
  lastUsedAt: HOSTILE,
  agentIds: [HOSTILE],
  flowIds: [HOSTILE],
  targetAlias: HOSTILE,
  config: { [HOSTILE]: HOSTILE },
};
const card = model.approval({
  ...raw,
  verb: HOSTILE,
  code: HOSTILE,
  token: raw,
  requestedBy: HOSTILE,
  apiHost: HOSTILE,
  undo: HOSTILE,
  note: HOSTILE,
  effects: [{ kind: HOSTILE, severity: HOSTILE, sentence: HOSTILE }],
  changes: [{ field: HOSTILE, before: [HOSTILE], after: HOSTILE }],
});
const decide = async () => model.decision(null);
const VIEWS = {
  approval: <ApprovalCard card={card} afterwards="" decide={decide} />,
  ended: <ApprovalCard card={card} ending="gone" afterwards="" decide={decide} />,
  table: <TokenTable tokens={[model.token(raw)]} total={1} />,
  token: <TokenCard token={model.token(raw)} />,
  findings: (
    <FindingList
      heading="h2"
      found={model.findings({
        findings: [{ severity: HOSTILE, rule: HOSTILE, ...raw, reason: HOSTILE, fix: HOSTILE }],
      })}
    />
  ),
  conversations: (
    <ConversationList
      heading="h2"
      {...model.conversations({ conversations: [{ id: "c" }], visitorText: `a\nb\nc first message: ${HOSTILE}\nd` })}
    />
  ),
  audit: (
    <AuditLog
      pages={[
        auditPage({
          file: HOSTILE,
          verified: false,
          brokenAt: 3,
          lines: [{ ...raw, tool: HOSTILE, token: HOSTILE, approval: HOSTILE, outcome: HOSTILE, effects: [HOSTILE] }],
        }),
      ]}
    />
  ),
};

for (const [name, view] of Object.entries(VIEWS)) {
  test(`no text becomes markup or turns the reading direction: ${name}`, () => {
    const html = renderToString(view);
    assert.ok(html.includes("&lt;script"), "the text is shown");
    assert.doesNotMatch(html, /<script|<img|[\u202a-\u202e\u2066-\u2069]/);
    assert.doesNotMatch(html, /<[^>]* (on\w+|href|src|style)=/);
  });
}

test("a card says all that a person needs to judge a call", () => {
  const html = renderToString(
    <ApprovalCard
      card={model.approval({
        verb: "Update",
        name: "Shop",
        environment: "live",
        apiHost: "api.example",
        code: "4F7K-9TQX",
        expires: Date.now() / 1000 + 100,
        requestedBy: "claude-ai 1.2",
        undo: "Put it back.",
        note: "A note.",
        token: {
          id: "ct_1",
          isActive: true,
          allowedOrigins: ["https://a.example"],
          lastUsedAt: "never",
          conversationCount: 3,
        },
        effects: [{ kind: "exposure", severity: "high", sentence: "Every website may use it." }],
        changes: [{ field: "allowedOrigins", before: ["https://a.example"], after: ["*"] }],
      })}
      afterwards=""
      decide={decide}
    />,
  );
  const words = [
    "Shop",
    "live",
    "api.example",
    "4F7K-9TQX",
    "claude-ai 1.2",
    "Put it back.",
    "A note.",
    "ct_1",
    "Active",
  ];
  words.push("https://a.example", "never", "Exposure", "high", "Every website may use it.", "removed", "added", "1:");
  for (const word of words) assert.ok(html.includes(word), word);
});

test("the sources have no way to turn text into markup or code", () => {
  const folder = new URL("../../src/", import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name));
  assert.ok(files.length > 10);
  for (const name of files) {
    const source = readFileSync(new URL(name, folder), "utf8");
    assert.doesNotMatch(
      source,
      /innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc/i,
      name,
    );
  }
});
