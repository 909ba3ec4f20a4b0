import { act, cleanup, render, renderHook } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  SocketProvider,
  type SocketProviderProps,
  useChatSession,
  useConnection,
  useLastSeenText,
  useMessages,
  useMyStatus,
  useOnlineUserIds,
  useOnlineUsers,
  usePresenceEvent,
  useSocket,
  useTyping,
  useUserStatus,
  useUserStatuses,
} from "../../src/react/index.js";
import { type FakeClient, fakeClient, waiting } from "./fake-client.js";

afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const around =
  (client: FakeClient, props: Partial<SocketProviderProps> = {}) =>
  ({ children }: { children: ReactNode }) => (
    <StrictMode>
      <SocketProvider client={client} {...props}>
        {children}
      </SocketProvider>
    </StrictMode>
  );

/** What a hook gives, how often it was rendered, and the client below it. */
function use<T>(hook: () => T, props: Partial<SocketProviderProps> = {}) {
  const client = fakeClient();
  let renders = 0;
  const rendered = renderHook(
    () => {
      renders++;
      return hook();
    },
    {
      wrapper: ({ children }) => (
        <SocketProvider client={client} {...props}>
          {children}
        </SocketProvider>
      ),
    },
  );
  return { client, ...rendered, renders: () => renders, value: () => rendered.result.current };
}

const ready = { name: "ready" } as const;

describe("SocketProvider", () => {
  test("connects once in StrictMode, and disconnects when it is unmounted for good", async () => {
    const client = fakeClient();
    const { unmount } = renderHook(() => useSocket(), {
      wrapper: around(client, { userId: "ada" }),
    });
    await act(async () => {});
    expect(client.calls).toEqual([["authenticate", "ada", undefined]]);
    unmount();
    await act(async () => {});
    expect(client.calls.slice(1)).toEqual([["disconnect"]]);
  });

  test("is another user when userId changes, and disconnected when it goes", async () => {
    const client = fakeClient();
    const app = render(<SocketProvider client={client} userId="ada" />);
    app.rerender(<SocketProvider client={client} userId="grace" />);
    await act(async () => {});
    expect(client.calls).toEqual([
      ["authenticate", "ada", undefined],
      ["authenticate", "grace", undefined],
    ]);
    app.rerender(<SocketProvider client={client} />);
    await act(async () => {});
    expect(client.calls.slice(2)).toEqual([["disconnect"]]);
  });

  test("two providers of one client are one connection, until both are gone", async () => {
    const client = fakeClient();
    const first = render(<SocketProvider client={client} userId="ada" />);
    const second = render(<SocketProvider client={client} userId="ada" />);
    first.unmount();
    await act(async () => {});
    expect(client.calls).toEqual([["authenticate", "ada", undefined]]);
    second.unmount();
    await act(async () => {});
    expect(client.calls.slice(1)).toEqual([["disconnect"]]);
  });

  test("leaves a client of the app alone when it was not asked to authenticate", async () => {
    const { client, unmount } = use(useSocket);
    unmount();
    await act(async () => {});
    expect(client.calls).toEqual([]);
  });

  test("asks the getToken of the latest render", async () => {
    const client = fakeClient();
    const app = render(<SocketProvider client={client} userId="ada" getToken={() => "first"} />);
    app.rerender(<SocketProvider client={client} userId="ada" getToken={() => "second"} />);
    const token = client.calls[0]?.[2] as () => string;
    expect(client.calls).toHaveLength(1);
    expect(token()).toBe("second");
  });

  test("writes frames to the console with debug", () => {
    const debug = vi.spyOn(console, "debug").mockImplementation(() => {});
    const { client } = use(useSocket, { debug: true });
    const frame = { action: "ping" } as const;
    client.emit("wire", { direction: "out", at: 0, frame });
    expect(debug).toHaveBeenCalledWith("presence", { direction: "out", at: 0, frame });
  });

  test("hooks say what is missing around them", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    expect(() => renderHook(() => useSocket())).toThrow("<SocketProvider>");
    expect(() => renderHook(useSocket, { wrapper: SocketProvider })).toThrow("apiUrl");
  });
});

test("useSocket renders at changes of the link only, and its functions stay the same", () => {
  const { client, value, renders } = use(useSocket);
  const before = value();
  expect(before).toMatchObject({ isConnected: false, isAuthenticated: false });
  act(() => client.put("grace", "busy"));
  act(() => client.me.set({ ...client.me.get(), isActive: false }));
  expect(renders()).toBe(1);
  act(() => client.connection.set({ name: "authenticating" }));
  expect(value()).toMatchObject({ isConnected: true, isAuthenticated: false });
  act(() => client.connection.set(ready));
  expect(value()).toMatchObject({ isConnected: true, isAuthenticated: true });
  for (const name of ["authenticate", "disconnect", "joinChatSession", "setStatus"] as const)
    expect(value()[name]).toBe(before[name]);
  value().setStatus("busy", { text: "Lunch" });
  expect(client.calls).toEqual([["setStatus", "busy", { text: "Lunch" }]]);
});

