// The command of a bundle as hosts fill it in, for a person who only ticks sandbox mode: node fill.mjs MANIFEST FOLDER
import { readFileSync } from "node:fs";
import { getMcpConfigForManifest } from "@anthropic-ai/mcpb/node";

const [manifest, extensionPath] = process.argv.slice(2);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(manifest, "utf8")),
  extensionPath,
  systemDirs: {},
  userConfig: { sandbox: true },
  pathSeparator: "/",
});
console.log(JSON.stringify(config));
