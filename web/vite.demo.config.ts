/** How web/demo becomes local/demo: one script, one stylesheet, nothing inline, the same names. */

import { defineConfig } from "vite";

export default defineConfig({
  root: "demo",
  base: "./",
  envDir: false,
  publicDir: false,
  build: {
    outDir: "../../local/demo",
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
