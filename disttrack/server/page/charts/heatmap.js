// A heat-map: a row a rank or device, x as in all charts; dead ranks and holes hatched; drag zooms, a click chooses a row.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { useSignal } from "../vendor/signals.js";
import { diverging, gradient, sequential, token } from "../colours.js";
import { exact, short, size } from "../format.js";
import { dark } from "../theme.js";
import { columnsOf, hatch, imageOf, ticks } from "./paint.js";
import { LEFT, keyed } from "./hand.js";
import { xTicks } from "./marks.js";
import { RIGHT } from "./plot.js";
import { beside, named } from "./readings.js";
import { cursor, grid as sharedGrid, nearest, show, span } from "./shared.js";

/**
 * @typedef {object} HeatRow
 * @property {string} label
 * @property {string} group its node: rows of one node lie together, with a line between nodes
 * @property {number | null} goneAfter x after which it is gone; null: it is not
 * @property {string} state
 * @property {string} [detail] said where the cursor is
 */

/**
 * @typedef {object} Heat
 * @property {ArrayLike<number>} grid
 * @property {ArrayLike<number>} cells
 * @property {ArrayLike<number> | null} median of each column
 * @property {HeatRow[]} rows
 * @property {{row: number, from: number, to: number, why: string}[]} holes
 * @property {[number, number]} range of values that the colours span
 * @property {number} skewMax share of the median that the colours span, each way
 * @property {string | null} unit
 * @property {[number, number]} [domain] of x
 */

const BOTTOM = 22;

/** Rows between 1.2 and 18 px high: 8 ranks are no thin strip, 256 no wall. @param {number} rows */
export const heightOf = (rows) =>
  Math.round(Math.min(Math.max(rows * 18, 36), Math.max(170, Math.min(rows * 1.2, 620))));

/**
 * @param {object} props
 * @param {Heat} props.heat
 * @param {"value" | "skew"} props.show
 * @param {string} props.xKind
 * @param {string} props.label for screen readers
 * @param {(row: number) => void} [props.onRow]
 * @param {number[]} [props.chosen] rows that are framed
 * @param {number} [props.height] of the cells, px
 */
