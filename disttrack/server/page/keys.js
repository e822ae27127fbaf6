// The keyboard: every action of a view has a key, and "?" lists those that work now.

import { useLayoutEffect, useRef } from "./vendor/hooks.js";
import { signal } from "./vendor/signals.js";

/** @typedef {{keys: string, does: string, run: (event: KeyboardEvent) => unknown}} Binding keys: as "x" or "Ctrl+k"; run: false where there is nothing to do for it, so that the next may */

/** The bindings that work now, the newest view's first. @type {import("./vendor/signals.js").Signal<Binding[][]>} */
export const bindings = signal([]);

/**
 * Binds keys while a component is shown.
 * @param {Binding[]} wanted
 */
export function useKeys(wanted) {
  const latest = useRef(wanted);
  latest.current = wanted;
  // Bound with the drawing, before the browser shows it: a key pressed at what has just appeared acts on it.
  useLayoutEffect(() => {
    // Each calls what the last drawing bound: callbacks see what is shown now.
    const bound = wanted.map(({ keys, does }) => ({
      keys,
      does,
      run: (/** @type {KeyboardEvent} */ event) => latest.current.find((each) => each.keys === keys)?.run(event),
    }));
    bindings.value = [bound, ...bindings.value];
    return () => {
      bindings.value = bindings.value.filter((each) => each !== bound);
    };
  }, [wanted.map(({ keys }) => keys).join(" ")]);
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.defaultPrevented || event.altKey || event.metaKey) return;
  const name = (event.ctrlKey ? "Ctrl+" : "") + event.key;
  const typing =
    event.target instanceof Element &&
    event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing && event.key === "Escape" && event.target instanceof HTMLElement) event.target.blur();
  if (typing && !event.ctrlKey) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog !== null) {
    // What lies behind it does not hear.
    if (name !== "Escape" && name !== "?") return;
    event.preventDefault();
    dialog.dispatchEvent(new Event("cancel"));
    return;
  }
  for (const view of bindings.value) {
    const found = view.find(({ keys }) => keys === name);
    if (found !== undefined && found.run(event) !== false) {
      event.preventDefault();
      return;
    }
  }
}

export function listenToKeys() {
  addEventListener("keydown", pressed);
}
