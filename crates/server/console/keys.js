// The key browser: a page of keys at a time, without their values, which are read when a key is opened.

import { byId, el, emptyRow, row, say } from "./dom.js";
import { plural, fromBase64, keyText, parseKey, toBase64, count } from "./format.js";
import { wantsUser } from "./gateway.js";
import { History } from "./history.js";
import { refill, rove } from "./rows.js";

export const PAGE_KEYS = 50;
const ALL = Uint8Array.of(0);

export class Keys {
  #gateway;
  #history;
  // Where each page up to the shown one begins, and what the first said there is.
  #starts = [];
  #total = 0;
  #range = null;
  // Only the newest question's answer is shown.
  #asked = 0;
  loaded = false;

  constructor(gateway) {
    this.#gateway = gateway;
    this.#history = new History(gateway, () => this.#closed());
    byId("find").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find();
    });
    byId("next").addEventListener("click", () => this.turn(1));
    byId("before").addEventListener("click", () => this.turn(-1));
    byId("key-rows").addEventListener("click", (event) => this.open(event.target.closest("tr")));
    rove(byId("key-rows"));
  }

  // The first page of what the form asks for.
  find() {
    const [how, key] = [byId("how").value, parseKey(byId("key").value)];
    this.#range = { ...rangeOf(how, key), revision: byId("revision").value.trim() || "0" };
    this.#starts = [this.#range.key];
    this.#history.close();
    return this.#read();
  }

  // The next page, or the one before.
  turn(by) {
    if (by > 0 ? byId("next").disabled : byId("before").disabled) return;
    if (by > 0) this.#starts.push(byId("next").start);
    else this.#starts.pop();
    return this.#read();
  }

  // One key, wherever it was named.
  async reveal(key) {
    [byId("how").value, byId("key").value, byId("revision").value] = ["exact", keyText(key), ""];
    await this.find();
    return this.open(byId("key-rows").querySelector("tr"));
  }

  again() {
    return this.#range ? this.#read() : this.find();
  }

  open(line) {
    if (!line?.key) return;
    for (const other of byId("key-rows").children) other.setAttribute("aria-selected", String(other === line));
    byId("keys").classList.add("opened");
    return this.#history.open(line.key, this.#range.revision);
  }

  close() {
    this.#history.close();
  }

  #closed() {
    byId("keys").classList.remove("opened");
    const line = byId("key-rows").querySelector("[aria-selected=true]");
    line?.setAttribute("aria-selected", "false");
    line?.querySelector("button")?.focus();
  }

  async #read() {
    const asked = ++this.#asked;
    const start = this.#starts.at(-1);
    const request = {
      key: toBase64(start),
      range_end: toBase64(this.#range.end),
      revision: this.#range.revision,
      limit: PAGE_KEYS,
      keys_only: true,
    };
    let answer;
    try {
      answer = await this.#gateway.call("kv/range", request);
    } catch (refusal) {
      if (asked === this.#asked) this.#refused(refusal);
      return;
    }
    if (asked !== this.#asked) return;
    this.loaded = true;
    if (this.#starts.length === 1) this.#total = Number(answer.count ?? 0);
    this.#show(answer.kvs ?? [], answer);
  }

  #show(kvs, answer) {
    const lines = kvs.map(line);
    const refocus = refill(byId("key-rows"), lines.length ? lines : [emptyRow(4, "no keys")]);
    const first = (this.#starts.length - 1) * PAGE_KEYS + 1;
    say(byId("page"), kvs.length ? `${count(first)}–${count(first + kvs.length - 1)} of ${count(this.#total)}` : "");
    say(byId("keys-note"), `${plural(this.#total, "key")} at revision ${count(this.#range.revision === "0" ? answer.header.revision : this.#range.revision)}`);
    const last = kvs.at(-1);
    byId("next").disabled = !answer.more;
    byId("next").start = last && Uint8Array.of(...fromBase64(last.key), 0);
    byId("before").disabled = this.#starts.length < 2;
    refocus();
  }

  #refused(refusal) {
    byId("key-rows").replaceChildren();
    byId("next").disabled = byId("before").disabled = true;
    say(byId("page"), "");
    const signs = wantsUser(refusal) ? [" ", el("button", { type: "button", class: "link", "data-action": "sign-in" }, this.#gateway.user ? "Sign in as another user" : "Sign in")] : [];
    byId("keys-note").replaceChildren(el("span", { class: "bad" }, refusal.message), ...signs);
    this.#history.close();
  }
}

function line(kv) {
  const key = fromBase64(kv.key);
  const lease = kv.lease && kv.lease !== "0" ? BigInt(kv.lease).toString(16) : "";
  // A button, so that it can be reached and pressed with a keyboard as everything else.
  const name = el("button", { class: "key", type: "button" }, keyText(key));
  const made = row([[name, { class: "grow" }], count(kv.version), count(kv.mod_revision), lease], { "aria-selected": "false" });
  made.key = key;
  return made;
}

// The first key and the end of a range.
function rangeOf(how, key) {
  if (how === "exact" && key.length) return { key, end: new Uint8Array() };
  if (key.length === 0) return { key: ALL, end: ALL };
  return { key, end: how === "from" ? ALL : prefixEnd(key) };
}

// The prefix plus one at its last byte below 255.
function prefixEnd(prefix) {
  const last = prefix.findLastIndex((byte) => byte < 255);
  if (last < 0) return ALL;
  const end = prefix.slice(0, last + 1);
  end[last]++;
  return end;
}
