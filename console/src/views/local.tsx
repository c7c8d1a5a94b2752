// The page in a browser of its own: what waits for approval, or the whole console.
import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "../api";
import type { Ending } from "../components/approval_card";
import { Approvals, type Entry } from "../components/approvals";
import { AuditLog, auditPage } from "../components/audit_log";
import { ConversationList } from "../components/conversations";
import { FindingList } from "../components/findings";
import { Badge, Loading, Notice, Text, useLoaded } from "../components/parts";
import { TokenCard } from "../components/token_card";
import { TokenTable } from "../components/token_table";
import { type Approval, conversations, findings, tokenList } from "../model";

const POLL = 1500;

export function start(root: HTMLElement): void {
  // The one-time secret is used up; it need not stay in the address, in the history or on a screenshot.
  history.replaceState(null, "", api.sessionPath(location.pathname) + location.hash);
  render(<Local />, root);
}

function Local() {
  const { data, error } = useLoaded("session", api.session);
  const queue = useQueue();
  if (error) {
    return (
      <Frame title="Runtype client tokens">
        <Notice tone="danger">{error} Nothing was decided here. Open the page again from where it was started.</Notice>
      </Frame>
    );
  }
  if (!data) return <Loading />;
  if (data.kind === "team") return <TeamPage session={data} queue={queue} />;
  return data.kind === "console" ? (
    <Console session={data} queue={queue} />
  ) : (
    <ApprovalPage session={data} queue={queue} />
  );
}

interface Queue {
  entries: Entry[];
  loaded: boolean;
  clockOffset: number;
  /** Why the server's word is missing; empty while it answers. */
  trouble: string;
  onDecided(card: Approval, ending: Ending): void;
}

/** The calls that wait, asked for again and again while somebody looks. A call that was seen stays on the page. */
function useQueue(): Queue {
  const [entries, setEntries] = useState<Entry[]>([]);
  const [clockOffset, setOffset] = useState(0);
  const [loaded, setLoaded] = useState(false);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    async function poll() {
      clearTimeout(timer);
      try {
        const { approvals, now } = await api.waiting();
        if (over) return;
        setEntries((known) => merge(known, approvals, now));
        // An answer takes its time: only a clock that was set makes the countdown jump.
        const ahead = now - Date.now() / 1000;
        setOffset((before) => (Math.abs(ahead - before) > 2 ? ahead : before));
        setTrouble("");
      } catch (error) {
        if (!(error instanceof api.ServerGone || error instanceof api.ApiError)) throw error;
        if (over) return;
        setTrouble(error.message);
      }
      setLoaded(true);
      timer = setTimeout(poll, POLL);
    }
    const look = () => document.hidden || void poll();
    document.addEventListener("visibilitychange", look);
    void poll();
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, []);
  const onDecided = (card: Approval, ending: Ending) =>
    setEntries((known) => known.map((entry) => (entry.card.code === card.code ? { ...entry, ending } : entry)));
  return { entries, loaded, clockOffset, trouble, onDecided };
}

/** What is known after an answer of the server. What it no longer names was decided elsewhere, or has expired. */
export function merge(known: Entry[], waiting: Approval[], now: number): Entry[] {
  const before = known.map(({ card, ending }): Entry => {
    const same = waiting.find(({ code }) => code === card.code);
    return {
      card: same ?? card,
      ending: ending ?? decided(same) ?? (same ? null : card.expires <= now ? "expired" : "gone"),
    };
  });
  // Nothing moves under a person's hands: what is new comes last.
  const added = waiting.filter(({ code }) => !known.some(({ card }) => card.code === code));
  return [...before, ...added.map((card): Entry => ({ card, ending: decided(card) }))];
}

function decided(card: Approval | undefined): Ending | null {
  return card?.state === "approved" || card?.state === "denied" ? card.state : null;
}

