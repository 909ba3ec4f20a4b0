// The few things that every part of the page does to the document.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: h("li", {class: "x", onclick: f}, "text", child). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Set a text only if it is another: what is unchanged must not be read out again. */
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

/** The shape of a status; the word beside it says the same. */
export function shape(status) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `shape shape-${status}`);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", "0 0 12 12");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#shape-${status}`);
  svg.append(use);
  return svg;
}

/** An initial in a circle, tinted by the id. */
export function avatar(userId) {
  const hue = [...userId].reduce((sum, character) => sum + character.codePointAt(0), 0) % 6;
  const initial = userId.charAt(0).toUpperCase();
  return h("span", { class: `avatar tint-${hue}`, "aria-hidden": "true" }, initial);
}

/** Put rows in order by key: known ones are kept, so that focus and animations are, too. */
export function reconcile(list, items, keyOf, make, update) {
  const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    const row = rows.get(key) ?? make(item);
    rows.delete(key);
    row.dataset.key = key;
    update(row, item);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const row of rows.values()) row.remove();
}
