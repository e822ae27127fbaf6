// What the page tells in passing: toasts that may undo something, and a line for screen readers.

import { signal } from "./vendor/signals.js";

/** @typedef {{id: number, text: string, undo: (() => void) | null, bad: boolean}} Notice */

const SHOWN_MS = 10_000;
let last = 0;

/** @type {import("./vendor/signals.js").Signal<Notice[]>} */
export const notices = signal([]);

/** What screen readers are told; not more often than every SPOKEN_MS. */
export const spoken = signal("");
const SPOKEN_MS = 10_000;
let spokenAt = -SPOKEN_MS;

/** @param {string} text @param {{undo?: () => void, bad?: boolean}} [how] */
export function tell(text, { undo, bad = false } = {}) {
  last += 1;
  const notice = { id: last, text, undo: undo ?? null, bad };
  notices.value = [...notices.value.slice(-3), notice];
  setTimeout(() => dismiss(notice.id), SHOWN_MS);
}

/** @param {number} id */
export function dismiss(id) {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** @param {string} text */
export function speak(text) {
  if (performance.now() - spokenAt < SPOKEN_MS || text === spoken.value) return;
  spokenAt = performance.now();
  spoken.value = text;
}

/** Puts text on the clipboard and says so. @param {string} text @param {string} what */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    tell(`${what} copied.`);
  } catch {
    tell(`The browser does not let this page use the clipboard. ${what}: ${text}`, { bad: true });
  }
}
