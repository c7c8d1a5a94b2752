// Small parts that every view uses.
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { day, plain } from "../text";

/** Text that others wrote. Its direction and its characters cannot reach what stands around it. */
export function Text({ children, limit, none }: { children: string; limit?: number; none?: string }) {
  const text = plain(children, limit);
  return text ? <bdi class="text">{text}</bdi> : <span class="muted">{none ?? "none"}</span>;
}

export type Tone = "danger" | "warning" | "success" | "neutral";

export function Badge({ tone = "neutral", children }: { tone?: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** `loud` where a decision depends on it. In a table of many, only what is not the usual one stands out. */
export function Environment({ name, loud = false }: { name: string; loud?: boolean }) {
  const text = <Text none="environment unknown">{name}</Text>;
  if (loud) return <Badge tone={name === "test" ? "neutral" : "warning"}>{text}</Badge>;
  return name === "live" ? text : <Badge>{text}</Badge>;
}

export function State({ isActive }: { isActive: boolean | null }) {
  if (isActive === null) return <span class="muted">unknown</span>;
  return isActive ? <span>Active</span> : <Badge>Inactive</Badge>;
}

export function Day({ moment, none }: { moment: string; none?: string }) {
  return moment ? (
    <span class="nowrap">{day(moment, Date.now())}</span>
  ) : (
    <span class="muted">{none ?? "unknown"}</span>
  );
}

/** Whether an entry lets everybody in. The rules are the server's; this only says which entries to look at. */
export function isOpen(origin: string): boolean {
  return /^(\*|https?:\/\/\*|native)$/.test(origin);
}

export function Origins({ origins, most = 1000 }: { origins: string[]; most?: number }) {
  if (!origins.length) return <span class="muted">none listed</span>;
  // Whatever is left out is never what matters most.
  const widest = origins.toSorted(
    (a, b) => Number(isOpen(b)) - Number(isOpen(a)) || +b.includes("*") - +a.includes("*"),
  );
  return (
    <ul class="origins">
      {widest.slice(0, most).map((origin) => (
        <li key={origin}>
          <code>
            <Text>{origin}</Text>
          </code>
          {isOpen(origin) && <Badge tone="danger">{origin === "native" ? "no origin check" : "every website"}</Badge>}
        </li>
      ))}
      {widest.length > most && <li class="muted">and {widest.length - most} more</li>}
    </ul>
  );
}

/** Names and values, a line each. What has no value is left out. */
export function Facts({ children }: { children: ComponentChildren }) {
  return <dl class="facts">{children}</dl>;
}

export function Fact({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** A whole answer to one question: what happened, for a person who looks and for one who listens. */
export function Notice({ tone = "neutral", children }: { tone?: Tone; children: ComponentChildren }) {
  return <div class={`notice ${tone}`}>{children}</div>;
}

export function Loading() {
  return (
    <p class="muted" role="status">
      Loading…
    </p>
  );
}

/** Code or JSON that scrolls within its own box. */
export function Code({
  label,
  children,
  box,
}: {
  label: string;
  children: string;
  box?: RefObject<HTMLElement | null>;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with a keyboard
    <section class="code" tabIndex={0} aria-label={label}>
      <pre>
        <code ref={box ?? null}>{children}</code>
      </pre>
    </section>
  );
}

/** Code that may be copied. Where a browser refuses the clipboard, the code is selected instead. */
export function Copyable({ text, label }: { text: string; label: string }) {
  const code = useRef<HTMLElement>(null);
  const [said, say] = useState("");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      if (code.current) getSelection()?.selectAllChildren(code.current);
      say("Selected: copy it with your keyboard.");
    }
  }
  return (
    <div class="copyable">
      <Code label={label} box={code}>
        {text}
      </Code>
      <button type="button" class="small" onClick={copy}>
        Copy
      </button>
      <span class="muted" role="status">
        {said}
      </span>
    </div>
  );
}

/** Seconds on a clock that is `offset` seconds ahead of this machine's, told every second. */
export function useNow(offset: number): number {
  const [now, tick] = useState(() => Date.now() / 1000 + offset);
  useEffect(() => {
    const update = () => tick(Date.now() / 1000 + offset);
    update();
    const timer = setInterval(update, 1000);
    return () => clearInterval(timer);
  }, [offset]);
  return now;
}

/** What `load` gives, again whenever `key` changes: data, or the reason why there is none. */
export function useLoaded<T>(key: string, load: () => Promise<T>): { data: T | null; error: string; reload(): void } {
  const [loaded, set] = useState<{ data: T | null; error: string }>({ data: null, error: "" });
  const [round, again] = useState(0);
  // `load` is another function at each rendering, and `key` says when it loads something else.
  useEffect(() => {
    let current = true;
    load().then(
      (data) => current && set({ data, error: "" }),
      (error: unknown) => current && set({ data: null, error: error instanceof Error ? error.message : "It failed." }),
    );
    return () => {
      current = false;
    };
  }, [key, round]);
  return { ...loaded, reload: () => again(round + 1) };
}
