// Builds runtype_mcp/console/page.html: one file, without anything to fetch. `--check` only compares.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const shipped = fileURLToPath(new URL("../../runtype_mcp/console/page.html", import.meta.url));
const MAX_BYTES = 80_000;

async function bundle(entry) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    charset: "ascii",
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    target: ["chrome123", "firefox120", "safari17.5"], // the first with light-dark()
  });
  const text = outputFiles[0].text.trim();
  if (/<\/(script|style)|<!--|<style>|<script type=/i.test(text))
    throw new Error(`${entry} holds what would end its own element`);
  return text;
}

const [template, script, style] = await Promise.all([
  readFile(`${root}src/page.html`, "utf8"),
  bundle("src/main.tsx"),
  bundle("src/page.css"),
]);
// Functions, because a replacement text may hold "$&".
const page = template.replace("/* style */", () => style).replace("/* script */", () => script);
const size = Buffer.byteLength(page);
if (size >= MAX_BYTES) throw new Error(`page.html has ${size} bytes; it may have fewer than ${MAX_BYTES}`);

if (!process.argv.includes("--check")) {
  await writeFile(shipped, page);
  console.log(`page.html: ${size} bytes`);
} else if ((await readFile(shipped, "utf8").catch(() => "")) !== page) {
  console.error("runtype_mcp/console/page.html is not what the sources give: run `npm run build` in console/.");
  process.exitCode = 1;
} else {
  console.log(`page.html is what the sources give: ${size} bytes`);
}
