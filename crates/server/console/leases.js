// The leases: a page of them, each asked for what is left of it.

import { byId, el, emptyRow, row, say } from "./dom.js";
import { count, fromBase64, keyText, plural, span } from "./format.js";
import { wantsUser } from "./gateway.js";
import { refill, rove } from "./rows.js";

// Each is a question of its own to the leader.
const PAGE_LEASES = 20;
// Keys of a lease that are named.
const KEYS_SHOWN = 5;

export class Leases {
  #gateway;
  #ids = [];
  #page = 0;
  #asked = 0;

  // `reveal` shows a key that a lease has.
  constructor(gateway, reveal) {
    this.#gateway = gateway;
    byId("lease-rows").addEventListener("click", (event) => {
      const { key } = event.target.closest("button") ?? {};
      if (key) reveal(key);
    });
    rove(byId("lease-rows"));
    byId("leases-next").addEventListener("click", () => this.turn(1));
    byId("leases-before").addEventListener("click", () => this.turn(-1));
  }

  async again() {
    const asked = ++this.#asked;
    try {
      const { leases } = await this.#gateway.call("lease/leases", {});
      if (asked !== this.#asked) return;
      this.#ids = (leases ?? []).map(({ ID }) => ID);
      await this.#show(0);
    } catch (refusal) {
      if (asked === this.#asked) this.#refused(refusal);
    }
  }

  turn(by) {
    const button = byId(by > 0 ? "leases-next" : "leases-before");
    if (!button.disabled) return this.#show(this.#page + by).catch((refusal) => this.#refused(refusal));
  }

  async #show(page) {
    const asked = ++this.#asked;
    const ids = this.#ids.slice(page * PAGE_LEASES, (page + 1) * PAGE_LEASES);
    const answers = await Promise.all(ids.map((ID) => this.#gateway.call("lease/timetolive", { ID, keys: true })));
    if (asked !== this.#asked) return;
    this.#page = page;
    const refocus = refill(byId("lease-rows"), answers.length ? answers.map(line) : [emptyRow(4, "no leases")]);
    const first = page * PAGE_LEASES;
    say(byId("leases-note"), `${plural(this.#ids.length, "lease")}, those that end first in front`);
    say(byId("leases-page"), ids.length ? `${count(first + 1)}–${count(first + ids.length)} of ${count(this.#ids.length)}` : "");
    byId("leases-before").disabled = page === 0;
    byId("leases-next").disabled = first + ids.length >= this.#ids.length;
    refocus();
  }

  #refused(refusal) {
    byId("lease-rows").replaceChildren();
    byId("leases-next").disabled = byId("leases-before").disabled = true;
    say(byId("leases-page"), "");
    const signs = wantsUser(refusal) ? [" ", el("button", { type: "button", class: "link", "data-action": "sign-in" }, "Sign in")] : [];
    byId("leases-note").replaceChildren(el("span", { class: "bad" }, refusal.message), ...signs);
  }
}

function line(lease) {
  const ttl = Number(lease.TTL ?? 0);
  const keys = (lease.keys ?? []).map(fromBase64);
  const named = keys.slice(0, KEYS_SHOWN).map(keyButton);
  const more = keys.length > KEYS_SHOWN && el("span", { class: "note" }, ` and ${plural(keys.length - KEYS_SHOWN, "more", "more")}`);
  const left = ttl < 0 ? "ended" : span(ttl);
  return row([el("code", {}, BigInt(lease.ID).toString(16)), span(Number(lease.grantedTTL ?? 0)), left, [el("span", { class: "keys" }, ...named, more, keys.length === 0 && el("span", { class: "note" }, "none")), { class: "grow" }]]);
}

function keyButton(key) {
  const button = el("button", { class: "link key", type: "button", title: "Show the key" }, keyText(key));
  button.key = key;
  return button;
}
