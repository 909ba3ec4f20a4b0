// Builds the demo and writes down what it was made from and what came of it: bundle.lock.json.
// tests/web/test_demo_bundle.py reads that, so that no demo of other sources is committed.
//
//   node scripts/demo.mjs [folder of its sources] [folder to build into]

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

// Whatever the terminal says: React's development build is another one.
process.env.NODE_ENV = "production";
const web = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const root = dirname(web);
const demo = resolve(process.argv[2] ?? join(web, "demo"));
const target = resolve(process.argv[3] ?? join(root, "local", "demo"));
const LOCK = "bundle.lock.json";

/** What decides about the result: the files, and all files of the folders. */
const SOURCES = [
  demo,
  join(web, "src"),
  join(web, "package-lock.json"),
  join(web, "tsconfig.json"),
  join(web, "vite.demo.config.ts"),
  fileURLToPath(import.meta.url),
];

/** Every file at or below a path but hidden ones, which are a machine's own. */
function files(path) {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => !name.startsWith("."));
  return names.sort().flatMap((name) => files(join(path, name)));
}

function digests(paths, base) {
  const digest = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
  return Object.fromEntries(paths.map((path) => [relative(base, path), digest(path)]));
}

if (!existsSync(join(demo, "index.html"))) {
  console.error(`There is no index.html in ${demo}, so there is nothing to build.`);
  process.exit(1);
}
await build({
  configFile: join(web, "vite.demo.config.ts"),
  root: demo,
  logLevel: "warn",
  build: { outDir: target },
});
const made = files(target).filter((path) => path !== join(target, LOCK));
const lock = {
  sources: SOURCES.map((path) => relative(root, path)),
  inputs: digests(SOURCES.flatMap(files), root),
  outputs: digests(made, target),
};
writeFileSync(join(target, LOCK), `${JSON.stringify(lock, null, 2)}\n`);
