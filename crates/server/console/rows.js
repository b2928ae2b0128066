// Lists of buttons: one of them is a stop of the tab key, and arrows, Home and End go from it to the others.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: -Infinity, End: Infinity };

const buttons = (list) => [...list.querySelectorAll("button")];

// Lets the buttons that are or will be in an element be moved through.
export function rove(list) {
  list.addEventListener("focusin", (event) => stopAt(list, event.target.closest("button")));
  list.addEventListener("keydown", (event) => {
    const by = STEPS[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    step(list, by);
  });
}

// Moves the focus by so many buttons, to where the tab key stops if it is elsewhere.
export function step(list, by) {
  const all = buttons(list);
  const at = all.indexOf(document.activeElement);
  const next = at < 0 ? Math.max(0, all.findIndex((one) => one.tabIndex === 0)) : Math.max(0, Math.min(all.length - 1, at + by));
  all[next]?.focus();
}

// Makes one button the stop.
export function stopAt(list, stop) {
  if (stop) for (const one of buttons(list)) one.tabIndex = one === stop ? 0 : -1;
}

// Puts other lines into a list. Who was in it stays in it, and who was on a button that can no longer be pressed comes to it.
export function refill(list, lines) {
  const was = document.activeElement;
  const within = list.contains(was);
  list.replaceChildren(...lines);
  const first = list.querySelector("button");
  stopAt(list, first);
  return () => (within || was?.disabled) && first?.focus();
}
