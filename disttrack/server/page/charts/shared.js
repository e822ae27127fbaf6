// What all charts of a view share: the part of the x-axis they show, and where the cursor is.

import { effect, signal } from "../vendor/signals.js";
import { choose, zoom } from "../location.js";

/** @typedef {{from: number, to: number}} Span */

/** The shown part of the x-axis, null for all; follows the hand at once, the URL a moment later. @type {import("../vendor/signals.js").Signal<Span | null>} */
export const span = signal(zoom.value);

/** Where the cursor is on the x-axis; `by` is the chart that it is over. @type {import("../vendor/signals.js").Signal<{x: number, by: unknown} | null>} */
export const cursor = signal(null);

/** The x of the chart that the cursor was over last, for the keys that step it. @type {import("../vendor/signals.js").Signal<ArrayLike<number>>} */
export const grid = signal([]);

const SETTLED_MS = 120; // browsers refuse more than some 200 changes of the URL in 30 s
/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;

/** Shows this part of the x-axis in all charts. @param {Span | null} wanted */
export function show(wanted) {
  span.value = wanted;
  clearTimeout(settling);
  settling = setTimeout(() => {
    settling = undefined;
    choose({ zoom: wanted === null ? "" : `${rounded(wanted.from, wanted)}~${rounded(wanted.to, wanted)}` });
  }, SETTLED_MS);
}

/** As few digits as tell two places of the span apart. @param {number} value @param {Span} of */
function rounded(value, of) {
  const digits = Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(of.to - of.from))));
  return String(Number(value.toFixed(digits)));
}

// The back button, a link, another view.
effect(() => {
  const wanted = zoom.value;
  if (settling === undefined) span.value = wanted;
});

/** Moves the cursor by so many places of the chart it was over last. @param {number} by */
export function stepCursor(by) {
  const xs = grid.value;
  if (xs.length === 0) return;
  const at = cursor.value === null ? -1 : nearest(xs, cursor.value.x);
  const next = Math.max(0, Math.min(xs.length - 1, at + by));
  cursor.value = { x: xs[next], by: null };
}

/** Zooms around a place: factor < 1 goes nearer. @param {Span} now @param {number} around @param {number} factor @returns {Span} */
export const zoomed = (now, around, factor) => ({
  from: around - (around - now.from) * factor,
  to: around + (now.to - around) * factor,
});

/** The number of the place nearest to x. @param {ArrayLike<number>} xs ascending @param {number} x */
export function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle;
    else high = middle;
  }
  return high >= 0 && Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : Math.max(low, 0);
}
