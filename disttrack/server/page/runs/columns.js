// Columns of the runs table: what a name in the URL means, how its cells read, which are there by default.

import { html } from "../vendor/html.js";
import { plain } from "../api.js";
import { ago, duration, exact, leaf, moment, short } from "../format.js";
import { nowS } from "../live.js";
import { Ranks, Tags } from "../parts/labels.js";

/** @typedef {import("./types.js").Row} Row */

/**
 * @typedef {object} Column
 * @property {string} name as the URL and the server call it
 * @property {string} path dimmed, before the label
 * @property {string} label
 * @property {string} [reducer] of a metric: last, min, max, mean
 * @property {string | null} sort what the server sorts by; null: it cannot
 * @property {boolean} asked whether the server is asked for its values
 * @property {boolean} pinned
 * @property {number} width in px
 * @property {number | null} left where it stays while the others scroll, px; null: it scrolls with them
 * @property {boolean} number
 */

/** What every run has: label, field to sort by, width, whether it is a number. @type {Record<string, [string, string | null, number, boolean]>} */
const FIXED = {
  ranks: ["ranks", "ranks_joined", 80, true],
  step: ["step", null, 72, true],
  started: ["started", "created", 96, true],
  lasted: ["duration", "duration_s", 80, true],
  group: ["group", "group", 110, false],
  job_type: ["job type", "job_type", 100, false],
  tags: ["tags", null, 130, false],
  notes: ["notes", null, 180, false],
  attempt: ["attempt", "attempt", 70, true],
};

export const FIXED_NAMES = Object.keys(FIXED);
export const REDUCERS = ["last", "min", "max", "mean"];

/** A key as filters write it: in quotes where it would be read as something else. @param {string} key */
export const quoted = (key) =>
  /^[^\s:=!<>"\\()-][^\s:=!<>"\\()]*$/.test(key) ? key : `"${key.replace(/["\\]/g, "\\$&")}"`;

/** @param {string} key as quoted() wrote it */
const unquoted = (key) => (key.startsWith('"') ? key.slice(1, -1).replace(/\\(["\\])/g, "$1") : key);

/** @param {string} written a name, with ! before it where it is pinned @returns {Column} */
export function column(written) {
  const pinned = written.startsWith("!");
  const name = pinned ? written.slice(1) : written;
  if (name in FIXED) {
    const [label, sort, width, number] = FIXED[name];
    return { name, path: "", label, sort, asked: false, pinned, width, left: null, number };
  }
  const reduced = /^(last|min|max|mean)\((.*)\)$/.exec(name);
  const key = unquoted(reduced !== null ? reduced[2] : name.replace(/^(config|summary)\./, ""));
  const [path, last] = leaf(key);
  const reducer = reduced !== null ? reduced[1] : name.startsWith("summary.") ? "last" : undefined;
  return {
    name,
    path,
    label: last,
    reducer,
    sort: name,
    asked: true,
    pinned,
    width: Math.min(150, Math.max(reducer === undefined ? 84 : 96, last.length * 7 + 32)),
    left: null,
    number: true,
  };
}

/** The name of a metric's column with another reducer. @param {Column} of @param {string} reducer */
export const reducedBy = (of, reducer) => {
  const key = of.name.replace(/^summary\./, "").replace(/^(last|min|max|mean)\((.*)\)$/, "$2");
  return reducer === "last" ? `summary.${key}` : `${reducer}(${key})`;
};

/** Room for a run's name, its eye and its state, px. */
export const NAME_PX = 240;

/** What a cell of a column needs to stay in sight where its column is pinned. @param {Column} of */
export const placed = ({ left, number }) => ({
  class: [number && "number", left !== null && "pinned"].filter(Boolean).join(" "),
  style: left === null ? undefined : { left: `${left}px` },
});

/** Pinned columns may hold so much of the room beside the name: others are to be seen, too. */
const HELD = 0.6;

/** Columns with the pinned ones first, which stay where they are while there is room. @param {Column[]} all @param {number} room px beside the name @returns {Column[]} */
export function pinnedFirst(all, room) {
  let left = NAME_PX;
  const held = all
    .filter((each) => each.pinned)
    .map((each) => {
      const from = left;
      left += each.width;
      return { ...each, left: left - NAME_PX <= room * HELD ? from : null };
    });
  return [...held, ...all.filter((each) => !each.pinned)];
}

/**
 * Columns where the URL names none, as many as there is room for: how well the runs do, how far they are, and what they
 * were set to.
 * @param {import("./types.js").Keys} keys @param {number} room px beside the name
 */
export function defaults(keys, room) {
  const telling = [...keys.summary].filter((key) => !key.startsWith("_"));
  const weight = (/** @type {string} */ key) =>
    (/(^|[/_.])(val|test|eval)/.test(key) ? 2 : 0) + (/loss|acc|score|reward|perplexity/.test(key) ? 1 : 0);
  telling.sort((a, b) => weight(b) - weight(a));
  const [best, next] = telling.map((key) => `summary.${quoted(key)}`);
  const rate = (/** @type {string} */ key) => (/(^|[/_.])(lr|learning_rate)$/.test(key) ? 0 : 1);
  const [first, ...others] = keys.config
    .filter((key) => !key.startsWith("_"))
    .sort((a, b) => rate(a) - rate(b))
    .map((key) => `config.${quoted(key)}`);
  const wanted = [best, "ranks", first, next, "step", ...others.slice(0, 2), "started", "tags"].filter(
    (name) => name !== undefined,
  );
  const found = [];
  let left = room;
  for (const name of wanted) {
    left -= column(name).width;
    if (left < 0 && found.length > 0) break;
    found.push(name);
  }
  return found;
}

/**
 * A cell. A run of several ranks hovers with how far they spread, and is marked where that is far.
 * @param {Row} row @param {Column} of
 */
export function cell(row, of) {
  switch (of.name) {
    case "ranks":
      return html`<${Ranks} run=${row} />`;
    case "step":
      return row.last_step === null ? "" : html`<span title=${row.last_step}>${short(row.last_step)}</span>`;
    case "started":
      return html`<span title=${moment(row.created_at)}>${ago(nowS() - row.created_at)}</span>`;
    case "lasted":
      return duration(row.state === "running" ? nowS() - row.created_at : row.duration_s);
    case "tags":
      return html`<${Tags} tags=${row.tags} />`;
    case "group":
    case "job_type":
    case "notes":
    case "attempt":
      return row[of.name] ?? "";
    default:
      return valued(plain(row.values[of.name]), row.spreads[of.name]);
  }
}

/** Four digits, three of small numbers: they have zeros before. @param {unknown} value */
const brief = (value) => short(value, typeof value === "number" && Math.abs(value) < 0.1 ? 3 : 4);

/** Ranks whose last values spread further than this share of their mean are marked. */
const FAR = 0.1;

/** @param {unknown} value @param {{min: number, mean: number, max: number, argmax: number} | undefined} spread */
function valued(value, spread) {
  if (value === null || value === undefined) return html`<span class="quiet">–</span>`;
  if (spread === undefined)
    return html`<span title=${exact(value)}>${typeof value === "object" ? JSON.stringify(value) : brief(value)}</span>`;
  const far = (spread.max - spread.min) / Math.max(Math.abs(spread.mean), 1e-300) > FAR;
  const said = `ranks: ${exact(spread.min)} … ${exact(spread.max)}, mean ${exact(spread.mean)}; the greatest is rank ${spread.argmax}`;
  return html`<span title=${said}
    >${brief(value)}${far && html` <span class="far" role="img" aria-label=${`ranks spread: ${said}`}>⇕</span>`}</span
  >`;
}
