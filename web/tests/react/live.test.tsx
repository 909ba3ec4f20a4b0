// The whole of it: components, hooks and core on the fake server.

import { act, cleanup, render, renderHook, screen } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import { createPresenceClient } from "../../src/index.js";
import {
  ChatApp,
  ChatRoom,
  ConnectionBanner,
  OnlineUsersList,
  SocketProvider,
  UserStatusIndicator,
  useMessages,
} from "../../src/react/index.js";
import { createFakePresence, type FakePresence } from "../../src/testing/index.js";
import { Browser } from "../tabs/browser.js";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const pass = (fake: FakePresence, milliseconds = 100) =>
  act(() => fake.clock.advance(milliseconds));

const actions = (fake: FakePresence) => fake.server.received.map(({ frame }) => frame.action);

const room = (
  <ChatRoom chatSessionId="s1" currentUserId="ada" messages={[]} onSendMessage={() => {}} />
);

test("StrictMode makes one connection and joins once; unmounting ends it", async () => {
  const fake = createFakePresence();
  const { unmount } = render(
    <StrictMode>
      <SocketProvider {...fake.options} userId="ada">
        <OnlineUsersList chatSessionId="s1" />
        {room}
      </SocketProvider>
    </StrictMode>,
  );
  await pass(fake);
  expect(fake.server.connections).toHaveLength(1);
  expect(fake.server.requests.filter(({ route }) => route === "GET /config")).toHaveLength(1);
  expect(actions(fake).filter((action) => action !== "watch")).toEqual(["authenticate"]);
  expect(fake.server.received[0]?.frame).toMatchObject({ chatSessionIds: ["s1"] });
  unmount();
  await pass(fake);
  expect(fake.server.connections).toHaveLength(0);
  expect(fake.lifecycle.listenerCount).toBe(0);
});

test("showing a room again at once tells the server nothing; leaving it does", async () => {
  const fake = createFakePresence();
  const app = (children: typeof room | null, key = "") => (
    <SocketProvider {...fake.options} userId="ada">
      <div key={key}>{children}</div>
    </SocketProvider>
  );
  const { rerender } = render(app(room, "a"));
  await pass(fake);
  const before = actions(fake).length;
  rerender(app(room, "b"));
  rerender(app(null, "b"));
  rerender(app(room, "b"));
  await pass(fake);
  expect(actions(fake).slice(before)).toEqual([]);
  rerender(app(null, "b"));
  await pass(fake);
  expect(actions(fake).slice(before)).toEqual(["leave"]);
});

test("another userId is another user on another connection", async () => {
  const fake = createFakePresence();
  const app = (userId?: string) => <SocketProvider {...fake.options} userId={userId} />;
  const { rerender } = render(app("ada"));
  await pass(fake);
  rerender(app("grace"));
  await pass(fake);
  expect(fake.server.connections.map(({ userId }) => userId)).toEqual(["grace"]);
  rerender(app());
  await pass(fake);
  expect(fake.server.connections).toEqual([]);
});

test("two people talk, choose a status, and see each other type", async () => {
  const fake = createFakePresence({ globalPresence: true });
  const grace = createPresenceClient(fake.device("tablet").options);
  grace.authenticate("grace");
  const lobby = grace.joinChatSession("lobby");
  const heard: unknown[] = [];
  lobby.onMessage(({ content }) => heard.push(content));
  const { container } = render(<ChatApp {...fake.options} userId="ada" />);
  await pass(fake);
  expect(container.querySelector(".presence-list")?.textContent).toContain("graceOnline");

  await userEvent.click(screen.getByRole("radio", { name: "Do not disturb", hidden: true }));
  await pass(fake);
  expect(fake.server.presence("ada", "grace").status).toBe("dnd");
  expect(container.querySelector("summary [role=img]")?.getAttribute("aria-label")).toBe(
    "ada: Do not disturb",
  );

  lobby.keystroke();
  await pass(fake);
  expect(screen.getByText("grace is typing…", { selector: "[role=status]" })).toBeTruthy();
  act(() => void lobby.send({ text: "Hello, Ada" }));
  await pass(fake);
  expect(screen.queryByText(/is typing/)).toBeNull();
  await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "Hello, Grace");
  await pass(fake);
  expect(lobby.typing.get()).toEqual(["ada"]);
  await userEvent.keyboard("{Enter}");
  await pass(fake);
  expect(lobby.typing.get()).toEqual([]);
  expect(heard).toEqual([{ text: "Hello, Ada" }, { text: "Hello, Grace" }]);
  const texts = [...container.querySelectorAll("li p")].map(({ textContent }) => textContent);
  expect(texts).toEqual(["Hello, Ada", "Hello, Grace"]);
  grace.disconnect();
});