export function HeatMap({ heat, show: kind, xKind, label, onRow, chosen = [], height = heightOf(heat.rows.length) }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [width, setWidth] = useState(0);
  const pointed = useSignal(/** @type {{row: number, column: number, left: number, top: number} | null} */ (null));
  const brush = useSignal(/** @type {{from: number, to: number} | null} */ (null));
  const isDark = dark.value;
  const [from, to] = extent(heat);
  const inner = Math.max(width - LEFT - RIGHT, 1);

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const sizes = new ResizeObserver(() => setWidth(element.clientWidth));
    sizes.observe(element);
    setWidth(element.clientWidth);
    return () => sizes.disconnect();
  }, []);
  useEffect(() => {
    if (width > 0 && canvas.current !== null)
      paint(canvas.current, { heat, kind, xKind, from, to, width, height, chosen });
  }, [heat, kind, xKind, from, to, width, height, isDark, chosen.join()]);

  const xAt = (/** @type {number} */ left) => from + (Math.max(0, Math.min(left, inner)) / inner) * (to - from);
  const moved = (/** @type {PointerEvent} */ event) => {
    const [left, top] = [event.offsetX, event.offsetY];
    if (brush.value !== null) brush.value = { from: brush.value.from, to: Math.max(0, Math.min(left, inner)) };
    const row = Math.max(0, Math.min(heat.rows.length - 1, Math.floor((top / height) * heat.rows.length)));
    pointed.value = { row, column: nearest(heat.grid, xAt(left)), left: left + LEFT, top };
    sharedGrid.value = heat.grid;
    cursor.value = { x: xAt(left), by: box.current };
  };
  const released = () => {
    const drawn = brush.value;
    brush.value = null;
    if (drawn === null) return;
    const [low, high] = [Math.min(drawn.from, drawn.to), Math.max(drawn.from, drawn.to)];
    if (high - low > 4) show({ from: xAt(low), to: xAt(high) });
    else if (pointed.value !== null) onRow?.(pointed.value.row);
  };
  const left = () => {
    pointed.value = null;
    if (cursor.value?.by === box.current) cursor.value = null;
  };
  /** Arrows up and down read a row at the cursor, Enter chooses it. @param {KeyboardEvent} event */
  const rowed = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0;
    const now = pointed.value?.row ?? (by > 0 ? -1 : heat.rows.length);
    if (event.key === "Enter" && pointed.value !== null) onRow?.(pointed.value.row);
    else if (by === 0) return;
    else {
      const row = Math.max(0, Math.min(heat.rows.length - 1, now + by));
      const x = Math.max(from, Math.min(to, cursor.value?.x ?? (from + to) / 2));
      const share = (x - from) / (to - from);
      const top = ((row + 0.5) / heat.rows.length) * height;
      pointed.value = { row, column: nearest(heat.grid, x), left: share * inner + LEFT, top };
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div
    class="heat"
    ref=${box}
    role="group"
    aria-label=${label}
    tabindex="0"
    onBlur=${left}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      rowed(event);
      keyed(event, heat.grid);
    }}
  >
    <canvas ref=${canvas} style=${{ height: `${height + BOTTOM}px` }} aria-hidden="true"></canvas>
    <div
      class="frame"
      style=${{ left: `${LEFT}px`, top: "0px", width: `${inner}px`, height: `${height}px` }}
      onPointerDown=${(/** @type {PointerEvent} */ event) => {
        if (event.button !== 0) return;
        /** @type {Element} */ (event.target).setPointerCapture(event.pointerId);
        brush.value = { from: event.offsetX, to: event.offsetX };
      }}
      onPointerMove=${moved}
      onPointerUp=${released}
      onPointerLeave=${left}
      onDblClick=${() => show(null)}
    >
      <${Hair} from=${from} to=${to} width=${inner} />
      <${Brush} brush=${brush} />
    </div>
    <${Reading} pointed=${pointed} heat=${heat} xKind=${xKind} />
  </div>`;
}

/** @param {Heat} heat @returns {[number, number]} */
function extent(heat) {
  const now = span.value;
  if (now !== null) return [now.from, now.to];
  if (heat.domain !== undefined && heat.domain[1] > heat.domain[0]) return heat.domain;
  if (heat.grid.length === 0) return [0, 1];
  const [from, to] = [heat.grid[0], heat.grid[heat.grid.length - 1]];
  return from < to ? [from, to] : [from - 0.5, to + 0.5];
}

/** The cursor of all charts, here. @param {{from: number, to: number, width: number}} props */
function Hair({ from, to, width }) {
  const at = cursor.value;
  if (at === null || at.x < from || at.x > to) return null;
  return html`<span class="hair" style=${{ left: `${((at.x - from) / (to - from)) * width}px` }}></span>`;
}

/** @param {{brush: import("../vendor/signals.js").Signal<{from: number, to: number} | null>}} props */
function Brush({ brush }) {
  const drawn = brush.value;
  if (drawn === null) return null;
  const low = Math.min(drawn.from, drawn.to);
  return html`<span class="brush" style=${{ left: `${low}px`, width: `${Math.abs(drawn.to - drawn.from)}px` }}></span>`;
}

/** @param {{pointed: import("../vendor/signals.js").Signal<{row: number, column: number, left: number, top: number} | null>, heat: Heat, xKind: string}} props */
function Reading({ pointed, heat, xKind }) {
  const at = pointed.value;
  const row = at === null ? undefined : heat.rows[at.row];
  if (at === null || row === undefined || heat.grid.length === 0) return null;
  const value = heat.cells[at.row * heat.grid.length + at.column];
  const median = heat.median?.[at.column];
  const share = median !== undefined && median !== 0 ? (value - median) / Math.abs(median) : Number.NaN;
  const x = heat.grid[at.column];
  const hole = heat.holes.find((each) => each.row === at.row && each.from <= x && x <= each.to);
  const gone = row.goneAfter !== null && x > row.goneAfter;
  return html`<div class="readings" ref=${(/** @type {HTMLElement | null} */ element) => beside(element, at.left)}>
    <p><b>${row.label}</b>${said(row)} · ${named(x, xKind)}</p>
    <p>
      ${Number.isNaN(value) || value === undefined ? (gone ? `nothing: ${row.state}` : hole !== undefined ? `nothing: ${hole.why}` : "nothing") : html`<b title=${exact(value)}>${withUnit(value, heat.unit, 5)}</b>${!Number.isNaN(share) && html` <span class="quiet">${share >= 0 ? "+" : "−"}${short(Math.abs(share) * 100, 3)} % of the median</span>`}`}
    </p>
  </div>`;
}

/** @param {HTMLCanvasElement} canvas @param {{heat: Heat, kind: "value" | "skew", xKind: string, from: number, to: number, width: number, height: number, chosen: number[]}} of */
function paint(canvas, { heat, kind, xKind, from, to, width, height, chosen }) {
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
  pen.fillStyle = hatch(pen, token("--muted"), ratio);
  const place = (/** @type {number} */ x) => left + ((Math.max(from, Math.min(to, x)) - from) / (to - from)) * inner;
  const band = (/** @type {number} */ row, /** @type {number} */ start, /** @type {number} */ end) => {
    const [top, bottom] = [(row / rows) * tall, ((row + 1) / rows) * tall];
    pen.fillRect(place(start), top, place(end) - place(start), bottom - top);
  };
  heat.rows.forEach((row, at) => row.goneAfter !== null && band(at, row.goneAfter, to));
  for (const hole of heat.holes) band(hole.row, hole.from, hole.to);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(buffer, left, 0, inner, tall);
  frame(pen, { heat, xKind, from, to, ratio, left, inner, tall, rows, chosen });
}

/** Names at the left, lines between nodes, ticks below. @param {CanvasRenderingContext2D} pen @param {{heat: Heat, xKind: string, from: number, to: number, ratio: number, left: number, inner: number, tall: number, rows: number, chosen: number[]}} of */
function frame(pen, { heat, xKind, from, to, ratio, left, inner, tall, rows, chosen }) {
  pen.font = `${11 * ratio}px ${token("--font")}`;
  pen.fillStyle = token("--muted");
  pen.strokeStyle = token("--bg");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  let free = -Infinity;
  const apart = tall / Math.max(rows, 1);
  const roomy = apart >= 13 * ratio;
  for (const { first, last, group } of groupsOf(heat.rows)) {
    if (first > 0) {
      pen.lineWidth = Math.max(1, Math.min(ratio * 1.5, apart / 3));
      pen.beginPath();
      pen.moveTo(left, Math.round(first * apart));
      pen.lineTo(left + inner, Math.round(first * apart));
      pen.stroke();
    }
    const names = roomy
      ? heat.rows.slice(first, last + 1).map((row, at) => ({ text: row.label, row: first + at }))
      : [{ text: first === 0 && last === rows - 1 ? `${rows} rows` : group, row: (first + last) / 2 }];
    for (const { text, row } of names) {
      const middle = (row + 0.5) * apart;
      if (middle < free) continue;
      pen.fillText(fitted(pen, text, left - 8 * ratio), left - 6 * ratio, Math.max(middle, 6 * ratio));
      free = middle + 12 * ratio;
    }
  }
  pen.fillStyle = token("--bad");
  heat.rows.forEach((row, at) => {
    if (row.goneAfter === null || row.goneAfter < from || row.goneAfter > to) return;
    const x = left + ((row.goneAfter - from) / (to - from)) * inner;
    pen.fillRect(x - ratio, (at + 0.5) * apart - Math.max(apart / 2, 4 * ratio), 2 * ratio, Math.max(apart, 8 * ratio));
  });
  pen.fillStyle = token("--muted");
  pen.strokeStyle = token("--text");
  pen.lineWidth = 1.5 * ratio;
  for (const row of chosen) pen.strokeRect(left, row * apart, inner, Math.max(apart, 2 * ratio));
  pen.textBaseline = "top";
  pen.textAlign = "center";
  const places = ticks(from, to, inner / ratio / (xKind === "wall" ? 110 : 90));
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

/** @param {HeatRow} row */
const said = (row) => {
  const more = row.detail ?? row.group;
  return more === "" || row.label.startsWith(more) ? "" : ` · ${more}`;
};

/** A value with its unit. @param {number} value @param {string | null} unit @param {number} digits */
const withUnit = (value, unit, digits) =>
  unit === "B" ? size(value) : `${short(value, digits)}${unit === null ? "" : ` ${unit}`}`;

/** What the colours mean. @param {{heat: Heat, kind: "value" | "skew"}} props */
export function HeatScale({ heat, kind }) {
  const [low, high] = heat.range;
  const share = short(heat.skewMax * 100, 2);
  const [from, to] =
    kind === "skew"
      ? [`−${share} %`, `+${share} % of the median`]
      : [withUnit(low, heat.unit === "B" ? "B" : null, 3), withUnit(high, heat.unit, 3)];
  const bar = html`<i style=${{ backgroundImage: gradient(kind === "skew" ? "diverging" : "sequential") }}></i>`;
  return html`<span class="scale">${from}${bar}${to}</span>`;
}
