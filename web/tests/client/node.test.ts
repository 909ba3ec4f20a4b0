import { createServer } from "node:net";
import { describe, expect, it, vi } from "vitest";
import WebSocket from "ws";
import { openLink } from "../../src/drivers/link.js";
import { systemClock } from "../../src/index.js";

async function deafServer() {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || !address) throw new Error("It listens.");
  return { url: `ws://127.0.0.1:${address.port}`, close: () => server.close() };
}

describe("in Node", () => {
  it("a link that is given up before it is open ends without an unhandled error", async () => {
    const unheard = vi.fn();
    process.on("uncaughtException", unheard);
    const server = await deafServer();
    const link = openLink(server.url, WebSocket, systemClock, {
      isActive: () => true,
      frame: () => {},
      down: () => {},
      wire: () => {},
    });
    link.close();
    await expect(link.opened).rejects.toMatchObject({ code: "not-connected" });
    await new Promise((resolve) => setImmediate(resolve)); // `ws` says it a tick later
    process.off("uncaughtException", unheard);
    server.close();
    expect(unheard).not.toHaveBeenCalled();
  });

  it("a timer may be for longer than Node's hold", async () => {
    const run = vi.fn();
    const stop = systemClock.after(Number.POSITIVE_INFINITY, run);
    await new Promise((resolve) => setTimeout(resolve, 20));
    stop();
    expect(run).not.toHaveBeenCalled();
  });
});
