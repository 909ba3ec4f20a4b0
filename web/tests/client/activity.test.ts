import { describe, expect, it } from "vitest";
import { connected, MINUTE, SECOND } from "./setup.js";

describe("whether the user is there", () => {
  const attentive = { autoAway: {} };

  it("is told after 5 minutes without a touch, and at once when they are back", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    await clock.advance(4 * MINUTE);
    lifecycle.emit("activity");
    await clock.advance(4 * MINUTE);
    expect(server.presence("ada").status).toBe("online");
    await clock.advance(MINUTE);
    expect(server.presence("ada").status).toBe("away");
    expect(client.me.get().isActive).toBe(false);
    lifecycle.emit("activity");
    await clock.settle();
    expect(server.presence("ada").status).toBe("online");
  });

  it("is told after a minute in a hidden tab", async () => {
    const { server, clock, lifecycle } = await connected({}, attentive);
    lifecycle.setVisible(false);
    await clock.advance(59 * SECOND);
    expect(server.presence("ada").status).toBe("online");
    await clock.advance(SECOND);
    expect(server.presence("ada").status).toBe("away");
    lifecycle.setVisible(true);
    await clock.settle();
    expect(server.presence("ada").status).toBe("online");
  });

  it("does not come back by a screen that turns itself off", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    await clock.advance(6 * MINUTE);
    expect(server.presence("ada").status).toBe("away");
    lifecycle.setVisible(false);
    await clock.settle();
    expect(server.presence("ada").status).toBe("away");
    expect(client.me.get().isActive).toBe(false);
  });

  it("does not blink when a hidden tab connects again", async () => {
    const { server, clock, lifecycle, another } = await connected({}, attentive);
    const grace = another();
    grace.authenticate("grace");
    const seen: unknown[] = [];
    grace.user("ada").subscribe(() => seen.push(grace.user("ada").get()?.status));
    lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    server.connections.find((it) => it.userId === "ada")?.close();
    await clock.advance(3 * MINUTE);
    expect(new Set(seen)).toEqual(new Set(["online", "away"]));
    expect(seen.at(-1)).toBe("away");
  });

  it("never changes what was chosen", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    client.setStatus("busy");
    lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    expect(server.presence("ada").status).toBe("busy");
  });

  it("is not told where autoAway is off", async () => {
    const { server, clock, lifecycle } = await connected({}, { autoAway: false });
    lifecycle.setVisible(false);
    await clock.advance(20 * MINUTE);
    expect(server.presence("ada").status).toBe("online");
  });
});
