// Where the page is: every choice of a view is in the URL, so a copied link shows the same and "back" goes a view back.

import { computed, signal } from "./vendor/signals.js";

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
  by: "key that ranks are compared by, or - for the time between rows",
};

/** Where the page's own files lie, with a slash at its end: behind a proxy, below a path of its own. */
const home = new URL("../", import.meta.url).pathname;

/** @type {import("./vendor/signals.js").Signal<Place>} */
export const place = signal(read(new URL(window.location.href), home).place);

/** Names in the URL that mean nothing here; said once. @type {import("./vendor/signals.js").Signal<string[]>} */
export const unknown = signal(read(new URL(window.location.href), home).unknown);

/** One choice, for what depends on nothing else. @param {keyof typeof CHOICES} name */
export const choice = (name) => place.value.choices[name] ?? "";

/** A signal of one choice: whoever reads it is drawn again only when that choice changes. @param {keyof typeof CHOICES} name */
export const choiceOf = (name) => computed(() => place.value.choices[name] ?? "");

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

/**
 * Goes somewhere: another view is a step of the history, a zoom or a filter is not.
 * @param {Partial<Place>} to @param {{replace?: boolean}} [how]
 */
export function go(to, how = {}) {
  const next = { ...place.value, ...to };
  const url = write(next, home);
  if (url === window.location.pathname + window.location.search) return;
  history[how.replace ? "replaceState" : "pushState"](null, "", url);
  place.value = next;
}

/**
 * Changes choices of this view; "" takes one away.
 * @param {Partial<Record<keyof typeof CHOICES, string>>} changes @param {{push?: boolean}} [how]
 */
export function choose(changes, how = {}) {
  /** @type {Record<string, string>} */
  const choices = { ...place.value.choices };
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === undefined) delete choices[name];
    else choices[name] = value;
  }
  go({ choices }, { replace: !how.push });
}

/** The link to a place that keeps none of this view's choices but those given. @param {Partial<Place>} to */
export const href = (to) => write({ ...place.value, choices: {}, ...to }, home);

/** The address of something that the server has, relative to where the page lies. @param {string} path */
export const address = (path) => home + path;

/** A list in one choice: a,b,c; a comma within one is written %2C. @param {string} value */
export const listed = (value) =>
  value === "" ? [] : value.split(",").map((each) => each.replaceAll("%2C", ",").replaceAll("%25", "%"));

/** @param {string[]} list */
export const joined = (list) => list.map((each) => each.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");

/** The part of the x-axis that all charts show. */
export const zoom = computed(() => {
  const [from, to] = (place.value.choices.zoom ?? "").split("~").map(Number.parseFloat);
  return Number.isFinite(from) && Number.isFinite(to) && from < to ? { from, to } : null;
});

/** Follows the browser's buttons, and links within the page, without loading it again. */
export function follow() {
  addEventListener("popstate", () => (place.value = read(new URL(window.location.href), home).place));
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!(link instanceof HTMLAnchorElement) || !plain || link.target !== "" || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== window.location.origin || !/^([pr]\/|$)/.test(url.pathname.slice(home.length))) return;
    event.preventDefault();
    history.pushState(null, "", url.pathname + url.search);
    place.value = read(url, home).place;
    scrollTo(0, 0);
  });
}
