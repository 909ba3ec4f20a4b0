// The wire log of a pane: every frame with its direction and time; opened, the whole frame, and the
// same thing as a command to paste into a terminal.

import { h } from "./dom.js";
import { timeOfDay } from "./words.js";

const KEPT = 200;

export class Wire {
  #list;
  #empty;
  #user;
  #scroller;

  /** @param {HTMLElement} root of the section; @param {string} user whose commands to offer */
  constructor(root, user) {
    this.#list = root.querySelector("[data-frames]");
    this.#empty = root.querySelector("[data-no-frames]");
    this.#scroller = root.querySelector("[data-scroller]");
    this.#user = user;
    root.querySelector("[data-clear]").addEventListener("click", () => this.clear());
    const beats = root.querySelector("[data-heartbeats]");
    const apply = () => this.#list.classList.toggle("without-heartbeats", !beats.checked);
    beats.addEventListener("change", apply);
    apply();
  }

  add({ direction, frame, at, tab }) {
    const atEnd = this.#isAtEnd();
    this.#list.append(this.#entry(direction, frame, at, tab));
    while (this.#list.children.length > KEPT) this.#list.firstElementChild.remove();
    this.#empty.hidden = true;
    if (atEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  clear() {
    this.#list.replaceChildren();
    this.#empty.hidden = false;
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < 40;
  }

  #entry(direction, frame, at, tab) {
    const name = frame.action ?? frame.type ?? "frame";
    const sent = direction === "out";
    const summary = h(
      "summary",
      {},
      h("time", { datetime: new Date(at).toISOString() }, timeOfDay(at)),
      h("span", { class: "direction", role: "img", "aria-label": sent ? "sent" : "heard" }, sent ? "↑" : "↓"),
      h("span", { class: "frame-name" }, name),
      h("span", { class: "frame-gist" }, gist(frame)),
      h("span", { class: "frame-tab" }, `tab ${tab}`),
    );
    const details = h("details", { class: `frame frame-${direction} frame-is-${kind(name)}` }, summary);
    // Two hundred frames are cheap as long as nobody looks inside.
    details.addEventListener("toggle", () => this.#fill(details, frame), { once: true });
    details.addEventListener("toggle", () => details.open && details.scrollIntoView({ block: "nearest" }));
    return h("li", { class: name === "ping" || name === "pong" ? "heartbeat" : null }, details);
  }

  #fill(details, frame) {
    const text = JSON.stringify(discreet(frame), null, 2);
    const copies = [["Copy frame", text], ...commandsFor(frame, this.#user)];
    details.append(
      h("pre", { tabindex: "0", role: "group", "aria-label": "The whole frame" }, text),
      h("div", { class: "copies" }, ...copies.map(([name, copied]) => copyButton(name, copied))),
    );
  }
}

/** A token in a log is a token lost, even one for development. */
function discreet(frame) {
  return frame.token ? { ...frame, token: `${frame.token.slice(0, 12)}…` } : frame;
}

function kind(name) {
  return /error/.test(name) ? "error" : name === "user-status-change" ? "change" : "ordinary";
}

function gist(frame) {
  if (frame.changes) return frame.changes.map((one) => `${one.userId} ${one.status}`).join(", ");
  if (frame.users) return frame.users.map((one) => one.userId).join(", ") || "nobody";
  if (frame.code) return frame.code;
  if (frame.reason) return frame.reason;
  if (frame.action === "status") return [frame.status, frame.text].filter(Boolean).join(" · ");
  if (frame.action === "ping" && frame.active === false) return "nobody at this tab";
  if (frame.userIds) return frame.userIds.join(", ");
  if (frame.type === "chat-session-members") {
    return [...frame.joined.map((one) => `+${one.userId}`), ...frame.left.map((id) => `−${id}`)].join(" ");
  }
  if (frame.memberCount !== undefined) return `${frame.chatSessionId} · ${frame.memberCount}`;
  if (frame.typing !== undefined) return [frame.userId, frame.typing ? "writes" : "stopped"].filter(Boolean).join(" ");
  if (frame.content) return [frame.senderId, frame.content.text].filter(Boolean).join(": ");
  if (frame.action === "join") return frame.chatSessionId;
  return frame.device ?? frame.userId ?? "";
}

/** The same as commands: [name, text] each. */
export function commandsFor(frame, user, base = `${location.origin}/api/user-status`) {
  const presence = ".venv/bin/presence";
  const bearer = `-H "Authorization: Bearer $(${presence} token ${quoted(user)})"`;
  switch (frame.action ?? frame.type) {
    case "authenticate":
      return [["Copy as presence", `${presence} join ${quoted(user)} --device ${quoted(frame.device)}`]];
    case "status": {
      const text = frame.text ? ` --text ${quoted(frame.text)}` : "";
      const { status, text: said } = frame;
      const body = quoted(JSON.stringify(said ? { status, text: said } : { status }));
      return [
        ["Copy as presence", `${presence} join ${quoted(user)} --status ${status}${text}`],
        ["Copy as curl", `curl -X PUT ${base} ${bearer} -H 'Content-Type: application/json' -d ${body}`],
      ];
    }
    case "online":
    case "online-users-list":
      return [
        ["Copy as presence", `${presence} online`],
        ["Copy as curl", `curl ${bearer} ${base}/online`],
      ];
    case "user-status-change": {
      const users = frame.changes.map((one) => quoted(one.userId));
      return [
        ["Copy as presence", `${presence} status ${users.join(" ")}`],
        ["Copy as curl", `curl ${bearer} ${base}/${users[0]}`],
      ];
    }
    default:
      return [];
  }
}

/** For a POSIX shell: whatever is in the text, it stays one word. */
function quoted(text) {
  return /^[A-Za-z0-9._~@+=-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function copyButton(name, text) {
  const button = h("button", { type: "button", class: "small" }, name);
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "The browser refused";
    setTimeout(() => (button.textContent = name), 1500);
  });
  return button;
}
