import { describe, expect, it } from "vitest";
import { connected, MINUTE, type Scene, SECOND } from "./setup.js";

const GRACE = { users: [{ userId: "grace" }], globalPresence: false };

/** Of whom it was asked, each time. */
const asked = (set: Scene) => set.got("verify").map(({ userIds }) => userIds.join(" "));

/** What a promise has come to; undefined while it has not. */
function outcome<T>(promise: Promise<T>): { value?: T; error?: unknown } {
  const found: { value?: T; error?: unknown } = {};
  promise.then(
    (value) => {
      found.value = value;
    },
    (error) => {
      found.error = error;
    },
  );
  return found;
}

describe("verifying a user", () => {
  it("is answered at once if the user was heard of late", async () => {
    const set = await connected(GRACE);
    const found = outcome(set.client.verify(["grace", "nobody"]));
    await set.clock.settle();
    expect(found.value).toMatchObject([
      { userId: "grace", status: "online" },
      { userId: "nobody", status: "offline" },
    ]);
    expect(asked(set)).toEqual(["grace nobody"]);
  });

  it("is answered in the second after a device has answered a probe", async () => {
    const set = await connected(GRACE);
    await set.clock.advance(MINUTE);
    const at = set.server.now();
    const found = outcome(set.client.verify(["grace"]));
    await set.clock.settle();
    expect(found.value).toBeUndefined();
    await set.clock.advance(700);
    expect(found.value).toMatchObject([{ status: "online", heardAt: at }]);
    expect(asked(set)).toEqual(["grace", "grace"]);
  });

  it("is answered when the probe is over if no device answers", async () => {
    const set = await connected(GRACE);
    await set.clock.advance(MINUTE);
    set.server.silence("grace");
    const found = outcome(set.client.verify(["grace"]));
    await set.clock.advance(10_999);
    expect(found.value).toBeUndefined();
    await set.clock.advance(1);
    expect(found.value).toMatchObject([{ status: "offline" }]);
    expect(found.value?.[0]).not.toHaveProperty("heardAt");
    expect(asked(set)).toHaveLength(4);
  });

  it("asks for ten users in a frame, and for each once", async () => {
    const set = await connected(GRACE);
    const names = Array.from({ length: 12 }, (_, at) => `user-${at}`);
    const found = outcome(Promise.all([set.client.verify(names), set.client.verify(names)]));
    await set.clock.settle();
    expect(asked(set)).toEqual([names.slice(0, 10).join(" "), names.slice(10).join(" ")]);
    expect(found.value?.map((all) => all.length)).toEqual([12, 12]);
  });

  it("is refused without a link, and by the server", async () => {
    const set = await connected(GRACE);
    set.server.refuse("verify", { code: "rate-limited", retryAfterSeconds: 3 });
    const refused = outcome(set.client.verify(["grace"]));
    await set.clock.settle();
    expect(refused.error).toMatchObject({ code: "rate-limited" });
    set.network.cut();
    await set.clock.settle();
    const lost = outcome(set.client.verify(["grace"]));
    await set.clock.settle();
    expect(lost.error).toMatchObject({ code: "not-connected" });
  });

  it("tells the store when the user was heard, and forgets that when the user is offline", async () => {
    const set = await connected(GRACE);
    const store = set.client.user("grace");
    store.subscribe(() => {});
    await set.clock.advance(MINUTE);
    const at = set.server.now();
    outcome(set.client.verify(["grace"]));
    await set.clock.advance(SECOND);
    expect(store.get()).toMatchObject({ heardAt: at, fresh: true });
    set.server.user("grace", { status: "busy" });
    await set.clock.settle();
    expect(store.get()).toMatchObject({ status: "busy", heardAt: at });
    set.server.user("grace", { status: "offline" });
    await set.clock.settle();
    expect(store.get()).not.toHaveProperty("heardAt");
  });

  it("leaves a user that no one watches as not kept up to date", async () => {
    const set = await connected(GRACE);
    outcome(set.client.verify(["grace"]));
    await set.clock.settle();
    expect(set.client.user("grace").get()?.fresh).not.toBe(true);
  });
});

describe("looking at a user", () => {
  it("verifies at first, on each new link, and when the page is shown again", async () => {
    const set = await connected(GRACE);
    const away = set.client.lookAt(["grace"]);
    await set.clock.settle();
    expect(asked(set)).toHaveLength(1);
    set.network.cut();
    await set.clock.settle();
    set.network.restore();
    await set.clock.advance(30 * SECOND);
    const again = asked(set).length;
    expect(again).toBeGreaterThan(1);
    set.lifecycle.emit("hidden");
    await set.clock.settle();
    expect(asked(set)).toHaveLength(again);
    set.lifecycle.emit("visible");
    await set.clock.settle();
    expect(asked(set)).toHaveLength(again + 1);
    away();
    set.lifecycle.emit("hidden");
    set.lifecycle.emit("visible");
    await set.clock.settle();
    expect(asked(set)).toHaveLength(again + 1);
  });
});

describe("a probe", () => {
  it("is answered at once, also by a page that is hidden", async () => {
    const set = await connected(GRACE);
    set.lifecycle.emit("hidden");
    await set.clock.advance(7 * SECOND);
    const before = set.got("ping").length;
    set.server.connections[0]?.send({ type: "probe" });
    await set.clock.settle();
    expect(set.got("ping")).toHaveLength(before + 1);
    expect(set.got("ping").at(-1)).not.toHaveProperty("id");
  });

  it("finds a page that is frozen offline, until it runs again", async () => {
    const set = await connected({ globalPresence: false });
    const device = set.device("phone");
    const phone = set.another("phone", device.options);
    await phone.authenticate("grace");
    device.network.freeze();
    await set.clock.advance(40 * SECOND);
    const found = outcome(set.client.verify(["grace"]));
    await set.clock.advance(11 * SECOND);
    expect(found.value).toMatchObject([{ status: "offline" }]);
    device.network.restore();
    await set.clock.advance(MINUTE);
    expect(set.server.presence("grace").status).toBe("online");
  });

  it("keeps a user online that answers, and only that one", async () => {
    const set = await connected({ globalPresence: false, heartbeatSeconds: 90 });
    const phone = set.another("phone");
    await phone.authenticate("grace");
    await set.clock.advance(40 * SECOND);
    const found = outcome(set.client.verify(["grace"]));
    await set.clock.advance(SECOND);
    expect(found.value).toMatchObject([{ status: "online" }]);
    expect(set.server.presence("grace").status).toBe("online");
    await set.clock.advance(MINUTE);
    expect(set.server.presence("grace").status).toBe("online");
  });
});