test("useConnection counts down to the next attempt, and tries now", () => {
  vi.useFakeTimers();
  const { client, value } = use(useConnection);
  const retryAt = Date.now() + 3_000;
  act(() =>
    client.connection.set({
      name: "recovering",
      attempt: 1,
      retryAt,
      reason: "network",
      error: undefined,
    }),
  );
  expect(value()).toMatchObject({ name: "recovering", attempt: 1, retryInSeconds: 3 });
  act(() => vi.advanceTimersByTime(1_000));
  expect(value().retryInSeconds).toBe(2);
  act(() => vi.advanceTimersByTime(9_000));
  expect(value().retryInSeconds).toBe(0);
  value().retryNow();
  expect(client.calls).toEqual([["retryNow"]]);
  act(() => client.connection.set(ready));
  expect(value().retryInSeconds).toBeNull();
  expect(vi.getTimerCount()).toBe(0);
});

describe("users", () => {
  test("useUserStatus is one subscription for one user, at each render the same", () => {
    const { client, value, renders, rerender } = use(() => useUserStatus("grace"));
    expect(value()).toBeUndefined();
    rerender();
    expect(client.user("grace").listeners).toBe(1);
    act(() => client.put("grace", "dnd", { text: "Writing" }));
    act(() => client.put("alan", "away"));
    expect(value()).toMatchObject({ status: "dnd", text: "Writing", fresh: true });
    expect(renders()).toBe(3);
  });

  test("useUserStatus verifies a user while it is mounted, if that is asked for", () => {
    let verify = true;
    const { client, rerender, unmount } = use(() => useUserStatus("grace", { verify }));
    const looks = () => client.calls.filter(([name]) => /^look/.test(`${name}`));
    expect(looks()).toEqual([["lookAt", "grace"]]);
    rerender();
    expect(looks()).toHaveLength(1);
    verify = false;
    rerender();
    expect(looks()).toEqual([
      ["lookAt", "grace"],
      ["lookAway", "grace"],
    ]);
    unmount();
    expect(looks()).toHaveLength(2);
  });

  test("useUserStatuses has those known, in the order asked, for any array of the same ids", () => {
    const { client, value, rerender } = use(() => useUserStatuses(["grace", "ada", "unknown"]));
    act(() => client.put("ada", "away"));
    act(() => client.put("grace", "online"));
    expect([...value().keys()]).toEqual(["grace", "ada"]);
    const before = value();
    rerender();
    expect(value()).toBe(before);
  });

  test("useOnlineUsers has them with their status; useOnlineUserIds renders less", () => {
    const ids = use(useOnlineUserIds);
    const { client, value, renders } = use(useOnlineUsers);
    const online = { count: 2, isLoading: false, hasMore: true, fresh: true };
    for (const of of [ids.client, client]) {
      act(() => of.onlineUsers.set({ ...online, userIds: ["ada", "grace"] }));
      act(() => of.put("ada", "online"));
      act(() => of.put("grace", "online"));
      act(() => of.put("grace", "busy"));
    }
    expect(value().users.map(({ status }) => status)).toEqual(["online", "busy"]);
    expect(value()).toMatchObject({ userIds: ["ada", "grace"], count: 2, fresh: true });
    expect([renders(), ids.renders()]).toEqual([5, 2]);
    ids.value().loadMore?.();
    expect(ids.client.calls).toEqual([["loadMoreOnlineUsers"]]);
    act(() => ids.client.onlineUsers.set({ ...online, hasMore: false, userIds: ["ada"] }));
    expect(ids.value().loadMore).toBeNull();
  });

  test("useOnlineUsers of a chat session joins it and has its members", async () => {
    const { client, value, unmount } = use(() => useOnlineUsers({ chatSessionId: "s1" }));
    expect(value()).toMatchObject({ isLoading: true, count: null, loadMore: null });
    const members = {
      ...waiting,
      userIds: ["grace"],
      count: 1,
      state: "joined",
      fresh: true,
    } as const;
    act(() => client.chatSession("s1").members.set(members));
    act(() => client.put("grace", "away"));
    expect(value()).toMatchObject({ isLoading: false, count: 1, users: [{ userId: "grace" }] });
    unmount();
    await act(async () => {});
    expect(client.calls).toEqual([
      ["join", "s1"],
      ["leave", "s1"],
    ]);
  });

  test("useMyStatus shows a choice at once, and tells being away by itself", () => {
    const { client, value } = use(useMyStatus);
    expect(value()).toMatchObject({ status: "offline", isAuto: false });
    client.put("ada", "away", { text: "Tea" });
    const presence = client.user("ada").get();
    act(() => client.me.set({ presence, pending: undefined, isActive: false }));
    expect(value()).toMatchObject({ status: "away", text: "Tea", isAuto: true });
    act(() => client.me.set({ presence, pending: "busy", isActive: true }));
    expect(value()).toMatchObject({ status: "busy", pending: "busy", isAuto: false });
  });

  test("useLastSeenText counts on, for those who are offline or stale only", () => {
    vi.useFakeTimers();
    const { client, value } = use(() => useLastSeenText("grace"), { labels: { locale: "en" } });
    expect(value()).toBeNull();
    act(() => client.put("grace", "online"));
    expect(value()).toBeNull();
    expect(vi.getTimerCount()).toBe(0);
    act(() => client.put("grace", "online", { fresh: false }));
    expect(value()).toBe("now");
    act(() => vi.advanceTimersByTime(120_000));
    expect(value()).toBe("2 min. ago");
    act(() => client.put("grace", "offline", { lastSeen: Date.now() - 86_400_000 }));
    expect(value()).toBe("yesterday");
    act(() => client.put("grace", "offline", { lastSeen: null }));
    expect(value()).toBeNull();
  });

  test.each([
    ["Intl.RelativeTimeFormat", Object.create(Intl, { RelativeTimeFormat: { value: undefined } })],
    ["Intl", undefined],
  ])("useLastSeenText needs no %s, which Hermes lacks", (_name, left) => {
    vi.useFakeTimers();
    vi.stubGlobal("Intl", left);
    const { client, value } = use(() => useLastSeenText("grace"));
    const said = [0, 60, 120, 7_200, 86_400].map((seconds) => {
      act(() => client.put("grace", "offline", { lastSeen: Date.now() - seconds * 1_000 }));
      return value();
    });
    expect(said).toEqual(["now", "1 minute ago", "2 minutes ago", "2 hours ago", "1 day ago"]);
  });

  test("useLastSeenText takes words of the app's own, in any language", () => {
    const ago = (count: number, unit: string) => `vor ${count} ${unit}`;
    const { client, value } = use(() => useLastSeenText("grace"), { labels: { ago } });
    act(() => client.put("grace", "offline", { lastSeen: Date.now() - 180_000 }));
    expect(value()).toBe("vor 3 minute");
  });

  test("a user who was online when the link went down was seen at that moment", () => {
    vi.useFakeTimers();
    const { client, value } = use(() => useLastSeenText("grace"), { labels: { locale: "en" } });
    act(() => client.put("grace", "online", { lastSeen: Date.now() - 3_600_000 }));
    act(() => vi.advanceTimersByTime(60_000));
    act(() => {
      client.lostAt = Date.now();
      client.put("grace", "online", { lastSeen: Date.now() - 3_660_000, fresh: false });
    });
    act(() => vi.advanceTimersByTime(60_000));
    expect(value()).toBe("1 min. ago");
  });
});

