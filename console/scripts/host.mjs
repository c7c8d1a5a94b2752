// Prints the script of the tests' host page.
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const { outputFiles } = await build({
  absWorkingDir: fileURLToPath(new URL("..", import.meta.url)),
  entryPoints: ["tests/host_page.ts"],
  bundle: true,
  write: false,
  charset: "ascii",
  format: "esm",
});
process.stdout.write(outputFiles[0].text);
