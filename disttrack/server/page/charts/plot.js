// Lines over x by uPlot, with bands, marks, holes, and the window and cursor that all charts share.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import uPlot from "../vendor/uplot.js";
import { token } from "../colours.js";
import { short } from "../format.js";
import { dark } from "../theme.js";
import { LEFT, followCursor, followHand, followSpan, keyed, windowOf } from "./hand.js";
import { stepsOf, stepsPer, xTicks } from "./axis.js";
import { drawEnds, drawHoles, drawMarks, holesOf } from "./marks.js";
import { Readings } from "./readings.js";
import { cursor, grid, show } from "./shared.js";

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
 * @property {string} [ended] why nothing follows its last value: its rank is gone
 * @property {boolean} [wide] its low and high are a band to look at, not only what was bucketed
 */

/** @typedef {{x: number, text: string, kind: string}} Mark */
/** @typedef {{from: number, to: number, text: string, lines: string[]}} Hole lines: ids of those that have nothing there */

export const RIGHT = 10;
const BOTTOM = 26;
const CHARACTER = 6.6; // px of a digit at the axes' 11 px

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
 * @param {number} [props.per] how many of what is drawn make one on the y-axis: of bytes, those of a GiB
 * @param {string | null} [props.unit] of what is drawn, for the values under the cursor
 * @param {string} props.label for screen readers
 */
export function Plot({
  x,
  lines,
  xKind,
  log = false,
  clip = null,
  marks = [],
  holes = [],
  height = 180,
  per = 1,
  unit = null,
  label,
}) {
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
    per,
  ]);

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const read = (/** @type {number | null} */ index, /** @type {number} */ left) => {
      if (!pinned.current) setReading(index === null ? null : { index, left, pinned: false });
    };
    const options = optionsOf({ lines, log, xKind, height, per, width: element.clientWidth, latest, read });
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
        unit=${unit}
        ...${reading}
        onClose=${() => {
          pinned.current = false;
          setReading(null);
        }}
      />`
    }
  </div>`;
}

/** As uPlot takes it: x, then of each line its values, and where it has them low, high and raw. @param {Values} x @param {Line[]} lines @param {boolean} log @returns {uPlot.AlignedData} */
function dataOf(x, lines, log) {
  const data = [Array.from(x)];
  for (const line of lines) {
    for (const values of parts(line)) {
      data.push(
        /** @type {number[]} */ (
          Array.from(values, (value) =>
            !Number.isFinite(value) || (log && value <= 0) ? null : Math.max(-MOST, Math.min(MOST, value)),
          )
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
 * @param {{lines: Line[], log: boolean, xKind: string, height: number, per: number, width: number,
 *   latest: {current: {clip: [number, number] | null, marks: Mark[], holes: Hole[], lines: Line[]}},
 *   read: (index: number | null, left: number) => void}} of
 * @returns {uPlot.Options}
 */
function optionsOf({ lines, log, xKind, height, per, width, latest, read }) {
  const [text, faint, font] = [token("--muted"), token("--grid"), `11px ${token("--font")}`];
  /** @type {uPlot.Series[]} */
  const series = [{}];
  /** @type {uPlot.Band[]} */
  const bands = [];
  const plain = { points: { show: false } };
  for (const line of lines) {
    const { colour, dash } = line.stroke;
    /** @type {uPlot.Series.GapsRefiner} */
    const gaps = (u, at) => holesOf(u, at, line, latest.current.holes);
    series.push({
      ...plain,
      points: { show: alone, size: 5, fill: colour },
      stroke: colour,
      width: line.width ?? 1.6,
      dash,
      gaps,
    });
    if (line.low !== null) {
      bands.push({ series: [series.length, series.length + 1], fill: colour + (line.wide ? "38" : "26") });
      series.push({ ...plain, gaps, width: 0 }, { ...plain, gaps, width: 0 });
    }
    if (line.raw) series.push({ ...plain, gaps, stroke: `${colour}55`, width: 1 });
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
        space: xKind === "wall" ? 80 : 60,
        ...(stepsOf(xKind) === undefined ? {} : { incrs: stepsOf(xKind) }),
        values: (u, ticks) => whole(u, ticks, xTicks(ticks, xKind)),
      },
      {
        stroke: text,
        font,
        size: LEFT,
        gap: 4,
        grid: { stroke: faint, width: 1 },
        ticks: { show: false },
        ...(log ? {} : { incrs: (_u, _axis, min, max) => spacings(max - min) }),
        space: 28,
        ...(per === 1 ? {} : { incrs: stepsPer(per) }),
        values: (_u, ticks) => ticks.map((value) => (value === null ? "" : short(value / per))),
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
      draw: [
        (u) => drawMarks(u, latest.current.marks, text, font),
        (u) => drawEnds(u, latest.current.lines, token("--bad"), token("--bg")),
      ],
      drawClear: [(u) => drawHoles(u, latest.current.holes, latest.current.lines, text)],
    },
  };
}

/** Distances of ticks for an axis of some length, of any size: uPlot's own end at 1e32. @param {number} length */
const spacings = (length) => {
  const size = Math.floor(Math.log10(length));
  return [-3, -2, -1, 0, 1].flatMap((by) => [1, 2, 2.5, 5].map((times) => Number(`${times}e${size + by}`)));
};

/** Texts of ticks, without those that would be cut at the right edge. @param {uPlot} u @param {number[]} ticks @param {string[]} texts */
function whole(u, ticks, texts) {
  const { min = 0, max = 1 } = /** @type {{min?: number, max?: number}} */ (u.scales.x);
  const inner = u.width - LEFT - RIGHT;
  const room = (/** @type {number} */ tick) => inner * (1 - (tick - min) / (max - min)) + RIGHT;
  return texts.map((text, at) => (text.length * CHARACTER * 0.5 <= room(ticks[at]) ? text : ""));
}

/** Points are drawn where there are few. @param {uPlot} u @param {number} at */
const alone = (u, at) =>
  Array.from(u.data[at]).filter((value) => value !== null).length <= 24 && u.data[0].length <= 24;

/** What an axis reaches at most: beyond it, its length and the room around it would be infinite. */
const MOST = 8e307;

/** @param {number | null} min @param {number | null} max @param {boolean} log @param {[number, number] | null} clip @returns {[number, number]} */
function yRange(min, max, log, clip) {
  if (clip !== null) [min, max] = clip;
  if (min === null || max === null || min === undefined) return log ? [0.1, 1] : [0, 1];
  [min, max] = [Math.max(min, -MOST), Math.min(max, MOST)];
  if (log) return min > 0 ? [min / 1.1, max * 1.1] : [max > 0 ? max / 1000 : 0.1, max > 0 ? max * 1.1 : 1];
  if (min === max) {
    const room = Math.abs(min) * 0.1 || 1e-9;
    return [min - room, max + room];
  }
  const room = (max - min) * 0.06;
  return [min >= 0 && min - room < 0 ? 0 : min - room, max + room];
}
