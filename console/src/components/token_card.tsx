// One client token: everything but its value.
import type { Token } from "../model";
import { Code, Copyable, Day, Environment, Fact, Facts, Origins, State, Text } from "./parts";

const DATES = ["Created", "Updated"];

export function TokenCard({ token, openSite }: { token: Token; openSite?: (origin: string) => void }) {
  const sites = token.allowedOrigins.filter(isSite);
  return (
    <article class="card" aria-labelledby="token">
      <header>
        <p class="meta">
          <Environment name={token.environment} loud />
          <State isActive={token.isActive} />
        </p>
        <h2 id="token">
          <Text none="A token without a name">{token.name}</Text>
        </h2>
        <p class="meta">
          <code>
            <Text>{token.id}</Text>
          </code>
        </p>
      </header>
      <section>
        <h3>Use</h3>
        <Facts>
          <Fact label="Last used">
            <Day moment={token.lastUsedAt} />
          </Fact>
          {token.conversationCount !== null && <Fact label="Conversations">{token.conversationCount}</Fact>}
          <Fact label="Allowed origins">
            <Origins origins={token.allowedOrigins} />
          </Fact>
          {token.agentIds.length > 0 && (
            <Fact label="Agents">
              <Ids ids={token.agentIds} />
            </Fact>
          )}
          {token.flowIds.length > 0 && (
            <Fact label="Flows">
              <Ids ids={token.flowIds} />
            </Fact>
          )}
        </Facts>
        {openSite && sites.length > 0 && (
          <div class="buttons">
            {sites.slice(0, 5).map((site) => (
              <button key={site} type="button" class="small" onClick={() => openSite(site)}>
                Open <Text>{site}</Text>
              </button>
            ))}
          </div>
        )}
      </section>
      {token.facts.length > 0 && (
        <section>
          <h3>Settings</h3>
          <Facts>
            {token.facts.map(([label, value]) => (
              <Fact key={label} label={label}>
                {DATES.includes(label) ? <Day moment={value} /> : <Text>{value}</Text>}
              </Fact>
            ))}
          </Facts>
        </section>
      )}
      {token.config && (
        <section>
          <h3>Display settings</h3>
          <Code label="Display settings">{token.config}</Code>
        </section>
      )}
      <section>
        <h3>Embed</h3>
        <p class="muted">
          Put the token's value where the snippet says VALUE. This page never holds a value: ask for it in the
          conversation.
        </p>
        <Copyable label="Embed snippet" text={snippet(token)} />
      </section>
    </article>
  );
}

function Ids({ ids }: { ids: string[] }) {
  return (
    <ul class="origins">
      {ids.map((id) => (
        <li key={id}>
          <code>
            <Text>{id}</Text>
          </code>
        </li>
      ))}
    </ul>
  );
}

/** Where the value goes, never the value. Ids are escaped: somebody pastes this into a page. */
export function snippet(token: Token): string {
  const [kind, run] = token.agentIds[0] ? ["agent", token.agentIds[0]] : ["flow", token.flowIds[0]];
  const escaped = run?.replace(/[^\w.:-]/g, (character) => `&#${character.codePointAt(0)};`);
  return [
    '<script src="https://cdn.runtype.com/persona/latest/install.global.js"',
    '        data-runtype-token="VALUE"',
    ...(escaped ? [`        data-${kind}-id="${escaped}"`] : []),
  ]
    .join("\n")
    .concat("></script>");
}

/** Whether an origin is one site that can be looked at: https, a plain host, nothing that reads like another. */
export function isSite(origin: string): boolean {
  return /^https:\/\/[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:\d{1,5})?$/.test(origin);
}
