// Charts: lines and bars as SVG and elements, the heat map on a canvas. They take numbers and draw; they know no member.

import { el, svg } from "./dom.js";

const MARGIN = { left: 52, right: 8, top: 8, bottom: 18 };

// Lines over time, the newest at the right edge, on a logarithmic scale. `series` are { name, values } of which a value may
// be null; `text` says a value.
export function lines(target, series, slots, text) {
  const [width, height] = [target.clientWidth || 600, target.clientHeight || 160];
  const values = series.flatMap((one) => one.values).filter((value) => value > 0);
  target.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (values.length === 0) return target.replaceChildren(blank(width, height));
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values) * 1.01))];
  const x = (slot) => MARGIN.left + (slot / Math.max(1, slots - 1)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => height - MARGIN.bottom - ((Math.log10(value) - low) / Math.max(1, high - low)) * (height - MARGIN.top - MARGIN.bottom);
  const grid = [];
  for (let power = low; power <= high; power += Math.max(1, Math.ceil((high - low) / 4))) {
    const at = y(10 ** power);
    grid.push(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }));
    grid.push(svg("text", { class: "axis", x: MARGIN.left - 6, y: at + 3, "text-anchor": "end" }, text(10 ** power)));
  }
  const drawn = series.map(({ name, values }) => {
    const first = slots - values.length;
    return svg("path", { class: `line ${name}`, d: path(values, (i) => x(first + i), y) });
  });
  target.replaceChildren(...grid, ...drawn, ...timeAxis(slots, x, height));
}

// Seconds between two marks of the time axis.
const stepOf = (slots) => (slots > 120 ? 60 : slots > 60 ? 30 : 10);

// A path through what is there; a gap where it is not.
function path(values, x, y) {
  let [text, pen] = ["", "M"];
  values.forEach((value, i) => {
    if (!(value > 0)) return void (pen = "M");
    text += `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    // A lone point shows as a dot.
    if (pen === "M" && !(values[i + 1] > 0)) text += "h.1";
    pen = "L";
  });
  return text;
}

function timeAxis(slots, x, height) {
  const step = stepOf(slots);
  const marks = [];
  for (let ago = 0; ago < slots; ago += step) {
    const anchor = ago === 0 ? "end" : "middle";
    marks.push(svg("text", { class: "axis", x: x(slots - 1 - ago), y: height - 4, "text-anchor": anchor }, ago === 0 ? "now" : `−${ago} s`));
  }
  return marks;
}

const blank = (width, height) =>
  svg("text", { class: "axis", x: width / 2, y: height / 2, "text-anchor": "middle" }, "no commits yet");

// A line without axes.
export function spark(values) {
  const [width, height] = [100, 24];
  const most = Math.max(...values, 0);
  const y = (value) => height - 1 - (most > 0 ? (value / most) * (height - 2) : 0);
  const points = values.map((value, i) => `${((i / Math.max(1, values.length - 1)) * width).toFixed(1)},${y(value).toFixed(1)}`);
  const shape = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length > 1) {
    shape.append(svg("polygon", { points: `0,${height} ${points.join(" ")} ${width},${height}` }), svg("polyline", { points: points.join(" ") }));
  }
  return shape;
}

// One bar for each power of two between the first and the last that counts; `text` says a power's size.
export function bars(target, counts, text, label) {
  const first = counts.findIndex((n) => n > 0);
  const last = counts.findLastIndex((n) => n > 0);
  const [most, total] = [Math.max(...counts), counts.reduce((sum, n) => sum + n, 0)];
  if (first < 0) {
    target.setAttribute("aria-label", `${label}: none`);
    return target.replaceChildren(el("span", { class: "note" }, "none in the last ten seconds"));
  }
  const shown = counts.slice(first, last + 1).map((n, i) => ({ n, name: text(2 ** (first + i)) }));
  target.setAttribute("aria-label", `${label}: ${shown.map(({ n, name }) => `${name} ${Math.round((100 * n) / total)} %`).join(", ")}`);
  target.replaceChildren(...shown.map(({ n, name }) => {
    const bar = el("i");
    bar.style.height = `${n > 0 ? Math.max(3, (100 * n) / most) : 0}%`;
    return el("span", { class: "bar", title: `${name} and more: ${n}` }, el("span", { class: "column" }, bar), el("small", {}, name));
  }));
}

// Latency by time: a column for each sample, a row for each bucket, darker where more flushes lie.
export function heat(canvas, columns, slots, starts, text, cursor) {
  const [width, height] = [canvas.clientWidth || 600, canvas.clientHeight || 180];
  const scale = globalThis.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const ink = style.getPropertyValue("--muted");
  pen.font = `11px ${style.fontFamily}`;
  const used = columns.flatMap((column) => [...column.keys()]);
  if (used.length === 0) {
    pen.fillStyle = ink;
    pen.textAlign = "center";
    return void pen.fillText("no flushes yet", width / 2, height / 2);
  }
  const [low, high] = spread(Math.min(...used), Math.max(...used), starts.length);
  const plot = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
  const [cellW, cellH] = [plot.w / slots, plot.h / (high - low + 1)];
  const top = (bucket) => plot.y + plot.h - (bucket - low + 1) * cellH;
  const left = (i) => plot.x + (slots - columns.length + i) * cellW;
  pen.fillStyle = style.getPropertyValue("--heat");
  columns.forEach((column, i) => {
    const total = [...column.values()].reduce((sum, n) => sum + n, 0);
    for (const [bucket, n] of column) {
      // A single slow flush among thousands must still be seen.
      pen.globalAlpha = Math.max(0.22, Math.min(1, 1 + Math.log10(n / total) / 3.2));
      pen.fillRect(left(i), top(bucket), Math.max(1, cellW - 0.5), Math.max(1, cellH - 0.5));
    }
  });
  pen.globalAlpha = 1;
  pen.fillStyle = ink;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  // A label at every fourth power of two or so, which is where its bucket begins.
  const step = 4 * Math.max(1, Math.round((high - low) / 20));
  for (let bucket = Math.ceil(low / 4) * 4; bucket <= high; bucket += step) {
    pen.fillText(text(starts[bucket]), plot.x - 6, Math.max(plot.y + 4, top(bucket) + cellH));
  }
  pen.textBaseline = "alphabetic";
  for (let ago = 0; ago < slots; ago += stepOf(slots)) {
    pen.textAlign = ago === 0 ? "right" : "center";
    pen.fillText(ago === 0 ? "now" : `−${ago} s`, plot.x + plot.w - ago * cellW, height - 4);
  }
  if (cursor != null && columns[cursor]) {
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.strokeRect(left(cursor), plot.y, Math.max(2, cellW), plot.h);
  }
}

// At least two octaves, so that a quiet disk is not one thick line.
function spread(low, high, buckets) {
  const missing = Math.max(0, 8 - (high - low));
  return [Math.max(0, low - 1 - Math.ceil(missing / 2)), Math.min(buckets - 1, high + 1 + Math.floor(missing / 2))];
}

// Which column of the heat map a pointer is at.
export function columnAt(canvas, offsetX, columns, slots) {
  const cellW = (canvas.clientWidth - MARGIN.left - MARGIN.right) / slots;
  const column = Math.floor((offsetX - MARGIN.left) / cellW) - (slots - columns);
  return column >= 0 && column < columns ? column : null;
}
