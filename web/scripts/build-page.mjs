// Builds one page as an application would be: for browser tests.
//
//   node scripts/build-page.mjs page.html folder

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

process.env.NODE_ENV = "production";
const [page, outDir] = process.argv.slice(2);
const web = join(dirname(fileURLToPath(import.meta.url)), "..");
await build({
  configFile: false,
  envDir: false,
  publicDir: false,
  root: dirname(page),
  base: "./",
  logLevel: "warn",
  // What an application has installed; the page may lie anywhere.
  resolve: {
    alias: [
      { find: /^@presence\/client$/, replacement: join(web, "src/index.ts") },
      { find: /^@presence\/client\/styles.css$/, replacement: join(web, "src/styles.css") },
      { find: /^@presence\/client\/(.*)$/, replacement: join(web, "src/$1/index.ts") },
      { find: /^react(-dom)?(\/.*)?$/, replacement: join(web, "node_modules/react$1$2") },
    ],
  },
  build: { outDir, emptyOutDir: true, rolldownOptions: { input: page } },
});
