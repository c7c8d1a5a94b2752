// The approval card: everything that a person needs to judge one call, and the two answers.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Approval, Change, Decision } from "../model";
import { clock, spoken } from "../text";
import { Badge, Day, Environment, Fact, Facts, Notice, Origins, State, Text, type Tone, useNow } from "./parts";

/** Why a card no longer asks. `lost`: the server that would act on an answer does not answer. */
export type Ending = "approved" | "denied" | "expired" | "gone" | "lost";

export interface ApprovalProps {
  card: Approval;
  /** What ended it, where that is known from outside the card. */
  ending?: Ending | null;
  /** Seconds by which the server's clock is ahead of this machine's. */
  clockOffset?: number;
  /** Where an approval leads: a sentence for people. */
  afterwards: string;
  /** Sends a person's answer; null where a card only shows, and `afterwards` says where the call is decided. */
  decide: ((verdict: "approve" | "deny", name: string) => Promise<Decision>) | null;
  onDecided?(ending: Ending): void;
}

export function ApprovalCard({ card, ending, clockOffset = 0, afterwards, decide, onDecided }: ApprovalProps) {
  const [decided, setDecided] = useState<{ ending: Ending; message: string } | null>(null);
  const now = useNow(clockOffset);
  const left = card.expires ? card.expires - now : null;
  const outside = ending ?? (left !== null && left <= 0 ? "expired" : null);
  const over = decided ?? (outside && { ending: outside, message: "" });
  const title = useId();
  return (
    <article class="card" aria-labelledby={title}>
      <header>
        <p class="meta">
          <Environment name={card.environment} loud />
          {card.sandbox && <Badge>Sandbox: nothing is real</Badge>}
          {card.apiHost && (
            <span>
              at <Text>{card.apiHost}</Text>
            </span>
          )}
        </p>
        <h2 id={title}>
          {card.verb || "Run"} “<Text none="a token without a name">{card.name}</Text>”?
        </h2>
        <p class="meta">
          <span>
            Asked by <Text none="an unnamed client">{card.requestedBy}</Text>
          </span>
          {card.code && (
            <span>
              Code <code>{card.code}</code>
            </span>
          )}
          {left !== null && decide && !over && <Countdown left={left} />}
        </p>
      </header>
      <Effects card={card} />
      {card.changes.length > 0 && <Changes changes={card.changes} />}
      {card.token && <TokenFacts card={card} />}
      {!decide && (
        <Notice>
          <Text limit={1000}>{afterwards}</Text>
        </Notice>
      )}
      {decide && over && (
        <Outcome ending={over.ending} message={over.message} afterwards={afterwards} focus={decided !== null} />
      )}
      {decide && !over && (
        <Answer
          card={card}
          decide={decide}
          onDecided={(ending, message) => {
            setDecided({ ending, message });
            onDecided?.(ending);
          }}
        />
      )}
    </article>
  );
}

function Countdown({ left }: { left: number }) {
  // A reader is told twice, not every second.
  const mark = left <= 15 ? 15 : left <= 60 ? 60 : null;
  return (
    <span class={left <= 60 ? "soon" : ""}>
      Waits <time aria-hidden="true">{clock(left)}</time>
      <span class="unseen">{spoken(left)}</span> more
      <span class="unseen" role="status">
        {mark !== null && `Less than ${spoken(mark)} left to decide.`}
      </span>
    </span>
  );
}

const KINDS: Record<string, [Tone, string]> = { outage: ["danger", "Outage"], exposure: ["warning", "Exposure"] };

function Effects({ card }: { card: Approval }) {
  return (
    <section>
      <h3>What would happen</h3>
      <ul class="effects">
        {card.effects.map((effect) => {
          const [tone, word] = KINDS[effect.kind] ?? (["danger", effect.kind] as const);
          return (
            <li key={effect.sentence} class={tone}>
              <Badge tone={tone}>
                {word}
                {effect.severity && ` · ${effect.severity}`}
              </Badge>
              <Text limit={8000}>{effect.sentence}</Text>
            </li>
          );
        })}
      </ul>
      {card.undo && (
        <p>
          <strong>Undo: </strong>
          <Text limit={8000}>{card.undo}</Text>
        </p>
      )}
      {card.note && (
        <p>
          <strong>Details: </strong>
          <Text limit={8000}>{card.note}</Text>
        </p>
      )}
    </section>
  );
}

