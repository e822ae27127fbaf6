// A place within the page as a URL, and a URL as a place: nothing here knows of a browser.

/**
 * @typedef {object} Place
 * @property {"project" | "run" | "compare"} view
 * @property {string | null} project null: the one with the newest run
 * @property {string | null} run
 * @property {string} tab of a run
 * @property {Record<string, string>} choices by name, see CHOICES
 */

export const TABS = /** @type {const} */ (["charts", "ranks", "system", "logs", "media", "config", "files"]);

/** Every choice that a URL may hold, and what it is; another name is ignored, with a notice. */
export const CHOICES = {
  f: "filter of runs",
  g: "what runs are grouped by",
  s: "order of runs, - before it for the greatest first",
  c: "columns, in order",
  off: "runs and groups whose lines are hidden",
  on: "runs whose lines are shown beside the first ones",
  open: "groups and runs that are unfolded",
  sel: "selected runs",
  x: "x-axis: step, relative, wall or a key",
  zoom: "part of the x-axis: from~to",
  sm: "smoothing, 0 to 0.99",
  log: "1: logarithmic y-axes",
  q: "charts whose key has this in it",
  rank: "how ranks are drawn: lines, band, heat or skew",
  ranks: "chosen ranks",
  order: "order of ranks",
  attempt: "attempt that is shown",
  node: "chosen node",
  stream: "stream of logs",
  grep: "logs that match this",
  runs: "runs that are compared",
  base: "run that others are compared with",
  at: "step of media",
  archived: "1: archived runs too",
  all: "1: equal values too",
  card: "chart that fills the window",
  side: "runs or charts alone",
  w: "width of the table of runs, percent",
  by: "key that ranks are compared by, or - for the time between rows",
};

/**
 * Reads a URL.
 * @param {URL} url @param {string} base @returns {{place: Place, unknown: string[]}}
 */
export function read(url, base) {
  const parts = url.pathname.slice(base.length).split("/").filter(Boolean).map(decodeURIComponent);
  /** @type {Place} */
  const found = { view: "project", project: null, run: null, tab: "charts", choices: {} };
  if (parts[0] === "p" && parts[1] !== undefined) {
    found.project = parts[1];
    if (parts[2] === "compare") found.view = "compare";
  }
  if (parts[0] === "r" && parts[2] !== undefined) {
    found.view = "run";
    [, found.project, found.run] = parts;
    if (TABS.some((tab) => tab === parts[3])) found.tab = parts[3];
  }
  const strangers = [];
  for (const [name, value] of url.searchParams) {
    if (!(name in CHOICES)) strangers.push(name);
    else if (value !== "") found.choices[name] = value;
  }
  return { place: found, unknown: strangers };
}

/**
 * Writes a place as the path and query of a URL, with what people read left as it is (":", "," and "/").
 * @param {Place} to @param {string} base
 */
export function write(to, base) {
  const encoded = (/** @type {string} */ part) => encodeURIComponent(part);
  let path = base;
  if (to.project !== null && to.view === "run" && to.run !== null) {
    path += `r/${encoded(to.project)}/${encoded(to.run)}`;
    if (to.tab !== "charts") path += `/${to.tab}`;
  } else if (to.project !== null) {
    path += `p/${encoded(to.project)}`;
    if (to.view === "compare") path += "/compare";
  }
  const query = Object.entries(to.choices)
    .filter(([, value]) => value !== "")
    .map(([name, value]) => `${name}=${readable(value)}`);
  return path + (query.length > 0 ? `?${query.join("&")}` : "");
}

/** @param {string} value */
const readable = (value) =>
  encodeURIComponent(value)
    .replace(/%(3A|2C|2F|3C|3E|3D|40|7E)/g, decodeURIComponent)
    .replace(/%20/g, "+");

/** A list in one choice: a,b,c; a comma within one is written %2C. @param {string} value */
export const listed = (value) =>
  value === "" ? [] : value.split(",").map((each) => each.replaceAll("%2C", ",").replaceAll("%25", "%"));

/** @param {string[]} list */
export const joined = (list) => list.map((each) => each.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
