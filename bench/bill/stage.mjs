// The clients of a day: the bundle of a build's client, on a clock that is turned from outside.
//
//   node stage.mjs bundle.mjs
//
// Each line of the input is one instant: {"now": ms, "events": [[kind, ...], ...]}; each line of the
// output is what the clients did then, and when the next timer is due:
// {"wake": ms | null, "out": [[kind, ...], ...]}. The kinds are the functions of `on` here and of
// `Clients.heard` in clients.py.

import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { createPresenceClient } = await import(pathToFileURL(resolve(process.argv[2])).href);

let now = 0;
let numbers = 0;
let out = [];
const timers = new Map();
const clients = new Map();
const sockets = new Map();
const waiting = new Map();

const say = (...what) => out.push(what);

// ── what a client is made with ─────────────────────────────────────────────────────────────

const clock = {
  now: () => now,
  after(milliseconds, run) {
    numbers += 1;
    const id = numbers;
    timers.set(id, { at: now + Math.max(0, milliseconds), run });
    return () => timers.delete(id);
  },
};

/** From 0 to 1, the same with the same seed (mulberry32). */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Asks the outside for something, and gives what it answers. */
function ask(kind, ...what) {
  numbers += 1;
  const id = numbers;
  say(kind, id, ...what);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

const socketOf = (client) =>
  class {
    readyState = 0;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;

    constructor(url) {
      numbers += 1;
      this.id = numbers;
      sockets.set(this.id, this);
      say("open", this.id, client, url);
    }

    send(text) {
      say("send", this.id, text);
    }

    close(code = 1005) {
      if (this.readyState > 1) return;
      this.readyState = 3;
      sockets.delete(this.id);
      say("close", this.id, code);
    }
  };

const fetchOf =
  (client) =>
  async (url, { method = "GET", headers = {}, body } = {}) => {
    const { status, headers: told, text } = await ask("fetch", client, method, url, headers, body);
    return {
      ok: status < 400,
      status,
      headers: new Headers(told),
      json: async () => JSON.parse(text),
      text: async () => text,
    };
  };

/** A page: whether it is seen, whether it has a network, and who listens. */
function createPage() {
  const listeners = new Set();
  const page = { isVisible: true, isOnline: true };
  return {
    page,
    lifecycle: {
      isOnline: () => page.isOnline,
      isVisible: () => page.isVisible,
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    tell(event) {
      for (const listener of [...listeners]) listener(event);
    },
  };
}

// ── what people do ─────────────────────────────────────────────────────────────────────────

/**
 * The list on the screen, as the component `OnlineUsersList` shows it: a row for each user. Builds
 * before `onlineRows` watched the whole list.
 */
function showList({ client }) {
  const rows = new Map();
  const list = client.onlineRows ?? client.onlineUsers;
  function draw() {
    const listed = new Set(list.get().userIds);
    for (const id of listed)
      if (!rows.has(id))
        rows.set(
          id,
          client.user(id).subscribe(() => {}),
        );
    for (const [id, forget] of rows)
      if (!listed.has(id)) {
        forget();
        rows.delete(id);
      }
  }
  const unsubscribe = list.subscribe(draw);
  draw();
  return () => {
    unsubscribe();
    for (const forget of rows.values()) forget();
  };
}

const ignore = (promise) => promise?.catch?.(() => {});

const acts = {
  start: ({ client, userId }) => ignore(client.authenticate(userId)),
  stop: ({ client }) => client.disconnect(),
  visible({ stage }) {
    stage.page.isVisible = true;
    stage.tell("visible");
  },
  hidden({ stage }) {
    stage.page.isVisible = false;
    stage.tell("hidden");
  },
  touch: ({ stage }) => stage.tell("activity"),
  online({ stage }) {
    stage.page.isOnline = true;
    stage.tell("online");
  },
  offline({ stage }) {
    stage.page.isOnline = false;
    stage.tell("offline");
  },
  list(it, isShown) {
    it.hideList?.();
    it.hideList = isShown ? showList(it) : undefined;
  },
  watch({ client }, userIds) {
    for (const id of userIds) client.user(id).subscribe(() => {});
  },
  join(it, sessionId) {
    const chat = it.client.joinChatSession(sessionId);
    chat.members.subscribe(() => {});
    chat.typing.subscribe(() => {});
    chat.onMessage(() => {});
  },
  leave: ({ client }, sessionId) => client.leaveChatSession(sessionId),
  type: ({ client }, sessionId) => client.chatSession(sessionId).keystroke(),
  say: ({ client }, [sessionId, text]) => ignore(client.chatSession(sessionId).send({ text })),
  status: ({ client }, status) => ignore(client.setStatus(status)),
};

// ── one instant ────────────────────────────────────────────────────────────────────────────

const on = {
  make(id, userId, device, apiUrl, seed) {
    const stage = createPage();
    const client = createPresenceClient({
      apiUrl,
      device,
      clock,
      lifecycle: stage.lifecycle,
      random: randomOf(seed),
      WebSocket: socketOf(id),
      fetch: fetchOf(id),
      getToken: () => ask("token", userId),
    });
    client.on("problem", ({ code, message }) => say("problem", id, code, message));
    clients.set(id, { client, userId, stage });
  },
  act(id, name, ...what) {
    acts[name](clients.get(id), ...what);
  },
  opened(id) {
    const socket = sockets.get(id);
    if (!socket) return;
    socket.readyState = 1;
    socket.onopen?.({});
  },
  frame(id, text) {
    sockets.get(id)?.onmessage?.({ data: text });
  },
  closed(id, code) {
    const socket = sockets.get(id);
    if (!socket) return;
    sockets.delete(id);
    socket.readyState = 3;
    socket.onclose?.({ code, reason: "" });
  },
  answer(id, answer) {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (answer === null) reject(new TypeError("Failed to fetch"));
    else resolve(answer);
  },
  states(id) {
    const told = {};
    for (const [name, { client }] of clients) told[name] = client.connection.get().name;
    say("states", id, told);
  },
};

/** All that promises bring is done before the next macrotask. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

async function runDue() {
  for (;;) {
    let next;
    for (const [id, timer] of timers)
      if (timer.at <= now && (!next || timer.at < timers.get(next).at)) next = id;
    if (!next) return;
    const { run } = timers.get(next);
    timers.delete(next);
    run();
    await settled();
  }
}

function wake() {
  let at = null;
  for (const timer of timers.values()) if (at === null || timer.at < at) at = timer.at;
  return at;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { now: at, events } = JSON.parse(line);
  now = at;
  for (const [kind, ...what] of events) on[kind](...what);
  await settled();
  await runDue();
  await settled();
  process.stdout.write(`${JSON.stringify({ wake: wake(), out })}\n`);
  out = [];
}
