// Puts the views together: tabs, shortcuts, theme, signing in, and what is said when the member is silent.

import { byId, el, say } from "./dom.js";
import { Gateway } from "./gateway.js";
import { Keys } from "./keys.js";
import { Leases } from "./leases.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { step } from "./rows.js";

const VIEWS = ["overview", "keys", "leases"];
const THEMES = ["system", "light", "dark"];

const gateway = new Gateway();
const live = new Live(gateway);
const overview = new Overview(live);
const keys = new Keys(gateway);
const leases = new Leases(gateway, (key) => {
  show("keys", false);
  keys.reveal(key);
});
let view = "overview";

// Shows a view, and reads its list unless that is about to be done.
function show(name, reads = true) {
  view = name;
  for (const one of VIEWS) {
    const tab = byId(`tab-${one}`);
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    byId(one).hidden = one !== name;
  }
  if (name === "keys" && reads && live.state?.gateway && !keys.loaded) keys.find();
  if (name === "leases" && live.state?.gateway) leases.again();
  if (name === "overview") overview.draw();
}

function draw() {
  const { state, failed } = live;
  status(state, failed);
  document.body.classList.toggle("stale", Boolean(failed) && Boolean(state));
  if (!state) return;
  const us = state.members.find((member) => member.us);
  const name = us?.name || state.raft.member;
  say(byId("name"), name);
  document.title = `${name} – Windlass`;
  const role = state.raft.leader === state.raft.member ? "leader" : us?.learner ? "learner" : "follower";
  byId("role").hidden = false;
  say(byId("role"), role);
  say(byId("foot"), `Windlass ${state.windlass}, serving etcd ${state.etcd}. Read-only.`);
  byId("sign").hidden = !state.auth.enabled || !state.gateway;
  say(byId("sign"), gateway.user ? `Sign out ${gateway.user}` : "Sign in");
  reach(state);
  if (view === "overview") overview.draw();
}

function status(state, failed) {
  const pill = byId("status");
  const [tone, text] = live.paused ? ["idle", "paused"]
    : failed ? ["bad", "no answer"]
    : !state ? ["idle", "connecting"]
    : state.trouble ? ["bad", state.trouble.toLowerCase()]
    : ["good", "healthy"];
  pill.dataset.tone = tone;
  say(pill, text);
  const since = live.answeredAt ? ` since ${new Date(live.answeredAt).toLocaleTimeString()}; what is shown is from then` : "";
  byId("notice").hidden = !failed;
  say(byId("notice"), failed ? `The member does not answer${since}: ${failed}. Asking again every second.` : "");
}

// Keys and leases are read through the JSON gateway; where this address has none, says so, and where to go.
function reach(state) {
  for (const name of ["keys", "leases"]) {
    byId(`${name}-on`).hidden = !state.gateway;
    const off = byId(`${name}-off`);
    off.hidden = state.gateway;
    if (state.gateway || off.childElementCount > 0) continue;
    const us = state.members.find((member) => member.us);
    const places = (us?.client_urls ?? []).filter((url) => /^https?:/.test(url)).map((url) => `${url.replace(/\/$/, "")}/console`);
    const links = places.flatMap((url) => [" ", el("a", { href: url, rel: "noreferrer" }, url)]);
    off.append(el("span", {}, `This address serves no clients, so it shows no ${name}. Open the console at an address for clients`, ...(links.length ? [":", ...links] : ["."])));
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  say(byId("theme"), `Theme: ${name}`);
  try {
    localStorage.setItem("windlass-theme", name);
  } catch {
    // A browser that keeps nothing: it holds for this page.
  }
  if (live.state) overview.draw();
}

function knownTheme() {
  try {
    const name = localStorage.getItem("windlass-theme");
    return THEMES.includes(name) ? name : "system";
  } catch {
    return "system";
  }
}

const nextTheme = () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]);

function pause() {
  live.toggle();
  byId("pause").setAttribute("aria-pressed", String(live.paused));
  say(byId("pause"), live.paused ? "Go on" : "Pause");
}

function sign() {
  if (gateway.user) return gateway.signOut();
  say(byId("login-error"), "");
  byId("login-form").reset();
  byId("login").showModal();
}

async function signIn(event) {
  event.preventDefault();
  try {
    await gateway.signIn(byId("user").value, byId("password").value);
    byId("login").close();
  } catch (refusal) {
    say(byId("login-error"), refusal.message);
  }
  byId("password").value = "";
}

// Rows of the view, moved through with j and k.
const LISTS = { keys: "key-rows", leases: "lease-rows" };
const stepRow = (by) => LISTS[view] && step(byId(LISTS[view]), by);

const paged = () => (view === "keys" ? keys : view === "leases" ? leases : null);

const SHORTCUTS = {
  1: () => show("overview"),
  2: () => show("keys"),
  3: () => show("leases"),
  "/": () => (show("keys"), byId("key").focus()),
  j: () => stepRow(1),
  k: () => stepRow(-1),
  n: () => paged()?.turn(1),
  b: () => paged()?.turn(-1),
  r: () => paged()?.again(),
  p: pause,
  t: nextTheme,
  "?": () => byId("shortcuts").showModal(),
  Escape: () => keys.close(),
};

function pressed(event) {
  const types = event.target.closest("input, select, textarea") && event.key !== "Escape";
  // One that was just closed has the focus for a moment yet.
  const answers = event.target.closest("dialog[open]");
  if (event.ctrlKey || event.metaKey || event.altKey || types || answers) return;
  const act = SHORTCUTS[event.key];
  if (!act) return;
  if (event.key !== "Escape") event.preventDefault();
  act();
}

function tabs(event) {
  const at = VIEWS.indexOf(view);
  const to = { ArrowLeft: at - 1 + VIEWS.length, ArrowRight: at + 1, Home: 0, End: VIEWS.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const name = VIEWS[to % VIEWS.length];
  show(name);
  byId(`tab-${name}`).focus();
}

for (const name of VIEWS) byId(`tab-${name}`).addEventListener("click", () => show(name));
document.querySelector("[role=tablist]").addEventListener("keydown", tabs);
document.addEventListener("keydown", pressed);
document.addEventListener("click", (event) => event.target.closest("[data-action=sign-in]") && (gateway.signOut(), sign()));
byId("pause").addEventListener("click", pause);
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", SHORTCUTS["?"]);
byId("sign").addEventListener("click", sign);
byId("login-form").addEventListener("submit", signIn);
byId("login-cancel").addEventListener("click", () => byId("login").close());
gateway.addEventListener("user", () => {
  draw();
  keys.close();
  paged()?.again();
  keys.loaded = view === "keys";
});
live.addEventListener("change", draw);
theme(knownTheme());
