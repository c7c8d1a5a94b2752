// The page inside a conversation (MCP Apps): it shows the result of the tool that it was opened for.
import { render } from "preact";
import { useMemo, useState } from "preact/hooks";
import { ApprovalCard } from "../components/approval_card";
import { ConversationList } from "../components/conversations";
import { FindingList } from "../components/findings";
import { Badge, Copyable, Notice, Text } from "../components/parts";
import { TokenCard } from "../components/token_card";
import { TokenTable } from "../components/token_table";
import { applyLook, Host, type HostContext, HostError } from "../host";
import * as model from "../model";
import { plain } from "../text";

const MAX_CALL = 20_000;

interface Shown {
  context: HostContext;
  result: model.Json | null;
  cancelled: boolean;
  /** Another result is another card: nothing of what was typed before stays. */
  number: number;
}

export function start(root: HTMLElement): void {
  let shown: Shown = {
    context: { tool: "", displayMode: "inline", displayModes: [] },
    result: null,
    cancelled: false,
    number: 0,
  };
  const draw = (part: Partial<Shown>) => {
    shown = { ...shown, ...part };
    render(<App host={host} shown={shown} />, root);
  };
  const host = new Host(
    window,
    {
      context: (context) => draw({ context }),
      input: () => draw({ result: null, cancelled: false }),
      result: (result) => draw({ result, cancelled: false, number: shown.number + 1 }),
      cancelled: () => draw({ cancelled: true }),
    },
    (context) => applyLook(document.documentElement, context),
  );
  draw({});
  host.connect().then(
    () => new ResizeObserver(() => tellSize(host)).observe(document.body),
    () => draw({ cancelled: true }),
  );
}

function tellSize(host: Host): void {
  const { width, height } = document.body.getBoundingClientRect();
  if (document.documentElement.dataset.height !== "fixed") host.resized(Math.ceil(width), Math.ceil(height));
}

function App({ host, shown }: { host: Host; shown: Shown }) {
  const { context, result, cancelled, number } = shown;
  const [failed, fail] = useState("");
  async function say(message: string) {
    fail((await host.say(message)) ? "" : message);
  }
  const other = context.displayMode === "fullscreen" ? "inline" : "fullscreen";
  return (
    <main class="frame app">
      <h1 class="unseen">Runtype client tokens</h1>
      {context.displayModes.includes(other) && result && (
        <div class="bar end">
          <button type="button" class="small" onClick={() => void host.show(other).catch(() => {})}>
            {other === "fullscreen" ? "Full screen" : "Back to the conversation"}
          </button>
        </div>
      )}
      {cancelled && <Notice>The call was cancelled.</Notice>}
      {!cancelled && !result && (
        <p class="muted" role="status">
          Waiting for the result…
        </p>
      )}
      {result && <Result key={number} host={host} result={result} say={say} />}
      {failed && (
        <Notice tone="warning">
          <p>The host did not take the message. Copy it into the conversation:</p>
          <Copyable label="The message" text={failed} />
        </Notice>
      )}
    </main>
  );
}

interface ResultProps {
  host: Host;
  result: model.Json;
  say(message: string): Promise<void>;
}

function Result({ host, result, say }: ResultProps) {
  const data = model.record(result.structuredContent);
  if (result.isError === true) {
    return (
      <Notice tone="danger">
        <Text limit={4000}>{words(result)}</Text>
      </Notice>
    );
  }
  if (data.status === "preview") return <Preview host={host} result={result} data={data} say={say} />;
  if (data.status === "done") return <Done data={data} />;
  if (Array.isArray(data.findings)) return <FindingList found={model.findings(data)} heading="h2" say={say} />;
  if (Array.isArray(data.conversations)) return <ConversationList {...model.conversations(data)} heading="h2" />;
  if (Array.isArray(data.rows) || Array.isArray(data.clientTokens)) return <Tokens data={data} say={say} />;
  if (data.clientToken) {
    return <TokenCard token={model.token(data.clientToken)} openSite={(url) => void host.openLink(url)} />;
  }
  return (
    <Notice>
      <Text limit={4000}>{words(result)}</Text>
    </Notice>
  );
}

function words(result: model.Json): string {
  const block = model.record(model.list(result.content)[0]);
  return plain(block.text, 4000) || "The result has no content.";
}

