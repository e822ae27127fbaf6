// Where the page is: every choice of a view is in the URL, so a copied link shows the same and "back" goes a view back.

import { computed, signal } from "./vendor/signals.js";
import { read, write } from "./url.js";

export { CHOICES, TABS, joined, listed } from "./url.js";

/** @typedef {import("./url.js").Place} Place */
/** @typedef {keyof typeof import("./url.js").CHOICES} Choice */

/** Where the page's own files lie, with a slash at its end: behind a proxy, below a path of its own. */
const home = new URL("../", import.meta.url).pathname;

/** @type {import("./vendor/signals.js").Signal<Place>} */
export const place = signal(read(new URL(window.location.href), home).place);

/** Names in the URL that mean nothing here; said once. @type {import("./vendor/signals.js").Signal<string[]>} */
export const unknown = signal(read(new URL(window.location.href), home).unknown);

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
 * @param {Partial<Record<Choice, string>>} changes @param {{push?: boolean}} [how]
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
