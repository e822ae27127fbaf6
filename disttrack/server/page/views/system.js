// System: a heat-map a quantity, a row a node or device; rows unfold to lines.
// Not there yet: the zoom of the charts tab, which is in steps, carried over into time.

import { html } from "../vendor/html.js";
import { useMemo, useRef, useState } from "../vendor/hooks.js";
import { frame, get } from "../api.js";
import { stroke } from "../colours.js";
import { useSeen } from "../charts/card.js";
import { HeatMap, HeatScale, heightOf } from "../charts/heatmap.js";
import { HeatTable, TableButton } from "../charts/tables.js";
import { Legend } from "../charts/card.js";
import { Plot } from "../charts/plot.js";
import { show, span } from "../charts/shared.js";
import { clock, many, ranges, scaled, withUnit } from "../format.js";
import { useKeys } from "../keys.js";
import { version } from "../live.js";
import { place } from "../location.js";
import { Empty, Failed, Loading, Shown } from "../parts/states.js";
import { useResource } from "../resource.js";

/** @typedef {{quantity: string, unit: string | null, title: string, rows: number, keys: string[]}} Quantity */
/** @typedef {{from: number, to: number, nodes: string[], quantities: Quantity[]}} SystemOf */
/** @typedef {{node: string, device: string | null, key: string, ranks: number[], attempt: number}} SystemLine */

/** What is looked at first; the others follow by name. */
const FIRST = ["gpu.percent", "gpu.memory", "gpu.temperature", "gpu.power", "cpu.percent", "memory"];

const byNumber = new Intl.Collator("en", { numeric: true }).compare;

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
            <span class="quiet">${many(of.nodes.length, "node")}${of.nodes.length <= 8 ? `: ${[...of.nodes].sort(byNumber).join(", ")}` : ""}</span>
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
  const [table, setTable] = useState(false);
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
  const tall = quantity.rows > 1 ? heightOf(quantity.rows) + 22 : 150;
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
  const several = quantity.rows > 1;
  const scale = scaled(quantity.unit, heat === null ? 0 : heat.range[1]);
  const unit = quantity.unit ?? "";
  const said = () =>
    `${quantity.title} of ${many(quantity.rows, "row")} by time, ${withUnit(heat?.least ?? 0, unit)} to ${withUnit(heat?.greatest ?? 0, unit)}`;
  return html`<figure class=${several ? "card wide" : "card"} ref=${box} data-quantity=${quantity.quantity}>
    <figcaption>
      <span class="key" title=${quantity.keys.join(", ")}>${quantity.title}</span>
      <span class="note quiet">${lines.length > 0 && !several ? scale.unit : unit === "B" || unit === "B/s" ? "" : unit}</span>
      <span class="tools"
        >${heat !== null && several && html`<${HeatScale} heat=${heat} kind="value" />`}
        ${heat !== null && several && html`<button type="button" aria-pressed=${open.length > 0} title="Rows as lines; a click on a row draws its own" onClick=${() => setOpen(open.length > 0 ? [] : heat.rows.slice(0, 8).map((row) => row.label))}>lines</button>`}
        <${TableButton} of=${quantity.title} pressed=${table} onClick=${() => setTable(!table)} /></span
      >
    </figcaption>
    <div style=${{ minHeight: `${tall}px` }} class=${state.loading && heat !== null ? "dimmed" : ""}>
      ${state.error !== null && html`<${Failed} error=${state.error} retry=${state.retry} what=${quantity.title} />`}
      ${heat === null && state.error === null && html`<${Loading} />`}
      ${heat !== null && heat.grid.length === 0 && html`<${Empty} text="Nothing was sampled in this part of the time." />`}
      ${heat !== null && heat.grid.length > 0 && table && html`<${HeatTable} heat=${heat} what="node" />`}
      ${
        heat !== null &&
        heat.grid.length > 0 &&
        several &&
        !table &&
        html`<${HeatMap}
          heat=${heat}
          show="value"
          xKind="wall"
          onRow=${toggle}
          chosen=${heat.rows.flatMap((row, at) => (open.includes(row.label) ? [at] : []))}
          label=${said()}
        />`
      }
      ${
        heat !== null &&
        lines.length > 0 &&
        !table &&
        html`${several && html`<p class="note quiet axis-unit">${scale.unit}</p>`}<${Plot}
            x=${heat.grid}
            lines=${lines}
            xKind="wall"
            height=${150}
            per=${scale.per}
            unit=${unit}
            clip=${unit === "%" && heat.range[1] === 100 ? heat.range : null}
            label=${`${said()}: ${lines.map((line) => line.label).join(", ")}`}
          />${(several || heat.rows.length > 1) && html`<${Legend} lines=${lines} />`}`
      }
    </div>
  </figure>`;
}

/** @param {{header: any, numbers: (at: any) => ArrayLike<number> | null}} of @param {Quantity} quantity @param {[number, number]} domain @returns {import("../charts/heatmap.js").Heat & {least: number, greatest: number}} */
function heatOf({ header, numbers }, quantity, domain) {
  const { v_min = 0, v_max = 1 } = header.domain ?? {};
  const [percent, bytes] = [quantity.unit === "%", quantity.unit?.startsWith("B") ?? false];
  const labels = header.lines.map(
    (/** @type {SystemLine} */ line) =>
      `${line.node}${line.device !== null && line.device !== "" ? ` #${line.device}` : ""}`,
  );
  /** @type {number[]} node2 before node10: the server orders by text */
  const order = [...labels.keys()].sort((a, b) => byNumber(labels[a], labels[b]));
  const [grid, given] = [numbers(header.grid) ?? [], numbers(header.cells) ?? []]; // null: nothing in this window
  const cells = new Float32Array(given.length);
  order.forEach((from, to) => {
    for (let at = 0; at < grid.length; at++) cells[to * grid.length + at] = given[from * grid.length + at];
  });
  return {
    grid,
    cells,
    median: numbers(header.median),
    rows: order.map((from) => {
      const line = /** @type {SystemLine} */ (header.lines[from]);
      return {
        label: labels[from],
        short: line.device !== null && line.device !== "" ? `#${line.device}` : undefined,
        group: line.node,
        detail: line.ranks.length > 0 ? `rank ${ranges(line.ranks)}` : "",
        goneAfter: null,
        state: "",
      };
    }),
    holes: [],
    range: percent && v_max <= 100 && v_min >= 0 ? [0, 100] : bytes && v_min >= 0 ? [0, v_max] : [v_min, v_max],
    least: v_min,
    greatest: v_max,
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
