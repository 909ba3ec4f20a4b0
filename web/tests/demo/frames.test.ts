import { describe, expect, test } from "vitest";
import {
  commandsOf,
  contains,
  type Frame,
  gistOf,
  isError,
  isHeartbeat,
  quoted,
  read,
} from "../../demo/frames.js";

const grace = { userId: "grace", status: "busy", isOnline: true, lastSeen: 1, version: 2 };

describe("a frame in the log", () => {
  test("has no token, only how it begins", () => {
    const { token, device } = read(
      '{"action":"authenticate","token":"eyJhbGciOiJIUzI1","device":"tab-1"}',
    );
    expect(token).toBe("eyJhbGciOiJI…");
    expect(device).toBe("tab-1");
  });

  test("is its text if it is no JSON", () => {
    expect(read("<html>")).toEqual({ text: "<html>" });
    expect(read("null")).toEqual({});
  });

  test.each<[Frame, string]>([
    [{ action: "authenticate", device: "tab-1", token: "…" }, "tab-1 · with a token"],
    [{ action: "ping", active: true }, ""],
    [{ action: "ping", active: false }, "idle"],
    [{ action: "check", userId: "ada", active: true }, ""],
    [
      { action: "status", status: "busy", text: "In a meeting", until: 5 },
      "busy · In a meeting · for a while",
    ],
    [{ action: "join", chatSessionId: "lobby" }, "lobby"],
    [{ action: "message", content: { text: "Hello" } }, "Hello"],
    [{ action: "message", content: [1] }, "[1]"],
    [
      { type: "user-status-change", changes: [{ ...grace, text: "At lunch" }] },
      "grace busy · At lunch",
    ],
    [{ type: "online-users-list", users: [], onlineCount: 0 }, "no users · 0 in all"],
    [{ type: "chat-session-joined", chatSessionId: "lobby", memberCount: 1 }, "lobby · 1 member"],
    [{ type: "chat-session-members", joined: [grace], left: ["ada"] }, "+grace −ada"],
    [{ type: "new-message", senderId: "ada", content: { text: "Hi" } }, "ada: Hi"],
    [{ type: "closing", reason: "kicked" }, "kicked"],
    [{ type: "error", code: "forbidden", message: "No." }, "forbidden · No."],
    [{ type: "of-a-later-version" }, ""],
    [{ type: "user-status-change" }, ""],
  ])("%j is in short %j", (frame, gist) => {
    expect(gistOf(frame)).toBe(gist);
  });

  test("is a heartbeat if it only keeps the lease", () => {
    expect(isHeartbeat({ action: "ping", active: true })).toBe(true);
    expect(isHeartbeat({ type: "pong" })).toBe(true);
    expect(isHeartbeat({ action: "ping", active: false })).toBe(false);
    expect(isHeartbeat({ action: "status" })).toBe(false);
  });

  test("is an error if something was refused or ends", () => {
    const types = ["error", "authentication-error", "closing", "ack"];
    expect(types.map((type) => isError({ type }))).toEqual([true, true, true, false]);
  });

  test("is found by its name, what it says, and what is in it", () => {
    const frame = { type: "user-status-change", changes: [grace] };
    for (const wanted of ["STATUS", " grace busy ", '"version":2'])
      expect(contains(frame, wanted)).toBe(true);
    expect(contains(frame, "linus")).toBe(false);
  });
});

describe("a frame as a command", () => {
  const context = {
    userId: "ada",
    apiUrl: "http://localhost:4000",
    webSocketUrl: "ws://localhost:4566/live",
  };
  const bearer = '-H "Authorization: Bearer $(.venv/bin/presence token ada)"';
  const commands = (frame: Frame) =>
    Object.fromEntries(commandsOf(frame, context).map(({ name, text }) => [name, text]));

  test("chooses the same status", () => {
    const { presence, curl } = commands({ action: "status", status: "busy", text: "It's lunch" });
    expect(presence).toBe(
      String.raw`.venv/bin/presence join ada --status busy --text 'It'\''s lunch'`,
    );
    expect(curl).toContain(`curl -X PUT http://localhost:4000/api/user-status/ ${bearer}`);
    expect(curl).toContain(String.raw`-d '{"status":"busy","text":"It'\''s lunch"}'`);
  });

  test("asks for the users who have changed", () => {
    const { presence, curl, wscat } = commands({ type: "user-status-change", changes: [grace] });
    expect(presence).toBe(".venv/bin/presence status grace");
    expect(curl).toContain(`/api/user-status/batch ${bearer}`);
    expect(curl).toContain(`'{"userIds":["grace"]}'`);
    expect(wscat).toBeUndefined();
  });

  test("says the same on a socket, after authenticating with a token that is made then", () => {
    const { wscat } = commands({ action: "join", chatSessionId: "lobby", id: "7" });
    expect(wscat).toContain('"token":"\'"$(.venv/bin/presence token ada)"\'"');
    expect(wscat).toContain(`'{"action":"join","chatSessionId":"lobby"}'`);
    expect(wscat).toMatch(/\| npx wscat -c ws:\/\/localhost:4566\/live$/);
  });

  test("joins before it says what only members may say", () => {
    const { wscat } = commands({
      action: "message",
      chatSessionId: "lobby",
      content: { text: "Hi" },
    });
    const join = wscat?.indexOf(`'{"action":"join","chatSessionId":"lobby"}'`) ?? -1;
    const said = wscat?.indexOf(
      '{"action":"message","chatSessionId":"lobby","content":{"text":"Hi"}}',
    );
    expect(join).toBeGreaterThan(0);
    expect(said).toBeGreaterThan(join);
  });

  test("authenticates once", () => {
    const { presence, wscat } = commands({
      action: "authenticate",
      device: "tab-1",
      token: "eyJ…",
    });
    expect(presence).toBe(".venv/bin/presence join ada --device tab-1");
    expect(wscat).not.toContain("eyJ");
    expect(wscat?.match(/authenticate/g)).toHaveLength(1);
  });

  test("is none where there is none", () => {
    expect(commandsOf({ type: "ack", id: "1" }, context)).toEqual([]);
  });

  test("is one word for a shell, with any text in it", () => {
    expect(quoted("ada.l-1@x")).toBe("ada.l-1@x");
    expect(quoted("$(rm) `x`")).toBe("'$(rm) `x`'");
    expect(quoted("~ada")).toBe("'~ada'");
  });
});
