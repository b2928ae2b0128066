// The first view: what the member does now.

import { byId, el, emptyRow, row, say } from "./dom.js";
import { bars, columnAt, heat, lines, spark } from "./draw.js";
import * as as from "./format.js";
import { percentile } from "./live.js";

// Over so many seconds are tables and numbers; charts show all that is kept.
const RECENT_S = 10;
const DEVICE_WRITE = 3;
// What follows the answer of a put is not part of what clients wait for.
const SHARD_INSTALL = 7;
// Attributes of a cell that holds words.
const WORDS = { class: "word" };

export class Overview {
  #live;
  // The sample that the heat map's cursor is at; null is none.
  #cursor = null;

  constructor(live) {
    this.#live = live;
    const canvas = byId("heat");
    const at = (event) => this.#point(columnAt(canvas, event.offsetX, live.samples.length, live.slots));
    canvas.addEventListener("pointermove", at);
    canvas.addEventListener("pointerleave", () => this.#point(null));
    canvas.addEventListener("blur", () => this.#point(null));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const newest = live.samples.length - 1;
      this.#point(Math.max(0, Math.min(newest, (this.#cursor ?? newest + 1) + step)));
    });
    new ResizeObserver(() => this.#charts()).observe(canvas);
  }

  draw() {
    const { state } = this.#live;
    if (!state) return;
    const recent = this.#live.recent(RECENT_S);
    this.#figures(state, recent);
    this.#charts();
    this.#stages(recent);
    this.#sizes(recent);
    members(state);
    shards(state, recent);
    counts(state, recent);
    this.#slowest(state);
    work(state);
    about(state, recent);
  }

  #figures(state, recent) {
    const samples = this.#live.samples;
    const rate = (of) => samples.map((one) => of(one) / one.seconds);
    const latency = (share) => recent && percentile(recent.answered, recent.starts, share);
    const device = recent && percentile(recent.stages[DEVICE_WRITE], recent.starts, 0.99);
    const quota = state.store.quota_bytes;
    const per = (of) => (recent ? of(recent) / recent.seconds : 0);
    const figures = [
      ["puts", `${as.short(per((s) => s.puts))}/s`, rate((s) => s.puts)],
      ["flushes", `${as.short(per((s) => s.flushes))}/s`, rate((s) => s.flushes)],
      ["commit p50", latency(0.5) ? as.duration(latency(0.5)) : "–", samples.map((s) => percentile(s.answered, s.starts, 0.5) ?? 0)],
      ["commit p99", latency(0.99) ? as.duration(latency(0.99)) : "–", samples.map((s) => percentile(s.answered, s.starts, 0.99) ?? 0)],
      ["flush p99", device ? as.duration(device) : "–", samples.map((s) => percentile(s.stages[DEVICE_WRITE], s.starts, 0.99) ?? 0)],
      ["store", as.bytes(state.store.bytes), null, quota ? `of ${as.bytes(quota)}` : ""],
      ["keys", as.short(state.store.keys), null, `revision ${as.count(state.raft.revision)}`],
      ["processor", `${Math.round(100 * per((s) => s.cpu))} %`, rate((s) => s.cpu), `${as.bytes(state.process.resident_bytes ?? 0)} resident`],
    ];
    const figure = ([name, value, values, note]) =>
      el("li", {}, el("span", { class: "label" }, name), el("b", {}, value), values ? spark(values) : el("small", {}, note || "\u00a0"));
    byId("figures").replaceChildren(...figures.map(figure));
  }

  #charts() {
    const { samples } = this.#live;
    const at = (share) => samples.map((one) => percentile(one.answered, one.starts, share));
    const series = [{ name: "p99", values: at(0.99) }, { name: "p50", values: at(0.5) }];
    lines(byId("latency"), series, this.#live.slots, as.duration);
    byId("latency-note").replaceChildren(el("i", { class: "key p50" }), "p50 ", el("i", { class: "key p99" }), "p99, from a command's arrival until its answer");
    const columns = samples.map((one) => one.stages[DEVICE_WRITE].counts);
    heat(byId("heat"), columns, this.#live.slots, samples[0]?.starts ?? [], as.duration, this.#cursor);
    say(byId("heat-note"), "device writes of the log, each column a second");
    say(byId("heat-at"), this.#cursor == null ? "" : heatText(samples[this.#cursor]));
  }

  #point(column) {
    if (column === this.#cursor) return;
    this.#cursor = column;
    this.#charts();
  }

  #stages(recent) {
    const names = this.#live.state.commits.stages.map(({ stage }) => stage);
    const waited = recent ? recent.stages.slice(0, SHARD_INSTALL).reduce((sum, one) => sum + one.sum, 0) : 0;
    const rows = names.map((name, i) => {
      const stage = recent?.stages[i];
      const share = stage && waited > 0 && i !== SHARD_INSTALL ? stage.sum / waited : 0;
      const bar = el("i", { class: `stage-${i}` });
      bar.style.width = `${100 * share}%`;
      const shown = !stage?.total ? "" : i === SHARD_INSTALL ? el("span", { class: "note" }, "beside") : el("span", { class: "share", title: `${(100 * share).toFixed(1)} %` }, bar, el("small", {}, `${Math.round(100 * share)} %`));
      const time = (q) => (stage?.total ? as.duration(percentile(stage, recent.starts, q)) : "–");
      return row([name.replace("_", " "), [shown, { class: "grow" }], time(0.5), time(0.99)]);
    });
    byId("stages").replaceChildren(...rows);
    say(byId("stages-note"), recent?.answered.total ? `${as.plural(recent.answered.total, "commit")} in ${Math.round(recent.seconds)} s` : "no commits of this member");
  }

  #sizes(recent) {
    const none = new Array(32).fill(0);
    bars(byId("by-commands"), recent?.byCommands ?? none, as.short, "commands in a flush");
    bars(byId("by-bytes"), recent?.byBytes ?? none, (size) => as.bytes(size).replace(" ", ""), "bytes in a flush");
    say(byId("sizes-note"), recent?.flushes ? `${as.short(recent.commands / recent.flushes)} commands, ${as.bytes(recent.bytes / recent.flushes)} on average` : "");
  }

