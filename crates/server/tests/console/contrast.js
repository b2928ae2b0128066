// The texts on the page that are hard to read, each with its contrast to what is behind it. Source of the formulas: WCAG 2.2,
// "relative luminance" and "contrast ratio". An expression, for `Browser::value`.
(() => {
  const LEAST = 4.5;
  // Red, green and blue from 0 to 255, and alpha.
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+(e-\d+)?/g).map(Number);
    return text.startsWith("color(srgb") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const mix = (top, below, share) => [0, 1, 2].map((i) => top[i] * share + below[i] * (1 - share));
  const over = (top, below) => mix(top, below, top[3]);
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  // What is seen of a text and of what is behind it: opacity lets both through to what is below the element.
  const seen = ([element, ...inner], below, ink) => {
    const style = getComputedStyle(element);
    const ground = over(parse(style.backgroundColor), below);
    const [text, behind] = inner.length > 0 ? seen(inner, ground, ink) : [over(ink, ground), ground];
    return [text, behind].map((color) => mix(color, below, Number(style.opacity)));
  };
  const chain = (element) => (element ? [...chain(element.parentElement), element] : []);
  const complaint = (element, ink, text) => {
    const canvas = getComputedStyle(document.documentElement).colorScheme.includes("dark") ? [18, 18, 18] : [255, 255, 255];
    const [front, behind] = seen(chain(element), canvas, ink);
    const ratio = contrast(front, behind);
    const name = `${element.localName}${element.id && `#${element.id}`}.${element.getAttribute("class") ?? ""}`;
    return ratio < LEAST ? `${ratio.toFixed(2)} ${name} ${JSON.stringify(text.trim().slice(0, 30))}` : null;
  };
  const texts = (element) => [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("");
  const is_seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".hide, .skip, option");
  const complaints = [...document.querySelectorAll("body *")].filter(is_seen).flatMap((element) => {
    const style = getComputedStyle(element);
    const ink = parse(element.namespaceURI.endsWith("svg") ? style.fill.replace("none", "rgb(0 0 0 / 0)") : style.color);
    const own = texts(element).trim() || element.value || (element.localName === "select" ? element.selectedOptions[0]?.text : "");
    const found = own ? [complaint(element, ink, String(own))] : [];
    if (element.placeholder && !element.value) {
      found.push(complaint(element, parse(getComputedStyle(element, "::placeholder").color), element.placeholder));
    }
    return found.filter(Boolean);
  });
  return [...new Set(complaints)];
})()
