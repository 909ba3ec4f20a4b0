// One user: their tabs (a connection each), what they say of themselves, and whom they see.

import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { avatar, h, reconcile, setText, shape } from "./dom.js";
import { People } from "./people.js";
import { fillPerson, personRow, seen } from "./rows.js";
import { Watching } from "./watching.js";
import { Wire } from "./wire.js";
import { STATUSES, capitalised, countdown, label } from "./words.js";

const PAGE = 100;
const MOST_LISTED = 500;
const LONGEST_TEXT = 140;

export class Pane {
  #root;
  #stack = null;
  #people = new People();
  #wire;
  #chat;
  #watching;
  #blocked = null;
  #tabs = [];
  #opened = 0;
  #said = "";
  #more = 0;
  #isListed = false;

  /** @param {HTMLElement} root a copy of the template; @param {string} user; @param {string} session */
  constructor(root, user, session) {
    this.user = user;
    this.#root = root;
    this.#wire = new Wire(this.#part("wire"), user);
    this.#chat = new Chat(this.#part("chat"), { user, session, people: this.#people });
    const links = () => this.#tabs.map(({ link }) => link).filter(({ state }) => state === "live");
    this.#watching = new Watching(this.#part("watching"), { people: this.#people, links });
    this.#dress();
    this.#part("open").addEventListener("click", () => this.#openTab());
    this.#part("reopen").addEventListener("click", () => this.#openTab());
    this.#part("now").addEventListener("click", () => this.#retryNow());
    this.#part("status-form").addEventListener("submit", (event) => this.#say(event));
    this.#part("text").addEventListener("input", () => this.#countText());
    setInterval(() => this.#tick(), 1000);
    this.#render();
  }

  /** @param {{url: string, getToken: Function, readMany: Function,
      readBlocked: Function, setBlocked: Function}} stack */
  start(stack) {
    this.#stack = stack;
    this.#openTab();
  }

  // ── the person ────────────────────────────────────────────────────────────────────────────

  #dress() {
    const name = capitalised(this.user);
    const id = `pane-${++Pane.count}`;
    this.#part("name").textContent = name;
    this.#part("name").id = id;
    this.#root.setAttribute("aria-labelledby", id);
    this.#part("avatar").replaceWith(avatar(this.user));
    this.#part("person").textContent = name;
    this.#part("scroller").setAttribute("aria-label", `Wire log of ${name}`);
    this.#part("choices").append(...STATUSES.map((status) => this.#choice(status, id)));
    this.#countText();
  }

  #choice(status, group) {
    const attributes = { type: "radio", name: `${group}-status`, value: status };
    const input = h("input", { ...attributes, checked: status === "online" });
    input.addEventListener("change", () => this.#say());
    return h("label", { class: "choice" }, input, shape(status), h("span", {}, label(status)));
  }

