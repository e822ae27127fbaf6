// One metric of some runs or ranks, from the server's frame to the lines that a plot draws.

import { frame } from "../api.js";
import { version } from "../live.js";
import { useResource } from "../resource.js";
import { stroke } from "../colours.js";
import { short } from "../format.js";

/**
 * @typedef {object} SeriesQuery
 * @property {string[]} run
 * @property {string} key
 * @property {string} [mode]
 * @property {string} [ranks]
 * @property {string} [x]
 * @property {number | null} [from]
 * @property {number | null} [to]
 * @property {number} width
 * @property {string} [smooth]
 * @property {string} [log]
 * @property {string} [superseded]
 */

/** States of ranks that log no more although they should. */
export const GONE = new Set(["failed", "crashed", "lost", "silent", "preempted", "terminated"]);

/** @typedef {import("../api.js").Reference} Reference */
/**
 * @typedef {object} SeriesLine
 * @property {string} run @property {string} name @property {number} rank @property {string | null} node
 * @property {string} state @property {"line" | "outlier"} role @property {number} [skew] @property {number} points
 * @property {Reference} last @property {Reference | null} min @property {Reference | null} max
 * @property {Reference | null} mean @property {Reference | null} smooth
 * @property {{min: unknown, max: unknown, mean: unknown, last: unknown, last_x: unknown}} stats
 */
/**
 * @typedef {object} SeriesBand
 * @property {string} run @property {string} name @property {number} ranks @property {Reference} min
 * @property {Reference} p05 @property {Reference} p50 @property {Reference} p95 @property {Reference} max
 * @property {Reference} mean
 */
/** @typedef {{run: string, rank: number | null, from: number, to: number, why: string}} SeriesHole */
/**
 * @typedef {object} SeriesHeader
 * @property {string} key @property {string} x @property {"lines" | "mean" | "band"} mode @property {string | null} unit
 * @property {boolean} exact @property {string | null} empty
 * @property {{from: number, to: number, y_min: number, y_max: number, y_p01: number, y_p99: number, above: number, below: number} | null} domain null: there is nothing
 * @property {Reference} grid @property {SeriesLine[]} lines @property {SeriesBand[]} bands @property {SeriesHole[]} holes
 * @property {{run: string, name: string, value: unknown}[]} summaries
 * @property {number} of_ranks @property {number} shown_ranks
 */

/**
 * @typedef {object} Drawing what a plot draws of a frame
 * @property {SeriesHeader} header
 * @property {ArrayLike<number>} x
 * @property {import("./plot.js").Line[]} lines
 * @property {import("./plot.js").Hole[]} holes
 */

/** @typedef {(line: {run: string, rank: number | null, role: string}, place: number) => import("../colours.js").Stroke} StrokeOf */

/**
 * Fetches a metric, again when it is asked otherwise or its runs have grown.
 * @param {SeriesQuery | null} query
 */
export function useSeries(query) {
  return useResource(
    (signal) => frame("api/series", /** @type {import("../api.js").Query} */ (query), signal),
    query === null || query.run.length === 0 ? null : JSON.stringify(query),
    query === null ? 0 : version(query.run),
  );
}

/**
 * @param {{header: SeriesHeader, numbers: (at: Reference | null) => import("../api.js").Numbers | null}} of
 * @param {StrokeOf} strokeOf @param {boolean} several whether there are several runs, so that lines are called by theirs
 * @returns {Drawing}
 */
export function drawingOf({ header, numbers }, strokeOf, several) {
  const array = (/** @type {Reference} */ at) => /** @type {ArrayLike<number>} */ (numbers(at));
  /** @type {import("./plot.js").Line[]} */
  const lines = [];
  header.bands.forEach((band, place) => {
    const drawn = strokeOf({ run: band.run, rank: null, role: "band" }, place);
    const whose = several ? `${band.name}: ` : "";
    const share = { stroke: drawn, wide: true };
    lines.push(
      {
        id: `${band.run} median`,
        label: `${whose}median of ${band.ranks} ranks`,
        values: array(band.p50),
        low: array(band.min),
        high: array(band.max),
        ...share,
      },
      {
        id: `${band.run} p05`,
        label: `${whose}5th to 95th percentile`,
        values: array(band.p50),
        low: array(band.p05),
        high: array(band.p95),
        width: 0,
        ...share,
      },
    );
  });
  header.lines.forEach((line, place) => {
    const whole = numbers(line.mean) ?? array(line.last);
    const smooth = numbers(line.smooth);
    lines.push({
      id: `${line.run} ${header.mode === "mean" ? "" : line.rank}`,
      label: labelOf(line, header.mode, several),
      stroke: strokeOf({ run: line.run, rank: header.mode === "mean" ? null : line.rank, role: line.role }, place),
      values: smooth ?? whole,
      low: smooth === null ? numbers(line.min) : null,
      high: smooth === null ? numbers(line.max) : null,
      raw: smooth === null ? null : whole,
      ended: header.mode !== "mean" && GONE.has(line.state) ? line.state : undefined,
    });
  });
  const runs = [...header.bands.flatMap(({ run }) => [run, run]), ...header.lines.map(({ run }) => run)]; // of lines
  const drawn = new Set(runs);
  const mine = header.holes.filter((hole) => drawn.has(hole.run)); // others have nothing in this chart
  const holes = mine.map(({ run, rank, from, to, why }) => {
    if (rank === null)
      return { from, to, text: why, lines: lines.filter((_, at) => runs[at] === run).map(({ id }) => id) };
    return { from, to, text: `rank ${rank}: ${why}`, lines: [`${run} ${rank}`] };
  });
  return { header, x: array(header.grid), lines, holes };
}

