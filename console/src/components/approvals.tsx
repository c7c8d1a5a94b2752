// What waits for a person: a list where there is more than one call, and the card of the chosen one.
import { useEffect, useState } from "preact/hooks";
import type { Approval, Decision } from "../model";
import { ApprovalCard, type Ending } from "./approval_card";
import { Badge, Environment, Text } from "./parts";

export interface Entry {
  card: Approval;
  ending: Ending | null;
}

export interface ApprovalsProps {
  entries: Entry[];
  clockOffset: number;
  decide(card: Approval, verdict: "approve" | "deny", name: string): Promise<Decision>;
  onDecided(card: Approval, ending: Ending): void;
}

const WORDS: Record<Ending, string> = {
  approved: "Approved",
  denied: "Denied",
  expired: "Expired",
  gone: "No longer waiting",
  lost: "No answer",
};

export function Approvals({ entries, clockOffset, decide, onDecided }: ApprovalsProps) {
  const [chosen, choose] = useState("");
  const open = entries.find(({ card }) => card.code === chosen) ?? entries.find(({ ending }) => !ending) ?? entries[0];
  const code = open?.card.code ?? "";
  // The card that a person reads stays, whatever comes or ends beside it, until they choose another.
  useEffect(() => choose(code), [code]);
  if (!open) return <p class="muted">Nothing waits for approval.</p>;
  return (
    <>
      {entries.length > 1 && (
        <nav aria-label="Calls">
          <ul class="queue">
            {entries.map(({ card, ending }) => (
              <li key={card.code}>
                <button
                  type="button"
                  aria-current={card.code === open.card.code ? "true" : undefined}
                  onClick={() => choose(card.code)}
                >
                  <span>
                    {card.verb} <Text none="a token without a name">{card.name}</Text>
                  </span>
                  <span class="meta">
                    <Environment name={card.environment} />
                    <Badge tone={ending === "approved" ? "success" : "neutral"}>
                      {ending ? WORDS[ending] : "Waiting"}
                    </Badge>
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </nav>
      )}
      <ApprovalCard
        key={open.card.code}
        card={open.card}
        ending={open.ending}
        clockOffset={clockOffset}
        afterwards=""
        decide={(verdict, name) => decide(open.card, verdict, name)}
        onDecided={(ending) => onDecided(open.card, ending)}
      />
    </>
  );
}
