// One key: its value, the revisions that wrote it, and what changed between two of them.
//
// The API has no list of a key's revisions. Each is found from the one after it: the key as of the revision before that.

import { byId, el } from "./dom.js";
import { around, diff } from "./diff.js";
import { bytes, count, fromBase64, hexRows, keyText, plural, textOf, toBase64 } from "./format.js";
import { OUT_OF_RANGE } from "./gateway.js";
import { rove, stopAt } from "./rows.js";

// What is shown, and compared, of a value. Larger ones are cut, with a note.
const TEXT_MAX = 64 << 10;
const BINARY_MAX = 8 << 10;
// Revisions that are looked up at a time.
const REVISIONS = 10;

export class History {
  #gateway;
  #onClose;
  #panel = byId("detail");
  // What is open; an answer for something else is dropped.
  #opened = 0;
  #key = null;
  // From the newest to the oldest that was looked up.
  #versions = [];
  #chosen = 0;
  // Why there is nothing before the oldest; null if there is more to look up.
  #end = null;

  constructor(gateway, onClose) {
    this.#gateway = gateway;
    this.#onClose = onClose;
  }

  async open(key, revision) {
    const opened = ++this.#opened;
    [this.#key, this.#versions, this.#chosen, this.#end] = [key, [], 0, null];
    this.#panel.hidden = false;
    try {
      const newest = await this.#read(revision);
      if (opened !== this.#opened) return;
      if (newest) this.#versions.push(newest);
      else this.#end = "The key is not there any more.";
      await this.#older(opened);
    } catch (refusal) {
      if (opened === this.#opened) this.#end = refusal.message;
    }
    if (opened !== this.#opened) return;
    this.#draw();
    this.#panel.focus({ preventScroll: true });
    this.#panel.scrollIntoView({ block: "nearest" });
  }

  close() {
    if (this.#panel.hidden) return;
    this.#opened++;
    this.#panel.hidden = true;
    this.#panel.replaceChildren();
    this.#onClose();
  }

  async #read(revision) {
    const { kvs } = await this.#gateway.call("kv/range", { key: toBase64(this.#key), revision: String(revision) });
    if (!kvs?.length) return null;
    const [kv] = kvs;
    return { ...kv, value: fromBase64(kv.value), revision: BigInt(kv.mod_revision), version: BigInt(kv.version) };
  }

  // Looks up some more revisions before the oldest.
  async #older(opened) {
    for (let i = 0; i < REVISIONS && this.#end === null; i++) {
      const oldest = this.#versions.at(-1);
      if (oldest.version === 1n) return void (this.#end = "This wrote the key. What was before, if it was deleted, is not looked up.");
      let before;
      try {
        before = await this.#read(oldest.revision - 1n);
      } catch (refusal) {
        if (opened === this.#opened) this.#end = refusal.code === OUT_OF_RANGE ? "Older revisions are compacted." : refusal.message;
        return;
      }
      if (opened !== this.#opened) return;
      if (before) this.#versions.push(before);
      else this.#end = "Before it the key was not there.";
    }
  }

  #draw() {
    const head = el("header", {},
      el("h2", { class: "key" }, keyText(this.#key)),
      el("button", { type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.close() }, "✕"));
    const shown = this.#versions[this.#chosen];
    const before = this.#versions[this.#chosen + 1];
    const parts = shown ? [facts(shown), el("h3", {}, "Value"), value(shown.value)] : [];
    if (before) parts.push(el("h3", {}, `Change since revision ${count(before.revision)}`), change(before.value, shown.value));
    this.#panel.replaceChildren(head, this.#list(), ...parts);
  }

  #list() {
    const list = el("ol");
    rove(list);
    const choices = this.#versions.map((version, i) =>
      el("li", {}, el("button", { type: "button", "aria-pressed": String(i === this.#chosen), onclick: () => this.#choose(i) },
        `${count(version.revision)}`, el("small", {}, ` v${version.version}, ${bytes(version.value.length)}`))));
    const more = this.#end === null ? [el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.#more() }, "older"))] : [];
    list.append(...choices, ...more);
    stopAt(list, list.querySelector("[aria-pressed=true]") ?? list.querySelector("button"));
    return el("section", { class: "versions", "aria-label": "Revisions of the key" }, el("h3", {}, "Revisions"), list, this.#end && el("p", { class: "note" }, this.#end));
  }

  #choose(i) {
    this.#chosen = i;
    this.#draw();
    this.#panel.querySelector("[aria-pressed=true]").focus();
  }

  async #more() {
    const opened = this.#opened;
    const known = this.#versions.length;
    await this.#older(opened);
    if (opened === this.#opened) this.#choose(Math.min(known, this.#versions.length - 1));
  }
}

function facts(kv) {
  const lease = kv.lease && kv.lease !== "0" ? BigInt(kv.lease).toString(16) : "none";
  const facts = [["written at", count(kv.mod_revision)], ["created at", count(kv.create_revision)], ["version", count(kv.version)], ["lease", lease], ["size", bytes(kv.value.length)]];
  return el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

function value(data) {
  if (data.length === 0) return el("p", { class: "note" }, "empty");
  const { lines, note } = shownLines(data);
  return el("div", {}, note && el("p", { class: "note cut" }, note), el("pre", { class: "value", tabindex: "0" }, lines.join("\n")));
}

// A value as lines, and what must be said of them.
function shownLines(data) {
  const text = textOf(data);
  const most = text === null ? BINARY_MAX : TEXT_MAX;
  const part = data.length > most ? data.subarray(0, most) : data;
  const lines = text === null ? hexRows(part) : new TextDecoder().decode(part).split("\n");
  const notes = [];
  if (text === null) notes.push("Not text: shown as bytes.");
  if (part !== data) notes.push(`Cut: the first ${bytes(most)} of ${bytes(data.length)} (${plural(data.length, "byte")}).`);
  return { lines, note: notes.join(" "), is_text: text !== null };
}

function change(before, after) {
  let [old, now] = [shownLines(before), shownLines(after)];
  if (old.is_text !== now.is_text) return el("p", { class: "note" }, old.is_text ? "It was text." : "It was not text.");
  const entries = diff(old.lines, now.lines);
  if (entries === null) return el("p", { class: "note" }, "Too much changed to be compared.");
  const isCut = old.note.includes("Cut") || now.note.includes("Cut");
  const notes = isCut ? [el("p", { class: "note cut" }, "Only the beginnings that are shown are compared.")] : [];
  if (entries.every(({ kind }) => kind === "same")) return el("div", {}, ...notes, el("p", { class: "note" }, "The same value."));
  const signs = { same: " ", gone: "−", new: "+" };
  const words = { gone: "removed: ", new: "added: " };
  const drawn = around(entries).map((entry) =>
    entry.kind === "cut"
      ? el("span", { class: "cut" }, `… ${plural(entry.lines, "line")} the same`)
      : el("span", { class: entry.kind }, el("span", { "aria-hidden": "true" }, `${signs[entry.kind]} `), words[entry.kind] && el("span", { class: "hide" }, words[entry.kind]), entry.text || "\u00a0"));
  return el("div", {}, ...notes, el("pre", { class: "diff", tabindex: "0" }, ...drawn));
}
