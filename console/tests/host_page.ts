// A host of MCP Apps for tests, on the official host library: it shows the page in a sandboxed frame, as hosts do, and
// passes on what the page says. `fromPage` is the test.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

type Results = Parameters<AppBridge["sendToolResult"]>[0];
type Context = NonNullable<ConstructorParameters<typeof AppBridge>[3]>["hostContext"];

interface Shown {
  context: Context;
  input: Record<string, unknown>;
  result: Results;
}

declare global {
  interface Window {
    fromPage(method: string, params: unknown): Promise<never>;
    present(shown: Shown): Promise<void>;
    bridge: AppBridge;
  }
}

window.present = async ({ context, input, result }) => {
  const capabilities = { openLinks: {}, serverTools: {}, message: { text: {} }, updateModelContext: { text: {} } };
  const bridge = new AppBridge(null, { name: "test host", version: "1" }, capabilities, { hostContext: context ?? {} });
  window.bridge = bridge;
  bridge.oncalltool = (params) => window.fromPage("tools/call", params);
  bridge.onmessage = (params) => window.fromPage("ui/message", params);
  bridge.onupdatemodelcontext = (params) => window.fromPage("ui/update-model-context", params);
  bridge.onopenlink = (params) => window.fromPage("ui/open-link", params);
  bridge.onrequestdisplaymode = (params) => window.fromPage("ui/request-display-mode", params);
  const frame = document.createElement("iframe");
  frame.title = "Runtype client tokens";
  frame.setAttribute("sandbox", "allow-scripts");
  bridge.onsizechange = ({ height }) => {
    frame.style.height = `${height}px`;
  };
  const ready = new Promise<void>((resolve) => {
    bridge.oninitialized = () => resolve();
  });
  document.body.append(frame);
  const target = frame.contentWindow;
  if (!target) throw new Error("the frame has no window");
  await bridge.connect(new PostMessageTransport(target, target));
  frame.src = "/page";
  await ready;
  await bridge.sendToolInput({ arguments: input });
  await bridge.sendToolResult(result);
};
