// The loopback server's API, below the session's own path. See runtype_mcp/console/ for the other side.
import { type Approval, approval, type Decision, decision, type Json, list, record } from "./model";
import { plain } from "./text";

/** The server answered that it cannot; the message is for people. */
export class ApiError extends Error {}
/** Nobody answered. */
export class ServerGone extends Error {}

export interface Session {
  kind: "approval" | "console" | "team";
  server: string;
  version: string;
  apiHost: string;
  sandbox: boolean;
  /** Who is signed in, on a team's page. */
  person: string;
}

export interface Waiting {
  approvals: Approval[];
  /** The server's clock, in unix seconds. */
  now: number;
}

/** The path of the session: what comes before the one-time secret in the address, and stays in it. */
export function sessionPath(path: string): string {
  return path.replace(/\/open\/[^/]*$/, "/");
}

async function answer(path: string, init?: RequestInit): Promise<{ status: number; body: Json }> {
  let response: Response;
  try {
    response = await fetch(`api/${path}`, {
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      ...init,
    });
  } catch (error) {
    throw new ServerGone("The server does not answer.", { cause: error });
  }
  let body: Json = {};
  try {
    body = record(await response.json());
  } catch {
    // An answer that breaks off, or that is no JSON, is an error without words.
  }
  return { status: response.status, body };
}

export async function get(path: string): Promise<Json> {
  const { status, body } = await answer(path);
  if (status !== 200) throw new ApiError(plain(body.error, 1000) || `The server answered ${status}.`);
  return body;
}

export async function session(): Promise<Session> {
  const body = await get("session");
  return {
    kind: body.kind === "console" || body.kind === "team" ? body.kind : "approval",
    server: plain(body.server, 80),
    version: plain(body.version, 40),
    apiHost: plain(body.apiHost),
    sandbox: body.sandbox === true,
    person: plain(body.person, 80),
  };
}

export async function waiting(): Promise<Waiting> {
  const body = await get("approvals");
  const now = typeof body.now === "number" ? body.now : Date.now() / 1000;
  return { approvals: list(body.approvals).map(approval), now };
}

/** Sign the person out, whoever they are, and tell whether it is done. */
export async function signOut(): Promise<boolean> {
  try {
    return (await answer("sign-out", { method: "POST" })).status < 500;
  } catch (error) {
    if (!(error instanceof ServerGone)) throw error;
    return false;
  }
}

/** Send a person's decision. Whatever is not the server's clear word is an error, and may be tried again. */
export async function decide(card: Approval, verdict: "approve" | "deny", name: string): Promise<Decision> {
  try {
    const { body } = await answer(`approvals/${encodeURIComponent(card.code)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ decision: verdict, name, decisionToken: card.decisionToken }),
    });
    const said = decision(body);
    return said.message ? said : { ...said, message: "The server gave no clear answer. Try again." };
  } catch (error) {
    if (!(error instanceof ServerGone)) throw error;
    const message = "The server did not answer, so this page does not know whether it got your decision.";
    return { state: "error", message };
  }
}
