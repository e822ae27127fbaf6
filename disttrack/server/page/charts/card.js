// A chart in its frame: title, what is shown of how much, table view, full window; mounted only while it can be seen.

import { html } from "../vendor/html.js";
import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { choose, place } from "../location.js";
import { exact, many, short } from "../format.js";
import { plain } from "../api.js";
import { Icon } from "../parts/icons.js";
import { Key, Swatch } from "../parts/labels.js";
import { Failed, Loading } from "../parts/states.js";
import { span } from "./shared.js";
import { Plot } from "./plot.js";
import { byPlace, clipOf, drawingOf, notFinite, summary, useSeries } from "./series.js";

/** Charts this far below the window are drawn already. */
const NEAR = "300px";

/**
 * Whether an element can be seen, and its width.
 * @param {{current: HTMLElement | null}} box @returns {{near: boolean, width: number}}
 */
export function useSeen(box) {
  const [seen, setSeen] = useState({ near: false, width: 0 });
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const views = new IntersectionObserver(
      (entries) => {
        const near = entries[entries.length - 1].isIntersecting;
        setSeen((before) => (near === before.near ? before : { near, width: element.clientWidth }));
      },
      { rootMargin: NEAR },
    );
    views.observe(element);
    const sizes = new ResizeObserver(() => {
      setSeen((before) =>
        Math.abs(before.width - element.clientWidth) < 8 ? before : { ...before, width: element.clientWidth },
      );
    });
    sizes.observe(element);
    return () => {
      views.disconnect();
      sizes.disconnect();
    };
  }, []);
  return seen;
}

/** How many buckets a chart of this width asks for: in steps, so that a moved divider does not fetch all again. @param {number} width */
export const buckets = (width) => Math.max(100, Math.min(2000, Math.ceil(width / 100) * 100));

/**
 * A metric as lines or bands.
 * @param {object} props
 * @param {string} props.name the metric
 * @param {string[]} props.runs
 * @param {string} [props.ranks]
 * @param {string} [props.mode]
 * @param {import("./series.js").StrokeOf} [props.strokeOf]
 * @param {(drawing: import("./series.js").Drawing) => import("./series.js").Drawing} [props.change] lines of a group as one
 * @param {import("./plot.js").Mark[]} [props.marks]
 * @param {boolean} [props.legend]
 * @param {number} [props.height]
 * @param {unknown} [props.tools]
 */
export function SeriesCard({
  name,
  runs,
  ranks,
  mode,
  strokeOf = byPlace,
  change,
  marks,
  legend = false,
  height,
  tools,
}) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { near, width } = useSeen(box);
  const [table, setTable] = useState(false);
  const [whole, setWhole] = useState(false);
  const { x = "step", sm: smooth = "", log = "", card = "", attempt } = place.value.choices;
  const large = card === name;
  const window_ = place.value.choices.zoom?.split("~");
  const query =
    near && width > 0 && runs.length > 0
      ? {
          run: runs,
          key: name,
          ranks,
          mode,
          x,
          from: window_ ? Number(window_[0]) : null,
          to: window_ ? Number(window_[1]) : null,
          width: buckets(width),
          smooth,
          log: "",
          superseded: attempt === "all" ? "1" : "",
        }
      : null;
  const series = useSeries(query);
  const drawing = useMemo(() => {
    if (series.data === null) return null;
    const found = drawingOf(/** @type {any} */ (series.data), strokeOf, runs.length > 1);
    return change === undefined ? found : change(found);
  }, [series.data, strokeOf, change]);
  const odd = useMemo(() => (drawing === null ? null : notFinite(drawing)), [drawing]);
  const clip = useMemo(() => (drawing === null || whole || log ? null : clipOf(drawing.header)), [drawing, whole, log]);
  const tall = large ? Math.max(320, Math.round(globalThis.innerHeight * 0.62)) : (height ?? 180);
  return html`<figure class=${large ? "card large" : "card"} ref=${box} data-key=${name}>
    <figcaption>
      <${Key} name=${name} />
      ${drawing !== null && html`<${Note} drawing=${drawing} odd=${odd?.text ?? ""} clip=${clip} whole=${whole} onWhole=${() => setWhole(!whole)} />`}
      <span class="tools">
        ${tools}
        <button
          type="button"
          class="bare"
          aria-pressed=${table}
          title="View as table"
          aria-label=${`View ${name} as table`}
          onClick=${() => setTable(!table)}
        >
          <${Icon} name="table" />
        </button>
        <button
          type="button"
          class="bare"
          aria-pressed=${large}
          title=${large ? "As small as the others" : "Fill the window"}
          aria-label=${`Enlarge ${name}`}
          onClick=${() => choose({ card: large ? "" : name }, { push: true })}
        >
          <${Icon} name="large" />
        </button>
      </span>
    </figcaption>
    <div class=${series.loading && drawing !== null ? "dimmed" : ""} style=${{ minHeight: `${tall}px` }}>
      ${series.error !== null && html`<${Failed} error=${series.error} retry=${series.retry} what=${name} />`}
      ${drawing === null && series.error === null && near && html`<${Loading} rows=${4} />`}
      ${
        drawing !== null &&
        (drawing.header.empty !== null || drawing.lines.length === 0
          ? html`<${Nothing} why=${drawing.header.empty} name=${name} x=${x} />`
          : table
            ? html`<${AsTable} drawing=${drawing} />`
            : odd?.none
              ? html`<div class="empty">
                  <p>
                    None of ${odd.points > 0 ? many(odd.points, "point") : "the points"} of <b>${name}</b> is a finite
                    number: ${odd.text === "" ? "all are NaN" : `${odd.text}, the others NaN`}.
                  </p>
                </div>`
              : html`<${Plot}
                x=${drawing.x}
                lines=${drawing.lines}
                holes=${drawing.holes}
                marks=${marks}
                xKind=${x}
                log=${log !== ""}
                clip=${clip}
                height=${tall}
                label=${summary(drawing, name)}
              />`)
      }
    </div>
    ${legend && drawing !== null && html`<${Legend} lines=${drawing.lines} />`}
  </figure>`;
}