describe("chat sessions", () => {
  test("useChatSession is joined while mounted, once in StrictMode", async () => {
    const client = fakeClient();
    const { result, unmount } = renderHook(() => useChatSession("s1"), { wrapper: around(client) });
    await act(async () => {});
    expect(client.chatSession("s1").uses).toBe(1);
    expect(client.calls).not.toContainEqual(["leave", "s2"]);
    expect(result.current).toMatchObject({ members: [], state: "waiting", error: undefined });
    act(() =>
      client
        .chatSession("s1")
        .members.set({ ...waiting, userIds: ["ada"], state: "joined", fresh: true }),
    );
    expect(result.current).toMatchObject({ members: ["ada"], state: "joined" });
    expect(result.current.session).toBe(client.chatSession("s1"));
    unmount();
    await act(async () => {});
    expect(client.chatSession("s1").uses).toBe(0);
  });

  test("another chatSessionId is another session", async () => {
    const client = fakeClient();
    const { rerender } = renderHook(({ id }) => useChatSession(id), {
      wrapper: around(client),
      initialProps: { id: "s1" },
    });
    rerender({ id: "s2" });
    await act(async () => {});
    expect([...client.sessions.values()].map(({ uses }) => uses)).toEqual([0, 1]);
  });

  test("useTyping says who types, and passes on what the field does", () => {
    const nameOf = (id: string) => id.toUpperCase();
    const { client, value } = use(() => useTyping("s1"), { nameOf });
    const typing = (...ids: string[]) => act(() => client.chatSession("s1").typing.set(ids));
    expect(value()).toMatchObject({ typers: [], label: "" });
    typing("ada");
    expect(value().label).toBe("ADA is typing…");
    typing("ada", "grace");
    expect(value().label).toBe("ADA and GRACE are typing…");
    typing("ada", "grace", "alan");
    expect(value().label).toBe("Several people are typing…");

    const { inputProps } = value();
    const key = (key: string, more = {}) =>
      inputProps.onKeyDown({ key, shiftKey: false, nativeEvent: {}, ...more } as never);
    const said = () => client.calls.splice(0).map(([name]) => name);
    said();
    inputProps.onInput({ currentTarget: { value: "h" } } as never);
    expect(said()).toEqual(["keystroke s1"]);
    inputProps.onInput({ currentTarget: { value: "" } } as never);
    key("Enter");
    inputProps.onBlur();
    value().stop();
    expect(said()).toEqual(Array(4).fill("stopTyping s1"));
    key("a");
    key("Enter", { shiftKey: true });
    key("Enter", { nativeEvent: { isComposing: true } });
    expect(said()).toEqual([]);
  });

  test("useMessages shows one's own at once, and each message once", async () => {
    const { client, value } = use(() => useMessages("s1"));
    const session = client.chatSession("s1");
    act(() => session.receive({ content: { text: "Hello" }, senderId: "grace" }));
    act(() => value().send({ text: "Hi" }));
    expect(value().messages).toMatchObject([
      { id: "1", senderId: "grace", content: { text: "Hello" }, state: "sent" },
      { content: { text: "Hi" }, state: "sending" },
    ]);
    await act(async () => {});
    expect(value().messages).toMatchObject([{ id: "1" }, { id: "2", state: "sent" }]);
    const { clientId = "" } = value().messages[1] ?? {};
    act(() => session.receive({ messageId: "2", clientId, senderId: "ada" }));
    expect(value().messages).toHaveLength(2);
  });

  test("messages stand in the order of the server, also one's own that were sent meanwhile", async () => {
    const { client, value } = use(() => useMessages("s1"));
    const session = client.chatSession("s1");
    const sentAt = Date.now() - 50;
    act(() => value().send("Hi"));
    act(() => session.receive({ messageId: "9", content: "Hello", sentAt }));
    expect(value().messages.map(({ content }) => content)).toEqual(["Hello", "Hi"]);
    await act(async () => {});
    expect(value().messages.map(({ content }) => content)).toEqual(["Hello", "Hi"]);
  });

  test("a message that failed is sent again under the same clientId", async () => {
    const { client, value } = use(() => useMessages("s1"));
    const session = client.chatSession("s1");
    const { answer } = session;
    session.answer = () => Promise.reject(new Error("No link"));
    await act(async () => value().send("Hi"));
    const [failed] = value().messages;
    expect(failed).toMatchObject({ state: "failed", error: { message: "No link" } });
    session.answer = answer;
    await act(async () => value().retry(failed?.id ?? ""));
    expect(value().messages).toMatchObject([{ id: "1", state: "sent", content: "Hi" }]);
    const sent = client.calls.filter(([name]) => name === "send");
    expect(sent[0]).toEqual(sent[1]);
  });

  test("a message that arrived after all does not fail", async () => {
    const { client, value } = use(() => useMessages("s1"));
    const session = client.chatSession("s1");
    let fail = (_: unknown) => {};
    session.answer = () => new Promise((_, reject) => (fail = reject));
    act(() => value().send("Hi"));
    const { clientId = "" } = value().messages[0] ?? {};
    act(() => session.receive({ messageId: "7", senderId: "", clientId, content: "Hi" }));
    await act(async () => fail(new Error("timeout")));
    expect(value().messages).toMatchObject([{ id: "7", state: "sent" }]);
  });
});

test("usePresenceEvent calls the function of the latest render", () => {
  const heard: string[] = [];
  let prefix = "a";
  const { client, rerender, unmount } = use(() => {
    const now = prefix;
    usePresenceEvent("resync", ({ since }) => heard.push(`${now}${since}`));
  });
  client.emit("resync", { since: 1 });
  prefix = "b";
  rerender();
  client.emit("resync", { since: 2 });
  unmount();
  client.emit("resync", { since: 3 });
  expect(heard).toEqual(["a1", "b2"]);
});
