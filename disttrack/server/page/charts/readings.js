// The values under the cursor: the nearest few, by value; a click keeps them as a table to copy.

import { html } from "../vendor/html.js";
import { count, duration, exact, moment, short, withUnit } from "../format.js";
import { copy } from "../notices.js";
import { Swatch } from "../parts/labels.js";

const SHOWN = 8;

/** An x as people say it. @param {number} x @param {string} kind */
export function named(x, kind) {
  if (kind === "wall") return moment(x);
  if (kind === "relative") return `${duration(x)} after the start`;
  if (kind === "step") return `step ${count(Math.round(x))}`; // of a bucket, its middle
  return `${kind} ${short(x, 6)}`;
}

/**
 * @param {object} props
 * @param {ArrayLike<number>} props.x
 * @param {import("./plot.js").Line[]} props.lines
 * @param {string} props.xKind
 * @param {string | null} [props.unit]
 * @param {number} props.index of x
 * @param {number} props.left in px, where the cursor is
 * @param {boolean} props.pinned
 * @param {() => void} props.onClose
 */
export function Readings({ x, lines, xKind, unit = null, index, left, pinned, onClose }) {
  const found = lines
    .map((line) => ({ line, value: line.values[index], low: line.low?.[index], high: line.high?.[index] }))
    .filter(({ value }) => value !== undefined && !Number.isNaN(value))
    .sort((a, b) => b.value - a.value);
  if (found.length === 0 || index >= x.length) return null;
  const shown = pinned ? found : found.slice(0, SHOWN);
  const title = named(x[index], xKind);
  const text = () =>
    [`${xKind}\t${exact(x[index])}`, ...found.map(({ line, value }) => `${line.label}\t${exact(value)}`)].join("\n");
  return html`<div
    class=${pinned ? "readings pinned" : "readings"}
    ref=${(/** @type {HTMLElement | null} */ element) => beside(element, left)}
  >
    <p>
      ${title}${pinned && html` <button type="button" onClick=${() => copy(text(), "Values")}>Copy</button> <button type="button" aria-label="Close" onClick=${onClose}>✕</button>`}
    </p>
    <table>
      ${shown.map(
        ({ line, value, low, high }) =>
          html`<tr key=${line.id}>
            <td><${Swatch} stroke=${line.stroke} /> ${line.label}</td>
            <td class="number" title=${exact(value)}>${withUnit(value, unit, 5)}</td>
            <td class="number quiet">
              ${low !== undefined && high !== undefined && low !== high && !Number.isNaN(low) ? `${short(low, 3)} … ${short(high, 3)}` : ""}
            </td>
          </tr>`,
      )}
    </table>
    ${found.length > shown.length && html`<p class="quiet">and ${found.length - shown.length} more; click to keep all</p>`}
  </div>`;
}

/** Puts the readings beside the cursor, on the side that has room. @param {HTMLElement | null} element @param {number} left */
export function beside(element, left) {
  const room = element?.parentElement?.clientWidth;
  if (element == null || room === undefined) return;
  const width = element.offsetWidth;
  const wanted = left + 14 + width <= room ? left + 14 : left - 14 - width;
  element.style.left = `${Math.max(0, Math.min(wanted, Math.max(0, room - width)))}px`;
}
