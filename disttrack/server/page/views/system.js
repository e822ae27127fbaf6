// System: a heat-map a quantity, a row a node or device; rows unfold to lines.
// Not there yet: the zoom of the charts tab, which is in steps, carried over into time.

import { html } from "../vendor/html.js";
import { useMemo, useRef, useState } from "../vendor/hooks.js";
import { frame, get } from "../api.js";
import { stroke } from "../colours.js";
import { useSeen } from "../charts/card.js";
import { HeatMap, HeatScale, heightOf } from "../charts/heatmap.js";
import { Legend } from "../charts/card.js";
import { Plot } from "../charts/plot.js";
import { show, span } from "../charts/shared.js";
import { clock, many, ranges, short } from "../format.js";
import { useKeys } from "../keys.js";
import { version } from "../live.js";
import { place } from "../location.js";
import { Empty, Failed, Loading, Shown } from "../parts/states.js";
import { useResource } from "../resource.js";

/** @typedef {{quantity: string, unit: string | null, title: string, rows: number, keys: string[]}} Quantity */
/** @typedef {{from: number, to: number, nodes: string[], quantities: Quantity[]}} SystemOf */
/** @typedef {{node: string, device: string | null, key: string, ranks: number[], attempt: number}} SystemLine */

/** What is looked at first; the others follow by name. */
const FIRST = ["gpu.percent", "gpu.memory", "gpu.celsius", "gpu.watts", "cpu.percent", "memory"];

/** @param {{data: import("./run.js").RunOf}} props */
export function System({ data }) {
  const state = useResource((signal) => get("api/system", { run: data.run }, signal), data.run, version([data.run]));
  useKeys([{ keys: "0", does: "show all of the time", run: () => show(null) }]);
  return html`<section class="tab" aria-label="System">
    <${Shown} of=${state} what="The nodes' samples" rows=${6}>
      ${(/** @type {SystemOf} */ of) => {
        if (of.quantities.length === 0) {
          return html`<${Empty}
            text="No node of this run was sampled: its ranks ended before the first sample, or sampling is off (settings: system_interval_s)."
          />`;
        }
        const rank = (/** @type {Quantity} */ each) => {
          const at = FIRST.findIndex((name) => each.quantity.startsWith(name));
          return at < 0 ? FIRST.length : at;
        };
        const ordered = [...of.quantities].sort((a, b) => rank(a) - rank(b));
        const now = span.value;
        return html`<p class="chart-tools">
            <span class="quiet">${many(of.nodes.length, "node")}: ${of.nodes.join(", ")}</span>
            ${now !== null && html`<button type="button" class="chip" onClick=${() => show(null)}>${clock(now.from)} – ${clock(now.to)} ✕</button>`}
          </p>
          <div class="section">
            <div class="cards">
              ${ordered.map((each) => html`<${QuantityCard} key=${each.quantity} run=${data.run} quantity=${each} from=${of.from} to=${of.to} />`)}
            </div>
          </div>`;
      }}
    <//>
  </section>`;
}