/** @param {SeriesLine} line @param {string} mode @param {boolean} several */
function labelOf(line, mode, several) {
  const rank = `rank ${line.rank}`;
  if (mode === "mean") return line.name;
  const strays =
    line.role === "outlier" && line.skew !== undefined
      ? ` (${line.skew > 0 ? "+" : "−"}${short(Math.abs(line.skew) * 100, 3)} %)`
      : "";
  return (several ? `${line.name} ${rank}` : rank) + strays;
}

/** The palette in order. @type {StrokeOf} */
export const byPlace = (_line, place) => stroke(place);

/** How many of the points that a chart was given are NaN or infinite, and of what kind: they are no part of any line. @param {Drawing} drawing */
export function notFinite({ header, lines }) {
  const found = { "+∞": 0, "−∞": 0 };
  for (const line of lines) {
    if (line.width === 0) continue;
    for (let place = 0; place < line.values.length; place += 1) {
      if (line.values[place] === Infinity) found["+∞"] += 1;
      if (line.values[place] === -Infinity) found["−∞"] += 1;
    }
  }
  const kinds = Object.entries(found).filter(([, number]) => number > 0);
  const text = kinds.map(([kind, number]) => `${number} × ${kind}`).join(", ");
  const drawn = lines.some((line) => Array.prototype.some.call(line.values, Number.isFinite));
  return { text, none: !drawn, points: header.lines.reduce((sum, line) => sum + line.points, 0) };
}

/** How many places of lines a logarithmic axis has no place for, as they are 0 or less, and whether that is all of them. @param {Drawing} drawing */
export function notAboveZero({ lines }) {
  let [under, above] = [0, 0];
  for (const line of lines) {
    if (line.width === 0) continue;
    for (let place = 0; place < line.values.length; place += 1) {
      if (line.values[place] <= 0) under += 1;
      if (line.values[place] > 0 || (line.high?.[place] ?? 0) > 0) above += 1;
    }
  }
  return { under, none: under > 0 && above === 0 };
}

/** The part of y to show where few points would flatten all others; null where all are shown. @param {SeriesHeader} header @returns {[number, number] | null} */
export function clipOf({ domain }) {
  if (domain === null) return null;
  if (![domain.y_min, domain.y_max, domain.y_p01, domain.y_p99].every(Number.isFinite)) return null;
  const [whole, most] = [domain.y_max - domain.y_min, domain.y_p99 - domain.y_p01];
  if (!(domain.above + domain.below > 0) || !(most > 0) || whole < 4 * most) return null;
  return [
    domain.below > 0 && domain.y_p01 - domain.y_min > most ? domain.y_p01 : domain.y_min,
    domain.above > 0 && domain.y_max - domain.y_p99 > most ? domain.y_p99 : domain.y_max,
  ];
}

/** What a chart shows, as sentences. @param {Drawing} drawing @param {string} key @param {import("./plot.js").Mark[]} [marks] */
export function summary({ header, lines, holes }, key, marks = []) {
  if (lines.length === 0 || header.domain === null) return `${key}: nothing to show.`;
  const ranks = header.of_ranks > 1 ? ` of ${header.of_ranks} ranks` : "";
  const { y_min: least, y_max: greatest } = header.domain;
  const strays = header.lines.filter((line) => line.role === "outlier").map((line) => `rank ${line.rank}`);
  const ended = lines.filter((line) => line.ended !== undefined).map((line) => line.label);
  return [
    `${key} by ${header.x}: ${header.mode}${ranks}, from ${short(least)} to ${short(greatest)}.`,
    strays.length > 0 && `Furthest from the median: ${strays.join(", ")}.`,
    ended.length > 0 && `Gone: ${ended.join(", ")}.`,
    ...holes.slice(0, 8).map((hole) => `Missing from ${short(hole.from, 7)} to ${short(hole.to, 7)}: ${hole.text}.`),
    ...marks.slice(0, 8).map((mark) => `${mark.text} at ${short(mark.x, 7)}.`),
  ]
    .filter(Boolean)
    .join(" ");
}
