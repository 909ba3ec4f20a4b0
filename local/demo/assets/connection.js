// One WebSocket of one user: opens it, authenticates, keeps its lease, and comes back after losing
// it. Everything it sends and hears is told as events:
//
//   state  {state, reason?, code?, retryAt?}  connecting → live → waiting → connecting …, cut, over
//   frame  {direction: "out" | "in", frame, at}
//
// `over` is final: closed by the person, or refused for good.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
const STABLE_AFTER = 5_000;
const ANSWER_WITHIN = 10_000;
const FOR_GOOD = new Set(["token-invalid", "forbidden", "invalid-message"]);
const NO_RETURN = new Set(["kicked", "replaced"]);

export class Refused extends Error {
  constructor(frame) {
    super(frame.message ?? "The server gave no reason.");
    this.code = frame.code ?? "internal";
    this.retryAfter = (frame.retryAfterSeconds ?? 0) * 1000;
  }
}

export class Connection extends EventTarget {
  #url;
  #getToken;
  #device;
  #socket = null;
  #answers = new Map();
  #lastId = 0;
  #attempt = 0;
  #timers = { heartbeat: 0, retry: 0 };
  #beatEvery = 30_000;

  state = "new";
  detail = {};
  active = true;
  welcome = null;
  latency = null;
  sentAt = 0;

  /** @param {{url: string, getToken: () => Promise<string>, device: string}} options */
  constructor({ url, getToken, device }) {
    super();
    this.#url = url;
    this.#getToken = getToken;
    this.#device = device;
  }

  get device() {
    return this.#device;
  }

  /** Connect now, whatever the wait was going to be. */
  async open() {
    clearTimeout(this.#timers.retry);
    this.#become("connecting");
    let token;
    try {
      token = await this.#getToken();
    } catch (error) {
      return error.final ? this.#end(error.message, error.code) : this.#retry(error.message);
    }
    if (this.state === "connecting") this.#connect(token);
  }

  /** Leave as a tab does that is closed. */
  close() {
    this.#end("closed");
  }

  /** Lose the network: nothing goes out or comes in, and the server is not told. */
  cut() {
    this.#stopTimers();
    this.#become("cut", { leaseEndsAt: this.sentAt + (this.welcome?.leaseSeconds ?? 75) * 1000 });
  }

  /** The network is back: what was open is worth nothing any more, open another. */
  restore() {
    this.#drop();
    this.#attempt = 0;
    this.open();
  }

  /** Say whether somebody is at this tab. */
  setActive(active) {
    this.active = active;
    return this.request({ action: "ping", active });
  }

  /** Send an action and resolve with its answer; rejects with Refused, or with Error. */
  request(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.state === "cut") {
      return Promise.reject(new Error("There is no connection."));
    }
    const id = String(++this.#lastId);
    const { action, ...fields } = frame;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, null), ANSWER_WITHIN);
      this.#answers.set(id, { resolve, reject, timer, at: performance.now() });
      this.#send({ action, id, ...fields });
    });
  }

  /** Send what needs no answer; returns whether it went out. */
  tell(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.state !== "live") return false;
    this.#send(frame);
    return true;
  }

  #connect(token) {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    const mine = (handle) => (event) => {
      if (socket === this.#socket && this.state !== "cut") handle(event);
    };
    socket.onopen = mine(() => this.#authenticate(token));
    socket.onmessage = mine((event) => this.#hear(event.data));
    socket.onclose = mine((event) => this.#lost(event));
  }

  async #authenticate(token) {
    const socket = this.#socket;
    try {
      const welcome = await this.request({ action: "authenticate", token, device: this.#device });
      this.welcome = welcome;
      this.#beatEvery = welcome.heartbeatSeconds * 1000;
      this.#become("live");
      if (!this.active) this.setActive(false).catch(() => {});
      setTimeout(() => {
        if (socket === this.#socket) this.#attempt = 0;
      }, STABLE_AFTER);
    } catch (error) {
      if (socket !== this.#socket) return;
      if (FOR_GOOD.has(error.code)) this.#end(error.message, error.code);
      else this.#retry(error.message, error.retryAfter);
    }
  }

  #send(frame) {
    this.sentAt = Date.now();
    this.#socket.send(JSON.stringify(frame));
    this.#emit("frame", { direction: "out", frame, at: this.sentAt });
    clearTimeout(this.#timers.heartbeat);
    this.#timers.heartbeat = setTimeout(() => this.#beat(), this.#beatEvery);
  }

  /** The lease counts from what was sent last, so that is what the next ping counts from too. */
  async #beat() {
    if (this.state !== "live") return;
    const socket = this.#socket;
    try {
      await this.request({ action: "ping", active: this.active });
    } catch (error) {
      // An answer that is an error is still an answer: the link is alive.
      const isDead = socket === this.#socket && !(error instanceof Refused);
      if (isDead) this.#retry("The server does not answer.");
    }
  }

  #hear(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.#retry("The server sent something that is not JSON.");
    }
    this.#emit("frame", { direction: "in", frame, at: Date.now() });
    if (frame.heartbeatSeconds) this.#beatEvery = frame.heartbeatSeconds * 1000;
    if (frame.type === "closing") this.detail = { ...this.detail, closing: frame };
    if (this.#answers.has(frame.id)) this.#settle(frame.id, frame);
  }

  #settle(id, frame) {
    const { resolve, reject, timer, at } = this.#answers.get(id);
    this.#answers.delete(id);
    clearTimeout(timer);
    if (!frame) return reject(new Error("The server does not answer."));
    this.latency = performance.now() - at;
    const refused = frame.type === "error" || frame.type === "authentication-error";
    return refused ? reject(new Refused(frame)) : resolve(frame);
  }

  #lost(event) {
    const { closing } = this.detail;
    if (NO_RETURN.has(closing?.reason)) return this.#end(closing.reason);
    const why = closing?.reason ?? `The link was lost (${event.code}).`;
    return this.#retry(why, (closing?.retryAfterSeconds ?? 0) * 1000);
  }

  /** Full jitter: a thousand tabs that lost the same server must not come back at once. */
  #retry(reason, atLeast = 0) {
    if (this.state === "over" || this.state === "cut") return;
    this.#drop();
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempt);
    const wait = Math.max(atLeast, Math.random() * longest);
    this.#attempt += 1;
    this.#timers.retry = setTimeout(() => this.open(), wait);
    this.#become("waiting", { reason, retryAt: Date.now() + wait });
  }

  #end(reason, code) {
    this.#drop();
    this.#become("over", { reason, code });
  }

  #drop() {
    this.#stopTimers();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject, timer } of this.#answers.values()) {
      clearTimeout(timer);
      reject(new Error("The link was lost."));
    }
    this.#answers.clear();
  }

  #stopTimers() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
  }

  #become(state, detail = {}) {
    this.state = state;
    this.detail = detail;
    this.#emit("state", { state, ...detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
