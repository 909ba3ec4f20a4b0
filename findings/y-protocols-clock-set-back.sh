#!/usr/bin/env bash
# A user whose device's clock is set back is gone for the others, though both are connected.
#
# Versions   y-protocols 1.0.7, yjs 13.6.33, lib0 0.2.120
# Input      Ann and Bob, one Awareness each, in threads of their own; each hears every update of the
#            other. After 5 s Bob's clock is set back by two minutes, as by NTP or by hand. Nothing else
#            happens, and no update is lost.
# Expected   Ann sees Bob all the time: he renews his state every 15 to 18 s, and there is a network.
# What       Ann sees Bob leave after about 30 s. Bob's renewal waits until the clock shows 15 s more
# happens    than at the last one, so for two minutes and some seconds he renews nothing, and others
#            remove a user of whom they have heard nothing for 30 s. He himself notices nothing.
# Why it     Presence's TypeScript client did the same: it compared `Date.now()` with the instant of the
# matters    last ping, and sent none until the clock was there again; the server let its lease run out.
#            An interval has to be counted by a clock that never goes back (`performance.now()`).
#
# Seen       Ann saw Bob go after 30.5 s; Bob had told his state once, when he came.
# Takes about 40 seconds. Needs Node.js 20 or later and npm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

npm install --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts --save-exact \
    y-protocols@1.0.7 yjs@13.6.33 lib0@0.2.120

cat >"$folder/device.mjs" <<'JAVASCRIPT'
import { parentPort, workerData } from "node:worker_threads";

// Before the library is loaded: it keeps the function that it finds.
let back = 0;
const now = Date.now;
Date.now = () => now() - back;

const { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } = await import(
  "y-protocols/awareness"
);
const Y = await import("yjs");

const awareness = new Awareness(new Y.Doc());
awareness.on("update", ({ added, updated, removed }, origin) => {
  if (origin === "network") return;
  if (origin === "timeout") {
    parentPort.postMessage({ gone: removed });
    return;
  }
  const update = encodeAwarenessUpdate(awareness, [...added, ...updated, ...removed]);
  parentPort.postMessage({ update });
});
parentPort.on("message", ({ update, setBack }) => {
  if (update) applyAwarenessUpdate(awareness, update, "network");
  if (setBack) back += setBack;
});
awareness.setLocalState({ name: workerData });
JAVASCRIPT

cat >"$folder/room.mjs" <<'JAVASCRIPT'
import { Worker } from "node:worker_threads";

const start = performance.now();
const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
const device = (name) => new Worker(new URL("device.mjs", import.meta.url), { workerData: name });
const [ann, bob] = [device("Ann"), device("Bob")];

function end(change) {
  console.log(change ? `CHANGED: ${change}` : "As described.");
  process.exit(change ? 1 : 0);
}

let renewals = 0;
bob.on("message", ({ update, gone }) => {
  if (gone) end("Bob saw Ann go");
  renewals += 1;
  ann.postMessage({ update });
});
ann.on("message", ({ update, gone }) => {
  if (update) bob.postMessage({ update });
  if (!gone) return;
  console.log(`Ann saw Bob go after ${seconds()} s; Bob had told his state ${renewals} time(s).`);
  end(Number(seconds()) < 29 || Number(seconds()) > 36 ? "another time" : undefined);
});
setTimeout(() => bob.postMessage({ setBack: 120_000 }), 5_000);
setTimeout(() => end("Ann saw Bob for 60 s"), 60_000);
JAVASCRIPT

cd "$folder"
node room.mjs
