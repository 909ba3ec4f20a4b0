import { act, cleanup, render, screen, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import axe from "axe-core";
import type { ReactElement } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PresenceError } from "../../src/index.js";
import {
  ChatApp,
  ChatRoom,
  type ChatRoomProps,
  ConnectionBanner,
  OnlineUsersList,
  SocketProvider,
  type SocketProviderProps,
  StatusPicker,
  TypingIndicator,
  UserStatusIndicator,
} from "../../src/react/index.js";
import { type FakeClient, fakeClient, waiting } from "./fake-client.js";

let client: FakeClient;

beforeEach(() => {
  client = fakeClient();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const names: Record<string, string> = { ada: "Ada", grace: "Grace" };
const nameOf = (userId: string) => names[userId] ?? userId;

function show(children: ReactElement, props: Partial<SocketProviderProps> = {}) {
  const wrap = (children: ReactElement) => (
    <SocketProvider client={client} nameOf={nameOf} labels={{ locale: "en" }} {...props}>
      {children}
    </SocketProvider>
  );
  const { container, rerender, unmount } = render(wrap(children));
  return { container, again: (next: ReactElement) => rerender(wrap(next)), unmount };
}

/** What axe finds wrong; happy-dom computes no colours, so contrast is tested elsewhere. */
async function faults(container: Element): Promise<string[]> {
  const rules = { "color-contrast": { enabled: false }, region: { enabled: false } };
  const { violations } = await axe.run(container, { rules });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`);
}

const online = (...userIds: string[]) => {
  for (const id of userIds) client.put(id, "online");
  const { length } = userIds;
  client.onlineUsers.set({ userIds, count: length, isLoading: false, hasMore: false, fresh: true });
};

describe("UserStatusIndicator", () => {
  test("is named by user and status, and has a shape of its own for each status", () => {
    const shapes = new Set<string>();
    const { container } = show(<UserStatusIndicator userId="ada" />);
    expect(screen.getByRole("img", { name: "Ada: Unknown" })).toBeTruthy();
    for (const status of ["online", "away", "busy", "dnd", "invisible", "offline"] as const) {
      act(() => client.put("ada", status));
      const mark = container.querySelector("svg");
      expect(mark?.getAttribute("aria-hidden")).toBe("true");
      expect(mark?.getAttribute("data-status")).toBe(status);
      shapes.add(`${mark?.getAttribute("stroke-dasharray")} ${mark?.innerHTML}`);
    }
    expect(shapes.size).toBe(6);
    act(() => client.put("ada", "dnd"));
    expect(screen.getByRole("img", { name: "Ada: Do not disturb" })).toBeTruthy();
  });

  test("takes the attributes of a span, four sizes, text, and hides if decorative", async () => {
    client.put("ada", "busy");
    const { container, again } = show(
      <UserStatusIndicator userId="ada" size="lg" showText className="mine" id="it" />,
    );
    const it = container.firstElementChild as HTMLElement;
    expect(it.matches("span#it.mine")).toBe(true);
    expect(it.textContent).toBe("Busy");
    expect(container.querySelector("svg")?.getAttribute("width")).toBe("16");
    expect(screen.queryByRole("img")).toBeNull();
    expect(await faults(container)).toEqual([]);
    again(<UserStatusIndicator userId="ada" size="xs" decorative />);
    expect(container.querySelector("svg")?.getAttribute("width")).toBe("8");
    expect(container.firstElementChild?.getAttribute("aria-hidden")).toBe("true");
  });

  test("says as of when while the link is down, and since when a user is offline", () => {
    const lastSeen = Date.now() - 120_000;
    const { container } = show(<UserStatusIndicator userId="ada" showText showLastSeen />);
    act(() => client.put("ada", "online", { fresh: false, lastSeen }));
    expect(container.textContent).toBe("Online, as of 2 min. ago");
    expect(container.querySelector("[data-stale]")).toBeTruthy();
    act(() => client.put("ada", "offline", { lastSeen }));
    expect(container.textContent).toBe("Offline, last seen 2 min. ago");
    expect(container.querySelector("[data-stale]")).toBeNull();
  });
});

describe("OnlineUsersList", () => {
  test("is a list with a heading, with names and no live region", async () => {
    const { container } = show(<OnlineUsersList className="w-64" />);
    expect(container.textContent).toContain("Loading…");
    act(() => online("ada", "grace"));
    act(() => client.put("grace", "busy", { text: "In a meeting" }));
    expect(screen.getByRole("region", { name: "Online: 2" }).className).toContain("w-64");
    const rows = screen.getAllByRole("listitem").map(({ textContent }) => textContent);
    expect(rows).toEqual(["AdaOnline", "GraceBusy · In a meeting"]);
    expect(container.querySelectorAll("li [aria-live], li [role=status]")).toHaveLength(0);
    expect(await faults(container)).toEqual([]);
  });

  test("has the name that it is given: two on a page can be told apart", () => {
    show(<OnlineUsersList aria-label="Friends" />);
    expect(screen.getByRole("region", { name: "Friends" })).toBeTruthy();
  });

  test("says how many there are, every 10 s at most", () => {
    vi.useFakeTimers();
    show(<OnlineUsersList />);
    const status = screen.getByRole("status");
    act(() => online("ada"));
    act(() => vi.advanceTimersByTime(9_000));
    act(() => online("ada", "grace"));
    expect(status.textContent).toBe("");
    act(() => vi.advanceTimersByTime(1_000));
    expect(status.textContent).toBe("Online: 2");
    act(() => online("ada"));
    act(() => online("ada", "grace"));
    act(() => vi.advanceTimersByTime(20_000));
    expect(status.textContent).toBe("Online: 2");
  });

  test("says when no user is online, shows at most `limit`, and renders rows as the app likes", () => {
    const { container, again } = show(<OnlineUsersList />);
    act(() => online());
    expect(container.textContent).toContain("Nobody is online");
    again(<OnlineUsersList empty={<b>Quiet</b>} />);
    expect(screen.getByText("Quiet")).toBeTruthy();
    act(() => online("ada", "grace", "alan"));
    again(<OnlineUsersList limit={2} renderUser={(user) => <em>{user.userId}</em>} />);
    expect([...container.querySelectorAll("em")].map((it) => it.textContent)).toEqual([
      "ada",
      "grace",
    ]);
  });

  test("loads more on demand", async () => {
    show(<OnlineUsersList />);
    act(() => online("ada"));
    act(() => client.onlineUsers.set({ ...client.onlineUsers.get(), count: 9, hasMore: true }));
    await userEvent.click(screen.getByRole("button", { name: "Show more" }));
    expect(client.calls).toContainEqual(["loadMoreOnlineUsers"]);
  });

  test("one of 1,000 changing renders one row", () => {
    vi.stubGlobal("IntersectionObserver", undefined); // all of them are taken to be on the screen
    const ids = Array.from({ length: 1_000 }, (_, at) => `user-${at}`);
    online(...ids);
    const renders = new Map<string, number>();
    const counting = (userId: string) => {
      renders.set(userId, (renders.get(userId) ?? 0) + 1);
      return userId;
    };
    const { container } = show(<OnlineUsersList />, { nameOf: counting });
    expect(container.querySelectorAll("li")).toHaveLength(1_000);
    expect(renders.size).toBe(1_000);
    renders.clear();
    for (let turn = 0; turn < 20; turn++)
      act(() => client.put("user-500", turn % 2 ? "online" : "away"));
    console.info(
      `20 changes of one of 1,000 users rendered ${renders.size} row, ${renders.get("user-500")} times; the other 999 rows not once`,
    );
    expect([...renders]).toEqual([["user-500", 20]]);
    const all = client.onlineUsers.get();
    act(() => client.onlineUsers.set({ ...all, userIds: ids.slice(1), count: 999 }));
    expect(container.querySelectorAll("li")).toHaveLength(999);
    expect([...renders]).toEqual([["user-500", 20]]);
  }, 30_000);
});

describe("ConnectionBanner", () => {
  const recovering = (seconds: number) => ({
    name: "recovering" as const,
    attempt: 1,
    retryAt: Date.now() + seconds * 1_000,
    reason: "network" as const,
    error: undefined,
  });

  test("is silent for blips, then says when it tries again, read out once", async () => {
    vi.useFakeTimers();
    const { container } = show(<ConnectionBanner />);
    act(() => client.connection.set({ name: "ready" }));
    act(() => client.connection.set(recovering(9)));
    act(() => vi.advanceTimersByTime(1_900));
    expect(container.textContent).toBe("");
    act(() => client.connection.set({ name: "ready" }));
    act(() => vi.advanceTimersByTime(5_000));
    expect(container.textContent).toBe("");

    act(() => client.connection.set(recovering(1)));
    act(() => vi.advanceTimersByTime(1_500));
    act(() => client.connection.set({ name: "connecting" }));
    act(() => client.connection.set(recovering(9)));
    act(() => vi.advanceTimersByTime(500));
    const status = screen.getByRole("status");
    expect(status.textContent).toBe("Connection lost. Reconnecting…");
    expect(container.textContent).toContain("Trying again in 9 s");
    act(() => vi.advanceTimersByTime(2_000));
    expect(container.textContent).toContain("Trying again in 7 s");
    expect(status.textContent).toBe("Connection lost. Reconnecting…");
    expect(screen.queryByRole("alert")).toBeNull();
    screen.getByRole("button", { name: "Try now" }).click();
    expect(client.calls).toEqual([["retryNow"]]);
    act(() => client.connection.set({ name: "ready" }));
    expect(container.textContent).toBe("");
    vi.useRealTimers();
    expect(await faults(container)).toEqual([]);
  });

  test("says that there is no network, and what to do when it failed for good", () => {
    const { container } = show(<ConnectionBanner graceMs={0} />);
    const failed = (code: "token-expired" | "protocol-mismatch", message: string) =>
      act(() => client.connection.set({ name: "failed", error: new PresenceError(code, message) }));
    failed("token-expired", "The token has expired.");
    expect(container.textContent).toBe("Not connected: The token has expired. Sign in again.");
    failed("protocol-mismatch", "The server speaks version 2.");
    expect(container.textContent).toContain("Reload the page.");
    expect(screen.queryByRole("button")).toBeNull();
    act(() => client.connection.set({ name: "closed" }));
    expect(container.textContent).toBe("");
  });

  test.each([
    ["no-websocket", "Give one as an option."],
    ["api-url-invalid", "Begin it with https://."],
    ["origin-refused", "Add https://chat.test to AllowedOrigins."],
    ["replaced", "Too many connections."],
  ] as const)("says of %s what is to be changed, and no more", (code, message) => {
    const { container } = show(<ConnectionBanner />);
    act(() => client.connection.set({ name: "failed", error: new PresenceError(code, message) }));
    const button = code === "replaced" ? "Try now" : "";
    expect(container.textContent).toBe(`Not connected: ${message}${button}`);
  });

  test("says at once why there is no token, while it is tried again", () => {
    vi.useFakeTimers();
    const { container } = show(<ConnectionBanner />);
    const error = new PresenceError("token-unavailable", "No token: getToken failed: 503");
    act(() => client.connection.set({ ...recovering(9), error }));
    expect(screen.getByRole("status").textContent).toBe(`${error.message} Reconnecting…`);
    expect(container.textContent).toContain(`${error.message} Trying again in 9 s`);
    const lost = new PresenceError("not-connected", "No link.");
    act(() => client.connection.set({ ...recovering(9), error: lost }));
    expect(container.textContent).toBe("");
    act(() => vi.advanceTimersByTime(3_000));
    expect(container.textContent).toContain("Connection lost. Trying again");
  });

  test("offline: nothing to try", async () => {
    show(<ConnectionBanner graceMs={0} />);
    act(() => client.connection.set({ name: "offline" }));
    await screen.findByText(/No network/);
    expect(screen.queryByRole("button")).toBeNull();
  });
});

test("TypingIndicator says politely who is typing; the dots are for the eye", async () => {
  const { container } = show(<TypingIndicator chatSessionId="s1" />);
  expect(screen.getByRole("status").textContent).toBe("");
  act(() => client.chatSession("s1").typing.set(["grace"]));
  expect(screen.getByRole("status").textContent).toBe("Grace is typing…");
  expect(container.querySelector("i")?.closest("[aria-hidden]")).toBeTruthy();
  expect(await faults(container)).toEqual([]);
});

describe("StatusPicker", () => {
  const mine = (status: "online" | "away", isActive = true) => {
    client.put("ada", status);
    client.me.set({ presence: client.user("ada").get(), pending: undefined, isActive });
  };

  test("works with the keyboard alone", async () => {
    mine("online");
    const { container } = show(<StatusPicker />);
    const group = screen.getByRole("radiogroup", { name: "Your status" });
    const radios = within(group).getAllByRole("radio") as HTMLInputElement[];
    expect(radios.map(({ checked }) => checked)).toEqual([true, false, false, false, false]);
    expect(await faults(container)).toEqual([]);
    await userEvent.tab();
    expect(document.activeElement).toBe(radios[0]);
    await userEvent.keyboard("{ArrowDown}");
    expect(client.calls).toEqual([["setStatus", "away", {}]]);
    await userEvent.tab();
    await userEvent.keyboard("Lunch{Enter}");
    expect(client.calls.at(-1)).toEqual(["setStatus", "online", { text: "Lunch" }]);
  });

  test("shows a choice that waits, being away by itself, and a refusal", async () => {
    mine("away", false);
    client.setStatus = () => Promise.reject(new PresenceError("rate-limited", "Too often."));
    show(<StatusPicker allow={["online", "busy"]} withText={false} />);
    expect(screen.getByRole("radio", { name: "Online", checked: true })).toBeTruthy();
    expect(screen.getByRole("status").textContent).toBe("Away while you are not here");
    act(() => client.me.set({ presence: undefined, pending: "busy", isActive: true }));
    expect(screen.getByRole("radio", { name: "Busy", checked: true })).toBeTruthy();
    await userEvent.click(screen.getByRole("radio", { name: "Online" }));
    expect(screen.getByRole("status").textContent).toBe("Too often.");
  });
});

describe("ChatRoom", () => {
  const room = (props: Partial<ChatRoomProps> = {}) => (
    <ChatRoom
      chatSessionId="s1"
      currentUserId="ada"
      messages={[]}
      onSendMessage={() => {}}
      {...props}
    />
  );
  const field = () => screen.getByRole<HTMLTextAreaElement>("textbox", { name: "Message" });

  test("shows messages of any form, and is clean", async () => {
    const { container } = show(
      room({
        messages: [
          { id: "1", senderId: "ada", text: "one", createdAt: 0 },
          { id: "2", senderId: "grace", content: "two", createdAt: "2026-01-01T10:00:00Z" },
          { id: "3", senderId: "grace", content: { text: "three" }, createdAt: new Date(0) },
          { senderId: "grace", content: null, createdAt: "nonsense" },
          { senderId: "ada", text: "five", state: "sending" },
        ],
      }),
    );
    const texts = [...container.querySelectorAll("li p")].map(({ textContent }) => textContent);
    expect(texts).toEqual(["one", "two", "three", "", "five"]);
    expect(container.querySelectorAll("time")).toHaveLength(3);
    expect(container.querySelectorAll("li[data-own]")).toHaveLength(2);
    expect(screen.getByText("Sending…")).toBeTruthy();
    expect(await faults(container)).toEqual([]);
  });

  test("keeps apart what two people sent under the same id of theirs", () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const messages = ["ada", "grace"].map((senderId) => ({
      id: senderId,
      clientId: "a",
      senderId,
      content: { text: senderId },
      createdAt: 0,
    }));
    const { container } = show(room({ messages }));
    expect(container.querySelectorAll("li")).toHaveLength(2);
    expect(log).not.toHaveBeenCalled();
    log.mockRestore();
  });

  const inRoom = (...userIds: string[]) =>
    act(() => client.chatSession("s1").members.set({ ...waiting, userIds, state: "joined" }));
  const asked = () =>
    client.calls.filter(([name]) => ["lookAt", "lookAway", "verify"].includes(`${name}`));

  test("verifies the other of two, when it is opened and when it gets the focus", async () => {
    show(room());
    expect(asked()).toEqual([]);
    await inRoom("ada", "grace");
    expect(asked()).toEqual([["lookAt", "grace"]]);
    await userEvent.click(field());
    await userEvent.type(field(), "Hello");
    expect(asked().slice(1)).toEqual([["verify", ["grace"]]]);
    await inRoom("ada", "grace", "linus");
    expect(asked().at(-1)).toEqual(["lookAway", "grace"]);
    await userEvent.click(document.body);
    await userEvent.click(field());
    expect(asked()).toHaveLength(3);
  });

  test("sends with Enter, not with Shift+Enter, and never nothing", async () => {
    const sent: string[] = [];
    show(room({ onSendMessage: (text) => sent.push(text) }));
    await userEvent.type(field(), "  {Enter}");
    await userEvent.clear(field());
    await userEvent.type(field(), "Hello{Shift>}{Enter}{/Shift}you{Enter}");
    expect(sent).toEqual(["Hello\nyou"]);
    expect(field().value).toBe("");
    const typing = client.calls.map(([name]) => name).filter((name) => /s1$/.test(`${name}`));
    expect(typing).toContain("keystroke s1");
    expect(typing.at(-1)).toBe("stopTyping s1");
  });

  test("keeps the text that could not be sent, and says so", async () => {
    let fails = true;
    const onSendMessage = vi.fn(async () => {
      if (fails) throw new Error("There is no link.");
    });
    show(room({ onSendMessage }));
    await userEvent.type(field(), "Hello");
    await userEvent.click(screen.getByRole("button", { name: "Send" }));
    expect(field().value).toBe("Hello");
    expect(screen.getByText("Not sent. There is no link.")).toBeTruthy();
    fails = false;
    await userEvent.type(field(), "{Enter}");
    expect(field().value).toBe("");
    expect(onSendMessage).toHaveBeenCalledTimes(2);
    expect(screen.queryByText(/Not sent/)).toBeNull();
  });

  test("does not send twice while it is being sent", async () => {
    let finish = () => {};
    const onSendMessage = vi.fn(() => new Promise<void>((resolve) => (finish = resolve)));
    show(room({ onSendMessage }));
    await userEvent.type(field(), "Hello{Enter}{Enter}");
    await userEvent.type(field(), " again");
    await act(async () => finish());
    expect(onSendMessage).toHaveBeenCalledTimes(1);
    expect(field().value).toBe(" again");
  });

  test("says that one may not take part, and lets the app render messages", () => {
    const message = { id: "1", senderId: "ada", text: "one" };
    show(room({ messages: [message], renderMessage: ({ text }) => <b>{text}!</b> }));
    expect(screen.getByText("one!")).toBeTruthy();
    const error = new PresenceError("forbidden", "Not your room.");
    const refused = { userIds: [], count: null, state: "refused", error, fresh: false } as const;
    act(() => client.chatSession("s1").members.set(refused));
    expect(screen.getByText("You cannot take part here. Not your room.")).toBeTruthy();
  });
});

describe("ChatApp", () => {
  test("asks for a name, goes in under it, and sends", async () => {
    const { container } = render(<ChatApp client={client} />);
    expect(await faults(container)).toEqual([]);
    const name = screen.getByRole<HTMLInputElement>("textbox", { name: "Your name" });
    await userEvent.type(name, "Ada Lovelace{Enter}");
    expect(client.calls).toContainEqual(["authenticate", "Ada-Lovelace", undefined]);
    expect(client.chatSession("lobby").uses).toBeGreaterThan(0);
    client.put("Ada-Lovelace", "online");
    act(() =>
      client.me.set({
        presence: client.user("Ada-Lovelace").get(),
        pending: undefined,
        isActive: true,
      }),
    );
    act(() => online("Ada-Lovelace", "grace"));
    act(() => client.connection.set({ name: "ready" }));
    await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "Hello{Enter}");
    expect(container.querySelector("li[data-own] p")?.textContent).toBe("Hello");
    expect(await faults(container)).toEqual([]);
  });

  test("goes straight in with a user, and sends again what failed", async () => {
    render(<ChatApp client={client} userId="ada" chatSessionId="s1" getToken={() => "token"} />);
    expect(client.calls[0]?.slice(0, 2)).toEqual(["join", "s1"]);
    const { answer } = client.chatSession("s1");
    client.chatSession("s1").answer = () => Promise.reject(new Error("No link"));
    await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "Hello{Enter}");
    client.chatSession("s1").answer = answer;
    expect(document.querySelector("li[data-own][data-state=failed] bdi")?.textContent).toBe("ada");
    await userEvent.click(screen.getByRole("button", { name: "Try now" }));
    expect(screen.queryByText(/Not sent/)).toBeNull();
    expect(client.calls.filter(([name]) => name === "send")).toHaveLength(2);
  });
});
