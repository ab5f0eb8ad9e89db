// Small line charts: one scale for all lines, no axes, and the numbers stand beside them as text.

import { setAttribute, svg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 48;
const PAD = 1.5;

/** A list of the last `length` values. */
export function createHistory(length) {
  const values = [];
  return {
    values,
    length,
    push(value) {
      values.push(value ?? null);
      if (values.length > length) values.shift();
    },
  };
}

/**
 * Draws `lines`, `{name, history, isFilled}`; the newest value is at the right edge. Answers the top of the scale, which is at
 * least `least`.
 */
export function draw(node, lines, least) {
  setAttribute(node, "viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  setAttribute(node, "preserveAspectRatio", "none");
  const known = lines.flatMap((line) => line.history.values).filter((value) => value !== null);
  const top = Math.max(least, ...known);
  setAttribute(path(node, "base"), "d", `M0 ${HEIGHT - PAD}H${WIDTH}`);
  for (const { name, history, isFilled } of lines) {
    const points = history.values.map((value, i) => point(value, i + history.length - history.values.length, history.length, top));
    // What never was above 0 needs no line.
    const isFlat = history.values.every((value) => !value);
    if (isFilled) setAttribute(path(node, `${name}-fill`), "d", isFlat ? "" : area(points));
    setAttribute(path(node, name), "d", isFlat ? "" : line(points));
  }
  return top;
}

function path(node, name) {
  return node.querySelector(`.${name}`) ?? node.appendChild(svg("path", { class: name }));
}

function point(value, place, length, top) {
  if (value === null) return null;
  const x = (place / (length - 1)) * WIDTH;
  const y = HEIGHT - PAD - (value / top) * (HEIGHT - 2 * PAD);
  return [x.toFixed(1), y.toFixed(1)];
}

/** A line that breaks off where nothing is known. */
function line(points) {
  let drawing = false;
  let d = "";
  for (const at of points) {
    if (at) d += `${drawing ? "L" : "M"}${at[0]} ${at[1]}`;
    drawing = at !== null;
  }
  return d;
}

function area(points) {
  const known = points.filter((at) => at !== null);
  if (known.length < 2) return "";
  const base = HEIGHT - PAD;
  const through = known.map((at) => `L${at[0]} ${at[1]}`).join("");
  return `M${known[0][0]} ${base}${through}L${known.at(-1)[0]} ${base}Z`;
}
