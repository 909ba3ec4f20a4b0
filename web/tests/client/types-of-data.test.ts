import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const web = fileURLToPath(new URL("../..", import.meta.url));

test("data have the type that the application declares, wherever they come or go", () => {
  const tsc = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));
  const compile = () => execFileSync(process.execPath, [tsc, "-p", "tests/types"], { cwd: web });
  expect(compile).not.toThrow();
}, 60_000);
