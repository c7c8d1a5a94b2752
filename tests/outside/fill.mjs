// The command of a bundle as hosts fill it in, for a person who left every field alone but those in CONFIG, which is
// JSON: node fill.mjs MANIFEST FOLDER CONFIG
import { readFileSync } from "node:fs";
import { getMcpConfigForManifest } from "@anthropic-ai/mcpb/node";

const [manifest, extensionPath, userConfig] = process.argv.slice(2);
const config = await getMcpConfigForManifest({
  manifest: JSON.parse(readFileSync(manifest, "utf8")),
  extensionPath,
  systemDirs: {},
  userConfig: JSON.parse(userConfig),
  pathSeparator: "/",
});
console.log(JSON.stringify(config));
