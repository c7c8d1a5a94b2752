import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, count, day, json, plain, second, spoken } from "../src/text";

const NOW = Date.parse("2026-11-24T18:00:00Z");

test("a text becomes one visible line", () => {
  assert.equal(plain("  Shop \n\t one\u2028two "), "Shop one two");
  assert.equal(plain("\u202Eevil\u202C \u2066x\u2069\u200B\uFEFF\u0000\u001B[31m"), "evil x [31m");
  assert.equal(plain("a\u{E0041}b\u3164c\uFE0Fd\uD800e"), "abcde");
  assert.equal(plain("Zoë's \u{1F950} 返品 مرحبا"), "Zoë's \u{1F950} 返品 مرحبا");
});

test("a text is bounded, and says that it was cut", () => {
  assert.equal(plain("x".repeat(300)).length, 255);
  assert.equal(plain("x".repeat(255)), "x".repeat(255));
  assert.equal(plain("abcdef", 4), "abc…");
  assert.equal(plain(`${"\u200B".repeat(100)}abc`, 4), "…");
  assert.equal(Array.from(plain("\u{1F950}".repeat(10), 4)).length, 4);
});

test("what is not a text is not shown as one", () => {
  for (const value of [null, undefined, {}, [], true, () => "x"]) assert.equal(plain(value), "");
  assert.equal(plain(12), "12");
});

test("JSON keeps its lines and loses what is hidden", () => {
  assert.equal(json({ a: "x\u202Ey" }), '{\n  "a": "xy"\n}');
  assert.ok(json("x".repeat(10_000)).endsWith("\n…"));
  assert.equal(json(undefined), "");
});

test("a day says how long ago it was", () => {
  assert.equal(day("2026-11-24T01:02:03.000Z", NOW), "2026-11-24 · today");
  assert.equal(day("2026-11-23", NOW), "2026-11-23 · yesterday");
  assert.equal(day("2025-11-24", NOW), "2025-11-24 · 365 days ago");
  assert.equal(day("2027-01-01", NOW), "2027-01-01");
  assert.equal(day("never", NOW), "never");
});

test("times and counts read well", () => {
  assert.equal(second("2026-11-24T18:01:02.345Z"), "2026-11-24 18:01:02");
  assert.equal(second("soon"), "soon");
  assert.deepEqual([clock(845.2), clock(9), clock(-3)], ["14:06", "0:09", "0:00"]);
  assert.deepEqual([spoken(61), spoken(120), spoken(0)], ["1 minute 1 second", "2 minutes", "0 seconds"]);
  assert.deepEqual([count(1, "token"), count(2, "token")], ["1 token", "2 tokens"]);
});
