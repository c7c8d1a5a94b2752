// One token's life, as any client would drive it: created, read, renamed, asked about, rotated, deleted.
// Both TypeScript clients walk it, so the two protocol eras are held to the same answers.
//
// The checks look at facts (a name, a value, whether a call failed), never at wording or field order.

const TOOLS = [
  "audit_client_tokens",
  "create_client_token",
  "delete_client_token",
  "get_client_token",
  "get_client_token_value",
  "list_agents_and_flows",
  "list_client_token_conversations",
  "list_client_tokens",
  "regenerate_client_token",
  "update_client_token",
];
const VALUE = /ct_(?:live|test)_[A-Za-z0-9]+_[A-Za-z0-9]{16,}/;

/** Answers the server's questions as the step at hand wants, and keeps what was asked. */
export class Person {
  asked = [];
  next = "none";

  answer = async ({ params }) => {
    this.asked.push(params);
    if (this.next !== "accept") return { action: this.next === "none" ? "cancel" : this.next };
    // Whatever the form calls its field: a person types the name that the question shows.
    return { action: "accept", content: Object.fromEntries(params.requestedSchema.required.map((key) => [key, this.types])) };
  };

  /** Run `call` while the person gives `action`; returns the result and the questions that it took. */
  async while(action, types, call) {
    this.asked = [];
    this.next = action;
    this.types = types;
    const result = await call();
    this.next = "none";
    return { result, questions: this.asked };
  }
}

/** Walk the journey with `client`. Returns {check: "passed" | "failed: why"}. */
export async function journey(client, person, label) {
  const checks = {};
  const check = async (sentence, body) => {
    try {
      await body();
      checks[sentence] = "passed";
    } catch (error) {
      checks[sentence] = `failed: ${error.message}`;
    }
  };
  const call = async (name, args = {}) => client.callTool({ name, arguments: args });
  const ok = async (name, args) => {
    const result = await call(name, args);
    if (result.isError) throw new Error(`${name} answered an error: ${text(result)}`);
    return result;
  };

  const first = `Outside ${label}`;
  const name = `Outside ${label}, renamed`;
  const one = { client_token: name };
  const sure = { ...one, confirm: true, expected_name: name };
  let agent, value;

  await check("the ten tools are listed", async () => {
    const forModels = ({ _meta }) => _meta?.ui?.visibility?.includes("model") ?? true;
    const { tools } = await client.listTools();
    same(tools.filter(forModels).map((tool) => tool.name).sort(), TOOLS);
  });
  await check("tokens are listed without a value", async () => {
    const result = await ok("list_client_tokens", { detail: "full" });
    hides(result);
    agent = /\bagent_[0-9a-z]{26}\b/.exec(text(result))?.[0];
    // Hosts differ in which half of a result a model sees.
    that(agent && JSON.stringify(result.structuredContent).includes(agent), "one agent id in both halves");
  });
  await check("an audit is answered", async () => hides(await ok("audit_client_tokens")));
  await check("a created token's value is shown once", async () => {
    const result = await ok("create_client_token", {
      name: first,
      environment: "test",
      allowed_origins: ["https://shop.example.com"],
      agent_ids: [agent],
    });
    value = VALUE.exec(everything(result))?.[0];
    that(value, "a value");
  });
  await check("a rename is done without a question", async () => {
    const { questions } = await person.while("decline", "", () => ok("update_client_token", { client_token: first, name }));
    same(questions, []);
    that(everything(await ok("list_client_tokens")).includes(name), "the new name in the list");
  });
  await check("a token is read by its name, without its value", async () => {
    const result = await ok("get_client_token", one);
    that(everything(result).includes(name), "the name");
    hides(result);
  });
  await check("its value is read on request", async () => same(await read(), value));
  await check("its conversations are listed", async () => hides(await ok("list_client_token_conversations", one)));
  await check("a call without confirm changes nothing", async () => {
    const { result, questions } = await person.while("accept", name, () => ok("regenerate_client_token", one));
    that(everything(result).includes(name), "the name in the preview");
    same(questions, []);
    same(await read(), value);
  });
  await check("a wrong expected_name is refused before anybody is asked", async () => {
    const wrong = { ...sure, expected_name: "Another token" };
    const { result, questions } = await person.while("accept", name, () => call("regenerate_client_token", wrong));
    same([result.isError, questions.length, await read()], [true, 0, value]);
  });
  await check("a person who declines keeps the value", async () => {
    const { questions } = await person.while("decline", "", () => call("regenerate_client_token", sure));
    same([questions.length, await read()], [1, value]);
    that(questions[0].message.includes(name), "the name in the question");
    that(!VALUE.test(JSON.stringify(questions)), "no value in the question");
  });
  await check("a person who types another name keeps the value", async () => {
    const { questions } = await person.while("accept", "Another token", () => call("regenerate_client_token", sure));
    same([questions.length, await read()], [1, value]);
  });
  await check("a person who types the name gets a new value", async () => {
    const { result, questions } = await person.while("accept", name, () => ok("regenerate_client_token", sure));
    const fresh = VALUE.exec(everything(result))?.[0];
    that(fresh && fresh !== value, "another value");
    value = fresh;
    same([questions.length, await read()], [1, value]);
  });
  await check("a person who types the name deletes the token", async () => {
    const { questions } = await person.while("accept", name, () => ok("delete_client_token", sure));
    same(questions.length, 1);
    that(!everything(await ok("list_client_tokens")).includes(name), "no such token in the list");
  });
  await check("a deleted token is an error that names no value", async () => {
    const result = await call("get_client_token", one);
    same(result.isError, true);
    hides(result);
  });
  return checks;

  async function read() {
    return VALUE.exec(everything(await ok("get_client_token_value", one)))?.[0];
  }
}

/** Print one line for the runner, and leave with 1 if any check failed. */
export function report(checks) {
  console.log(JSON.stringify(checks));
  process.exitCode = Object.values(checks).every((outcome) => outcome === "passed") ? 0 : 1;
}

const text = (result) => result.content.map((block) => block.text ?? "").join("\n");
const everything = (result) => text(result) + JSON.stringify(result.structuredContent ?? null);
const hides = (result) => that(!VALUE.test(everything(result)), "no value in the result");

function that(fact, what) {
  if (!fact) throw new Error(`expected ${what}`);
}

function same(got, expected) {
  if (JSON.stringify(got) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
  }
}
