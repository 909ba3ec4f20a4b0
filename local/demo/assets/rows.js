// The row of a person, as every list of people shows it.

import { avatar, h, shape } from "./dom.js";
import { fromNow, label } from "./words.js";

/** @param {string} userId; @param {{isOwn?: boolean, button?: HTMLElement}} options */
export function personRow(userId, { isOwn = false, button = null } = {}) {
  return h(
    "li",
    { class: "person" },
    avatar(userId),
    h("span", { class: "person-text" },
      h("span", { class: "person-name" }, userId, isOwn ? h("span", { class: "you" }, "you") : null),
      h("span", { class: "person-said" })),
    h("span", { class: "person-status" }),
    button,
  );
}

export function fillPerson(row, { status, text, isOnline, lastSeen }) {
  const said = row.querySelector(".person-said");
  said.textContent = isOnline ? (text ?? "") : seen(lastSeen);
  if (row.dataset.status === status) return;
  row.dataset.status = status;
  row.querySelector(".person-status").replaceChildren(shape(status), label(status));
}

export function seen(lastSeen) {
  return lastSeen === null ? "never seen" : `last seen ${fromNow(lastSeen)}`;
}