  #countText() {
    const field = this.#part("text");
    const left = LONGEST_TEXT - [...field.value].length;
    this.#part("left").textContent = left <= 40 ? `${left} left` : "";
  }

  async #say(event) {
    event?.preventDefault();
    const complaint = this.#part("complaint");
    const status = this.#root.querySelector(".choice input:checked").value;
    const text = this.#part("text").value.trim();
    const tab = this.#tabs.find(({ link }) => link.state === "live");
    try {
      if (!tab) throw new Error("There is no connection to say it over.");
      await tab.link.request({ action: "status", status, ...(text && { text }) });
      this.#said = text;
      complaint.textContent = "";
    } catch (error) {
      complaint.textContent = error.code ? `${error.code}: ${error.message}` : error.message;
      this.#adopt(this.#people.get(this.user));
    }
    this.#render();
  }

  // ── their tabs ────────────────────────────────────────────────────────────────────────────

  #openTab() {
    if (!this.#stack) return;
    const number = ++this.#opened;
    const { url, getToken } = this.#stack;
    const link = new Connection({ url, getToken, device: `tab-${number}` });
    const tab = { number, link };
    this.#tabs.push(tab);
    link.addEventListener("state", () => this.#tabChanged(tab));
    link.addEventListener("frame", ({ detail }) => this.#tabFrame(tab, detail));
    link.open();
  }

  #tabChanged(tab) {
    const { link } = tab;
    if (link.state === "live") {
      this.#adopt(this.#people.get(this.user));
      this.#list(link);
      this.#chat.live(link);
      this.#watching.live(link);
      this.#readBlocked();
    } else {
      this.#chat.lost(link);
    }
    if (link.state === "over" && link.detail.reason === "closed") {
      this.#tabs = this.#tabs.filter((other) => other !== tab);
    }
    this.#render();
  }

  #tabFrame({ number }, told) {
    this.#wire.add({ ...told, tab: number });
    const { frame, direction, at } = told;
    if (direction === "out") return;
    const { presence, changes = [], members = [], joined = [] } = frame;
    const watched = frame.type === "watching" ? frame.users : [];
    this.#take([presence, ...changes, ...members, ...joined, ...watched].filter(Boolean));
    this.#chat.hear(frame, at);
  }

  /** Read who is online, page by page, and what became of those who no longer are. */
  async #list(link) {
    try {
      const found = [];
      let page = { cursor: null };
      do {
        const cursor = page.cursor ? { cursor: page.cursor } : {};
        page = await link.request({ action: "online", limit: PAGE, ...cursor });
        found.push(...page.users);
      } while (page.cursor && found.length < MOST_LISTED);
      this.#more = page.cursor ? page.onlineCount - found.length : 0;
      const listed = new Set(found.map((one) => one.userId));
      const left = this.#people.online().map((one) => one.userId).filter((id) => !listed.has(id));
      for (let at = 0; at < left.length; at += PAGE) {
        found.push(...(await this.#stack.readMany(left.slice(at, at + PAGE))));
      }
      this.#people.forget(found.filter((one) => one.version === 0).map((one) => one.userId));
      this.#take(found);
      this.#isListed = true;
    } catch {
      // The link went away meanwhile; the next one asks again.
    }
    this.#render();
  }

  // ── from whom they hide ───────────────────────────────────────────────────────────────────

  async #readBlocked() {
    try {
      this.#blocked = new Set(await this.#stack.readBlocked());
      this.#root.dataset.blocks = "known";
    } catch {
      // The next link asks again.
    }
    this.#render();
  }

  #blockButton(userId) {
    const onclick = async ({ currentTarget: button }) => {
      const isBlocked = !this.#blocked.has(userId);
      button.disabled = true;
      try {
        await this.#stack.setBlocked(userId, isBlocked);
        if (isBlocked) this.#blocked.add(userId);
        else this.#blocked.delete(userId);
        this.#part("block-complaint").textContent = "";
      } catch (error) {
        this.#part("block-complaint").textContent = error.message;
      }
      button.disabled = false;
      this.#render();
    };
    return h("button", { type: "button", class: "small block-button", onclick }, "Block");
  }

  #retryNow() {
    for (const { link } of this.#tabs) if (link.state === "waiting") link.open();
  }

  // ── whom they see ─────────────────────────────────────────────────────────────────────────

  #take(presences) {
    const news = this.#people.take(presences);
    if (!news.length) return;
    this.#adopt(news.find(({ after }) => after.userId === this.user)?.after);
    this.#render();
    if (!this.#isListed) return;
    this.#announce(news);
    for (const { after } of news) this.#flash(after.userId);
  }

  /** What was chosen elsewhere, at another tab or from the command line, is chosen here too. */
  #adopt(own) {
    const choice = own && this.#choiceBehind(own.status);
    if (!choice) return;
    this.#root.querySelector(`.choice input[value="${choice}"]`).checked = true;
    this.#adoptText(own.text ?? "");
  }

  #adoptText(text) {
    const field = this.#part("text");
    const isDraft = field === document.activeElement || field.value.trim() !== this.#said;
    this.#said = text.trim();
    if (!isDraft) field.value = text;
    this.#countText();
  }

  /** Whoever is away has chosen that only if somebody is at one of their tabs. */
  #choiceBehind(status) {
    if (status === "offline") return null;
    const isAttended = this.#tabs.some(({ link }) => link.state === "live" && link.active);
    return status !== "away" || isAttended ? status : null;
  }

  /** For those who listen to the page instead of looking at it. */
  #announce(news) {
    const said = news.map(({ after: { userId, status, text } }) =>
      [`${userId} is ${label(status).toLowerCase()}`, text].filter(Boolean).join(": "),
    );
    this.#part("live").textContent = said.join(". ");
  }

  #flash(userId) {
    const row = [...this.#root.querySelectorAll("[data-key]")].find((one) => one.dataset.key === userId);
    if (!row) return;
    row.classList.remove("is-news");
    void row.offsetWidth; // restarts the animation
    row.classList.add("is-news");
  }

  // ── what is shown ─────────────────────────────────────────────────────────────────────────

  #part(name) {
    return this.#root.querySelector(`[data-${name}]`);
  }

  #render() {
    const { state, words, detail } = this.#linkState();
    const isLive = state === "live";
    this.#root.dataset.link = state;
    setText(this.#part("link-words"), words);
    setText(this.#part("link-detail"), detail);
    this.#part("now").hidden = state !== "waiting";
    this.#part("no-tab").hidden = state !== "none";
    this.#part("tabs-block").hidden = state === "none";
    this.#part("stale").hidden = isLive || !this.#isListed;
    for (const field of this.#part("status-form").elements) field.disabled = !isLive;
    this.#renderTabs();
    this.#renderPeople(isLive);
  }

  /** The best of the tabs' links, in words. */
  #linkState() {
    if (!this.#stack) return { state: "connecting", words: "Connecting", detail: "" };
    if (!this.#tabs.length) return { state: "none", words: "No open tab", detail: "" };
    const best = ["live", "connecting", "waiting", "cut", "over"].find((state) => this.#have(state));
    const { link } = this.#tabs.find((tab) => tab.link.state === best) ?? this.#tabs[0];
    return { state: best, ...describe(link) };
  }

  #have(state) {
    return this.#tabs.some(({ link }) => link.state === state);
  }

  #renderTabs() {
    const live = this.#tabs.filter(({ link }) => link.state === "live").length;
    this.#part("tab-count").textContent = live;
    this.#part("tab-noun").textContent = live === 1 ? "tab connected" : "tabs connected";
    reconcile(
      this.#part("tabs"),
      this.#tabs,
      ({ number }) => `tab-${number}`,
      (tab) => this.#tabRow(tab),
      (row, { link }) => {
        const { words, detail, reason } = describe(link);
        row.dataset.link = link.state;
        setText(row.querySelector(".tab-words"), [words, detail, reason].filter(Boolean).join(" · "));
        const away = row.querySelector(".tab-away");
        away.disabled = link.state !== "live";
        setText(away, link.active ? "Step away" : "Come back");
        const cut = row.querySelector(".tab-cut");
        cut.disabled = link.state !== "live" && link.state !== "cut";
        setText(cut, link.state === "cut" ? "Restore network" : "Cut network");
      },
    );
  }

  #tabRow({ number, link }) {
    const id = `${this.#part("name").id}-tab-${number}`;
    const button = (text, kind, onclick) =>
      h("button", { type: "button", class: `small ${kind}`, "aria-describedby": id, onclick }, text);
    const away = () => link.setActive(!link.active).catch(() => {}).finally(() => this.#render());
    const cut = () => (link.state === "cut" ? link.restore() : link.cut());
    return h(
      "li",
      { class: "tab" },
      h("span", { class: "tab-link", "aria-hidden": "true" }),
      h("span", { class: "tab-text" },
        h("span", { class: "tab-name", id }, `Tab ${number}`),
        h("span", { class: "tab-words" })),
      h("span", { class: "tab-buttons" },
        button("Step away", "tab-away", away),
        button("Cut network", "tab-cut", cut),
        button("Close", "tab-close", () => link.close())),
    );
  }

  #renderPeople(isLive) {
    const online = this.#people.online();
    const offline = this.#people.offline();
    const waiting = !this.#isListed && this.#root.dataset.link !== "none" && this.#root.dataset.link !== "over";
    this.#part("count").textContent = this.#isListed ? online.length + this.#more : "–";
    this.#part("skeleton").hidden = !waiting;
    this.#part("alone").hidden = !(this.#isListed && isLive && !online.some((one) => one.userId !== this.user));
    this.#part("more").hidden = !this.#more;
    this.#part("more").textContent = `and ${this.#more} more`;
    this.#part("offline-block").hidden = !offline.length;
    const lists = { online: this.#isListed ? online : [], offline: this.#isListed ? offline : [] };
    for (const [name, presences] of Object.entries(lists)) {
      reconcile(
        this.#part(name), presences, (one) => one.userId,
        (one) => this.#personRow(one), (row, one) => this.#fillPerson(row, one),
      );
    }
    this.#chat.render();
    this.#watching.render(isLive);
    this.#showOwn();
  }

  #personRow({ userId }) {
    const isOwn = userId === this.user;
    return personRow(userId, { isOwn, button: isOwn ? null : this.#blockButton(userId) });
  }

  #fillPerson(row, presence) {
    fillPerson(row, presence);
    const button = row.querySelector(".block-button");
    if (!button) return;
    const { userId, isOnline } = presence;
    const isBlocked = this.#blocked?.has(userId);
    // Whoever is gone can be unblocked; there is nothing to hide from them yet.
    button.hidden = !this.#blocked || !(isOnline || isBlocked);
    const word = isBlocked ? "Unblock" : "Block";
    setText(button, word);
    button.setAttribute("aria-label", `${word} ${userId}`);
  }

  #showOwn() {
    const status = this.#people.get(this.user)?.status ?? "offline";
    const badge = this.#part("own");
    if (badge.dataset.status === status) return;
    badge.dataset.status = status;
    const words = status === "invisible" ? "Invisible: offline for others" : label(status);
    badge.replaceChildren(shape(status), words);
  }

  #tick() {
    const { words, detail } = this.#linkState();
    setText(this.#part("link-words"), words);
    setText(this.#part("link-detail"), detail);
    this.#renderTabs();
    for (const row of this.#part("offline").children) {
      const { lastSeen } = this.#people.get(row.dataset.key);
      setText(row.querySelector(".person-said"), seen(lastSeen));
    }
    this.#watching.tick();
  }
}

Pane.count = 0;

function describe({ state, detail, latency, active }) {
  const left = (time) => countdown(time - Date.now());
  switch (state) {
    case "live":
      return { words: active ? "Live" : "Live, nobody there", detail: latency === null ? "" : `${Math.max(1, Math.round(latency))} ms` };
    case "waiting":
      return { words: "Reconnecting", detail: `in ${left(detail.retryAt)}`, reason: detail.reason };
    case "cut":
      return Date.now() < detail.leaseEndsAt
        ? { words: "No network", detail: `lease ends in ${left(detail.leaseEndsAt)}` }
        : { words: "No network", detail: "lease is over", reason: "the next sweep tells the others" };
    case "over":
      return { words: detail.code ? "Refused" : "Closed by the server", detail: detail.code ?? "", reason: detail.reason };
    default:
      return { words: "Connecting", detail: "" };
  }
}