  #slowest(state) {
    const rows = this.#live.slowest.map((flush) => {
      // A narrow screen has no room for the time that the stage took of it.
      const stage = el("span", {}, flush.stage.replace("_", " "), el("span", { class: "spare" }, `, ${as.duration(flush.stage_ns)}`));
      return row([as.span((state.clock_ns - flush.began_ns) / 1e9), as.duration(flush.took_ns), [stage, WORDS], as.count(flush.commands)]);
    });
    byId("slowest").replaceChildren(...(rows.length ? rows : [emptyRow(4, "no flushes")]));
  }
}

function heatText(sample) {
  if (!sample) return "";
  const stage = sample.stages[DEVICE_WRITE];
  const time = new Date(sample.at).toLocaleTimeString();
  if (!stage.total) return `${time}: no flushes`;
  const at = (share) => as.duration(percentile(stage, sample.starts, share));
  return `${time}: ${as.plural(stage.total, "flush", "flushes")}, p50 ${at(0.5)}, p99 ${at(0.99)}, slowest below ${at(1)}`;
}

function members(state) {
  const { members, raft, alarms } = state;
  const rows = members.map((member) => {
    const role = member.id === raft.leader ? "leader" : member.learner ? "learner" : "follower";
    const alarm = alarms.filter((one) => one.member === member.id).map((one) => el("span", { class: "tag bad" }, one.kind));
    const name = el("span", { title: [...(member.client_urls ?? []), ...(member.peer_urls ?? [])].join("\n") }, member.name || member.id, member.us && el("span", { class: "note" }, " this one"), ...alarm);
    const link = member.us ? "" : member.connected ? (member.connected_s == null ? "up" : `up ${as.span(member.connected_s)}`) : el("span", { class: "bad" }, "down");
    const trip = member.us ? "" : member.round_trip_us == null ? "–" : as.duration(member.round_trip_us * 1000);
    return row([name, [role, { class: role === "leader" ? "word strong" : "word" }], [link, WORDS], trip]);
  });
  byId("members").replaceChildren(...(rows.length ? rows : [emptyRow(4, "none yet")]));
  say(byId("members-note"), state.auth.shows_members ? `term ${as.count(raft.term)}` : "names are shown to users who signed in");
}

function shards(state, recent) {
  const rows = state.shards.map((shard, i) =>
    row([String(i), as.count(shard.keys), as.bytes(shard.bytes), recent ? as.short((recent.shardPuts[i] ?? 0) / recent.seconds) : "–", as.count(shard.behind)]));
  byId("shards").replaceChildren(...rows);
  say(byId("shards-note"), `applied to ${as.count(state.raft.applied)}`);
}

function counts(state, recent) {
  const { watches, leases, commands } = state;
  const rate = (of) => (recent ? `${as.short(recent[of] / recent.seconds)}/s` : "–");
  const rows = [
    ["watchers", as.count(watches.watchers), `on ${as.plural(watches.streams, "stream")}`],
    ["behind", as.count(watches.slow), `${as.plural(watches.pending, "event")} pending`],
    ["events sent", as.short(watches.events), rate("events")],
    ["leases", as.count(leases.count), `${as.short(leases.granted)} granted here`],
    ["renewals", as.short(leases.renewed), rate("renewed")],
    ["leases ended", as.short(leases.revoked + leases.expired), `${as.short(leases.expired)} by their time`],
    ["commands waiting", as.count(commands.pending), `${as.short(commands.failed)} refused`],
  ];
  byId("counts").replaceChildren(...rows.map(([name, value, note]) => row([name, [value, { class: "number" }], [note, { class: "note" }]])));
}

function work(state) {
  const rows = state.work.toReversed().map((one) => {
    const took = one.ended_ns == null ? "going on" : as.duration(one.ended_ns - one.began_ns);
    return row([one.work, one.work === "snapshot" ? "" : String(one.shard), `${as.span((state.clock_ns - one.began_ns) / 1e9)} ago`, took]);
  });
  byId("work").replaceChildren(...(rows.length ? rows.slice(0, 8) : [emptyRow(4, "none")]));
}

function about(state, recent) {
  const { raft, process, store } = state;
  const rows = [
    ["member", raft.member], ["cluster", raft.cluster],
    ["running", process.started_s ? as.span(state.unix_ms / 1000 - process.started_s) : "–"],
    ["log", recent ? `${as.bytes(recent.bytes / recent.seconds)}/s` : "–"],
    ["compacted up to", raft.compacted < 0 ? "never" : as.count(raft.compacted)],
    ["durable in shards", `${as.count(raft.applied - raft.stable)} entries behind`],
    ["threads, files", `${process.threads ?? "–"}, ${process.open_fds ?? "–"}`],
    ["keys written", `${as.count(store.puts)}, ${as.count(store.deletes)} deleted`],
  ];
  byId("about").replaceChildren(...rows.map(([name, value]) => row([name, [value, { class: "number" }]])));
}
