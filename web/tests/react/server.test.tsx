import { act } from "@testing-library/react";
import { type ReactElement, version } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, expect, test, vi } from "vitest";
import {
  ChatApp,
  ChatRoom,
  ConnectionBanner,
  OnlineUsersList,
  SocketProvider,
  StatusPicker,
  UserStatusIndicator,
} from "../../src/react/index.js";
import { type FakeClient, fakeClient } from "./fake-client.js";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function everything(client: FakeClient): ReactElement {
  return (
    <SocketProvider client={client} userId="ada">
      <ConnectionBanner />
      <UserStatusIndicator userId="grace" showText showLastSeen />
      <OnlineUsersList />
      <StatusPicker />
      <ChatRoom
        chatSessionId="s1"
        currentUserId="ada"
        messages={[{ id: "1", senderId: "grace", text: "Hello", createdAt: 1_700_000_000_000 }]}
        onSendMessage={() => {}}
      />
    </SocketProvider>
  );
}

/** A client that is well under way before React is. */
function busyClient(): FakeClient {
  const client = fakeClient();
  client.put("grace", "offline");
  client.connection.set({ name: "ready" });
  client.onlineUsers.set({
    userIds: ["ada"],
    count: 1,
    isLoading: false,
    hasMore: false,
    fresh: true,
  });
  return client;
}

test("runs with the React that its project is about", ({ task }) => {
  expect(version.split(".")[0]).toBe(task.file.projectName === "react-18" ? "18" : "19");
});

test("a server renders it all without a window, a socket, or a word to the client", () => {
  for (const name of ["window", "document", "navigator", "WebSocket", "fetch"])
    vi.stubGlobal(name, undefined);
  const client = busyClient();
  const html = renderToString(everything(client));
  expect(html).toContain("Unknown");
  expect(html).toContain("Hello");
  expect(client.calls).toEqual([]);
  expect(renderToString(<ChatApp />)).toContain("Your name");
  expect(renderToString(<ChatApp userId="ada" />)).toContain("Loading…");
});

test("a browser hydrates it without a mismatch, whatever is known by then", async () => {
  const complaints = vi.spyOn(console, "error").mockImplementation(() => {});
  const recovered = vi.fn();
  const client = busyClient();
  const root = document.createElement("div");
  root.innerHTML = renderToString(everything(fakeClient()));
  document.body.append(root);
  const app = await act(async () =>
    hydrateRoot(root, everything(client), { onRecoverableError: recovered }),
  );
  expect(complaints.mock.calls).toEqual([]);
  expect(recovered).not.toHaveBeenCalled();
  expect(root.textContent).toContain("Online: 1");
  expect(root.textContent).toMatch(/Offline, last seen/);
  expect(root.querySelector("time")?.textContent).toMatch(/\d:\d/);
  await act(async () => app.unmount());
});
