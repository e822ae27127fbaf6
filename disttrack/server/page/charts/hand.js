// What a hand does to a plot: the window and the cursor that all charts share, by mouse, wheel and keys.

import { effect } from "../vendor/signals.js";
import { cursor, grid, nearest, show, span, zoomed } from "./shared.js";

/** @typedef {import("../vendor/uplot.js").default} uPlot */
/** @typedef {import("./plot.js").Values} Values */

/** Width of the axis at the left, the same in all charts and heat-maps: their x-axes lie below each other. */
export const LEFT = 56;

/** @param {Values} x @returns {{min: number, max: number}} */
export function windowOf(x) {
  if (span.value !== null) return { min: span.value.from, max: span.value.to };
  if (x.length === 0) return { min: 0, max: 1 };
  const [min, max] = [x[0], x[x.length - 1]];
  return min < max ? { min, max } : { min: min - 0.5, max: max + 0.5 };
}

/** @param {uPlot} u @param {{current: {x: Values}}} latest */
export const followSpan = (u, latest) =>
  effect(() => {
    void span.value;
    u.setScale("x", windowOf(latest.current.x));
  });

/** @param {uPlot} u */
export const followCursor = (u) =>
  effect(() => {
    const at = cursor.value;
    if (at?.by === u) return;
    u.cursor.event = undefined;
    u.setCursor({ left: at === null ? -10 : u.valToPos(at.x, "x"), top: -10 }, false);
  });

/** Wheel with Ctrl zooms, with Shift pans, a double click shows all, a click keeps the readings. @param {uPlot} u @param {{current: {x: Values}}} latest @param {(left: number) => void} pin */
export function followHand(u, latest, pin) {
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
