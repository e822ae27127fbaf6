// Draws a heat-map on its canvas: cells, hatches, names of rows, ticks.

import { diverging, sequential, token } from "../colours.js";
import { ticks, xTicks } from "./axis.js";
import { LEFT } from "./hand.js";
import { columnsOf, hatch, imageOf } from "./paint.js";
import { RIGHT } from "./plot.js";

/** @typedef {import("./heatmap.js").Heat} Heat */
/** @typedef {import("./heatmap.js").HeatRow} HeatRow */

/** Room for the ticks below the cells, px. */
export const BOTTOM = 22;

/** Rows that must be seen however many there are: of ranks that are gone, have a hole, or stray. @param {Heat} heat */
export const notableOf = (heat) =>
  new Set([
    ...heat.holes.map(({ row }) => row),
    ...heat.rows.flatMap((row, at) => (row.goneAfter !== null || row.strays ? [at] : [])),
  ]);

/** @param {HTMLCanvasElement} canvas @param {{heat: Heat, edges: Float64Array, kind: "value" | "skew", xKind: string, from: number, to: number, width: number, height: number, chosen: number[]}} of */
export function paint(canvas, { heat, edges, kind, xKind, from, to, width, height, chosen }) {
  const ratio = devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round((height + BOTTOM) * ratio);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const inner = Math.round((width - LEFT - RIGHT) * ratio);
  const [left, tall, rows] = [Math.round(LEFT * ratio), Math.round(height * ratio), heat.rows.length];
  const columns = columnsOf(heat.grid, from, to, Math.max(inner, 1));
  const [low, high] = heat.range;
  const { median, skewMax } = heat;
  const share =
    kind === "skew" && median !== null
      ? (/** @type {number} */ value, /** @type {number} */ column) =>
          0.5 + (value - median[column]) / Math.abs(median[column]) / (2 * (skewMax || 1))
      : (/** @type {number} */ value) => (high > low ? (value - low) / (high - low) : 0.5);
  const image = imageOf(
    heat.cells,
    rows,
    heat.grid.length,
    columns,
    share,
    kind === "skew" ? diverging() : sequential(),
  );
  const buffer = new OffscreenCanvas(image.width, image.height);
  /** @type {OffscreenCanvasRenderingContext2D} */ (buffer.getContext("2d")).putImageData(image, 0, 0);
  pen.fillStyle = token("--surface");
  pen.fillRect(left, 0, inner, tall);
  // Ranks that are gone, and holes, under the cells: what was logged covers them.
  pen.fillStyle = hatch(pen, token("--hatch"), ratio);
  const place = (/** @type {number} */ x) => left + ((Math.max(from, Math.min(to, x)) - from) / (to - from)) * inner;
  const band = (/** @type {number} */ row, /** @type {number} */ start, /** @type {number} */ end) => {
    const wide = Math.max(place(end) - place(start), end >= from && start <= to ? 3 * ratio : 0);
    pen.fillRect(place(start), edges[row] * ratio, wide, (edges[row + 1] - edges[row]) * ratio);
  };
  heat.rows.forEach((row, at) => row.goneAfter !== null && row.goneAfter < to && band(at, row.goneAfter, to));
  for (const hole of heat.holes) band(hole.row, hole.from, hole.to);
  pen.imageSmoothingEnabled = false;
  for (const { first, last } of alikeOf(edges)) {
    const [top, bottom] = [edges[first] * ratio, edges[last + 1] * ratio];
    pen.drawImage(buffer, 0, first, image.width, last - first + 1, left, top, inner, bottom - top);
  }
  frame(pen, { heat, edges, xKind, from, to, ratio, left, inner, tall, rows, chosen });
}

/** Rows in turn that are of one height: they are drawn at once. @param {Float64Array} edges */
function alikeOf(edges) {
  /** @type {{first: number, last: number, tall: number}[]} */
  const found = [];
  for (let row = 0; row + 1 < edges.length; row += 1) {
    const [tall, before] = [edges[row + 1] - edges[row], found.at(-1)];
    if (before !== undefined && Math.abs(before.tall - tall) < 1e-6) before.last = row;
    else found.push({ first: row, last: row, tall });
  }
  return found;
}

/** Rows lower than this, px, have no lines between their nodes: the lines would be all one sees. */
const LINED = 5;
/** Nodes nearer to each other than this, px, have no marks between them: the marks would be a bar. */
const APART = 3;

