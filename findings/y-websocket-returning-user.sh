#!/usr/bin/env bash
# A user who reconnects through y-websocket is shown late, and goes late.
#
# Versions   y-websocket 3.1.0, @y/websocket-server 0.1.1, y-protocols 1.0.7, yjs 13.6.33, ws 8.23.0
# Input      Ann and Bob in one room of the server, one connection each. Bob's connection is cut; he
#            reconnects by himself. Later his new connection is cut too, and he stays away.
# Expected   Ann sees each change at once: she was told of Bob's first cut within milliseconds.
# What       1. Bob is connected again after about 0.2 s, and Ann does not see him for up to 18 s. He
# happens       announces the clock he had, and receivers ignore a clock they know; only the renewal
#               that a client makes every 15 to 18 s brings him back (yjs/y-websocket issue 122).
#            2. He comes back under `updated`, not under `added`.
#            3. The server ties only `added` users to a connection. So when Bob's second connection is
#               cut, the server removes no user: he stays online for about 30 s more, until he times
#               out.
# Why it     A presence backend on API Gateway and DynamoDB has the same two parts: a connection that
# matters    is gone and a user's version that stays. Each $connect must tie the connection to its
#            user, not only the first one, and coming back must raise the version.
#
# Seen       Ann was told of Bob's first cut after 0.0 s.
#            Bob was connected again after 0.2 s; Ann saw him after 18.0 s, under `updated`.
#            Ann was told of Bob's second cut after 32.9 s.
# Takes about a minute. Needs Node.js 20 or later and npm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm install --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts --save-exact \
    y-websocket@3.1.0 @y/websocket-server@0.1.1 y-protocols@1.0.7 yjs@13.6.33 lib0@0.2.120 ws@8.23.0

cat >"$folder/room.mjs" <<'JAVASCRIPT'
import { setupWSConnection } from "@y/websocket-server/utils";
import { WebSocket, WebSocketServer } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Wait until the condition holds; return the seconds that took. */
async function until(what, condition) {
  const start = performance.now();
  while (!condition()) {
    if (performance.now() - start > 60_000) end(`${what}: not within 60 s`);
    await sleep(10);
  }
  return (performance.now() - start) / 1000;
}

function end(change) {
  console.log(change ? `CHANGED: ${change}` : "As described.");
  process.exit(change ? 1 : 0);
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
let newest;
server.on("connection", (connection, request) => {
  newest = connection;
  setupWSConnection(connection, request);
});
await until("the server listens", () => server.address());

function join(user) {
  const url = `ws://127.0.0.1:${server.address().port}`;
  const options = { WebSocketPolyfill: WebSocket, disableBc: true };
  const provider = new WebsocketProvider(url, "room", new Y.Doc(), options);
  provider.awareness.setLocalStateField("user", user);
  return provider;
}

const ann = join("ann");
await until("Ann is connected", () => ann.synced);
const bob = join("bob");
const online = () => ann.awareness.getStates().has(bob.doc.clientID);
await until("Ann sees Bob", online);

newest.terminate();
const firstCut = await until("Ann is told of the first cut", () => !online());
console.log(`Ann was told of Bob's first cut after ${firstCut.toFixed(1)} s.`);

const kinds = [];
ann.awareness.on("change", (change) => {
  kinds.push(...["added", "updated"].filter((kind) => change[kind].includes(bob.doc.clientID)));
});
const again = await until("Bob reconnects", () => bob.synced);
const seen = again + (await until("Ann sees Bob again", online));
console.log(
  `Bob was connected again after ${again.toFixed(1)} s; ` +
    `Ann saw him after ${seen.toFixed(1)} s, under \`${kinds}\`.`,
);

bob.shouldConnect = false;
newest.terminate();
const secondCut = await until("Ann is told of the second cut", () => !online());
console.log(`Ann was told of Bob's second cut after ${secondCut.toFixed(1)} s.`);

if (firstCut > 2) end("the first cut is told late");
if (seen - again < 5) end("a user who reconnects is seen at once");
if (String(kinds) !== "updated") end("a user who reconnects does not come under `updated` alone");
if (secondCut < 20) end("the second cut is told at once");
end();
JAVASCRIPT

node "$folder/room.mjs"
