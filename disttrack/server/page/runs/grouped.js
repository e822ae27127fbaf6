// The lines of a group's runs as one: their mean, with the least and the greatest of them behind it.

/** @typedef {import("../charts/series.js").Drawing} Drawing */
/** @typedef {import("../charts/plot.js").Line} Line */

/**
 * @param {Map<string, string>} memberOf run → group
 * @param {Map<string, import("../colours.js").Stroke>} strokes of groups, and of the runs whose own line is shown
 * @param {Map<string, string>} names of groups
 * @returns {(drawing: Drawing) => Drawing}
 */
export const banded = (memberOf, strokes, names) => (drawing) => {
  /** @type {Map<string, Line[]>} */
  const groups = new Map();
  /** @type {Line[]} */
  const alone = [];
  for (const line of drawing.lines) {
    const run = line.id.trimEnd();
    const group = memberOf.get(run);
    if (group !== undefined) groups.set(group, [...(groups.get(group) ?? []), line]);
    const own = strokes.get(run.slice(run.lastIndexOf("/") + 1));
    if (own !== undefined) alone.push({ ...line, stroke: own, low: null, high: null });
  }
  const bands = [...groups].map(([group, lines]) =>
    band(
      group,
      names.get(group) ?? group,
      lines,
      /** @type {import("../colours.js").Stroke} */ (strokes.get(group)),
      drawing.x.length,
    ),
  );
  return { ...drawing, lines: [...bands, ...alone] };
};

/** @param {string} id @param {string} name @param {Line[]} lines @param {import("../colours.js").Stroke} stroke @param {number} length @returns {Line} */
function band(id, name, lines, stroke, length) {
  const [low, mean, high] = [0, 1, 2].map(() => new Float64Array(length).fill(Number.NaN));
  for (let at = 0; at < length; at += 1) {
    let [sum, count, least, greatest] = [0, 0, Infinity, -Infinity];
    for (const { values } of lines) {
      const value = values[at];
      if (Number.isNaN(value)) continue;
      sum += value;
      count += 1;
      least = Math.min(least, value);
      greatest = Math.max(greatest, value);
    }
    if (count > 0) [low[at], mean[at], high[at]] = [least, sum / count, greatest];
  }
  return { id, label: `${name} (mean of ${lines.length})`, stroke, values: mean, low, high, wide: true };
}
