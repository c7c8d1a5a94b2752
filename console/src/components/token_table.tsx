// Client tokens as a table that is sorted and filtered here, without asking anybody.
import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import type { Token } from "../model";
import { count } from "../text";
import { Day, Environment, isOpen, Origins, State, Text } from "./parts";

type Column = "name" | "environment" | "isActive" | "allowedOrigins" | "lastUsedAt";
const COLUMNS: [Column, string][] = [
  ["name", "Name"],
  ["environment", "Environment"],
  ["isActive", "State"],
  ["allowedOrigins", "Allowed origins"],
  ["lastUsedAt", "Last used"],
];
const STEP = 100;

export interface Filters {
  text: string;
  environment: string;
  state: string;
  origins: string;
}
export const NO_FILTERS: Filters = { text: "", environment: "", state: "", origins: "" };

export function admits(token: Token, filters: Filters): boolean {
  const text = filters.text.trim().toLowerCase();
  const fields = [token.name, token.id, ...token.allowedOrigins];
  return (
    (!text || fields.some((field) => field.toLowerCase().includes(text))) &&
    (!filters.environment || token.environment === filters.environment) &&
    (!filters.state || token.isActive === (filters.state === "active")) &&
    (!filters.origins || token.allowedOrigins.some(isOpen))
  );
}

/** How two tokens stand in ascending order. A token that was never used comes before all that were. */
export function compare(a: Token, b: Token, column: Column): number {
  switch (column) {
    case "isActive":
      return Number(b.isActive) - Number(a.isActive);
    case "allowedOrigins":
      return (
        Number(b.allowedOrigins.some(isOpen)) - Number(a.allowedOrigins.some(isOpen)) ||
        order(a, b, (t) => t.allowedOrigins[0])
      );
    case "lastUsedAt":
      return order(a, b, (token) => (token.lastUsedAt === "never" ? "" : token.lastUsedAt));
    default:
      return order(a, b, (token) => token[column]);
  }
}

function order(a: Token, b: Token, key: (token: Token) => string | undefined): number {
  return (key(a) ?? "").localeCompare(key(b) ?? "", "en", { numeric: true });
}

export interface TokenTableProps {
  tokens: Token[];
  total: number | null;
  /** The token's name as something to open it with. */
  open?(token: Token): ComponentChildren;
  children?: ComponentChildren;
}

export function TokenTable({ tokens, total, open, children }: TokenTableProps) {
  const [filters, filter] = useState(NO_FILTERS);
  const [sorting, sort] = useState<{ column: Column; down: boolean } | null>(null);
  const [most, show] = useState(STEP);
  const found = tokens.filter((token) => admits(token, filters));
  const rows = sorting ? found.toSorted((a, b) => compare(a, b, sorting.column) * (sorting.down ? -1 : 1)) : found;
  const environments = [...new Set(tokens.map((token) => token.environment))].sort();
  const set = (part: Partial<Filters>) => filter({ ...filters, ...part });
  const press = (column: Column) => sort({ column, down: sorting?.column === column && !sorting.down });
  return (
    <section aria-label="Client tokens">
      <search class="filters">
        <Field label="Search">
          {(id) => (
            <input
              id={id}
              type="search"
              placeholder="Name, id or origin"
              maxLength={255}
              value={filters.text}
              onInput={(event) => set({ text: event.currentTarget.value })}
            />
          )}
        </Field>
        <Choice label="Environment" value={filters.environment} onChange={(environment) => set({ environment })}>
          {environments.map((name): [string, string] => [name, name])}
        </Choice>
        <Choice label="State" value={filters.state} onChange={(state) => set({ state })}>
          {[
            ["active", "Active"],
            ["inactive", "Inactive"],
          ]}
        </Choice>
        <Choice label="Origins" value={filters.origins} onChange={(origins) => set({ origins })}>
          {[["open", "Open to all"]]}
        </Choice>
        <Choice
          label="Sort by"
          narrow
          none="As listed"
          value={sorting ? sorting.column : ""}
          onChange={(column) => sort(column ? { column: column as Column, down: false } : null)}
        >
          {COLUMNS}
        </Choice>
      </search>
      <div class="bar">
        <p class="muted" role="status">
          {found.length === tokens.length ? "" : `${found.length} of `}
          {count(tokens.length, "token")}
          {total !== null && total > tokens.length && `, of ${total} in all`}
        </p>
        {children}
      </div>
      {rows.length > 0 && (
        <table class="tokens">
          <thead>
            <tr>
              {COLUMNS.map(([column, label]) => (
                <th
                  key={column}
                  scope="col"
                  aria-sort={sorting?.column === column ? (sorting.down ? "descending" : "ascending") : "none"}
                >
                  <button type="button" class="sort" onClick={() => press(column)}>
                    {label}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, most).map((token) => (
              <tr key={token.id}>
                <th scope="row">
                  {open ? open(token) : <Text none="without a name">{token.name}</Text>}
                  <code class="id">
                    <Text>{token.id}</Text>
                  </code>
                </th>
                <td data-label="Environment" class="plain">
                  <Environment name={token.environment} />
                </td>
                <td data-label="State" class="plain">
                  <State isActive={token.isActive} />
                </td>
                <td data-label="Origins">
                  <Origins origins={token.allowedOrigins} most={3} />
                </td>
                <td data-label="Last used">
                  <Day moment={token.lastUsedAt} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {rows.length > most && (
        <button type="button" onClick={() => show(most + STEP)}>
          Show {Math.min(STEP, rows.length - most)} more
        </button>
      )}
      {!rows.length && (
        <p class="muted">{tokens.length ? "No token fits these filters." : "There are no client tokens."}</p>
      )}
    </section>
  );
}

function Field({
  label,
  narrow,
  children,
}: {
  label: string;
  narrow?: boolean;
  children(id: string): ComponentChildren;
}) {
  const id = useId();
  return (
    <div class={narrow ? "field narrow" : "field"}>
      <label for={id}>{label}</label>
      {children(id)}
    </div>
  );
}

export interface ChoiceProps {
  label: string;
  value: string;
  none?: string;
  narrow?: boolean;
  onChange(value: string): void;
  children: [string, string][];
}

export function Choice({ label, value, none = "All", narrow = false, onChange, children }: ChoiceProps) {
  return (
    <Field label={label} narrow={narrow}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          <option value="">{none}</option>
          {children.map(([key, text]) => (
            <option key={key} value={key}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