/** @param {{run: string, quantity: Quantity, from: number, to: number}} props */
function QuantityCard({ run, quantity, from, to }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { near, width } = useSeen(box);
  const [open, setOpen] = useState(/** @type {string[]} */ ([]));
  const zoom = (place.value.choices.zoom ?? "").split("~");
  const query = {
    run,
    quantity: quantity.quantity,
    from: zoom.length === 2 ? zoom[0] : null,
    to: zoom.length === 2 ? zoom[1] : null,
    width: Math.max(100, Math.min(1000, Math.ceil(width / 200) * 100)),
  };
  const state = useResource(
    (signal) => frame("api/system/heatmap", query, signal),
    near && width > 0 ? JSON.stringify(query) : null,
    version([run]),
  );
  const heat = useMemo(
    () => (state.data === null ? null : heatOf(/** @type {any} */ (state.data), quantity, [from, to])),
    [state.data],
  );
  const tall = heightOf(quantity.rows) + 22;
  const lines =
    heat === null
      ? []
      : heat.rows.flatMap((row, at) => (open.includes(row.label) || quantity.rows <= 1 ? [lineOf(heat, at)] : []));
  const toggle = (/** @type {number} */ row) => {
    const label = heat?.rows[row].label ?? "";
    setOpen((before) =>
      before.includes(label) ? before.filter((each) => each !== label) : [...before, label].slice(-8),
    );
  };
  return html`<figure class="card wide" ref=${box} data-quantity=${quantity.quantity}>
    <figcaption>
      <span class="key" title=${quantity.keys.join(", ")}>${quantity.title}</span>
      <span class="note quiet">${quantity.unit ?? ""}</span>
      <span class="tools"
        >${heat !== null && html`<${HeatScale} heat=${heat} kind="value" />`}
        ${heat !== null && quantity.rows > 1 && html`<button type="button" aria-pressed=${open.length > 0} onClick=${() => setOpen(open.length > 0 ? [] : heat.rows.slice(0, 8).map((row) => row.label))}>lines</button>`}</span
      >
    </figcaption>
    <div style=${{ minHeight: `${tall}px` }} class=${state.loading && heat !== null ? "dimmed" : ""}>
      ${state.error !== null && html`<${Failed} error=${state.error} retry=${state.retry} what=${quantity.title} />`}
      ${heat === null && state.error === null && html`<${Loading} />`}
      ${heat !== null && heat.grid.length === 0 && html`<${Empty} text="Nothing was sampled in this part of the time." />`}
      ${
        heat !== null &&
        heat.grid.length > 0 &&
        quantity.rows > 1 &&
        html`<${HeatMap}
          heat=${heat}
          show="value"
          xKind="wall"
          onRow=${toggle}
          chosen=${heat.rows.flatMap((row, at) => (open.includes(row.label) ? [at] : []))}
          label=${`${quantity.title} of ${quantity.rows} rows by time, ${short(heat.range[0])} to ${short(heat.range[1])} ${quantity.unit ?? ""}`}
        />`
      }
      ${heat !== null && lines.length > 0 && html`<${Plot} x=${heat.grid} lines=${lines} xKind="wall" height=${150} label=${`${quantity.title} of ${lines.map((line) => line.label).join(", ")}`} /><${Legend} lines=${lines} />`}
    </div>
  </figure>`;
}

/** @param {{header: any, numbers: (at: any) => ArrayLike<number>}} of @param {Quantity} quantity @param {[number, number]} domain @returns {import("../charts/heatmap.js").Heat} */
function heatOf({ header, numbers }, quantity, domain) {
  const { v_min = 0, v_max = 1 } = header.domain ?? {};
  const percent = quantity.unit === "%";
  return {
    grid: numbers(header.grid),
    cells: numbers(header.cells),
    median: header.median === undefined ? null : numbers(header.median),
    rows: header.lines.map((/** @type {SystemLine} */ line) => ({
      label: `${line.node}${line.device !== null && line.device !== "" ? ` #${line.device}` : ""}`,
      group: line.node,
      detail: line.ranks.length > 0 ? `rank ${ranges(line.ranks)}` : "",
      goneAfter: null,
      state: "",
    })),
    holes: [],
    range: percent && v_max <= 100 && v_min >= 0 ? [0, 100] : [v_min, v_max],
    skewMax: 1,
    unit: quantity.unit,
    domain,
  };
}

/** @param {import("../charts/heatmap.js").Heat} heat @param {number} row @returns {import("../charts/plot.js").Line} */
function lineOf(heat, row) {
  const { label } = heat.rows[row];
  const values = Float64Array.from({ length: heat.grid.length }, (_, at) => heat.cells[row * heat.grid.length + at]);
  return { id: label, label, stroke: stroke(row), values, low: null, high: null };
}
