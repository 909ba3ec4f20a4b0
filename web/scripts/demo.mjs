// Builds the demo into local/demo, which is committed; a test builds it again and compares.
// One script, one stylesheet, nothing inline, the same names.
//
//   node scripts/demo.mjs [folder to build into]

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

// Whatever the terminal says: React's development build is another one.
process.env.NODE_ENV = "production";
const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");

await build({
  configFile: false,
  envDir: false,
  publicDir: false,
  root: join(web, "demo"),
  base: "./",
  logLevel: "warn",
  build: {
    outDir: resolve(process.argv[2] ?? join(dirname(web), "local", "demo")),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    license: { fileName: "licenses.md" },
    modulePreload: { polyfill: false },
    rolldownOptions: {
      // "use client" is for servers that render; here all is client.
      onLog(level, log, report) {
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") report(level, log);
      },
      output: {
        codeSplitting: false,
        entryFileNames: "assets/demo.js",
        assetFileNames: ({ names }) =>
          names.some((name) => name.endsWith(".css"))
            ? "assets/demo.css"
            : "assets/[name][extname]",
      },
    },
  },
});