/** Why a chart is empty, and what mends it. @param {{why: string | null, name: string, x: string}} props */
function Nothing({ why, name, x }) {
  if (why === "no x") {
    return html`<div class="empty">
      <p>Nothing logged <b>${x}</b> together with <b>${name}</b>.</p>
      <button type="button" onClick=${() => choose({ x: "" })}>Show it by step</button>
    </div>`;
  }
  if (why === "window" || span.value !== null) {
    return html`<div class="empty">
      <p><b>${name}</b> has no points in this part of the x-axis.</p>
      <button type="button" onClick=${() => choose({ zoom: "" })}>Show all of it</button>
    </div>`;
  }
  return html`<div class="empty">
    <p>The runs in view have logged no step with <b>${name}</b>; a summary alone is no line.</p>
  </div>`;
}

/** What is shown of how much. @param {{drawing: import("./series.js").Drawing, odd: string, clip: [number, number] | null, whole: boolean, onWhole: () => void}} props */
function Note({ drawing, odd, clip, whole, onWhole }) {
  const { header } = drawing;
  const clipped = clip !== null;
  const { above = 0, below = 0 } = header.domain ?? {};
  const points = header.lines.reduce((sum, line) => sum + line.points, 0);
  const bucketed = header.exact
    ? ""
    : `${points > 0 ? many(points, "point") : "all points"} in ${drawing.x.length} buckets: mean, with the least and greatest of each behind it`;
  return html`<span class="note">
    ${odd !== "" && html`<span class="warn" title="Infinite points are not part of the line">${odd}</span>`}
    ${bucketed !== "" && html`<span class="quiet" title=${bucketed}>min–max</span>`}
    ${
      (clipped || whole) &&
      html`<button
        type="button"
        class="chip"
        onClick=${onWhole}
        title=${clipped ? "The y-axis shows 98 % of the points" : ""}
      >
        ${clipped ? `${many(above + below, "point")} beyond ${above > 0 ? "▲" : ""}${below > 0 ? "▼" : ""}` : "all points"}
      </button>`
    }
  </span>`;
}

/** @param {{lines: import("./plot.js").Line[]}} props */
export const Legend = ({ lines }) =>
  html`<ul class="legend">
    ${lines.filter((line) => line.width !== 0).map((line) => html`<li key=${line.id}><${Swatch} stroke=${line.stroke} /> ${line.label}</li>`)}
  </ul>`;

/** The numbers of a chart. @param {{drawing: import("./series.js").Drawing}} props */
function AsTable({ drawing: { header, x, lines } }) {
  const columns = lines.filter((line) => line.width !== 0);
  const each = Math.max(1, Math.ceil(x.length / 100));
  const rows = Array.from({ length: Math.ceil(x.length / each) }, (_, row) => Math.min(row * each, x.length - 1));
  return html`<div class="as-table" tabindex="0">
    ${
      header.lines.length > 0 &&
      html`<table>
        <thead>
          <tr>
            <th></th>
            ${["last", "min", "mean", "max", "points"].map((name) => html`<th key=${name}>${name}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${header.lines.map(
            (line, place) =>
              html`<tr key=${place}>
                <th>
                  ${lines.find((drawn) => drawn.id === `${line.run} ${header.mode === "mean" ? "" : line.rank}`)?.label ?? line.name}
                </th>
                ${[line.stats.last, line.stats.min, line.stats.mean, line.stats.max, line.points].map((value, at) => html`<td key=${at} title=${exact(value)}>${short(plain(value), 5)}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>`
    }
    <table>
      <thead>
        <tr>
          <th>${header.x}</th>
          ${columns.map((line) => html`<th key=${line.id}>${line.label}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr key=${row}>
              <th>${short(x[row], 7)}</th>
              ${columns.map((line) => html`<td key=${line.id} title=${exact(line.values[row])}>${Number.isNaN(line.values[row]) ? "" : short(line.values[row], 5)}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
