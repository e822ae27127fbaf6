// A heat-map: a row a rank or device, x as in all charts; dead ranks and holes hatched; drag zooms, a click chooses a row.

import { html } from "../vendor/html.js";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { useSignal } from "../vendor/signals.js";
import { gradient } from "../colours.js";
import { exact, short, withUnit } from "../format.js";
import { dark } from "../theme.js";
import { BOTTOM, notableOf, paint } from "./heatcanvas.js";
import { edgesOf, rowAt } from "./paint.js";
import { LEFT, keyed } from "./hand.js";
import { RIGHT } from "./plot.js";
import { beside, named } from "./readings.js";
import { cursor, grid as sharedGrid, nearest, show, span } from "./shared.js";

/**
 * @typedef {object} HeatRow
 * @property {string} label
 * @property {string} group its node: rows of one node lie together, with a line between nodes
 * @property {number | null} goneAfter x after which it is gone; null: it is not
 * @property {string} state
 * @property {string} [short] the label within its group, where that stands before it
 * @property {boolean} [strays] it is far from the median most of the time: seen and named also among hundreds
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
 * @param {boolean} [props.apart] its x is not that of the charts: it shows all of its own, and leaves theirs alone
 */
export function HeatMap({
  heat,
  show: kind,
  xKind,
  label,
  onRow,
  chosen = [],
  height = heightOf(heat.rows.length),
  apart = false,
}) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [width, setWidth] = useState(0);
  const pointed = useSignal(/** @type {{row: number, column: number, left: number, top: number} | null} */ (null));
  const brush = useSignal(/** @type {{from: number, to: number} | null} */ (null));
  const isDark = dark.value;
  const [from, to] = extent(heat, apart);
  const inner = Math.max(width - LEFT - RIGHT, 1);
  const edges = useMemo(() => edgesOf(heat.rows.length, height, notableOf(heat)), [heat, height]);

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const sizes = new ResizeObserver(() => setWidth(element.clientWidth));
    sizes.observe(element);
    setWidth(element.clientWidth);
    return () => sizes.disconnect();
  }, []);
  // Before the browser shows the frame: an effect after it draws a frame later, and the cells are what is waited for.
  useLayoutEffect(() => {
    if (width > 0 && canvas.current !== null)
      paint(canvas.current, { heat, edges, kind, xKind, from, to, width, height, chosen });
  }, [heat, kind, xKind, from, to, width, height, isDark, chosen.join()]);

  const xAt = (/** @type {number} */ left) => from + (Math.max(0, Math.min(left, inner)) / inner) * (to - from);
  const moved = (/** @type {PointerEvent} */ event) => {
    const [left, top] = [event.offsetX, event.offsetY];
    if (brush.value !== null) brush.value = { from: brush.value.from, to: Math.max(0, Math.min(left, inner)) };
    const row = rowAt(edges, top);
    pointed.value = { row, column: nearest(heat.grid, xAt(left)), left: left + LEFT, top };
    if (apart) return;
    sharedGrid.value = heat.grid;
    cursor.value = { x: xAt(left), by: box.current };
  };
  const released = () => {
    const drawn = brush.value;
    brush.value = null;
    if (drawn === null) return;
    const [low, high] = [Math.min(drawn.from, drawn.to), Math.max(drawn.from, drawn.to)];
    if (high - low > 4) {
      if (!apart) show({ from: xAt(low), to: xAt(high) });
    } else if (pointed.value !== null) onRow?.(pointed.value.row);
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
      if (!apart) keyed(event, heat.grid);
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
      onDblClick=${() => !apart && show(null)}
    >
      ${!apart && html`<${Hair} from=${from} to=${to} width=${inner} />`}
      <${Brush} brush=${brush} />
    </div>
    <${Reading} pointed=${pointed} heat=${heat} xKind=${xKind} />
  </div>`;
}

/** @param {Heat} heat @param {boolean} apart @returns {[number, number]} */
function extent(heat, apart) {
  const now = span.value;
  if (now !== null && !apart) return [now.from, now.to];
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

/** @param {HeatRow} row */
const said = (row) => {
  const more = row.detail ?? row.group;
  return more === "" || row.label.startsWith(more) ? "" : ` · ${more}`;
};

/** What the colours mean. @param {{heat: Heat, kind: "value" | "skew"}} props */
export function HeatScale({ heat, kind }) {
  const [low, high] = heat.range;
  const share = short(heat.skewMax * 100, 2);
  const [from, to] =
    kind === "skew"
      ? [`−${share} %`, `+${share} % of the median`]
      : [heat.unit === "%" ? short(low, 3) : withUnit(low, heat.unit, 3), withUnit(high, heat.unit, 3)];
  if (kind === "value" && low === high) return html`<span class="scale">everywhere ${to}</span>`;
  const bar = html`<i style=${{ backgroundImage: gradient(kind === "skew" ? "diverging" : "sequential") }}></i>`;
  return html`<span class="scale">${from}${bar}${to}</span>`;
}
