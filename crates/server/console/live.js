// What the member says of itself, once a second: sums since its start, of which each sample keeps what came in between.

export const INTERVAL_MS = 1000;
// Samples that are kept, three minutes of them; the oldest go first.
export const SAMPLES_MAX = 180;
// Charts show at least so many seconds, and then as many as the next of these.
const WINDOWS = [30, 60, 120, SAMPLES_MAX];
// How long an answer may take before the member counts as silent.
const PATIENCE_MS = 4000;
// Slow flushes that are kept, for this long.
const SLOWEST_MAX = 8;
const SLOWEST_NS = 120e9;

export class Live extends EventTarget {
  samples = [];
  slowest = [];
  // The newest answer; `failed` says why there is none since.
  state = null;
  failed = null;
  answeredAt = 0;
  paused = false;
  #timer = 0;
  #gateway;

  constructor(gateway) {
    super();
    this.#gateway = gateway;
    document.addEventListener("visibilitychange", () => this.#plan(0));
    this.#plan(0);
  }

  // Stops, or goes on.
  toggle() {
    this.paused = !this.paused;
    this.#plan(0);
    this.dispatchEvent(new Event("change"));
  }

  #plan(ms) {
    clearTimeout(this.#timer);
    if (!this.paused && !document.hidden) this.#timer = setTimeout(() => this.#look(), ms);
  }

  async #look() {
    const began = performance.now();
    try {
      const since = this.state?.commits.next ?? 0;
      const state = await this.#gateway.state(since, AbortSignal.timeout(PATIENCE_MS));
      if (this.paused) return;
      this.#take(state);
      this.failed = null;
      this.answeredAt = Date.now();
    } catch (error) {
      this.failed = error.name === "TimeoutError" ? `no answer within ${PATIENCE_MS / 1000} s` : "it cannot be reached";
    }
    this.dispatchEvent(new Event("change"));
    this.#plan(Math.max(0, INTERVAL_MS - (performance.now() - began)));
  }

  #take(state) {
    const before = this.state;
    this.state = state;
    if (before && !isSameRun(before, state)) [this.samples, this.slowest] = [[], []];
    else if (before && state.clock_ns > before.clock_ns) {
      this.samples.push(sample(before, state));
      if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    }
    const since = state.clock_ns - SLOWEST_NS;
    const slowest = [...this.slowest, ...state.commits.slowest].filter((flush) => flush.began_ns >= since);
    this.slowest = slowest.sort((a, b) => b.took_ns - a.took_ns).slice(0, SLOWEST_MAX);
  }

  // How many samples charts have room for.
  get slots() {
    return WINDOWS.find((slots) => slots >= this.samples.length);
  }

  // The newest samples of so many seconds, as one.
  recent(seconds) {
    return merge(this.samples.slice(-seconds));
  }
}

const isSameRun = (a, b) => a.process.pid === b.process.pid && a.clock_ns <= b.clock_ns && a.commits.flushes <= b.commits.flushes;

// What came between two answers.
function sample(before, after) {
  const stages = after.commits.stages.map((stage, i) => histogram(before.commits.stages[i], stage));
  const less = (of) => of(after) - of(before);
  return {
    at: after.unix_ms,
    seconds: less((s) => s.clock_ns) / 1e9,
    starts: after.commits.bucket_starts_ns,
    stages,
    answered: histogram(before.commits.answered, after.commits.answered),
    flushes: less((s) => s.commits.flushes),
    commands: less((s) => s.commits.commands),
    bytes: less((s) => s.commits.bytes),
    puts: less((s) => s.store.puts),
    deletes: less((s) => s.store.deletes),
    events: less((s) => s.watches.events),
    renewed: less((s) => s.leases.renewed),
    cpu: less((s) => s.process.cpu_s ?? 0),
    byCommands: after.commits.by_commands.map((n, i) => n - before.commits.by_commands[i]),
    byBytes: after.commits.by_bytes.map((n, i) => n - before.commits.by_bytes[i]),
    shardPuts: after.shards.map((shard, i) => shard.puts - (before.shards[i]?.puts ?? 0)),
  };
}

// The buckets that grew, as a map from bucket to count.
function histogram(before, after) {
  const known = new Map(before.counts);
  const counts = new Map();
  let total = 0;
  for (const [bucket, n] of after.counts) {
    const more = n - (known.get(bucket) ?? 0);
    if (more > 0) counts.set(bucket, more);
    total += more;
  }
  return { counts, total, sum: after.sum_ns - before.sum_ns };
}

function merge(samples) {
  if (samples.length === 0) return null;
  const add = (of) => samples.reduce((sum, one) => sum + of(one), 0);
  const addEach = (of) => samples[0][of].map((_, i) => samples.reduce((sum, one) => sum + (one[of][i] ?? 0), 0));
  const join = (of) => ({ counts: joined(samples.map((one) => of(one).counts)), total: add((one) => of(one).total), sum: add((one) => of(one).sum) });
  const sums = ["seconds", "flushes", "commands", "bytes", "puts", "deletes", "events", "renewed", "cpu"];
  return {
    ...Object.fromEntries(sums.map((name) => [name, add((one) => one[name])])),
    starts: samples[0].starts,
    stages: samples[0].stages.map((_, i) => join((one) => one.stages[i])),
    answered: join((one) => one.answered),
    byCommands: addEach("byCommands"),
    byBytes: addEach("byBytes"),
    shardPuts: addEach("shardPuts"),
  };
}

function joined(maps) {
  const all = new Map();
  for (const map of maps) for (const [bucket, n] of map) all.set(bucket, (all.get(bucket) ?? 0) + n);
  return all;
}

// The value below which a share of a histogram lies, in nanoseconds; null if it is empty.
export function percentile({ counts, total }, starts, share) {
  if (total <= 0) return null;
  let left = total * share;
  const buckets = [...counts.keys()].sort((a, b) => a - b);
  for (const bucket of buckets) {
    const n = counts.get(bucket);
    const end = starts[bucket + 1] ?? starts[bucket] * 1.25;
    if (left <= n) return starts[bucket] + (end - starts[bucket]) * (left / n);
    left -= n;
  }
  const last = buckets.at(-1);
  return starts[last + 1] ?? starts[last] * 1.25;
}
