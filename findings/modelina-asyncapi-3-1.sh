#!/usr/bin/env bash
# Modelina makes one type, `any`, of an AsyncAPI 3.1.0 document, and says nothing.
#
# Versions   @asyncapi/modelina 5.10.1
# Input      The same document twice: a channel with one message, whose payload is an object with
#            two properties. Once it says `asyncapi: 3.0.0`, once `asyncapi: 3.1.0`.
# Expected   The same model twice, or an error that the version is not supported: 3.1.0 changes
#            nothing about messages and payloads.
# What       From 3.0.0 it makes the message's model. From 3.1.0 it makes one model called `Root`, a
# happens    type alias of `any`: it takes the document for a JSON Schema without types. It neither
#            throws nor logs.
# Why it     A project that describes its WebSocket frames by AsyncAPI 3.1.0 gives its users a
# matters    document of which this generator makes a client without types, and nothing in the build
#            tells them.
#
# Seen       3.0.0: UserStatusChange
#            3.1.0: type Root = any;
# Takes about a minute. Needs Node.js 20 or later.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cd "$folder"
echo '{"private": true, "type": "module"}' >package.json
npm install --silent --no-audit --no-fund --no-update-notifier --ignore-scripts \
    @asyncapi/modelina@5.10.1

cat >generate.js <<'JAVASCRIPT'
import { TypeScriptGenerator } from "@asyncapi/modelina";

const documentOf = (asyncapi) => ({
  asyncapi,
  info: { title: "Who is online", version: "1.0.0" },
  channels: {
    socket: {
      address: "/",
      messages: {
        change: {
          payload: {
            title: "UserStatusChange",
            type: "object",
            required: ["userId"],
            properties: { userId: { type: "string" }, isOnline: { type: "boolean" } },
            additionalProperties: false,
          },
        },
      },
    },
  },
  operations: { hear: { action: "receive", channel: { $ref: "#/channels/socket" } } },
});

const said = [];
for (const name of ["log", "warn", "error", "info"]) {
  const print = console[name];
  console[name] = (...words) => (words[0] === "seen" ? print(words[1]) : said.push(words));
}

async function models(version) {
  const generator = new TypeScriptGenerator({ modelType: "interface" });
  return await generator.generate(documentOf(version));
}

const former = (await models("3.0.0")).map(({ modelName }) => modelName);
const now = (await models("3.1.0")).map(({ result }) => result);
console.log("seen", `3.0.0: ${former.join(", ")}`);
console.log("seen", `3.1.0: ${now.join(" ")}`);
const isAsDescribed =
  former.join() === "UserStatusChange" && now.join() === "type Root = any;" && !said.length;
console.log("seen", isAsDescribed ? "As described." : "CHANGED: see above");
process.exitCode = isAsDescribed ? 0 : 1;
JAVASCRIPT
node generate.js
