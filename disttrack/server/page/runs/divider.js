// The divider between the runs and their charts: dragged, or moved by the arrows; where it stands is in the URL.

import { html } from "../vendor/html.js";
import { useEffect } from "../vendor/hooks.js";
import { signal } from "../vendor/signals.js";
import { choose, place } from "../location.js";

/** Below this the charts stand under the table, px; as in runs.css. */
const NARROW = 860;
const [LEAST, USUAL, MOST] = [20, 45, 80];

const windowPx = signal(globalThis.innerWidth);

/** The share of the window that the table has beside the charts, in percent. */
export const share = () => Math.max(LEAST, Math.min(MOST, Math.round(Number(place.value.choices.w)) || USUAL));

/** The width of the table, px. @param {string} side runs or charts alone */
export const tablePx = (side) =>
  windowPx.value <= NARROW || side === "runs" ? windowPx.value : (windowPx.value * share()) / 100;

export function Divider() {
  useEffect(() => {
    const resized = () => (windowPx.value = globalThis.innerWidth);
    addEventListener("resize", resized);
    return () => removeEventListener("resize", resized);
  }, []);
  const put = (/** @type {number} */ percent) => {
    const next = Math.max(LEAST, Math.min(MOST, Math.round(percent)));
    choose({ w: next === USUAL ? "" : String(next) });
  };
  return html`<div
    class="divider"
    role="separator"
    tabindex="0"
    aria-orientation="vertical"
    aria-label="Width of the table"
    aria-valuenow=${share()}
    aria-valuemin=${LEAST}
    aria-valuemax=${MOST}
    title="Drag, or arrow keys; a double click sets it back"
    onPointerDown=${(/** @type {PointerEvent} */ event) => {
      event.preventDefault();
      /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    }}
    onPointerMove=${(/** @type {PointerEvent} */ event) => {
      if (/** @type {Element} */ (event.currentTarget).hasPointerCapture(event.pointerId))
        put((event.clientX / innerWidth) * 100);
    }}
    onDblClick=${() => put(USUAL)}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      const by = event.key === "ArrowLeft" ? -4 : event.key === "ArrowRight" ? 4 : 0;
      if (by === 0) return;
      event.preventDefault();
      put(share() + by);
    }}
  ></div>`;
}
