// The audit log, newest first, and whether its chain holds.
import { useState } from "preact/hooks";
import { type Json, list, record } from "../model";
import { plain, second } from "../text";
import { Badge, Notice, Text, type Tone } from "./parts";
import { Choice } from "./token_table";

export interface AuditLine {
  seq: number | null;
  time: string;
  event: string;
  call: string;
  caller: string;
  tool: string;
  token: string;
  name: string;
  environment: string;
  effects: string[];
  approval: string;
  outcome: string;
}

export interface AuditPage {
  lines: AuditLine[];
  verified: boolean | null;
  brokenAt: number | null;
  file: string;
}

export function auditPage(value: unknown): AuditPage {
  const raw = record(value);
  return {
    lines: list(raw.lines).map((item) => line(record(item))),
    verified: typeof raw.verified === "boolean" ? raw.verified : null,
    brokenAt: typeof raw.brokenAt === "number" ? raw.brokenAt : null,
    file: plain(raw.file, 1000),
  };
}

function line(raw: Json): AuditLine {
  const effects = Array.isArray(raw.effects) ? raw.effects : raw.effects ? [raw.effects] : [];
  return {
    seq: typeof raw.seq === "number" ? raw.seq : null,
    time: plain(raw.time, 40),
    event: plain(raw.event, 40),
    call: plain(raw.call, 80),
    caller: plain(raw.caller),
    tool: plain(raw.tool, 80),
    token: plain(raw.token),
    name: plain(raw.name),
    environment: plain(raw.environment, 20),
    effects: effects.map((effect) => plain(effect, 2000)),
    approval: plain(raw.approval, 120),
    outcome: plain(raw.outcome, 2000),
  };
}

/** One line for each call, newest first: the end of a call says all that its start says. */
export function calls(newestFirst: AuditLine[]): AuditLine[] {
  const ended = new Set<string>();
  return newestFirst.filter(({ event, call }) => {
    if (event === "ended") ended.add(call);
    return event !== "started" || !ended.has(call);
  });
}

export interface AuditLogProps {
  pages: AuditPage[];
  more?: (() => void) | undefined;
}

export function AuditLog({ pages, more }: AuditLogProps) {
  const [tool, setTool] = useState("");
  const [outcome, setOutcome] = useState("");
  const first = pages[0];
  if (!first) return null;
  const lines = calls(pages.flatMap((page) => page.lines));
  const options = (value: (item: AuditLine) => string) =>
    [...new Set(lines.map(value).filter(Boolean))].sort().map((item): [string, string] => [item, item]);
  const shown = lines.filter((item) => (!tool || item.tool === tool) && (!outcome || word(item) === outcome));
  return (
    <section aria-label="Audit log">
      <Verified page={first} />
      {lines.length > 0 && (
        <>
          <search class="filters">
            <Choice label="Tool" value={tool} onChange={setTool}>
              {options((item) => item.tool)}
            </Choice>
            <Choice label="Outcome" value={outcome} onChange={setOutcome}>
              {options(word)}
            </Choice>
          </search>
          <table class="audit">
            <thead>
              <tr>
                <th scope="col">Time (UTC)</th>
                <th scope="col">Call</th>
                <th scope="col">Token</th>
                <th scope="col">Approval</th>
                <th scope="col">Outcome</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((item, i) => (
                <tr key={item.seq ?? i}>
                  <td data-label="Time (UTC)">
                    <span class="nowrap">{second(item.time)}</span>
                    {item.seq !== null && <span class="muted small">line {item.seq}</span>}
                  </td>
                  <th scope="row">
                    <code>
                      <Text>{item.tool || item.event}</Text>
                    </code>
                    <span class="muted small">
                      <Text none="unknown caller">{item.caller}</Text>
                    </span>
                  </th>
                  <td data-label="Token">
                    {(item.name !== item.token || !item.token) && <Text none={item.token ? "" : "–"}>{item.name}</Text>}
                    {item.token && (
                      <code class="id">
                        <Text>{item.token}</Text>
                      </code>
                    )}
                  </td>
                  <td data-label="Approval">
                    <Text none="–">{item.approval}</Text>
                  </td>
                  <td data-label="Outcome">
                    <Outcome line={item} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {!shown.length && <p class="muted">No line fits these filters.</p>}
          {more && (
            <button type="button" onClick={more}>
              Show older lines
            </button>
          )}
        </>
      )}
    </section>
  );
}

function Verified({ page }: { page: AuditPage }) {
  if (!page.file) {
    return <Notice>No audit log is kept. Set RUNTYPE_MCP_AUDIT to a file to keep one.</Notice>;
  }
  const file = (
    <code>
      <Text limit={1000}>{page.file}</Text>
    </code>
  );
  if (page.verified) {
    return <Notice tone="success">Verified: every line continues the one before it. {file}</Notice>;
  }
  if (page.verified === false) {
    const where = page.brokenAt === null ? "" : ` at line ${page.brokenAt}`;
    return (
      <Notice tone="danger">
        <strong>The chain breaks{where}.</strong> Lines were edited, removed or damaged. Run{" "}
        <code>runtype-mcp audit verify</code> for details. {file}
      </Notice>
    );
  }
  return <Notice>Not verified. {file}</Notice>;
}

const TONES: Record<string, Tone> = { done: "success", failed: "warning", unknown: "danger" };

/** How a call ended, in one word. One that started and has no end may have written: that is unknown. */
function word(line: AuditLine): string {
  if (line.event === "recovered") return "recovered";
  return plain(line.outcome.split(": ")[0], 40) || "unknown";
}

function Outcome({ line }: { line: AuditLine }) {
  const [, ...rest] = line.outcome.split(": ");
  const tone: Tone = TONES[word(line)] ?? "neutral";
  return (
    <>
      <Badge tone={tone}>{word(line)}</Badge>
      {rest.length > 0 && (
        <span>
          {" "}
          <Text limit={2000}>{rest.join(": ")}</Text>
        </span>
      )}
      {line.effects.length > 0 && (
        <details>
          <summary>
            {line.effects.length} effect{line.effects.length === 1 ? "" : "s"}
          </summary>
          <ul>
            {line.effects.map((effect) => (
              <li key={effect}>
                <Text limit={2000}>{effect}</Text>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}
