// A chart in its frame: title, what is shown of how much, table view, full window; mounted only while it can be seen.

import { html } from "../vendor/html.js";
import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { choose, place } from "../location.js";
import { plain } from "../api.js";
import { count, exact, many, short } from "../format.js";
import { Icon } from "../parts/icons.js";
import { Key, Swatch } from "../parts/labels.js";
import { Failed, Loading } from "../parts/states.js";
import { span } from "./shared.js";
import { Plot } from "./plot.js";
import { AsTable, TableButton } from "./tables.js";
import { byPlace, clipOf, drawingOf, notAboveZero, notFinite, summary, useSeries } from "./series.js";

/** Charts this far below the window are drawn already. */
export const NEAR = "300px";

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
  const low = useMemo(() => (drawing === null || log === "" ? null : notAboveZero(drawing)), [drawing, log]);
  const clip = useMemo(() => (drawing === null || whole || log ? null : clipOf(drawing.header)), [drawing, whole, log]);
  const empty = drawing !== null && (drawing.header.empty !== null || drawing.lines.length === 0);
  const tall = large ? Math.max(320, Math.round(globalThis.innerHeight * 0.62)) : (height ?? 180);
  return html`<figure class=${large ? "card large" : "card"} ref=${box} data-key=${name}>
    <figcaption>
      <${Key} name=${name} />
      ${drawing !== null && html`<${Note} drawing=${drawing} odd=${odd?.text ?? ""} under=${low?.under ?? 0} clip=${clip} whole=${whole} onWhole=${() => setWhole(!whole)} />`}
      <span class="tools">
        ${tools}
        <${TableButton} of=${name} pressed=${table} onClick=${() => setTable(!table)} />
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
    <div class=${series.loading && drawing !== null ? "dimmed" : ""} style=${{ minHeight: empty ? null : `${tall}px` }}>
      ${series.error !== null && html`<${Failed} error=${series.error} retry=${series.retry} what=${name} />`}
      ${drawing === null && series.error === null && near && html`<${Loading} rows=${4} />`}
      ${
        drawing !== null &&
        (empty
          ? drawing.header.summaries.length > 0
            ? html`<${Summaries} of=${drawing.header.summaries} strokeOf=${strokeOf} />`
            : html`<${Nothing} why=${drawing.header.empty} name=${name} x=${x} />`
          : table
            ? html`<${AsTable} drawing=${drawing} />`
            : odd?.none
              ? html`<div class="empty">
                  <p>
                    None of ${odd.points > 0 ? many(odd.points, "point") : "the points"} of <b>${name}</b> is a finite
                    number: ${odd.text === "" ? "all are NaN" : `${odd.text}, the others NaN`}.
                  </p>
                </div>`
              : low?.none
                ? html`<div class="empty">
                  <p>Nothing of <b>${name}</b> is above 0: a logarithmic axis has no place for it.</p>
                  <button type="button" onClick=${() => choose({ log: "" })}>Linear axes</button>
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
                label=${summary(drawing, name, marks)}
              />`)
      }
    </div>
    ${legend && drawing !== null && !empty && html`<${Legend} lines=${drawing.lines} banded=${drawing.header.mode === "band"} />`}
  </figure>`;
}

/** A metric that no step has: what runs ended with. @param {{of: import("./series.js").SeriesHeader["summaries"], strokeOf: import("./series.js").StrokeOf}} props */
function Summaries({ of, strokeOf }) {
  const values = of.map(({ value }) => Number(plain(value)));
  const [least, most] = [
    Math.min(0, ...values.filter(Number.isFinite)),
    Math.max(...values.filter(Number.isFinite), 0),
  ];
  const share = (/** @type {number} */ value) =>
    Number.isFinite(value) && most > least ? (value - least) / (most - least) : 0;
  return html`<div class="summaries">
    <p class="quiet">summary</p>
    ${of.length === 1 && html`<p class="figure" title=${exact(values[0])}>${short(values[0], 5)}</p>`}
    ${
      of.length > 1 &&
      html`<table>
        ${of.map(
          ({ run, name }, at) =>
            html`<tr key=${run}>
              <th scope="row" title=${name}>${name}</th>
              <td class="bar-cell">
                <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                  <rect
                    width=${Math.max(share(values[at]) * 100, 0.5)}
                    height="8"
                    fill=${strokeOf({ run, rank: null, role: "line" }, at).colour}
                  />
                </svg>
              </td>
              <td class="number" title=${exact(values[at])}>${short(values[at], 4)}</td>
            </tr>`,
        )}
      </table>`
    }
  </div>`;
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
    <p>None of the runs in view has logged <b>${name}</b>.</p>
  </div>`;
}

/** What is shown of how much. @param {{drawing: import("./series.js").Drawing, odd: string, under: number, clip: [number, number] | null, whole: boolean, onWhole: () => void}} props */
function Note({ drawing, odd, under, clip, whole, onWhole }) {
  const { header } = drawing;
  const clipped = clip !== null;
  const { above = 0, below = 0 } = header.domain ?? {};
  const points = header.lines.reduce((sum, line) => sum + line.points, 0);
  const bucketed = header.exact
    ? ""
    : `${points > 0 ? many(points, "point") : "all points"} in ${drawing.x.length} buckets: mean, with the least and greatest of each behind it`;
  return html`<span class="note">
    ${odd !== "" && html`<span class="warn" title="Infinite points are not part of the line">${odd}</span>`}
    ${under > 0 && html`<span class="warn" title="A logarithmic axis has no place for them: the line goes past them">${count(under)} not above 0</span>`}
    ${bucketed !== "" && !clipped && !whole && html`<span class="quiet" title=${bucketed}>min–max</span>`}
    ${
      (clipped || whole) &&
      html`<button
        type="button"
        class="chip"
        onClick=${onWhole}
        title=${clipped ? `${many(above + below, "point")} beyond the y-axis, which shows 98 % of them: a click shows all` : "A click shows 98 % of the points"}
      >
        ${clipped ? `${short(above + below)} beyond ${above > 0 ? "▲" : ""}${below > 0 ? "▼" : ""}` : "all points"}
      </button>`
    }
  </span>`;
}

/** @param {{lines: import("./plot.js").Line[], banded?: boolean}} props banded: around the line is a band over ranks */
export const Legend = ({ lines, banded = false }) =>
  html`<ul class="legend">
    ${lines.filter((line) => line.width !== 0).map((line) => html`<li key=${line.id}><${Swatch} stroke=${line.stroke} /> ${line.label}</li>`)}
    ${banded && html`<li class="quiet">shaded: all ranks, darker 5 % to 95 % of them</li>`}
  </ul>`;
