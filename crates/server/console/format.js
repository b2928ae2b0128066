// Numbers, times and bytes as people read them.

const UTF8 = new TextDecoder("utf-8", { fatal: true });
const ENCODER = new TextEncoder();

export const count = (n) => (typeof n === "bigint" ? n : Math.round(n)).toLocaleString("en");

// With three digits: 12.3k.
export function short(n) {
  const units = ["", "k", "M", "G", "T"];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) [n, unit] = [n / 1000, unit + 1];
  return digits(n, unit === 0 ? 1 : 2) + units[unit];
}

function digits(n, after) {
  if (Number.isInteger(n) || n >= 100) return String(Math.round(n));
  return n.toFixed(n >= 10 ? Math.min(after, 1) : after);
}

export function duration(ns) {
  const units = [["ns", 1e3], ["µs", 1e3], ["ms", 1e3], ["s", Infinity]];
  for (const [unit, next] of units) {
    if (ns < next * 0.9995) return `${digits(ns, 2)} ${unit}`;
    ns /= next;
  }
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1023.5 && unit < units.length - 1) [n, unit] = [n / 1024, unit + 1];
  return `${digits(n, 2)} ${units[unit]}`;
}

// Seconds, in the two largest units.
export function span(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = parts[first];
  const whole = Math.floor(seconds / size);
  const [nextUnit, nextSize] = parts[first + 1] ?? [];
  const rest = nextUnit ? Math.floor((seconds % size) / nextSize) : 0;
  return rest > 0 ? `${whole} ${unit} ${rest} ${nextUnit}` : `${whole} ${unit}`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function fromBase64(text = "") {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export function toBase64(data) {
  let text = "";
  for (const byte of data) text += String.fromCharCode(byte);
  return btoa(text);
}

const hex = (byte) => byte.toString(16).padStart(2, "0");

// Control characters, and those that change how others are shown or show nothing themselves: no key or value may look like another.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/u;
const HIDDEN_IN_VALUE = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/u;

// A key on one line: letters as they are, everything else as \x00, which `parseKey` reads again.
export function keyText(data) {
  try {
    const text = UTF8.decode(data);
    return [...text].map((c) => (c === "\\" ? "\\\\" : HIDDEN.test(c) ? escaped(ENCODER.encode(c)) : c)).join("");
  } catch {
    return [...data].map((b) => (b === 92 ? "\\\\" : b >= 32 && b < 127 ? String.fromCharCode(b) : escaped([b]))).join("");
  }
}

const escaped = (data) => [...data].map((byte) => `\\x${hex(byte)}`).join("");

export function parseKey(text) {
  const parts = text.split(/(\\x[0-9a-fA-F]{2}|\\\\)/);
  const bytesOf = (part, i) =>
    i % 2 === 0 ? [...ENCODER.encode(part)] : part === "\\\\" ? [92] : [Number.parseInt(part.slice(2), 16)];
  return Uint8Array.from(parts.flatMap(bytesOf));
}

// The text of a value, or null if it is not text or would not show as what it is.
export function textOf(data) {
  try {
    const text = UTF8.decode(data);
    return HIDDEN_IN_VALUE.test(text) ? null : text;
  } catch {
    return null;
  }
}

// Rows of sixteen bytes: offset, hex, letters.
export function hexRows(data) {
  const rows = [];
  for (let at = 0; at < data.length; at += 16) {
    const part = [...data.subarray(at, at + 16)];
    const letters = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "."));
    rows.push(`${at.toString(16).padStart(6, "0")}  ${part.map(hex).join(" ").padEnd(47)}  ${letters.join("")}`);
  }
  return rows;
}
