// Lines over x by uPlot, with bands, marks, holes, and the window and cursor that all charts share.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { effect } from "../vendor/signals.js";
import uPlot from "../vendor/uplot.js";
import { token } from "../colours.js";
import { clock, duration, moment, short } from "../format.js";
import { dark } from "../theme.js";
import { cursor, grid, nearest, show, span, zoomed } from "./shared.js";
import { Readings } from "./readings.js";

/** @typedef {import("../colours.js").Stroke} Stroke */
/** @typedef {ArrayLike<number>} Values NaN: nothing there */

/**
 * @typedef {object} Line
 * @property {string} id
 * @property {string} label
 * @property {Stroke} stroke
 * @property {Values} values
 * @property {Values | null} low the least in each place, null where nothing was bucketed
 * @property {Values | null} high
 * @property {Values | null} [raw] what was smoothed, drawn behind
 * @property {number} [width]
 * @property {boolean} [wide] its low and high are a band to look at, not only what was bucketed
 */

/** @typedef {{x: number, text: string, kind: string}} Mark */
/** @typedef {{from: number, to: number, text: string, line: string | null}} Hole */

/** Width of the axis at the left, the same in all charts and heat-maps: their x-axes lie below each other. */
export const LEFT = 56;
export const RIGHT = 10;
const BOTTOM = 26;

/**
 * @param {object} props
 * @param {Values} props.x
 * @param {Line[]} props.lines
 * @param {string} props.xKind step, relative, wall or a key
 * @param {boolean} [props.log]
 * @param {[number, number] | null} [props.clip] of y; null: all that is there
 * @param {Mark[]} [props.marks]
 * @param {Hole[]} [props.holes]
 * @param {number} [props.height]
 * @param {string} props.label for screen readers
 */
export function Plot({ x, lines, xKind, log = false, clip = null, marks = [], holes = [], height = 180, label }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | null} */ (null));
  const latest = useRef({ x, lines, clip, marks, holes });
  latest.current = { x, lines, clip, marks, holes };
  const [reading, setReading] = useState(/** @type {{index: number, left: number, pinned: boolean} | null} */ (null));
  const pinned = useRef(false);
  const isDark = dark.value;
  const shape = JSON.stringify([
    lines.map((line) => [line.stroke, line.low !== null, line.raw != null, line.width, line.wide]),
    log,
    xKind,
    isDark,
    height,
  ]);

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const read = (/** @type {number | null} */ index, /** @type {number} */ left) => {
      if (!pinned.current) setReading(index === null ? null : { index, left, pinned: false });
    };
    const options = optionsOf({ lines, log, xKind, height, width: element.clientWidth, latest, read });
    const made = new uPlot(options, dataOf(x, lines, log), element);
    plot.current = made;
    const ended = [
      followSpan(made, latest),
      followCursor(made),
      followHand(made, latest, (left) => {
        pinned.current = !pinned.current;
        const index = made.cursor.idx ?? null;
        setReading(pinned.current && index !== null ? { index, left, pinned: true } : null);
      }),
    ];
    const sizes = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    sizes.observe(element);
    return () => {
      for (const end of ended) end();
      sizes.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    const made = plot.current;
    if (made === null) return;
    made.batch(() => {
      made.setData(dataOf(x, lines, log), false);
      made.setScale("x", windowOf(x));
    });
  }, [x, lines, clip, marks, holes]);

  return html`<div
    class="plot"
    role="group"
    aria-label=${label}
    tabindex="0"
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => keyed(event, x)}
  >
    <div ref=${box} style=${{ height: `${height}px` }}></div>
    ${
      reading !== null &&
      html`<${Readings}
        x=${x}
        lines=${lines}
        xKind=${xKind}
        ...${reading}
        onClose=${() => {
          pinned.current = false;
          setReading(null);
        }}
      />`
    }
  </div>`;
}

/** @param {Values} x @returns {{min: number, max: number}} */
function windowOf(x) {
  if (span.value !== null) return { min: span.value.from, max: span.value.to };
  if (x.length === 0) return { min: 0, max: 1 };
  const [min, max] = [x[0], x[x.length - 1]];
  return min < max ? { min, max } : { min: min - 0.5, max: max + 0.5 };
}

/** As uPlot takes it: x, then of each line its values, and where it has them low, high and raw. @param {Values} x @param {Line[]} lines @param {boolean} log @returns {uPlot.AlignedData} */
function dataOf(x, lines, log) {
  const data = [Array.from(x)];
  for (const line of lines) {
    for (const values of parts(line)) {
      data.push(
        /** @type {number[]} */ (
          Array.from(values, (value) => (Number.isNaN(value) || (log && value <= 0) ? null : value))
        ),
      );
    }
  }
  return /** @type {uPlot.AlignedData} */ (/** @type {unknown} */ (data));
}