function Changes({ changes }: { changes: Change[] }) {
  return (
    <section>
      <h3>Before and after</h3>
      <table class="changes">
        <thead>
          <tr>
            <th scope="col">Setting</th>
            <th scope="col">Before</th>
            <th scope="col">After</th>
          </tr>
        </thead>
        <tbody>
          {changes.map(({ field, before, after }) => (
            <tr key={field}>
              <th scope="row">
                <Text>{label(field)}</Text>
              </th>
              <td data-label="Before">
                <Side own={before} other={after} mark="removed" />
              </td>
              <td data-label="After">
                <Side own={after} other={before} mark="added" />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A field's name in words: `rateLimitPerMinute` is "Rate limit per minute". */
function label(field: string): string {
  const words = field.replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function Side({ own, other, mark }: { own: string | string[]; other: string | string[]; mark: "added" | "removed" }) {
  if (typeof own === "string") return own.includes("\n") ? <pre>{own}</pre> : <Text limit={8000}>{own}</Text>;
  if (!own.length) return <span class="muted">none</span>;
  return (
    <ul class="side">
      {own.map((item) => (
        <li key={item}>
          <code>
            <Text>{item}</Text>
          </code>
          {Array.isArray(other) && !other.includes(item) && (
            <Badge tone={mark === "added" ? "warning" : "danger"}>{mark}</Badge>
          )}
        </li>
      ))}
    </ul>
  );
}

function TokenFacts({ card: { token } }: { card: Approval }) {
  if (!token) return null;
  return (
    <section>
      <h3>The token as it is</h3>
      <Facts>
        <Fact label="Id">
          <code>
            <Text>{token.id}</Text>
          </code>
        </Fact>
        <Fact label="State">
          <State isActive={token.isActive} />
        </Fact>
        <Fact label="Last used">
          <Day moment={token.lastUsedAt} />
        </Fact>
        <Fact label="Conversations">{token.conversationCount ?? <span class="muted">not counted</span>}</Fact>
        <Fact label="Allowed origins">
          <Origins origins={token.allowedOrigins} />
        </Fact>
      </Facts>
    </section>
  );
}

interface AnswerProps {
  card: Approval;
  decide(verdict: "approve" | "deny", name: string): Promise<Decision>;
  onDecided(ending: Ending, message: string): void;
}

function Answer({ card, decide, onDecided }: AnswerProps) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const [input, problem] = [useId(), useId()];

  async function answer(verdict: "approve" | "deny") {
    const name = field.current?.value ?? "";
    if (busy) return;
    if (verdict === "approve" && !name.trim()) {
      setError("Type the name to approve. Nothing was decided.");
      field.current?.focus();
      return;
    }
    setBusy(true);
    setError("");
    const { state, message } = await decide(verdict, verdict === "approve" ? name : "");
    setBusy(false);
    if (state === "approved" || state === "denied" || state === "gone") {
      onDecided(state, message);
      return;
    }
    setError(message || "That is not the token's name. Nothing was decided; correct it and approve again.");
    field.current?.focus();
  }

  return (
    // Not a form: a sandbox that allows none, as hosts may set, would swallow its submission.
    <section class="answer" aria-label="Your decision">
      <label for={input}>
        To approve, type the name{" "}
        <strong>
          <Text>{card.name}</Text>
        </strong>
      </label>
      <input
        ref={field}
        id={input}
        type="text"
        maxLength={255}
        spellcheck={false}
        autocapitalize="off"
        aria-invalid={error !== ""}
        aria-describedby={problem}
        autocomplete="off"
        onInput={() => error && setError("")}
        onKeyDown={(event) => event.key === "Enter" && !event.isComposing && void answer("approve")}
      />
      <p id={problem} class="error" role="alert">
        {error}
      </p>
      <div class="buttons">
        <button type="button" class="primary" aria-disabled={busy} onClick={() => void answer("approve")}>
          Approve
        </button>
        <button type="button" aria-disabled={busy} onClick={() => void answer("deny")}>
          Deny
        </button>
      </div>
    </section>
  );
}

const ENDINGS: Record<Ending, [Tone, string, string]> = {
  approved: ["success", "Approved", ""],
  denied: ["neutral", "Denied", "Nothing was changed."],
  expired: [
    "neutral",
    "Expired",
    "Nobody decided in time. Nothing was changed. Ask the assistant to make the call again.",
  ],
  gone: ["neutral", "No longer waiting", "It was decided elsewhere, or has expired."],
  lost: [
    "warning",
    "The server does not answer",
    "Nothing can be decided here now. If it has ended, ask the assistant to make the call again.",
  ],
};

function Outcome(props: { ending: Ending; message: string; afterwards: string; focus: boolean }) {
  const { ending, message, afterwards, focus } = props;
  const [tone, title, sentence] = ENDINGS[ending];
  // The server's sentence may begin with the same word.
  const said = message.startsWith(`${title}.`) ? message.slice(title.length + 1).trim() : message;
  const place = useRef<HTMLDivElement>(null);
  // The button that a person pressed is gone; their place on the page must not be.
  useEffect(() => {
    if (focus) place.current?.focus();
  }, [focus]);
  return (
    <div class={`notice outcome ${tone}`} role="status" tabIndex={-1} ref={place}>
      <strong>{title}.</strong> <Text limit={1000}>{said || sentence || afterwards}</Text>
      {said && ending === "approved" && afterwards && <p>{afterwards}</p>}
    </div>
  );
}
