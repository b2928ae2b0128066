// Elements without markup: text goes in as text, whatever it holds.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An element with attributes and children; texts become text nodes, false and null are left out.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== false && child != null));
  return element;
}

// A table's row; a cell is a text, an element, or [content, attributes].
export function row(cells, attributes = {}) {
  const cell = (content, i) => {
    const [inside, more] = Array.isArray(content) ? content : [content, {}];
    return i === 0 ? el("th", { scope: "row", ...more }, inside) : el("td", more, inside);
  };
  return el("tr", attributes, cells.map(cell));
}

export const emptyRow = (columns, text) => el("tr", { class: "empty" }, el("td", { colspan: columns }, text));

// Sets a text only if it changed: what assistive technology reads aloud is then only what is new.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
