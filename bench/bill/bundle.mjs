// Makes one module of a build's client: node bundle.mjs <web/src of the build> <file to write>

import { basename, dirname, join, resolve } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The tools are those of this checkout, whatever build is bundled.
const require = createRequire(join(import.meta.dirname, "..", "..", "web", "package.json"));
const { build } = await import(pathToFileURL(require.resolve("vite")).href);
const [sources, target] = process.argv.slice(2).map((it) => resolve(it));

await build({
  configFile: false,
  envDir: false,
  publicDir: false,
  logLevel: "error",
  root: sources,
  build: {
    outDir: dirname(target),
    emptyOutDir: false,
    minify: false,
    modulePreload: false,
    target: "esnext",
    rolldownOptions: {
      input: join(sources, "index.ts"),
      preserveEntrySignatures: "strict",
      output: { codeSplitting: false, entryFileNames: basename(target), format: "es" },
    },
  },
});
