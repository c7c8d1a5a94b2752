// The page's side of MCP Apps (2026-01-26): JSON-RPC with the host that shows it, over postMessage.
import { type Json, list, record } from "./model";

export const PROTOCOL = "2026-01-26";

export interface HostContext {
  tool: string;
  displayMode: string;
  displayModes: string[];
}

/** What the host tells without being asked. */
export interface Events {
  context(context: HostContext): void;
  input(call: Json): void;
  result(result: Json): void;
  cancelled(): void;
}

export class HostError extends Error {}

/** The part of a window that is used here. */
export interface Surroundings {
  parent: { postMessage(message: unknown, targetOrigin: string): void };
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  removeEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

export class Host {
  capabilities: Json = {};
  private origin: string | null = null; // of the host, once it has answered
  private raw: Json = {};
  private next = 1;
  private readonly waiting = new Map<number, { resolve(result: Json): void; reject(error: Error): void }>();

  constructor(
    private readonly surroundings: Surroundings,
    private readonly events: Events,
    private readonly look: (context: Json) => void,
  ) {
    surroundings.addEventListener("message", this.hear);
  }

  /** Say hello. Everything else is only understood afterwards. */
  async connect(): Promise<void> {
    const answer = await this.request("ui/initialize", {
      appInfo: { name: "runtype-mcp", version: "1.0.0" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
      protocolVersion: PROTOCOL,
    });
    this.capabilities = record(answer.hostCapabilities);
    this.changed(record(answer.hostContext));
    this.notify("ui/notifications/initialized", {});
  }

  /** Call a tool of the server. HostError where no result comes back. */
  callTool(name: string, input: Json): Promise<Json> {
    return this.request("tools/call", { name, arguments: input });
  }

  /** Put a message of the user into the conversation. Returns whether the host took it. */
  async say(text: string): Promise<boolean> {
    return this.accepted("ui/message", { role: "user", content: [{ type: "text", text }] });
  }

  /** Tell the model a fact, without asking it for anything. Returns whether the host took it. */
  async tellModel(text: string): Promise<boolean> {
    return this.accepted("ui/update-model-context", { content: [{ type: "text", text }] });
  }

  async openLink(url: string): Promise<boolean> {
    return this.accepted("ui/open-link", { url });
  }

  async show(mode: string): Promise<void> {
    const answer = await this.request("ui/request-display-mode", { mode });
    if (typeof answer.mode === "string") this.changed({ displayMode: answer.mode });
  }

  resized(width: number, height: number): void {
    this.notify("ui/notifications/size-changed", { width, height });
  }

  private async accepted(method: string, params: Json): Promise<boolean> {
    try {
      return (await this.request(method, params)).isError !== true;
    } catch (error) {
      if (error instanceof HostError) return false;
      throw error;
    }
  }

  private request(method: string, params: Json): Promise<Json> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.post({ id, method, params });
    });
  }

  private notify(method: string, params: Json): void {
    this.post({ method, params });
  }

  private post(message: Json): void {
    // Before the first answer nobody knows the host's origin, and what is said until then is no secret. A sandboxed host
    // has the origin "null", which cannot be named.
    const target = this.origin === null || this.origin === "null" ? "*" : this.origin;
    this.surroundings.parent.postMessage({ jsonrpc: "2.0", ...message }, target);
  }

  private readonly hear = (event: MessageEvent): void => {
    // Other frames and windows can post here too: only the host's word counts, and the host does not change its origin.
    if (event.source !== (this.surroundings.parent as unknown)) return;
    if (this.origin !== null && event.origin !== this.origin) return;
    const message = record(event.data);
    if (message.jsonrpc !== "2.0") return;
    this.origin = event.origin;
    if (typeof message.method === "string") this.told(message.method, record(message.params), message.id);
    else if (typeof message.id === "number") this.answered(message.id, message);
  };

  private answered(id: number, message: Json): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if ("error" in message) waiting?.reject(new HostError(String(record(message.error).message ?? "")));
    else waiting?.resolve(record(message.result));
  }

  private told(method: string, params: Json, id: unknown): void {
    switch (method) {
      case "ui/notifications/tool-input":
        this.events.input(record(params.arguments));
        break;
      case "ui/notifications/tool-result":
        this.events.result(params);
        break;
      case "ui/notifications/tool-cancelled":
        this.events.cancelled();
        break;
      case "ui/notifications/host-context-changed":
        this.changed(params);
        break;
      case "ui/resource-teardown":
        this.post({ id: id ?? null, result: {} });
        this.surroundings.removeEventListener("message", this.hear);
        break;
      case "ping":
        this.post({ id: id ?? null, result: {} });
        break;
      default:
        if (id !== undefined) this.post({ id, error: { code: -32601, message: "Method not found" } });
    }
  }

  private changed(part: Json): void {
    this.raw = { ...this.raw, ...part };
    this.look(this.raw);
    this.events.context({
      tool: String(record(record(this.raw.toolInfo).tool).name ?? ""),
      displayMode: String(this.raw.displayMode ?? "inline"),
      displayModes: list(this.raw.availableDisplayModes).map(String),
    });
  }
}

const VARIABLE = /^--(color|font|border|shadow)-[a-z0-9-]{1,40}$/;

/** The host's theme, variables and size, put on the document. */
export function applyLook(root: HTMLElement, context: Json): void {
  if (context.theme === "light" || context.theme === "dark") root.dataset.theme = context.theme;
  for (const [name, value] of Object.entries(record(record(context.styles).variables))) {
    // A variable that names an address could make the page fetch it.
    const harmless = typeof value === "string" && value.length < 300 && !/url|image|[\\;{}]/i.test(value);
    if (VARIABLE.test(name) && harmless) root.style.setProperty(name, value);
  }
  const size = record(context.containerDimensions);
  // A host with a fixed height gives the page a window to scroll in; otherwise the page tells how high it is.
  root.dataset.height = typeof size.height === "number" ? "fixed" : "own";
  const insets = record(context.safeAreaInsets);
  for (const side of ["top", "right", "bottom", "left"]) {
    const inset = insets[side];
    if (typeof inset === "number") root.style.setProperty(`--inset-${side}`, `${Math.min(Math.max(inset, 0), 100)}px`);
  }
}
