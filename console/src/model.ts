// What the server says, read field by field. A field that is not named here never reaches the page: a token's value,
// which some results carry for the conversation, is one of them.
import { json, MAX_TEXT, plain } from "./text";

export type Json = Record<string, unknown>;

export interface Token {
  id: string;
  name: string;
  environment: string;
  isActive: boolean | null;
  allowedOrigins: string[];
  lastUsedAt: string;
  conversationCount: number | null;
  agentIds: string[];
  flowIds: string[];
  /** The other facts, in the order in which they are shown. */
  facts: [label: string, value: string][];
  config: string;
}

export interface Effect {
  kind: string;
  severity: string;
  sentence: string;
}

/** A value before and after; a list of texts stays one, so that what comes and goes can be marked. */
export interface Change {
  field: string;
  before: string | string[];
  after: string | string[];
}

/** What a person judges. `code` and `decisionToken` are the ticket's; a card in a conversation has neither. */
export interface Approval {
  code: string;
  decisionToken: string;
  operation: string;
  verb: string;
  name: string;
  environment: string;
  apiHost: string;
  sandbox: boolean;
  token: Token | null;
  effects: Effect[];
  undo: string;
  note: string;
  changes: Change[];
  requestedBy: string;
  expires: number;
  state: string;
}

/** `error`: no answer, or not one that decides anything. */
export interface Decision {
  state: "approved" | "denied" | "wrong_name" | "gone" | "error";
  message: string;
}

/** What a rule found in one token; or in many, which are counted, and of which the first are named. */
export interface Finding {
  severity: string;
  rule: string;
  ids: string[];
  count: number;
  name: string;
  reason: string;
  fix: string;
  next: string;
}

export interface Findings {
  findings: Finding[];
  checked: number;
  counts: Record<string, number>;
  hasMore: boolean;
}

export interface Conversation {
  id: string;
  messageCount: number | null;
  createdAt: string;
  updatedAt: string;
  /** What the visitor wrote, as `[what, text]`. */
  words: [string, string][];
}

export interface TokenList {
  tokens: Token[];
  total: number | null;
  hasMore: boolean;
  nextOffset: number | null;
}

export function record(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

const lines = (value: unknown): string[] => list(value).map((item) => plain(item));

const FACTS: [string, string][] = [
  ["defaultFlowId", "Default flow"],
  ["targetAlias", "Follows release"],
  ["targetVersionId", "Pinned version"],
  ["pinToVersion", "Legacy version"],
  ["productSurfaceId", "Chat surface"],
  ["rateLimitPerMinute", "Requests per minute"],
  ["rateLimitPerHour", "Requests per hour"],
  ["maxMessagesPerSession", "Messages per session"],
  ["sessionIdleTimeoutMinutes", "Idle minutes"],
  ["createdAt", "Created"],
  ["updatedAt", "Updated"],
  ["valueEndsWith", "Value ends with"],
];

export function token(value: unknown): Token {
  const raw = record(value);
  return {
    id: plain(raw.id),
    name: plain(raw.name),
    environment: plain(raw.environment, 20),
    isActive: typeof raw.isActive === "boolean" ? raw.isActive : null,
    allowedOrigins: lines(raw.allowedOrigins),
    lastUsedAt: plain(raw.lastUsedAt, 40),
    conversationCount: number(raw.conversationCount),
    agentIds: lines(raw.agentIds),
    flowIds: lines(raw.flowIds),
    facts: FACTS.map(([key, label]): [string, string] => [
      label,
      key === "valueEndsWith" ? plain(raw[key]).slice(-4) : plain(raw[key]),
    ]).filter(([, shown]) => shown),
    config: raw.config === undefined ? "" : json(raw.config),
  };
}

/** Of `list_client_tokens` (a table, or full tokens) or of the console's own list. */
export function tokenList(value: unknown): TokenList {
  const raw = record(value);
  const columns = lines(raw.columns);
  const rows = list(raw.rows).map((row) => Object.fromEntries(list(row).map((cell, i) => [columns[i] ?? "", cell])));
  return {
    tokens: [...rows, ...list(raw.clientTokens), ...list(raw.tokens)].map(token),
    total: number(raw.total),
    hasMore: raw.hasMore === true,
    nextOffset: number(raw.nextOffset),
  };
}

const WORST_FIRST = ["high", "medium", "low"];

/** Worst first, also where the server did not sort. What has no known severity counts as worst. */
export function worstFirst<T extends { severity: string }>(items: T[]): T[] {
  return items.toSorted((a, b) => WORST_FIRST.indexOf(a.severity) - WORST_FIRST.indexOf(b.severity));
}

function effect(value: unknown): Effect {
  const raw = typeof value === "string" ? { sentence: value } : record(value);
  return {
    kind: plain(raw.kind, 20) || "effect",
    severity: plain(raw.severity, 20),
    sentence: plain(raw.sentence, MAX_TEXT),
  };
}

function side(value: unknown): string | string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return lines(value);
  if (value === null || value === undefined || value === "") return "not set";
  return typeof value === "string" ? plain(value, MAX_TEXT) : json(value);
}

