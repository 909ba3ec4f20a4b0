// Builds the demo into local/demo, which is committed; a test builds it again and compares.
//
//   node scripts/demo.mjs [folder to build into]

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

// Whatever the terminal says: React's development build is another one.
process.env.NODE_ENV = "production";
const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const target = resolve(process.argv[2] ?? join(dirname(web), "local", "demo"));

await build({
  configFile: join(web, "vite.demo.config.ts"),
  root: join(web, "demo"),
  logLevel: "warn",
  build: { outDir: target },
});