function Tokens({ data, say }: { data: model.Json; say(message: string): Promise<void> }) {
  const { tokens, total, hasMore, nextOffset } = model.tokenList(data);
  // The page reads no token by itself: a read counts as shown to the assistant, and guards its later changes.
  return (
    <TokenTable
      tokens={tokens}
      total={total}
      open={(token) => (
        <button type="button" class="link" onClick={() => void say(`Show me the client token ${token.id}.`)}>
          <Text none="without a name">{token.name}</Text>
        </button>
      )}
    >
      {hasMore && (
        <button
          type="button"
          class="small"
          onClick={() =>
            void say(`Show me the next client tokens${nextOffset === null ? "" : `, from offset ${nextOffset}`}.`)
          }
        >
          Ask for more
        </button>
      )}
    </TokenTable>
  );
}

function Preview({ host, result, data, say }: ResultProps & { data: model.Json }) {
  const [asked, ask] = useState(true);
  const given = model.record(model.record(result._meta)["runtype-mcp/approval"]);
  const call = typeof data.confirmCall === "string" ? data.confirmCall.slice(0, MAX_CALL) : "";
  const card = useMemo(() => model.approval(given.card ?? fallback(data)), [given.card, data]);
  const code = typeof given.approvalCode === "string" ? given.approvalCode : "";
  if (!code) {
    return <ApprovalCard card={card} decide={null} afterwards={plain(data.note, 1000) || "Nothing was changed."} />;
  }
  async function decide(verdict: "approve" | "deny", name: string): Promise<model.Decision> {
    let answer: model.Json;
    try {
      answer = await host.callTool("confirm_in_app", { approval_code: code, name, decision: verdict });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      return { state: "error", message: "The host did not pass the answer on. Nothing was decided. Try again." };
    }
    if (answer.isError === true) return { state: "error", message: words(answer) };
    const said = model.decision(answer.structuredContent);
    if (said.state === "approved") ask(await host.say(`I approved this on the card: repeat exactly \`${call}\`.`));
    if (said.state === "denied") {
      await host.tellModel(`The user denied this call on the card: ${card.operation}. Do not make it again unasked.`);
    }
    return said.message ? said : { ...said, message: "" };
  }
  return (
    <>
      <ApprovalCard
        card={card}
        decide={decide}
        afterwards={asked ? "The assistant was asked to repeat the call. It goes ahead once." : ""}
      />
      {!asked && (
        <Notice tone="warning">
          <p>The host did not take the message. The call goes ahead once the assistant repeats it exactly:</p>
          <Copyable label="The call" text={call} />
          <button type="button" class="small" onClick={() => void say(`Repeat exactly \`${call}\`.`)}>
            Send it again
          </button>
        </Notice>
      )}
    </>
  );
}

/** A card from what every preview says, where the server sent none. */
function fallback(data: model.Json): model.Json {
  const token = model.record(data.clientToken);
  const operation = plain(data.confirmCall, 200).split(" ")[0] ?? "";
  const { effects, undo, clientToken } = data;
  return {
    verb: operation,
    operation,
    name: token.name ?? token.id,
    environment: token.environment,
    token: clientToken,
    effects,
    undo,
  };
}

const NOTES: [string, string][] = [
  ["note", "Note"],
  ["delivered", "Delivered"],
  ["undo", "Undo"],
];

function Done({ data }: { data: model.Json }) {
  const token = data.clientToken ? model.token(data.clientToken) : null;
  return (
    <section class="card" aria-label="Result">
      <p class="meta">
        <Badge tone="success">Done</Badge>
        {token && <Text none={token.id}>{token.name}</Text>}
        {token?.name && (
          <code>
            <Text>{token.id}</Text>
          </code>
        )}
      </p>
      {model.list(data.changes).map((item) => {
        const change = model.record(item);
        return (
          <p key={plain(change.field)}>
            <Text>{plain(change.field)}</Text>: <Text limit={2000}>{plain(change.before, 2000)}</Text> →{" "}
            <Text limit={2000}>{plain(change.after, 2000)}</Text>
          </p>
        );
      })}
      {NOTES.map(
        ([key, label]) =>
          typeof data[key] === "string" && (
            <p key={key}>
              <strong>{label}: </strong>
              <Text limit={2000}>{plain(data[key], 2000)}</Text>
            </p>
          ),
      )}
      {model.list(data.warnings).map((warning) => (
        <Notice key={plain(warning)} tone="warning">
          <Text limit={2000}>{plain(warning, 2000)}</Text>
        </Notice>
      ))}
      {"value" in data && <p class="muted">The value is in the conversation. This page does not hold it.</p>}
    </section>
  );
}
