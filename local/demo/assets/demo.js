// The page: finds the stack, then shows a pane for each of two users.

import { Pane } from "./pane.js";

const LONGEST_WAIT = 15_000;
const notice = document.querySelector("[data-notice]");
const template = document.querySelector("#pane");

/** Ask the development server for JSON; errors carry `final` when asking again is no use. */
async function ask(path, { method, body, token } = {}) {
  const options = {
    method: method ?? (body ? "POST" : "GET"),
    headers: {
      ...(body && { "Content-Type": "application/json" }),
      ...(token && { Authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  };
  const answer = await fetch(path, options).catch(() => null);
  // The page may be older than the stack, or outlive it: it goes on asking, and says so.
  notice.hidden = answer !== null;
  if (!answer) throw new Error("The development server does not answer.");
  const told = answer.status === 204 ? null : await answer.json();
  if (answer.ok) return told;
  const error = new Error(told.error?.message ?? `The server answered with ${answer.status}.`);
  error.code = told.error?.code;
  error.final = answer.status >= 400 && answer.status < 500;
  throw error;
}

async function findStack() {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask("/dev/stack");
    } catch {
      const wait = 1_000 + Math.random() * Math.min(LONGEST_WAIT, 1_000 * 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function users() {
  const asked = new URLSearchParams(location.search);
  return [asked.get("left") || "ada", asked.get("right") || "grace"];
}

function session() {
  return new URLSearchParams(location.search).get("session") || "lobby";
}

async function start() {
  const panes = users().map((user) => {
    const root = template.content.firstElementChild.cloneNode(true);
    document.querySelector("[data-panes]").append(root);
    return new Pane(root, user, session());
  });
  const stack = await findStack();
  for (const pane of panes) {
    const getToken = async () => (await ask("/dev/token", { body: { userId: pane.user } })).token;
    const call = async (path, options) =>
      ask(`/api/user-status${path}`, { ...options, token: await getToken() });
    const readMany = async (userIds) => (await call("/batch", { body: { userIds } })).users;
    const readBlocked = async () => (await call("/blocked")).userIds;
    const setBlocked = (userId, isBlocked) =>
      call(`/blocked/${encodeURIComponent(userId)}`, { method: isBlocked ? "PUT" : "DELETE" });
    pane.start({ url: stack.webSocketUrl, getToken, readMany, readBlocked, setBlocked });
  }
}

start();
