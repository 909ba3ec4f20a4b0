import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// The same in every place where tests run; set before any worker reads it.
process.env.TZ = "UTC";

/** The oldest React that the package works with; the other projects take the newest. */
const react18 = fileURLToPath(new URL("react-18/node_modules/", import.meta.url));
const testingLibrary = fileURLToPath(
  new URL(
    "node_modules/@testing-library/react/dist/@testing-library/react.esm.js",
    import.meta.url,
  ),
);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          environment: "node",
          include: ["tests/**/*.test.{ts,tsx}"],
          exclude: [
            "tests/react/**",
            "tests/stack/**",
            // tests/web/test_client.py has the stories told, and says where they are.
            ...(process.env.PRESENCE_VECTORS ? [] : ["tests/testing/vectors.test.ts"]),
          ],
        },
      },
      // Against a real stack: tests/e2e/test_around.py starts it and says where it is.
      ...(process.env.PRESENCE_STACK
        ? [
            {
              test: {
                name: "stack",
                environment: "node",
                include: ["tests/stack/**/*.test.ts"],
                testTimeout: 60_000,
              },
            },
          ]
        : []),
      {
        test: {
          name: "react",
          environment: "happy-dom",
          include: ["tests/react/**/*.test.{ts,tsx}"],
        },
      },
      {
        resolve: {
          // Behind the name stands a subpath such as `jsx-runtime`, `client`, `server`, `test-utils`.
          alias: [
            { find: /^react(\/.*)?$/, replacement: `${react18}react$1` },
            { find: /^react-dom(\/.*)?$/, replacement: `${react18}react-dom$1` },
            // Its CommonJS would require React past the aliases.
            { find: /^@testing-library\/react$/, replacement: testingLibrary },
          ],
        },
        test: {
          name: "react-18",
          environment: "happy-dom",
          include: ["tests/react/**/*.test.{ts,tsx}"],
          // Only what is inlined is resolved by the aliases above.
          server: { deps: { inline: [/@testing-library\/react/] } },
        },
      },
    ],
  },
});