function Queued({ queue }: { queue: Queue }) {
  if (!queue.loaded) return <Loading />;
  const entries = queue.trouble
    ? queue.entries.map((entry): Entry => ({ ...entry, ending: entry.ending ?? "lost" }))
    : queue.entries;
  if (!entries.length && queue.trouble)
    return <Notice tone="warning">{queue.trouble} Nothing was decided here.</Notice>;
  return (
    <Approvals entries={entries} clockOffset={queue.clockOffset} decide={api.decide} onDecided={queue.onDecided} />
  );
}

function ApprovalPage({ session, queue }: { session: api.Session; queue: Queue }) {
  const waiting = queue.entries.filter(({ ending }) => !ending).length;
  const over = queue.loaded && queue.entries.length > 0 && waiting === 0;
  useEffect(() => {
    document.title = waiting ? "A call waits for your approval" : "Runtype client tokens";
  }, [waiting]);
  return (
    <Frame title={waiting > 1 ? `${waiting} calls wait for your approval` : "Approve a call"} session={session} narrow>
      <p class="muted">
        An assistant wants to change a client token. Approve only what you want; what is approved goes ahead once,
        exactly as shown.
      </p>
      <Queued queue={queue} />
      {over && <p class="muted">You can close this tab.</p>}
    </Frame>
  );
}

function TeamPage({ session, queue }: { session: api.Session; queue: Queue }) {
  const [trouble, setTrouble] = useState("");
  const waiting = queue.entries.filter(({ ending }) => !ending).length;
  useEffect(() => {
    document.title = waiting ? `(${waiting}) Approvals` : "Approvals";
  }, [waiting]);
  async function leave() {
    if (await api.signOut()) location.assign("signed-out");
    else setTrouble("The server did not answer, so you are still signed in.");
  }
  return (
    <Frame title="Approvals" narrow>
      <p class="meta">
        <span>
          Signed in as <Text>{session.person}</Text>
        </span>
        <button type="button" class="small" onClick={() => void leave()}>
          Sign out
        </button>
      </p>
      <p class="muted">
        What colleagues ask for and a second person must approve. What you approve goes ahead once, exactly as shown.
        Your own calls are not here: somebody else decides them.
      </p>
      {(trouble || queue.trouble) && <Notice tone="warning">{trouble || queue.trouble}</Notice>}
      <Queued queue={queue} />
    </Frame>
  );
}

const VIEWS: [string, string][] = [
  ["tokens", "Tokens"],
  ["findings", "Findings"],
  ["approvals", "Approvals"],
  ["audit", "Audit log"],
];

