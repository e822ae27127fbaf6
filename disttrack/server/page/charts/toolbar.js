// What applies to all charts of a view: x-axis, logarithm, smoothing, which metrics, zoom.

import { html } from "../vendor/html.js";
import { useRef, useState } from "../vendor/hooks.js";
import { choose, place } from "../location.js";
import { useKeys } from "../keys.js";
import { short } from "../format.js";
import { Menu, OneOf } from "../parts/menu.js";
import { cursor, show, span, stepCursor } from "./shared.js";

/** Metrics that the choice of an x-axis holds before it is opened: thousands of options take long to draw. */
const OFFERED = 200;
const SMOOTHING = [0, 0.6, 0.9, 0.97];

/**
 * @param {{keys: string[], children?: unknown}} props keys: what may be the x-axis
 */
export function ChartTools({ keys, children }) {
  const { x = "step", log = "", sm = "", q = "" } = place.value.choices;
  const [opened, setOpened] = useState(false);
  const offered = opened ? keys : keys.slice(0, OFFERED);
  const found = useRef(/** @type {HTMLInputElement | null} */ (null));
  const smoothing = Number(sm || 0);
  useKeys([
    { keys: "l", does: "logarithmic y-axes, or not", run: () => choose({ log: log === "" ? "1" : "" }) },
    {
      keys: "s",
      does: "smooth more, then not at all",
      run: () =>
        choose({
          sm: String(SMOOTHING[(SMOOTHING.findIndex((each) => each >= smoothing) + 1) % SMOOTHING.length] || ""),
        }),
    },
    { keys: "[", does: "cursor a step back", run: () => stepCursor(-1) },
    { keys: "]", does: "cursor a step on", run: () => stepCursor(1) },
    { keys: "0", does: "show all of the x-axis", run: () => show(null) },
    { keys: "m", does: "find a metric", run: () => found.current?.focus() },
  ]);
  const stepped = ["step", "relative", "wall"].includes(x);
  return html`<div class="chart-tools" role="toolbar" aria-label="Charts">
    <input
      ref=${found}
      type="search"
      class="find"
      placeholder="Find metric"
      aria-label="Find metric"
      value=${q}
      onInput=${(/** @type {Event} */ event) => choose({ q: /** @type {HTMLInputElement} */ (event.target).value })}
    />
    <label class="pick"
      >x
      <select
        aria-label="x-axis"
        onFocus=${() => setOpened(true)}
        onPointerDown=${() => setOpened(true)}
        onChange=${(/** @type {Event} */ event) => {
          show(null);
          choose({ x: /** @type {HTMLSelectElement} */ (event.target).value.replace(/^step$/, ""), zoom: "" });
        }}
      >
        ${["step", "relative", "wall"].map((each) => html`<option key=${each} value=${each} selected=${x === each}>${{ step: "step", relative: "time since start", wall: "time of day" }[each]}</option>`)}
        <optgroup label="a metric">
          ${!stepped && !offered.includes(x) && html`<option value=${x} selected>${x}</option>`}${offered.map((key) => html`<option key=${key} value=${key} selected=${x === key}>${key}</option>`)}
        </optgroup>
      </select></label
    >
    <button
      type="button"
      aria-pressed=${log !== ""}
      title="Logarithmic y-axes (l)"
      onClick=${() => choose({ log: log === "" ? "1" : "" })}
    >
      log
    </button>
    <${Smoothing} value=${smoothing} />
    ${children}
    <${Window} />
  </div>`;
}

/** @param {{value: number}} props */
function Smoothing({ value }) {
  const [shown, setShown] = useState(/** @type {number | null} */ (null));
  const put = (/** @type {string} */ text) => choose({ sm: Number(text) === 0 ? "" : text });
  return html`<${Menu}
    label=${value === 0 ? "smooth" : `smooth ${value}`}
    title="Smoothing (s)"
    kind=${value === 0 ? "" : "on"}
  >
    <div class="smoothing">
      <label
        >Smoothing <output>${shown ?? value}</output>
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value=${value}
          aria-label="Smoothing"
          onInput=${(/** @type {Event} */ event) => setShown(Number(/** @type {HTMLInputElement} */ (event.target).value))}
          onChange=${(/** @type {Event} */ event) => put(/** @type {HTMLInputElement} */ (event.target).value)}
      /></label>
      <${OneOf}
        label="Smoothing"
        value=${String(value)}
        options=${SMOOTHING.map((each) => [String(each), each === 0 ? "off" : String(each)])}
        onChange=${put}
      />
      <p class="quiet">
        A moving average over the x-axis, of all points, before any are put into buckets. What was logged stays behind
        it.
      </p>
    </div>
  <//>`;
}

/** The shown part of the x-axis, and the way back to all of it. */
function Window() {
  const now = span.value;
  if (now === null) return null;
  return html`<button
    type="button"
    class="chip"
    title="Show all of the x-axis (0)"
    onClick=${() => {
      cursor.value = null;
      show(null);
    }}
  >
    ${short(now.from, 5)} – ${short(now.to, 5)} ✕
  </button>`;
}