/** @param {Line} line */
const parts = (line) => [
  line.values,
  ...(line.low !== null && line.high !== null ? [line.high, line.low] : []),
  ...(line.raw ? [line.raw] : []),
];

/**
 * @param {{lines: Line[], log: boolean, xKind: string, height: number, width: number,
 *   latest: {current: {clip: [number, number] | null, marks: Mark[], holes: Hole[], lines: Line[]}},
 *   read: (index: number | null, left: number) => void}} of
 * @returns {uPlot.Options}
 */
function optionsOf({ lines, log, xKind, height, width, latest, read }) {
  const [text, faint, font] = [token("--muted"), token("--grid"), `11px ${token("--font")}`];
  /** @type {uPlot.Series[]} */
  const series = [{}];
  /** @type {uPlot.Band[]} */
  const bands = [];
  const plain = { points: { show: false }, spanGaps: true };
  for (const line of lines) {
    const { colour, dash } = line.stroke;
    series.push({
      ...plain,
      points: { show: alone, size: 5, fill: colour },
      stroke: colour,
      width: line.width ?? 1.6,
      dash,
      gaps: (u, at, first, last, gaps) => holesOf(u, line, latest.current.holes, gaps, at, first, last),
    });
    if (line.low !== null) {
      bands.push({ series: [series.length, series.length + 1], fill: colour + (line.wide ? "38" : "26") });
      series.push({ ...plain, width: 0 }, { ...plain, width: 0 });
    }
    if (line.raw) series.push({ ...plain, stroke: `${colour}55`, width: 1 });
  }
  return {
    width,
    height,
    padding: [8, RIGHT, 0, 0],
    legend: { show: false },
    cursor: {
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      focus: { prox: 24 },
    },
    focus: { alpha: 1 },
    scales: {
      x: { time: false, auto: false, range: (_u, min, max) => [min, max] },
      y: { distr: log ? 3 : 1, range: (_u, min, max) => yRange(min, max, log, latest.current.clip) },
    },
    axes: [
      {
        stroke: text,
        font,
        size: BOTTOM,
        gap: 4,
        grid: { show: false },
        ticks: { stroke: faint, size: 4 },
        space: xKind === "wall" ? 90 : 60,
        values: (_u, ticks) => xTicks(ticks, xKind),
      },
      {
        stroke: text,
        font,
        size: LEFT,
        gap: 4,
        grid: { stroke: faint, width: 1 },
        ticks: { show: false },
        space: 28,
        values: (_u, ticks) => ticks.map((value) => (value === null ? "" : short(value))),
      },
    ],
    series,
    bands,
    hooks: {
      setSelect: [
        (u) => {
          if (u.select.width > 4)
            show({ from: u.posToVal(u.select.left, "x"), to: u.posToVal(u.select.left + u.select.width, "x") });
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
      setCursor: [
        (u) => {
          if (u.cursor.event == null) return; // put there by followCursor
          const { left = -1, idx } = u.cursor;
          if (left < 0 || idx == null) {
            read(null, 0);
            if (cursor.peek()?.by === u) cursor.value = null;
            return;
          }
          grid.value = u.data[0];
          cursor.value = { x: u.posToVal(left, "x"), by: u };
          read(idx, left + LEFT);
        },
      ],
      draw: [(u) => drawMarks(u, latest.current.marks, text, font)],
      drawClear: [(u) => drawHoles(u, latest.current.holes, text)],
    },
  };
}

/** Points are drawn where there are few. @param {uPlot} u @param {number} at */
const alone = (u, at) =>
  Array.from(u.data[at]).filter((value) => value !== null).length <= 24 && u.data[0].length <= 24;

/** @param {number | null} min @param {number | null} max @param {boolean} log @param {[number, number] | null} clip @returns {[number, number]} */
function yRange(min, max, log, clip) {
  if (clip !== null) [min, max] = clip;
  if (min === null || max === null || min === undefined) return log ? [0.1, 1] : [0, 1];
  if (log) return min > 0 ? [min / 1.1, max * 1.1] : [max > 0 ? max / 1000 : 0.1, max > 0 ? max * 1.1 : 1];
  if (min === max) return [min - Math.max(Math.abs(min) * 0.1, 1e-9), max + Math.max(Math.abs(max) * 0.1, 1e-9)];
  const room = (max - min) * 0.06;
  return [min >= 0 && min - room < 0 ? 0 : min - room, max + room];
}

/** @param {number[]} ticks @param {string} kind */
export function xTicks(ticks, kind) {
  if (kind === "wall") {
    const long = ticks.length > 1 && ticks[ticks.length - 1] - ticks[0] > 86_400;
    return ticks.map((value) => (long ? moment(value).slice(5, 16) : clock(value)));
  }
  return ticks.map((value) => (kind === "relative" ? duration(value) : short(value)));
}

/** Clips a line where a hole of its own lies. @param {uPlot} u @param {Line} line @param {Hole[]} holes @param {[number, number][]} gaps @param {number} _at @param {number} _first @param {number} _last @returns {[number, number][]} */
function holesOf(u, line, holes, gaps, _at, _first, _last) {
  const mine = holes.filter((hole) => hole.line === null || hole.line === line.id);
  const found = mine.map(
    ({ from, to }) => /** @type {[number, number]} */ ([u.valToPos(from, "x", true), u.valToPos(to, "x", true)]),
  );
  return found.length === 0 ? gaps : found;
}

/** @param {uPlot} u @param {Hole[]} holes @param {string} colour */
function drawHoles(u, holes, colour) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  for (const { from, to } of holes) {
    const left = Math.max(u.valToPos(from, "x", true), bbox.left);
    const right = Math.min(u.valToPos(to, "x", true), bbox.left + bbox.width);
    if (right > left) ctx.rect(left, bbox.top, right - left, bbox.height);
  }
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.globalAlpha = 0.35;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  const apart = 7 * devicePixelRatio;
  if (holes.length > 0) {
    for (let at = bbox.left - bbox.height; at < bbox.left + bbox.width; at += apart) {
      ctx.moveTo(at, bbox.top + bbox.height);
      ctx.lineTo(at + bbox.height, bbox.top);
    }
  }
  ctx.stroke();
  ctx.restore();
}

/** @param {uPlot} u @param {Mark[]} marks @param {string} colour @param {string} font */
function drawMarks(u, marks, colour, font) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.font = font.replace("11px", `${10 * devicePixelRatio}px`);
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.lineWidth = devicePixelRatio;
  let free = -Infinity;
  for (const { x, text } of marks) {
    const left = Math.round(u.valToPos(x, "x", true)) + 0.5;
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    const width = ctx.measureText(text).width;
    if (left > free && left + width < bbox.left + bbox.width) {
      ctx.fillText(text, left + 3 * devicePixelRatio, bbox.top + 9 * devicePixelRatio);
      free = left + width + 8 * devicePixelRatio;
    }
  }
  ctx.restore();
}

