// Whom a user watches by id: their presence is told whether or not anybody shares a chat with them.

import { h, reconcile } from "./dom.js";
import { fillPerson, personRow, seen } from "./rows.js";

export class Watching {
  #list;
  #field;
  #button;
  #complaint;
  #none;
  #people;
  #links;
  #userIds = new Set();

  /** @param {HTMLElement} root of the section; @param {{people: People, links: Function}} pane */
  constructor(root, { people, links }) {
    this.#list = root.querySelector("[data-watched]");
    this.#field = root.querySelector("[data-watch-id]");
    this.#button = root.querySelector("[data-watch-button]");
    this.#complaint = root.querySelector("[data-watch-complaint]");
    this.#none = root.querySelector("[data-none-watched]");
    this.#people = people;
    this.#links = links;
    root.querySelector("[data-watch-form]").addEventListener("submit", (event) => this.#watch(event));
  }

  /** A connection is live, for the first time or again: it knows of nobody yet. */
  live(link) {
    if (this.#userIds.size) this.#ask(link, [...this.#userIds]).catch(() => {});
  }

  render(isLive) {
    this.#field.disabled = this.#button.disabled = !isLive;
    this.#none.hidden = this.#userIds.size > 0;
    const watched = [...this.#userIds].map((userId) => this.#people.get(userId) ?? unknown(userId));
    reconcile(
      this.#list, watched, (one) => one.userId,
      ({ userId }) => personRow(userId, { button: this.#unwatchButton(userId) }),
      (row, one) => {
        fillPerson(row, one);
        row.querySelector("button").disabled = !isLive;
      },
    );
  }

  tick() {
    for (const row of this.#list.children) {
      const held = this.#people.get(row.dataset.key);
      if (held && !held.isOnline) row.querySelector(".person-said").textContent = seen(held.lastSeen);
    }
  }

  async #watch(event) {
    event.preventDefault();
    const userId = this.#field.value.trim();
    if (!userId || this.#userIds.has(userId)) return;
    await this.#try(async () => {
      await Promise.all(this.#links().map((link) => this.#ask(link, [userId])));
      this.#userIds.add(userId);
      this.#field.value = "";
    });
  }

  async #unwatch(userId) {
    await this.#try(async () => {
      const frame = { action: "unwatch", userIds: [userId] };
      await Promise.all(this.#links().map((link) => link.request(frame)));
      this.#userIds.delete(userId);
    });
  }

  async #try(act) {
    try {
      await act();
      this.#complaint.textContent = "";
    } catch (error) {
      this.#complaint.textContent = error.message;
    }
    this.render(this.#links().length > 0);
  }

  #ask(link, userIds) {
    return link.request({ action: "watch", userIds });
  }

  #unwatchButton(userId) {
    const onclick = () => this.#unwatch(userId);
    return h("button", { type: "button", class: "small", "aria-label": `Unwatch ${userId}`, onclick }, "Unwatch");
  }
}

function unknown(userId) {
  return { userId, status: "offline", isOnline: false, lastSeen: null };
}
