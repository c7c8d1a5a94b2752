// What a security review found, worst first, each with its fix as a message that a person may send.
import type { Finding, Findings as Found } from "../model";
import { count } from "../text";
import { Badge, Code, Copyable, Notice, Text, type Tone } from "./parts";

const TONES: Record<string, Tone> = { high: "danger", medium: "warning", low: "neutral" };

/** The message that asks for a fix, or for each of many findings. What only the user knows is not made up. */
export function request(finding: Finding): string {
  if (!finding.fix) return `Please show me these findings: ${finding.next}.`;
  const ask = finding.fix.includes("<your-site>") ? " Ask me first which origins to allow." : "";
  return `Please fix this finding: ${finding.fix}${ask}`;
}

export interface FindingsProps {
  found: Found;
  heading: "h2" | "h3";
  /** Puts a message into the conversation, where there is one. */
  say?: ((message: string) => void) | undefined;
}

export function FindingList({ found, heading: Heading, say }: FindingsProps) {
  const total = Object.values(found.counts).reduce((sum, number) => sum + number, 0);
  return (
    <section aria-label="Findings">
      <p class="meta" role="status">
        <span>{count(found.checked, "token")} checked</span>
        {Object.entries(found.counts).map(([severity, number]) => (
          <Badge key={severity} tone={number ? (TONES[severity] ?? "neutral") : "neutral"}>
            {number} {severity}
          </Badge>
        ))}
      </p>
      {!found.findings.length && <Notice tone="success">No findings.</Notice>}
      <ol class="findings">
        {found.findings.map((finding) => (
          <li key={`${finding.rule} ${finding.ids} ${finding.reason}`} class="row">
            <Heading>
              <Badge tone={TONES[finding.severity] ?? "danger"}>{finding.severity || "unrated"}</Badge>{" "}
              {finding.count > 1 ? (
                count(finding.count, "token")
              ) : (
                <Text none="A token without a name">{finding.name}</Text>
              )}
            </Heading>
            <p>
              <Text limit={8000}>{finding.reason}</Text>
            </p>
            <p class="meta">
              {finding.ids.map((id) => (
                <code key={id}>
                  <Text>{id}</Text>
                </code>
              ))}
              {finding.count > finding.ids.length && <span>and {finding.count - finding.ids.length} more</span>}
              <code>
                <Text>{finding.rule}</Text>
              </code>
            </p>
            {(finding.fix || finding.next) && (
              <details>
                <summary>{finding.fix ? "Fix" : "See each"}</summary>
                {say ? (
                  <>
                    <Code label="The message">{request(finding)}</Code>
                    <button type="button" class="small" onClick={() => say(request(finding))}>
                      Send this message
                    </button>
                  </>
                ) : (
                  <Copyable label="The message" text={request(finding)} />
                )}
              </details>
            )}
          </li>
        ))}
      </ol>
      {found.hasMore && (
        <p class="muted">
          These are the worst {found.findings.length} of {total}.
        </p>
      )}
    </section>
  );
}