/** @param {uPlot} u @param {{current: {x: Values}}} latest */
const followSpan = (u, latest) =>
  effect(() => {
    void span.value;
    u.setScale("x", windowOf(latest.current.x));
  });

/** @param {uPlot} u */
const followCursor = (u) =>
  effect(() => {
    const at = cursor.value;
    if (at?.by === u) return;
    u.cursor.event = undefined;
    u.setCursor({ left: at === null ? -10 : u.valToPos(at.x, "x"), top: -10 }, false);
  });

/** Wheel with Ctrl zooms, with Shift pans, a double click shows all, a click keeps the readings. @param {uPlot} u @param {{current: {x: Values}}} latest @param {(left: number) => void} pin */
function followHand(u, latest, pin) {
  const over = u.over;
  let downAt = 0;
  const wheel = (/** @type {WheelEvent} */ event) => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const { min, max } = windowOf(latest.current.x);
    const now = { from: min, to: max };
    const amount = event.deltaY || event.deltaX;
    if (event.ctrlKey) show(zoomed(now, u.posToVal(event.offsetX, "x"), Math.exp(Math.sign(amount) * 0.15)));
    else show({ from: min + (max - min) * 0.1 * Math.sign(amount), to: max + (max - min) * 0.1 * Math.sign(amount) });
  };
  const down = (/** @type {MouseEvent} */ event) => (downAt = event.clientX);
  const click = (/** @type {MouseEvent} */ event) => {
    if (Math.abs(event.clientX - downAt) < 4 && event.detail === 1) pin(event.offsetX + LEFT);
  };
  const all = () => show(null);
  over.addEventListener("wheel", wheel, { passive: false });
  over.addEventListener("mousedown", down);
  over.addEventListener("click", click);
  over.addEventListener("dblclick", all);
  return () => {
    over.removeEventListener("wheel", wheel);
    over.removeEventListener("mousedown", down);
    over.removeEventListener("click", click);
    over.removeEventListener("dblclick", all);
  };
}

/** Arrows move the cursor of a chart that has the focus, + and - zoom. @param {KeyboardEvent} event @param {Values} x */
export function keyed(event, x) {
  if (x.length === 0) return;
  const { min, max } = windowOf(x);
  const at = cursor.value?.x ?? (min + max) / 2;
  const step = event.shiftKey ? 10 : 1;
  const index = nearest(x, at);
  const moves = /** @type {Record<string, () => void>} */ ({
    ArrowLeft: () => (cursor.value = { x: x[Math.max(index - step, 0)], by: null }),
    ArrowRight: () => (cursor.value = { x: x[Math.min(index + step, x.length - 1)], by: null }),
    "+": () => show(zoomed({ from: min, to: max }, at, 0.7)),
    "-": () => show(zoomed({ from: min, to: max }, at, 1 / 0.7)),
  });
  const move = moves[event.key];
  if (move === undefined) return;
  event.preventDefault();
  grid.value = x;
  move();
}
