/** Serves the sockets: the handshake, frames as text, and what they are answered. */

import type { ClientFrame, ServerFrame } from "../protocol.js";
import { serve } from "./actions.js";
import type { Connection } from "./connections.js";
import { Refusal, type Rules } from "./refusal.js";
import { actionIn, byteLength, type Fields, idIn, nameIn, parseObject } from "./requests.js";
import type { Inbox, Link } from "./socket.js";
import type { Stack } from "./stack.js";
import type { AnswerHow, ReceivedFrame } from "./types.js";

/** What API Gateway takes; beyond it, the connection is closed. */
const MAX_GATEWAY_BYTES = 32 * 1024;
const TOO_LARGE = 1009;

export class WebSocketApi {
  readonly received: ReceivedFrame[] = [];
  readonly #stack: Stack;
  readonly #rules: Rules;
  readonly #url: string;
  /** Whether changes are sent before the answer to what caused them. */
  readonly #changesFirst: boolean;

  constructor(stack: Stack, rules: Rules, url: string, changesFirst: boolean) {
    this.#stack = stack;
    this.#rules = rules;
    this.#url = url;
    this.#changesFirst = changesFirst;
  }

  /** Takes a handshake, or refuses it with null. */
  open(url: string, link: Link): Inbox | null {
    if (this.#rules.refusal("connect") || url !== this.#url) return null;
    const connection = this.#stack.open(link);
    return {
      receive: (text) => this.#receive(connection, text),
      closed: () => {
        if (connection.isOpen) this.#stack.closed(connection);
      },
    };
  }

  #receive(connection: Connection, text: string): void {
    if (!connection.isOpen) return;
    if (byteLength(text) > MAX_GATEWAY_BYTES) {
      this.#stack.cut(connection, TOO_LARGE);
      return;
    }
    const serve = () => this.#serve(connection, text);
    const [answer, tellOthers] = this.#stack.fanout.holding(serve);
    const inOrder = this.#changesFirst ? [tellOthers, answer] : [answer, tellOthers];
    for (const send of inOrder) send();
  }

  /** Serves a frame, and returns what sends the answer. */
  #serve(connection: Connection, text: string): () => void {
    let fields: Fields = {};
    try {
      fields = parseObject(text);
      const { connectionId, userId } = connection;
      const frame = fields as unknown as ClientFrame;
      this.received.push({ connectionId, userId, at: this.#stack.now, frame });
      const asked = actionIn(fields);
      const names = [asked.action, nameIn(fields) ?? asked.action];
      const refusal = this.#rules.refusal(...names);
      if (refusal) throw refusal;
      const answer = serve(this.#stack, connection, asked.action, asked.fields);
      return this.#sender(
        connection,
        withId(answer, idIn(fields)),
        this.#rules.answerHow(...names),
      );
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return () => connection.send(errorFrame(fields, refusal));
    }
  }

  #sender(connection: Connection, answer: ServerFrame | null, how: AnswerHow | undefined) {
    return () => {
      if (answer === null || how === "swallow") return;
      if (how === undefined) connection.send(answer);
      else if ("delayMs" in how) this.#stack.after(how.delayMs, () => connection.send(answer));
      else connection.send(typeof how.body === "string" ? how.body : JSON.stringify(how.body));
    };
  }
}

function withId(answer: ServerFrame, id: string | undefined): ServerFrame | null {
  if (id !== undefined) return { ...answer, id } as ServerFrame;
  return answer.type === "ack" || answer.type === "pong" ? null : answer;
}

function errorFrame(fields: Fields, { code, message, retryAfterSeconds }: Refusal): ServerFrame {
  const [action, id] = [nameIn(fields), idIn(fields)];
  const rest = {
    ...(id === undefined ? {} : { id }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
  if (action === "authenticate") return { type: "authentication-error", code, message, ...rest };
  return { type: "error", code, message, ...(action === undefined ? {} : { action }), ...rest };
}
