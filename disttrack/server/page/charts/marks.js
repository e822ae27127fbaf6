// What is drawn on a plot beside its lines: ticks, marks such as attempts, and hatches where rows are missing.

import { clock, duration, moment, short } from "../format.js";

/** @typedef {import("../vendor/uplot.js").default} uPlot */
/** @typedef {import("./plot.js").Line} Line */
/** @typedef {import("./plot.js").Mark} Mark */
/** @typedef {import("./plot.js").Hole} Hole */

/** @param {number[]} ticks @param {string} kind */
export function xTicks(ticks, kind) {
  if (kind === "wall") {
    const long = ticks.length > 1 && ticks[ticks.length - 1] - ticks[0] > 86_400;
    return ticks.map((value) => (long ? moment(value).slice(5, 16) : clock(value)));
  }
  return ticks.map((value) => (kind === "relative" ? duration(value) : short(value)));
}

/** Clips a line where a hole of its own lies. @param {uPlot} u @param {Line} line @param {Hole[]} holes @param {[number, number][]} gaps @returns {[number, number][]} */
export function holesOf(u, line, holes, gaps) {
  const mine = holes.filter((hole) => hole.line === null || hole.line === line.id);
  const found = mine.map(
    ({ from, to }) => /** @type {[number, number]} */ ([u.valToPos(from, "x", true), u.valToPos(to, "x", true)]),
  );
  return found.length === 0 ? gaps : found;
}

/** @param {uPlot} u @param {Hole[]} holes @param {string} colour */
export function drawHoles(u, holes, colour) {
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
export function drawMarks(u, marks, colour, font) {
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