function useRoute(): [view: string, id: string] {
  const [hash, set] = useState(location.hash);
  useEffect(() => {
    const change = () => set(location.hash);
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  const [view = "", id = ""] = hash.slice(1).split("/");
  return [VIEWS.some(([name]) => name === view) ? view : "tokens", id];
}

function Console({ session, queue }: { session: api.Session; queue: Queue }) {
  const [view, id] = useRoute();
  const waiting = queue.entries.filter(({ ending }) => !ending).length;
  const title = VIEWS.find(([name]) => name === view)?.[1] ?? "";
  const place = useRef<HTMLDivElement>(null);
  const shown = useRef(location.hash);
  useEffect(() => {
    document.title = `${title} – Runtype client tokens`;
    // After a link within the page, a reader goes on where the new view begins.
    if (shown.current !== location.hash) place.current?.focus();
    shown.current = location.hash;
  });
  return (
    <Frame title="Runtype client tokens" session={session}>
      <nav aria-label="Console" class="tabs">
        <ul>
          {VIEWS.map(([name, label]) => (
            <li key={name}>
              <a href={`#${name}`} aria-current={view === name ? "page" : undefined}>
                {label}
                {name === "approvals" && waiting > 0 && (
                  <>
                    {" "}
                    <Badge tone="warning">{waiting} waiting</Badge>
                  </>
                )}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      {queue.trouble && (
        <Notice tone="warning">
          {queue.trouble} If the console was ended, start it again with <code>runtype-mcp console</code>.
        </Notice>
      )}
      <div ref={place} tabIndex={-1} class="view" key={`${view}/${id}`}>
        {view === "tokens" && (id ? <TokenView id={id} /> : <TokensView />)}
        {view === "findings" && <FindingsView />}
        {view === "approvals" && <Queued queue={queue} />}
        {view === "audit" && <AuditView />}
      </div>
    </Frame>
  );
}

const loadTokens = async () => tokenList(await api.get("tokens"));

function TokensView() {
  const { data, error, reload } = useLoaded("tokens", loadTokens);
  if (error) return <Failed error={error} again={reload} />;
  if (!data) return <Loading />;
  return (
    <TokenTable
      tokens={data.tokens}
      total={data.total}
      open={(token) => (
        <a href={`#tokens/${encodeURIComponent(token.id)}`}>
          <Text none="without a name">{token.name}</Text>
        </a>
      )}
    >
      <button type="button" class="small" onClick={reload}>
        Refresh
      </button>
    </TokenTable>
  );
}

function TokenView({ id }: { id: string }) {
  const { data, error, reload } = useLoaded("tokens", loadTokens);
  const token = data?.tokens.find((item) => encodeURIComponent(item.id) === id);
  return (
    <>
      <p>
        <a href="#tokens">← All tokens</a>
      </p>
      {error && <Failed error={error} again={reload} />}
      {!data && !error && <Loading />}
      {data && !token && <Notice>There is no client token with this id any more.</Notice>}
      {token && (
        <>
          <TokenCard token={token} />
          <h2>Conversations</h2>
          <ConversationsView id={token.id} />
        </>
      )}
    </>
  );
}

function ConversationsView({ id }: { id: string }) {
  const { data, error, reload } = useLoaded(id, async () =>
    conversations(await api.get(`conversations?clientTokenId=${encodeURIComponent(id)}`)),
  );
  if (error) return <Failed error={error} again={reload} />;
  return data ? <ConversationList {...data} heading="h3" /> : <Loading />;
}

function FindingsView() {
  const { data, error, reload } = useLoaded("findings", async () => findings(await api.get("findings")));
  if (error) return <Failed error={error} again={reload} />;
  if (!data) return <Loading />;
  return (
    <>
      <h2>Findings</h2>
      <p class="muted">Each fix is a message for your assistant: copy it, and paste it into the conversation.</p>
      <FindingList found={data} heading="h3" />
    </>
  );
}

function AuditView() {
  // Each page ends where the next begins.
  const [ends, setEnds] = useState<number[]>([]);
  const key = useMemo(() => ends.join(), [ends]);
  const { data, error, reload } = useLoaded(key, () =>
    Promise.all(
      ["", ...ends.map((end) => `&before=${end}`)].map(async (before) =>
        auditPage(await api.get(`audit?limit=100${before}`)),
      ),
    ),
  );
  if (error) return <Failed error={error} again={reload} />;
  if (!data) return <Loading />;
  const last = data.at(-1)?.lines.at(-1)?.seq ?? 1;
  return (
    <>
      <h2>Audit log</h2>
      <AuditLog pages={data} more={last > 1 ? () => setEnds([...ends, last]) : undefined} />
    </>
  );
}

function Failed({ error, again }: { error: string; again(): void }) {
  return (
    <Notice tone="danger">
      <Text limit={1000}>{error}</Text>{" "}
      <button type="button" class="small" onClick={again}>
        Try again
      </button>
    </Notice>
  );
}

interface FrameProps {
  title: string;
  session?: api.Session;
  narrow?: boolean;
  children: preact.ComponentChildren;
}

function Frame({ title, session, narrow = false, children }: FrameProps) {
  return (
    <div class={narrow ? "frame narrow" : "frame"}>
      <header class="top">
        <h1>{title}</h1>
        {session?.kind === "console" && (
          <p class="meta">
            {session.sandbox && <Badge>Sandbox: nothing is real</Badge>}
            <Text>{session.apiHost}</Text>
            <span>
              runtype-mcp <Text>{session.version}</Text>
            </span>
          </p>
        )}
      </header>
      <main>{children}</main>
    </div>
  );
}