export function approval(value: unknown): Approval {
  const raw = record(value);
  return {
    code: plain(raw.code, 40),
    decisionToken: typeof raw.decisionToken === "string" ? raw.decisionToken : "",
    operation: plain(raw.operation, 60),
    verb: plain(raw.verb, 40),
    name: plain(raw.name),
    environment: plain(raw.environment, 20),
    apiHost: plain(raw.apiHost),
    sandbox: raw.sandbox === true,
    token: raw.token ? token(raw.token) : null,
    effects: worstFirst(list(raw.effects).map(effect)),
    undo: plain(raw.undo, MAX_TEXT),
    note: plain(raw.note, MAX_TEXT),
    changes: list(raw.changes).map((item) => {
      const change = record(item);
      return { field: plain(change.field, 60), before: side(change.before), after: side(change.after) };
    }),
    requestedBy: plain(raw.requestedBy, 120),
    expires: number(raw.expires) ?? 0,
    state: plain(raw.state, 20) || "waiting",
  };
}

const DECISIONS = ["approved", "denied", "wrong_name", "gone"] as const;

/** An answer that decides nothing is an error: only the server's own word is shown as a decision. */
export function decision(value: unknown): Decision {
  const raw = record(value);
  const state = DECISIONS.find((known) => known === raw.state) ?? "error";
  return { state, message: plain(raw.message ?? raw.error, 1000) };
}

export function findings(value: unknown): Findings {
  const raw = record(value);
  const found = list(raw.findings).map((item) => {
    const finding = record(item);
    return {
      severity: plain(finding.severity, 20),
      rule: plain(finding.rule, 60),
      ids: finding.id ? [plain(finding.id)] : lines(finding.ids),
      count: number(finding.count) ?? 1,
      name: plain(finding.name),
      reason: plain(finding.reason, MAX_TEXT),
      fix: plain(finding.fix, MAX_TEXT),
      next: plain(finding.next, MAX_TEXT),
    };
  });
  return {
    findings: worstFirst(found),
    checked: number(raw.checked) ?? 0,
    counts: Object.fromEntries(WORST_FIRST.map((severity) => [severity, number(raw[severity]) ?? 0])),
    hasMore: raw.hasMore === true,
  };
}

const MAX_WORDS = 300;

/** Of `list_client_token_conversations`. What visitors wrote stands between the fence's markers, a line each. */
export function conversations(value: unknown): { conversations: Conversation[]; hasMore: boolean } {
  const raw = record(value);
  const fenced = typeof raw.visitorText === "string" ? raw.visitorText.split("\n").slice(2, -1) : [];
  const shown = list(raw.conversations).map((item) => {
    const conversation = record(item);
    const id = plain(conversation.id);
    const line = fenced.find((text) => text.startsWith(`${id} `)) ?? "";
    return {
      id,
      messageCount: number(conversation.messageCount),
      createdAt: plain(conversation.createdAt, 40),
      updatedAt: plain(conversation.updatedAt, 40),
      words: words(line.slice(id.length + 1)),
    };
  });
  return { conversations: shown, hasMore: raw.hasMore === true };
}

// A visitor can write the separators too, and so move the borders between their own words. Nothing else stands here.
function words(line: string): [string, string][] {
  return line
    .split(/; (?=(?:name|first message|origin): )/u)
    .map((part): [string, string] => {
      const [, what = "", text = part] = /^(id|name|first message|origin): (.*)$/u.exec(part) ?? [];
      return [what, plain(text, MAX_WORDS)];
    })
    .filter(([, text]) => text);
}
