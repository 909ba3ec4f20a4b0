// The chat session of a pane: who is in it, what was said, and who is writing. Each of the user's
// live connections joins, and joins again after a loss.

import { avatar, h, reconcile, setText, shape } from "./dom.js";
import { capitalised, label, timeOfDay } from "./words.js";

const KEPT = 200;
const TYPING_EVERY = 3_000;
// The server relays `typing` once a second at most: what comes sooner would be lost.
const TYPING_APART = 2_000;

export class Chat {
  #root;
  #user;
  #session;
  #people;
  #joined = new Set();
  #members = new Set();
  #memberCount = null;
  #typers = new Map();
  #messageIds = new Set();
  #clockAhead = 0;
  #typing = { isOn: false, isTold: false, toldAt: 0, timer: 0 };

  /** @param {HTMLElement} root; @param {{user: string, session: string, people: People}} pane */
  constructor(root, { user, session, people }) {
    this.#root = root;
    this.#user = user;
    this.#session = session;
    this.#people = people;
    this.#part("session").textContent = session;
    this.#part("messages-scroller").setAttribute("aria-label", `Messages of ${capitalised(user)}`);
    this.#part("chat-form").addEventListener("submit", (event) => this.#send(event));
    this.#part("message").addEventListener("input", () => this.#wrote());
  }

  /** A connection is live, for the first time or again. */
  async live(link) {
    try {
      const frame = await link.request({ action: "join", chatSessionId: this.#session });
      this.#joined.add(link);
      this.#members = new Set(frame.members.map((one) => one.userId));
      this.#memberCount = frame.memberCount;
      this.#complain("");
    } catch (error) {
      if (error.code) this.#complain(error.message);
    }
    this.render();
  }

  /** A connection is not live any more. */
  lost(link) {
    this.#joined.delete(link);
    if (this.#joined.size) return;
    clearTimeout(this.#typing.timer);
    this.#typing = { isOn: false, isTold: false, toldAt: 0, timer: 0 };
    for (const userId of [...this.#typers.keys()]) this.#stopped(userId);
  }

  hear(frame, at) {
    if (frame.type === "authentication-success") this.#clockAhead = frame.serverTime - at;
    if (frame.chatSessionId !== this.#session) return;
    if (frame.type === "chat-session-members") this.#moved(frame);
    if (frame.type === "user-typing") this.#typed(frame);
    if (frame.type === "new-message") this.#said(frame);
  }

  render() {
    const canWrite = this.#joined.size > 0;
    for (const field of this.#part("chat-form").elements) field.disabled = !canWrite;
    const count = this.#memberCount;
    const words = count === null ? "not joined" : `${count} ${count === 1 ? "member" : "members"}`;
    setText(this.#part("member-count"), words);
    reconcile(
      this.#part("members"), [...this.#members].sort(), (userId) => userId,
      (userId) => h("li", { class: "member" }, avatar(userId), h("span", { class: "member-name" }, userId), h("span", { class: "member-status" })),
      (row, userId) => {
        const status = this.#people.get(userId)?.status ?? "offline";
        if (row.dataset.status === status) return;
        row.dataset.status = status;
        const word = h("span", { class: "unseen" }, label(status));
        row.querySelector(".member-status").replaceChildren(shape(status), word);
      },
    );
    const others = Math.max(0, (count ?? 0) - this.#members.size);
    this.#part("more-members").hidden = !others;
    setText(this.#part("more-members"), `and ${others} more`);
  }

  #part(name) {
    return this.#root.querySelector(`[data-${name}]`);
  }

  #complain(text) {
    this.#part("chat-complaint").textContent = text;
  }

  // ── what the others do ────────────────────────────────────────────────────────────────────

  #moved({ joined, left, memberCount }) {
    for (const userId of left) {
      this.#members.delete(userId);
      this.#stopped(userId);
    }
    for (const { userId } of joined) this.#members.add(userId);
    this.#memberCount = memberCount;
    this.render();
  }

  #typed({ userId, typing, expiresAt }) {
    const left = expiresAt - this.#clockAhead - Date.now();
    this.#stopped(userId);
    if (userId === this.#user || !typing || left <= 0) return;
    this.#typers.set(userId, setTimeout(() => this.#stopped(userId), left));
    this.#showTypers();
  }

  #stopped(userId) {
    clearTimeout(this.#typers.get(userId));
    this.#typers.delete(userId);
    this.#showTypers();
  }

  #showTypers() {
    const names = [...this.#typers.keys()].map(capitalised);
    const last = names.pop();
    const who = names.length ? `${names.join(", ")} and ${last} are` : `${last} is`;
    setText(this.#part("typing"), last ? `${who} typing…` : "");
  }

  /** The same message comes over each of the user's connections. */
  #said({ messageId, senderId, content, sentAt }) {
    if (this.#messageIds.has(messageId)) return;
    this.#messageIds.add(messageId);
    this.#stopped(senderId);
    const isOwn = senderId === this.#user;
    const text = typeof content?.text === "string" ? content.text : JSON.stringify(content);
    const list = this.#part("messages");
    list.append(
      h("li", { class: isOwn ? "message message-own" : "message" },
        h("span", { class: "message-head" },
          h("span", { class: "message-sender" }, isOwn ? "You" : capitalised(senderId)),
          h("time", { datetime: new Date(sentAt).toISOString() }, timeOfDay(sentAt))),
        h("span", { class: "message-text" }, text)),
    );
    while (list.children.length > KEPT) list.firstElementChild.remove();
    this.#part("no-messages").hidden = true;
    const scroller = this.#part("messages-scroller");
    scroller.scrollTop = scroller.scrollHeight;
  }

  // ── what the user does ────────────────────────────────────────────────────────────────────

  #link() {
    return [...this.#joined][0];
  }

  async #send(event) {
    event.preventDefault();
    const field = this.#part("message");
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    const frame = { action: "message", chatSessionId: this.#session, content: { text } };
    try {
      const link = this.#link();
      if (!link) throw new Error("There is no connection to say it over.");
      const answer = link.request({ ...frame, clientId: crypto.randomUUID() });
      this.#stopTyping({ isSent: true });
      await answer;
      this.#complain("");
    } catch (error) {
      this.#complain(error.message);
      if (!field.value) field.value = text;
    }
  }

  #wrote() {
    if (!this.#part("message").value.trim()) return this.#stopTyping();
    const { isOn, isTold, toldAt, timer } = this.#typing;
    const isDue = Date.now() - toldAt >= TYPING_EVERY;
    this.#typing.isOn = true;
    if (isOn ? isDue : isDue || !isTold) return this.#tellTypingSoon(true);
    // Who goes on before the others were told of a pause needs to tell them nothing.
    if (!isOn) clearTimeout(timer);
  }

  /** Once a message is heard nobody shows its sender as writing: the next word tells them again. */
  #stopTyping({ isSent = false } = {}) {
    const { isOn, isTold, timer } = this.#typing;
    if (!isOn) return;
    this.#typing.isOn = false;
    if (isTold) this.#tellTypingSoon(false);
    else clearTimeout(timer);
    if (isSent) this.#typing.isTold = false;
  }

  #tellTypingSoon(typing) {
    clearTimeout(this.#typing.timer);
    const wait = Math.max(0, this.#typing.toldAt + TYPING_APART - Date.now());
    this.#typing.timer = setTimeout(() => {
      const frame = { action: "typing", chatSessionId: this.#session, typing };
      this.#typing.isTold = typing && Boolean(this.#link()?.tell(frame));
      this.#typing.toldAt = Date.now();
    }, wait);
  }
}