/** Names at the left, lines between nodes, ticks below. @param {CanvasRenderingContext2D} pen @param {{heat: Heat, edges: Float64Array, xKind: string, from: number, to: number, ratio: number, left: number, inner: number, tall: number, rows: number, chosen: number[]}} of */
function frame(pen, { heat, edges, xKind, from, to, ratio, left, inner, tall, rows, chosen }) {
  pen.font = `${11 * ratio}px ${token("--font")}`;
  const apart = tall / Math.max(rows, 1);
  const roomy = apart >= 13 * ratio;
  const notable = notableOf(heat);
  const groups = groupsOf(heat.rows);
  const crowded = tall / groups.length < APART * ratio;
  for (const { first } of crowded ? [] : groups.slice(1)) {
    const top = Math.round(edges[first] * ratio);
    pen.strokeStyle = token(apart >= LINED * ratio ? "--bg" : "--muted");
    pen.lineWidth = apart >= LINED * ratio ? ratio * 1.5 : ratio;
    pen.beginPath();
    pen.moveTo(apart >= LINED * ratio ? left : left - 4 * ratio, top);
    pen.lineTo(apart >= LINED * ratio ? left + inner : left, top);
    pen.stroke();
  }
  // Ranks that something is amiss with are named first, nodes where there is room left.
  const amiss =
    roomy || notable.size > 24
      ? []
      : [...notable].map((row) => {
          const { short: name, label, strays, goneAfter } = heat.rows[row];
          const bad = goneAfter !== null || !strays;
          const [sign, text] = [bad ? "✕" : "▲", name ?? label];
          const whole = `${sign} ${text}`;
          const fits = pen.measureText(whole).width <= left - 8 * ratio;
          // Of a row of several ranks the first tells it from the others.
          return { text: fits ? whole : `${sign}${text.replace(/–.*/, "…")}`, row, tone: bad ? "--bad" : "--warn" };
        });
  // A device after the first of its node needs no name of the node; where that is long, the first has nothing else.
  const nameOf = (/** @type {HeatRow} */ row, /** @type {boolean} */ follows) =>
    !row.label.startsWith(row.group)
      ? row.label
      : follows
        ? (row.short ?? row.label)
        : pen.measureText(row.label).width <= left - 8 * ratio
          ? row.label
          : row.group;
  const names = groups.flatMap(({ first, last, group }) => {
    if (!roomy)
      return [{ text: groups.length === 1 ? `${rows} rows` : group, row: (first + last) / 2, tone: "--muted" }];
    return heat.rows
      .slice(first, last + 1)
      .map((row, at) => ({ text: nameOf(row, at > 0), row: first + at, tone: "--muted" }));
  });
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  /** @type {number[]} */
  const taken = [];
  for (const { text, row, tone } of [...amiss, ...names]) {
    const [above, below] = [Math.floor(row), Math.ceil(row)];
    const middle = ((edges[above] + edges[below + 1]) / 2) * ratio;
    if (taken.some((other) => Math.abs(other - middle) < 12 * ratio)) continue;
    taken.push(middle);
    pen.fillStyle = token(tone);
    pen.fillText(fitted(pen, text, left - 8 * ratio), left - 6 * ratio, Math.max(middle, 6 * ratio));
  }
  pen.fillStyle = token("--bad");
  heat.rows.forEach((row, at) => {
    if (row.goneAfter === null || row.goneAfter < from || row.goneAfter > to) return;
    const x = left + ((row.goneAfter - from) / (to - from)) * inner;
    const [top, high] = [edges[at] * ratio, (edges[at + 1] - edges[at]) * ratio];
    const half = Math.max(high / 2, 4 * ratio);
    pen.fillRect(x - ratio, top + high / 2 - half, 2 * ratio, 2 * half);
  });
  pen.strokeStyle = token("--text");
  pen.lineWidth = 1.5 * ratio;
  for (const row of chosen) {
    const high = (edges[row + 1] - edges[row]) * ratio;
    pen.strokeRect(left, edges[row] * ratio, inner, Math.max(high, 2 * ratio));
  }
  pen.fillStyle = token("--muted");
  pen.textBaseline = "top";
  pen.textAlign = "center";
  const places = ticks(from, to, inner / ratio / (xKind === "wall" ? 110 : 90), xKind);
  xTicks(places, xKind).forEach((text, at) => {
    const x = left + ((places[at] - from) / (to - from)) * inner;
    pen.fillRect(Math.round(x), tall, Math.max(1, Math.round(ratio)), 4 * ratio);
    const half = pen.measureText(text).width / 2;
    pen.fillText(text, Math.min(x, left + inner + RIGHT * ratio - half), tall + 7 * ratio);
  });
}

/** Rows of one node that lie together. @param {HeatRow[]} rows */
function groupsOf(rows) {
  /** @type {{first: number, last: number, group: string}[]} */
  const found = [];
  rows.forEach(({ group }, at) => {
    const last = found.at(-1);
    if (last !== undefined && last.group === group) last.last = at;
    else found.push({ first: at, last: at, group });
  });
  return found;
}

/** @param {CanvasRenderingContext2D} pen @param {string} text @param {number} room */
function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let kept = text.length;
  while (kept > 1 && pen.measureText(`…${text.slice(-kept)}`).width > room) kept -= 1;
  return `…${text.slice(-kept)}`; // the end of a node's name tells it from the others
}
