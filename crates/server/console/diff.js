// What changed between two lists of lines: the longest common subsequence, between equal beginnings and ends.

// Lines on each side that are compared; beyond, the difference is not made, and the caller says so.
export const LINES_MAX = 2000;

// Entries { kind: "same" | "gone" | "new", text }, or null if there is too much to compare.
export function diff(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let [a, b] = [before.length, after.length];
  while (a > start && b > start && before[a - 1] === after[b - 1]) [a, b] = [a - 1, b - 1];
  const [left, right] = [before.slice(start, a), after.slice(start, b)];
  if (left.length > LINES_MAX || right.length > LINES_MAX) return null;
  const same = (lines) => lines.map((text) => ({ kind: "same", text }));
  return [...same(before.slice(0, start)), ...changed(left, right), ...same(before.slice(a))];
}

function changed(left, right) {
  const width = right.length + 1;
  // lengths[i * width + j]: of the longest common subsequence of what follows i and j.
  const lengths = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      const at = i * width + j;
      lengths[at] = left[i] === right[j] ? lengths[at + width + 1] + 1 : Math.max(lengths[at + width], lengths[at + 1]);
    }
  }
  const entries = [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      entries.push({ kind: "same", text: left[i++] });
      j++;
    } else if (j >= right.length || (i < left.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      entries.push({ kind: "gone", text: left[i++] });
    } else {
      entries.push({ kind: "new", text: right[j++] });
    }
  }
  return entries;
}

// Without the parts that did not change but for a few lines around what did; what is left out becomes { kind: "cut", lines }.
export function around(entries, context = 3) {
  const near = new Set();
  entries.forEach(({ kind }, i) => {
    if (kind !== "same") for (let k = i - context; k <= i + context; k++) near.add(k);
  });
  const shown = [];
  entries.forEach((entry, i) => {
    if (near.has(i)) shown.push(entry);
    else if (shown.at(-1)?.kind === "cut") shown.at(-1).lines++;
    else shown.push({ kind: "cut", lines: 1 });
  });
  return shown;
}
