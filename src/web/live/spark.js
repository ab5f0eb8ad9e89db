// Small line charts: one scale for all lines. What its top and its ends stand for is written beside them, as text.

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

/** Whether a history has anything to draw. */
export const hasValues = ({ values }) => values.some((value) => value > 0);

/**
 * Draws `lines`, `{name, history, isFilled}`; the newest value is at the right edge. Answers the top of the scale, which is at
 * least `least`, and a round number: so it does not move with every value.
 */
export function draw(node, lines, least) {
  setAttribute(node, "viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  setAttribute(node, "preserveAspectRatio", "none");
  const known = lines.flatMap((line) => line.history.values).filter((value) => value !== null);
  const top = roundUp(Math.max(least, ...known));
  setAttribute(path(node, "base"), "d", `M0 ${PAD}H${WIDTH}M0 ${HEIGHT - PAD}H${WIDTH}`);
  for (const { name, history, isFilled } of lines) {
    const points = history.values.map((value, i) => point(value, i + history.length - history.values.length, history.length, top));
    // What never was above 0 needs no line.
    const isFlat = !hasValues(history);
    if (isFilled) setAttribute(path(node, `${name}-fill`), "d", isFlat ? "" : area(points));
    setAttribute(path(node, name), "d", isFlat ? "" : line(points));
  }
  return top;
}

/** The next of 1, 2 and 5 with any number of zeros. */
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return unit * [1, 2, 5, 10].find((step) => step * unit >= value * 0.999);
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

/** A line that breaks off where nothing is known; a value alone is a dot. */
function line(points) {
  let d = "";
  points.forEach((at, i) => {
    if (!at) return;
    if (points[i - 1]) d += `L${at[0]} ${at[1]}`;
    else d += `M${at[0]} ${at[1]}${points[i + 1] ? "" : "h0"}`;
  });
  return d;
}

function area(points) {
  const known = points.filter((at) => at !== null);
  if (known.length < 2) return "";
  const base = HEIGHT - PAD;
  const through = known.map((at) => `L${at[0]} ${at[1]}`).join("");
  return `M${known[0][0]} ${base}${through}L${known.at(-1)[0]} ${base}Z`;
}