test("what one user has read is not shown to the next", async () => {
  const fake = createFakePresence({ globalPresence: true });
  const app = (userId: string) => <ChatApp {...fake.options} userId={userId} />;
  const { container, rerender } = render(app("ada"));
  const texts = () => [...container.querySelectorAll("li p")].map((it) => it.textContent);
  await pass(fake);
  fake.server.say("grace", "lobby", { text: "For Ada" });
  await pass(fake);
  await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "From Ada{Enter}Half");
  await pass(fake);
  expect(texts()).toEqual(["For Ada", "From Ada"]);
  rerender(app("linus"));
  await pass(fake);
  expect(texts()).toEqual([]);
  expect(screen.getByRole("textbox", { name: "Message" })).toHaveProperty("value", "");
  fake.server.say("grace", "lobby", { text: "For Linus" });
  await pass(fake);
  expect(texts()).toEqual(["For Linus"]);
});

test("messages are forgotten when the connection is closed", async () => {
  const fake = createFakePresence();
  const client = createPresenceClient(fake.options);
  client.authenticate("ada");
  const { result } = renderHook(() => useMessages("lobby"), {
    wrapper: ({ children }) => <SocketProvider client={client}>{children}</SocketProvider>,
  });
  await pass(fake);
  fake.server.say("grace", "lobby", "For Ada");
  await pass(fake);
  expect(result.current.messages).toMatchObject([{ content: "For Ada" }]);
  act(() => client.disconnect());
  expect(result.current.messages).toEqual([]);
});

test("before it is known who is online, the list does not say that it is empty", async () => {
  const fake = createFakePresence({ users: [{ userId: "grace" }], latencyMs: 100 });
  const { container } = render(
    <SocketProvider {...fake.options} userId="ada">
      <OnlineUsersList />
    </SocketProvider>,
  );
  for (let turn = 0; turn < 20; turn += 1) {
    expect(container.textContent).not.toContain("Nobody");
    await pass(fake, 50);
  }
  expect(container.querySelectorAll("li")).toHaveLength(2);
});

test("while the link is down, nothing is shown as if it were now", async () => {
  const fake = createFakePresence({ users: [{ userId: "grace", lastSeen: 0 }] });
  const { container } = render(
    <SocketProvider {...fake.options} userId="ada" labels={{ locale: "en" }}>
      <ConnectionBanner />
      <UserStatusIndicator userId="grace" showText />
    </SocketProvider>,
  );
  await pass(fake);
  const status = () => container.querySelector(".presence-status");
  expect(status()?.textContent).toBe("Online");
  fake.network.cut();
  await pass(fake);
  await pass(fake, 60_000);
  expect(status()?.textContent).toBe("Online, as of 1 min. ago");
  expect(status()?.hasAttribute("data-stale")).toBe(true);
  await screen.findByRole("button", { name: "Try now" });
  expect(container.textContent).toMatch(/Trying again in \d+ s|Reconnecting/);
  fake.network.restore();
  await userEvent.click(screen.getByRole("button", { name: "Try now" }));
  await pass(fake);
  expect(status()?.textContent).toBe("Online");
  expect(screen.queryByRole("button")).toBeNull();
});

/** An observer of the screen that a test moves. */
function screenOf() {
  const observers = new Set<{ elements: Set<Element>; tell: (entries: object[]) => void }>();
  class Observer {
    readonly elements = new Set<Element>();
    constructor(readonly tell: (entries: object[]) => void) {
      observers.add(this);
    }
    observe = (element: Element) => this.elements.add(element);
    unobserve = (element: Element) => this.elements.delete(element);
  }
  vi.stubGlobal("IntersectionObserver", Observer);
  return {
    /** Shows the elements that have one of these texts, and no others. */
    show: (isShown: (element: Element) => boolean) =>
      act(() => {
        for (const { elements, tell } of observers)
          tell([...elements].map((target) => ({ target, isIntersecting: isShown(target) })));
      }),
  };
}

test("of a long list, the rows on the screen are watched; scrolled to its end, it loads more", async () => {
  const { show } = screenOf();
  const users = Array.from({ length: 150 }, (_, at) => ({ userId: `user-${1000 + at}` }));
  const fake = createFakePresence({ globalPresence: false, users });
  const { container } = render(
    <SocketProvider {...fake.options} userId="ada">
      <OnlineUsersList />
    </SocketProvider>,
  );
  await pass(fake);
  expect(container.querySelectorAll("li")).toHaveLength(100);
  const watched = () =>
    fake.server.received.flatMap(({ frame }) => (frame.action === "watch" ? frame.userIds : []));
  expect(watched()).toHaveLength(19); // of the first twenty, all but the own user

  const shows = (...ids: string[]) =>
    show((element) => ids.some((id) => !!element.textContent?.includes(id)));
  shows("user-1050", "user-1051");
  shows("user-1051", "user-1052");
  await pass(fake, 1_000);
  expect(watched().slice(19)).toEqual(["user-1051", "user-1052"]);
  act(() => fake.server.user("user-1052", { status: "busy" }));
  act(() => fake.server.user("user-1050", { status: "busy" }));
  await pass(fake);
  const row = (id: string) =>
    screen.getAllByRole("listitem").find(({ textContent }) => textContent?.includes(id));
  expect(row("user-1052")?.textContent).toContain("Busy");
  expect(row("user-1050")?.textContent).toContain("Online");
  await pass(fake, 70_000);
  expect(actions(fake).filter((it) => it === "unwatch")).toHaveLength(1);

  shows("Show more");
  await pass(fake, 1_000);
  expect(container.querySelectorAll("li")).toHaveLength(151);
  expect(screen.queryByRole("button", { name: "Show more" })).toBeNull();
}, 30_000);

