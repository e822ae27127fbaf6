// What is drawn on a plot beside its lines: ticks, marks such as attempts, and hatches where rows are missing.

/** @typedef {import("../vendor/uplot.js").default} uPlot */
/** @typedef {import("./plot.js").Line} Line */
/** @typedef {import("./plot.js").Mark} Mark */
/** @typedef {import("./plot.js").Hole} Hole */

/**
 * Where a line is not drawn, in px: where rows of its own are missing, from its last value before them to its first
 * after. Other places without a value are those in which it logged nothing, as every tenth step: it is drawn through.
 * @param {uPlot} u @param {number} series @param {Line} line @param {Hole[]} holes @returns {[number, number][]}
 */
export function holesOf(u, series, line, holes) {
  const mine = holes.filter((hole) => hole.lines.includes(line.id));
  const [x, y] = [u.data[0], u.data[series]];
  return mine.map(({ from, to }) => {
    let [before, after] = [-1, x.length];
    for (let at = 0; at < x.length; at += 1) {
      if (y[at] === null || y[at] === undefined) continue;
      if (x[at] < from) before = at;
      else if (x[at] > to) {
        after = at;
        break;
      }
    }
    const place = (/** @type {number} */ at, /** @type {number} */ otherwise) =>
      Math.round(u.valToPos(x[at] ?? otherwise, "x", true));
    return /** @type {[number, number]} */ ([place(before, from), place(after, to)]);
  });
}

/** @param {uPlot} u @param {Hole[]} holes @param {Line[]} lines @param {string} colour */
export function drawHoles(u, holes, lines, colour) {
  const { ctx, bbox } = u;
  const drawn = new Set(lines.map((line) => line.id));
  ctx.save();
  ctx.beginPath();
  for (const { from, to, lines: whose } of holes) {
    const left = Math.max(u.valToPos(from, "x", true), bbox.left);
    const right = Math.min(Math.max(u.valToPos(to, "x", true), left + 4 * devicePixelRatio), bbox.left + bbox.width);
    // Of a rank within a band, a strip at the bottom: the others' values are there.
    const tall = whose.some((id) => drawn.has(id)) ? bbox.height : Math.min(bbox.height, 7 * devicePixelRatio);
    if (right > left) ctx.rect(left, bbox.top + bbox.height - tall, right - left, tall);
  }
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.globalAlpha = 0.5;
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
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
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

/** A cross where the line of a rank that is gone ends. @param {uPlot} u @param {Line[]} lines @param {string} colour @param {string} ground */
export function drawEnds(u, lines, colour, ground) {
  const { ctx, bbox } = u;
  const [x, arm] = [u.data[0], 4 * devicePixelRatio];
  ctx.save();
  for (const line of lines) {
    if (line.ended === undefined) continue;
    let last = line.values.length - 1;
    while (last >= 0 && Number.isNaN(line.values[last])) last -= 1;
    if (last < 0 || last === line.values.length - 1) continue; // nothing is missing after it
    const [left, top] = [u.valToPos(x[last], "x", true), u.valToPos(line.values[last], "y", true)];
    if (left < bbox.left || left > bbox.left + bbox.width || top < bbox.top || top > bbox.top + bbox.height) continue;
    for (const [width, stroke] of /** @type {const} */ ([
      [5, ground],
      [2.2, colour],
    ])) {
      ctx.strokeStyle = stroke;
      ctx.lineWidth = width * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(left - arm, top - arm);
      ctx.lineTo(left + arm, top + arm);
      ctx.moveTo(left + arm, top - arm);
      ctx.lineTo(left - arm, top + arm);
      ctx.stroke();
    }
  }
  ctx.restore();
}
