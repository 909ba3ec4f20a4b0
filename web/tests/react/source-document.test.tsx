// The React snippets that were asked for, as they stand in the document, on the fake server.

import { act, cleanup, render, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { StrictMode } from "react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  ChatApp,
  ChatRoom,
  OnlineUsersList,
  SocketProvider,
  UserStatusIndicator,
} from "../../src/react/index.js";
import { createFakePresence, type FakePresence } from "../../src/testing/index.js";

let fake: FakePresence;

/** A local stack at the address that the document names. */
beforeEach(() => {
  fake = createFakePresence({ now: Date.now(), developmentTokens: true, globalPresence: true });
  const { fetch, WebSocket, apiUrl } = fake.options;
  vi.stubGlobal("WebSocket", WebSocket);
  vi.stubGlobal("fetch", (url: string, request: RequestInit) =>
    fetch(url.replace("http://localhost:4000", apiUrl), request),
  );
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

// @ts-expect-error: JavaScript, as in the document
const snippets = () => import("./source-document/snippets.jsx");

test("App authenticates", async () => {
  const { App } = await snippets();
  render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
  await waitFor(() => expect(fake.server.presence("user123").status).toBe("online"));
  expect(fake.server.connections).toHaveLength(1);
});

test("UserStatusIndicator, OnlineUsersList and ChatRoom show and do what they should", async () => {
  const { indicator, list, room, sent } = await snippets();
  const { container } = render(
    <SocketProvider apiUrl="http://localhost:4000" userId="user456">
      {indicator()}
      {list()}
      {room()}
    </SocketProvider>,
  );
  await screen.findByText("Online: 1");
  act(() => fake.server.user("user123", { status: "busy" }));
  await screen.findByText("Online: 2");
  expect(container.querySelector(".presence-status")?.textContent).toBe("Busy");
  expect(container.querySelector(".presence-list")?.className).toContain("w-64");
  expect(screen.getByText("Hello")).toBeTruthy();
  act(() => fake.server.type("user789", "session123"));
  await screen.findByText("user789 is typing…", { selector: "[role=status]" });
  await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "Hi{Enter}");
  expect(sent).toEqual(["Hi"]);
  const frames = fake.server.received.map(({ frame }) => frame);
  const said = frames.map(({ action }) => action);
  expect(frames.filter((it) => "chatSessionIds" in it && it.chatSessionIds?.length)).toHaveLength(
    1,
  );
  expect(said).not.toContain("join");
  expect(said).toContain("typing");
});

test("ChatApp needs nothing", async () => {
  const { app } = await snippets();
  render(app());
  await userEvent.type(screen.getByRole("textbox", { name: "Your name" }), "Ada{Enter}");
  await screen.findByText("Online: 1");
  fake.server.join("Grace", "lobby");
  await screen.findByText("Online: 2");
  act(() => void fake.server.say("Grace", "lobby", { text: "Hello, Ada" }));
  await screen.findByText("Hello, Ada");
  await userEvent.type(screen.getByRole("textbox", { name: "Message" }), "Hello, Grace{Enter}");
  await waitFor(() => expect(screen.queryByText("Sending…")).toBeNull());
  expect(fake.server.received.at(-1)?.frame).toMatchObject({
    action: "message",
    chatSessionId: "lobby",
    content: { text: "Hello, Grace" },
  });
});

test("the same as TypeScript", () => {
  const messages = [{ id: "1", senderId: "ada", content: "Hello", createdAt: new Date() }];
  const handleSendMessage = (text: string) => text.length;
  // tsc looks at these.
  const snippets = [
    <UserStatusIndicator key="1" userId="user123" size="md" showText={true} />,
    <OnlineUsersList key="2" className="w-64" />,
    <ChatRoom
      key="3"
      chatSessionId="session123"
      currentUserId="user123"
      messages={messages}
      onSendMessage={handleSendMessage}
    />,
    <ChatApp key="4" />,
  ];
  expect(snippets).toHaveLength(4);
});