test("one of 1,000 in a room changing renders one row, on the real core too", async () => {
  vi.stubGlobal("IntersectionObserver", undefined); // all of them are taken to be on the screen
  const fake = createFakePresence();
  const ids = Array.from({ length: 999 }, (_, at) => `user-${at}`);
  for (const id of ids) fake.server.join(id, "s1");
  const rows = new Map<string, number>();
  const nameOf = (userId: string) => {
    rows.set(userId, (rows.get(userId) ?? 0) + 1);
    return userId;
  };
  const { container } = render(
    <SocketProvider {...fake.options} userId="ada" nameOf={nameOf}>
      <OnlineUsersList chatSessionId="s1" />
    </SocketProvider>,
  );
  await pass(fake, 1_000);
  expect(container.querySelectorAll("li")).toHaveLength(1_000);
  rows.clear();
  for (let turn = 0; turn < 10; turn++) {
    fake.server.user("user-500", { status: turn % 2 ? "online" : "away" });
    await pass(fake, 10);
  }
  console.info(`10 changes of one of 1,000 members: rows rendered ${JSON.stringify([...rows])}`);
  expect([...rows]).toEqual([["user-500", 10]]);
}, 30_000);

test("on a server a provider of its own requests nothing", () => {
  const fake = createFakePresence();
  const html = renderToString(
    <SocketProvider {...fake.options} userId="ada">
      <ConnectionBanner />
      <OnlineUsersList />
      {room}
    </SocketProvider>,
  );
  expect(html).toContain("Loading…");
  expect(fake.server.requests).toEqual([]);
  expect(fake.server.connections).toEqual([]);
});

test("tabs share one connection, and each shows what it would show with its own", async () => {
  const fake = createFakePresence({ users: [{ userId: "grace" }] });
  const browser = new Browser(fake);
  const tabs = [browser.open(), browser.open()];
  const app = (tab: (typeof tabs)[number]) => (
    <SocketProvider {...tab.device.options} createClient={() => tab.client} userId="ada">
      <ConnectionBanner graceMs={0} />
      <OnlineUsersList />
      {room}
    </SocketProvider>
  );
  const shown = tabs.map((tab) => render(app(tab)));
  await pass(fake, 1_000);
  expect(tabs.map((it) => it.role)).toEqual(["leader", "follower"]);
  expect(fake.server.connections).toHaveLength(1);
  for (const { container } of shown) {
    expect(container.querySelectorAll(".presence-list li")).toHaveLength(2);
    expect(container.querySelector("[data-stale]")).toBeNull();
  }
  shown[0]?.unmount();
  await pass(fake, 10_000);
  expect(tabs.map((it) => it.role)).toEqual(["waiting", "leader"]);
  expect(fake.server.connections).toHaveLength(1);
  expect(shown[1]?.container.querySelector("[data-stale]")).toBeNull();
  expect(shown[1]?.container.querySelectorAll(".presence-list li")).toHaveLength(2);
});

test("what keeps it from connecting is on the screen and in the console, at once", async () => {
  const log = vi.spyOn(console, "error").mockImplementation(() => {});
  const fake = createFakePresence();
  const { unmount } = render(
    <SocketProvider {...fake.options} apiUrl="localhost:4000" userId="ada">
      <ConnectionBanner />
    </SocketProvider>,
  );
  await pass(fake);
  expect(screen.getByRole("status").textContent).toMatch(/apiUrl localhost:4000.*https/);
  expect(log.mock.calls).toMatchObject([[{ code: "api-url-invalid" }]]);
  unmount();
  await pass(fake);
  expect(log).toHaveBeenCalledOnce();
  log.mockRestore();
});

test("no part of Intl is needed by any component", async () => {
  vi.stubGlobal("Intl", undefined);
  const fake = createFakePresence({
    users: [
      { userId: "grace" },
      { userId: "bo", status: "offline", lastSeen: Date.UTC(2027, 0, 14) },
    ],
  });
  const says = { id: "1", senderId: "grace", text: "Hello", createdAt: Date.now() };
  render(
    <SocketProvider {...fake.options} userId="ada">
      <OnlineUsersList />
      <UserStatusIndicator userId="bo" showText showLastSeen />
      <ChatRoom chatSessionId="s1" currentUserId="ada" messages={[says]} onSendMessage={() => {}} />
      <ConnectionBanner />
    </SocketProvider>,
  );
  await pass(fake);
  await pass(fake, 60_000);
  expect(screen.getByText("Hello")).toBeTruthy();
  expect(screen.getByText(/last seen/)).toBeTruthy();
  fake.network.cut();
  await pass(fake, 120_000);
  expect(screen.getAllByText(/as of \d minutes? ago/).length).toBeGreaterThan(0);
});
