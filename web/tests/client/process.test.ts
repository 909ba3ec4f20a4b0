// A process of Node that has no more to do ends by itself, whatever the client was about.

import { spawn } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";

/** Sooner than any wait of the client: 4 s of typing, 5 s after a handover, 10 s for an answer. */
const SOON_MS = 3_000;

const web = fileURLToPath(new URL("../..", import.meta.url));
const presence = (userId: string) => ({ userId, status: "online", isOnline: true, version: 1 });
const page = { members: [], cursor: null, memberCount: 0, asOf: 1 };

/** As much of a server's answers as the client needs to go on. */
function answer({ action, id, ...frame }: Record<string, unknown>): object | undefined {
  const now = Date.now();
  const terms = { heartbeatSeconds: 60, leaseSeconds: 90, serverTime: now, chatSessions: [] };
  switch (action) {
    case "authenticate":
      return {
        ...{ ...terms, type: "authentication-success", id, userId: "ada", onlineCount: 1 },
        ...{ tokenExpiresAt: now + 3_600_000, connectionExpiresAt: now + 7_200_000 },
        ...{ presence: presence("ada"), joined: [], refused: [] },
      };
    case "join":
      return { type: "chat-session-joined", id, chatSessionId: frame.chatSessionId, ...page };
    case "online":
      return { type: "online-users-list", id, users: [], cursor: null, onlineCount: 1 };
    case "verify":
      return { type: "verified", id, users: [presence("bo")], awaited: ["bo"], probeSeconds: 10 };
    case "message": // lost
    case "ping":
      return undefined;
    default:
      return { type: "ack", id };
  }
}

let folder: string;
let server: Server;
let sockets: WebSocketServer;
let apiUrl: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "presence-process-"));
  await symlink(join(web, "node_modules"), join(folder, "node_modules"));
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      outDir: folder,
      emptyOutDir: false,
      lib: { entry: join(web, "src/index.ts"), formats: ["es"], fileName: () => "client.mjs" },
    },
  });
  server = createServer((request, response) => {
    if (request.url?.startsWith("/silent")) return;
    const { port } = server.address() as AddressInfo;
    response.end(JSON.stringify({ protocol: 1, webSocketUrl: `ws://127.0.0.1:${port}/live` }));
  });
  sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket) =>
    socket.on("message", (text) => {
      const said = answer(JSON.parse(String(text)));
      if (said) socket.send(JSON.stringify(said));
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  for (const socket of sockets.clients) socket.terminate();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});

/** Runs a script in a process of its own; how it ended, and how long after it said `over`. */
async function run(script: string) {
  const file = join(folder, `${crypto.randomUUID()}.mjs`);
  await writeFile(
    file,
    `import { createPresenceClient } from "./client.mjs";
     import WebSocket from "ws";
     const usual = { apiUrl: ${JSON.stringify(apiUrl)}, WebSocket, getToken: () => "e.y.J" };
     const over = () => console.log("over");
     ${script}`,
  );
  const child = spawn(process.execPath, [file], {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 20_000,
  });
  let said = "";
  let overAt = Number.NaN;
  child.stdout.on("data", (text) => {
    said += text;
    if (said.includes("over")) overAt ||= performance.now();
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, said: said.trim(), tookMs: performance.now() - overAt };
}

describe("a process of Node ends by itself", { timeout: 60_000 }, () => {
  it("when the client has disconnected, with all of it in use", async () => {
    const { code, said, tookMs } = await run(`
      const client = createPresenceClient(usual);
      await client.authenticate("ada");
      client.onlineUsers.subscribe(() => {});
      client.user("grace").subscribe(() => {})();
      const lobby = client.joinChatSession("lobby");
      await new Promise((resolve) => {
        lobby.members.subscribe(() => lobby.members.get().state === "joined" && resolve());
      });
      lobby.keystroke();
      lobby.send("Hello").catch(() => {});
      client.verify(["bo"]).catch(() => {});
      client.setStatus("busy").catch(() => {});
      setTimeout(() => { client.disconnect(); over(); }, 300);`);
    expect({ code, said }).toEqual({ code: 0, said: "over" });
    expect(tookMs).toBeLessThan(SOON_MS);
  });

  it("when the user has left on purpose", async () => {
    const { code, tookMs } = await run(`
      const client = createPresenceClient(usual);
      await client.authenticate("ada");
      client.disconnect({ atOnce: true });
      over();`);
    expect(code).toBe(0);
    expect(tookMs).toBeLessThan(SOON_MS);
  });

  it.each([
    ["a server that does not answer", `{ ...usual, apiUrl: usual.apiUrl + "/silent" }`],
    ["a getToken that does not", "{ ...usual, getToken: () => new Promise(() => {}) }"],
    ["the next attempt", `{ ...usual, apiUrl: "http://127.0.0.1:9" }`],
  ])("when it disconnects while it waits for %s", async (_name, options) => {
    const { code, tookMs } = await run(`
      const client = createPresenceClient(${options});
      client.authenticate("ada").catch(() => {});
      setTimeout(() => { client.disconnect(); over(); }, 300);`);
    expect(code).toBe(0);
    expect(tookMs).toBeLessThan(SOON_MS);
  });

  it("when there is nothing to wait for, and says what to change", async () => {
    const { code, said, tookMs } = await run(`
      const client = createPresenceClient({ ...usual, WebSocket: undefined });
      client.authenticate("ada").catch(({ code }) => { console.log(code); over(); });`);
    expect({ code, said }).toEqual({ code: 0, said: "no-websocket\nover" });
    expect(tookMs).toBeLessThan(SOON_MS);
  });
});
