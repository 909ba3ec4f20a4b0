#!/usr/bin/env bash
# partysocket documents a random delay before a reconnect; all clients wait 3.0 s.
#
# Versions   partysocket 1.3.0, ws 8.23.0
# Input      Eight processes with one socket each, all options at their defaults. The server closes
#            all connections at the same moment with code 1001, and each again as soon as it is back.
# Expected   The README gives the default minReconnectionDelay as 1000 + Math.random() * 4000: the
#            eight come back spread over the time from 1 to 5 s.
# What       All eight wait 3.0 s after the first close and 3.9 s after the second, and arrive within a
# happens    fraction of a second: the default is the constant 3000, and no part of it is random.
# Why it     API Gateway accepts 500 new connections per second and account by default, and each
# matters    $connect runs a function that writes to DynamoDB. Clients that lose their connections
#            together return together, again and again. A client of this kind needs a random
#            minReconnectionDelay of its own.
#
# Seen       README: 1000 + Math.random() * 4000
#            After the first close, seconds: 3.1 3.1 3.2 3.2 3.2 3.2 3.2 3.2
#            After the second close, seconds: 4.0 4.0 4.0 4.0 4.0 4.0 4.0 4.0
# Takes about 15 s. Needs Node.js 20 or later and npm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm install --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts --save-exact \
    partysocket@1.3.0 ws@8.23.0

cat >"$folder/client.mjs" <<'JAVASCRIPT'
import ReconnectingWebSocket from "partysocket/ws";
import { WebSocket } from "ws";

new ReconnectingWebSocket(process.argv[2], [], { WebSocket });
setTimeout(process.exit, 60_000); // should the server be gone
JAVASCRIPT

cat >"$folder/server.mjs" <<'JAVASCRIPT'
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { WebSocketServer } from "ws";

const CLIENTS = 8;
const readme = readFileSync("node_modules/partysocket/README.md", "utf8");
const documented = /^minReconnectionDelay: (.+),$/m.exec(readme)?.[1];
console.log(`README: ${documented}`);

const clients = [];
process.on("exit", () => clients.forEach((client) => client.kill()));
setTimeout(() => end("the clients do not come back within 45 s"), 45_000);

function end(change) {
  console.log(change ? `CHANGED: ${change}` : "As described.");
  process.exit(change ? 1 : 0);
}

const opened = new Map(); // the first connection of each client, by its path
const closed = new Map(); // when each client was closed, one entry for each time
const delays = [[], []]; // seconds after the first close, after the second
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });

function close(connection, path) {
  closed.set(path, [...(closed.get(path) ?? []), performance.now()]);
  connection.close(1001);
}

server.on("connection", (connection, { url: path }) => {
  if (opened.size < CLIENTS) {
    opened.set(path, connection);
    if (opened.size === CLIENTS) opened.forEach(close);
    return;
  }
  const times = closed.get(path);
  delays[times.length - 1]?.push((performance.now() - times.at(-1)) / 1000);
  if (delays[1].length === CLIENTS) judge();
  close(connection, path);
});

function judge() {
  // A busy machine adds to a delay. Eight random ones between 1 and 5 s would not all fit here.
  const inStep = (wave, seconds) => wave.every((d) => d > seconds - 0.1 && d < seconds + 1.5);
  const text = (wave) => wave.map((delay) => delay.toFixed(1)).join(" ");
  console.log(`After the first close, seconds: ${text(delays[0])}`);
  console.log(`After the second close, seconds: ${text(delays[1])}`);
  if (documented !== "1000 + Math.random() * 4000") end("the README documents another default");
  if (!inStep(delays[0], 3.0)) end("the clients do not all come back 3.0 s after the first close");
  if (!inStep(delays[1], 3.9)) end("the clients do not all come back 3.9 s after the second close");
  end();
}

server.on("listening", () => {
  for (let number = 0; number < CLIENTS; number++) {
    const url = `ws://127.0.0.1:${server.address().port}/${number}`;
    clients.push(spawn(process.execPath, ["client.mjs", url], { stdio: "inherit" }));
  }
});
JAVASCRIPT

cd "$folder"
node server.mjs
