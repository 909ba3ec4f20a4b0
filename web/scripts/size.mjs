// Prints what each part of the package adds to an application: bytes of `gzip -9` after minifying.
//
//   node scripts/size.mjs [folder of the sources]

import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";

process.env.NODE_ENV = "production";
/** Not a file: what is imported by name. */
const PART = "part-of-an-entry";
const here = dirname(fileURLToPath(import.meta.url));
const sources = resolve(process.argv[2] ?? join(here, "..", "src"));

/** What an application has anyway. */
const isReact = (id) => /^react(-dom)?(\/|$)/.test(id);

/**
 * Bundles one entry in memory, or what is imported of it by name; returns its minified text, what it
 * exports, and every file that it is made of.
 */
async function bundle(entry, isOutside = () => false, names = undefined) {
  const file = join(sources, entry);
  if (!existsSync(file)) {
    console.error(`${entry} is not there, so it has no size.`);
    process.exit(1);
  }
  const files = new Set();
  const { output } = await build({
    configFile: false,
    envDir: false,
    publicDir: false,
    logLevel: "error",
    plugins: [
      {
        name: "size",
        moduleParsed: ({ id }) => files.add(id),
        resolveId: (id) => (id === PART ? id : null),
        load: (id) => (id === PART ? `export { ${names} } from ${JSON.stringify(file)};` : null),
      },
    ],
    build: {
      write: false,
      minify: true,
      modulePreload: false,
      cssTarget: "esnext",
      rolldownOptions: {
        input: names ? PART : file,
        preserveEntrySignatures: "strict",
        output: { codeSplitting: false },
        external: (id, importer) =>
          isReact(id) || (id.startsWith(".") && isOutside(resolve(dirname(importer ?? ""), id))),
      },
    },
  });
  const text = output.map((it) => (it.type === "chunk" ? it.code : it.source)).join("");
  return { text, files, exports: output[0].exports };
}

const size = ({ text }) => gzipSync(text, { level: 9 }).length;

const core = await bundle("index.ts");
// An import names `client.js`, and the file is `client.ts`.
const ofCore = new Set([...core.files].map((file) => file.replace(/\.tsx?$/, ".js")));
const isOfCore = (file) => ofCore.has(file);
const react = await bundle("react/index.ts", isOfCore);
// An app with components of its own imports these.
const own = react.exports.filter((name) => name.startsWith("use") || name === "SocketProvider");
const hooks = await bundle("react/index.ts", isOfCore, own);
const tabs = await bundle("tabs/index.ts", isOfCore);
const styles = await bundle("styles.css");

console.log(
  JSON.stringify({
    core: size(core),
    hooks: size(hooks),
    components: size(react) - size(hooks),
    tabs: size(tabs),
    styles: size(styles),
  }),
);
