// Runs the unit tests: TypeScript becomes plain modules in a temporary folder, and node runs them.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = await mkdtemp(`${root}node_modules/.tests-`);
try {
  const tests = (await readdir(`${root}tests`)).filter((name) => /\.test\.tsx?$/.test(name));
  await build({
    absWorkingDir: root,
    entryPoints: tests.map((name) => `tests/${name}`),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    jsx: "automatic",
    jsxImportSource: "preact",
    platform: "node",
    packages: "external",
  });
  const files = tests.map((name) => `${out}/${name.replace(/\.tsx?$/, ".mjs")}`);
  process.exitCode = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1;
} finally {
  await rm(out, { recursive: true });
}
