// One metric of all ranks of a run as a heat-map card: its value, or how far each rank strays from the median rank.

import { html } from "../vendor/html.js";
import { useMemo, useRef, useState } from "../vendor/hooks.js";
import { frame } from "../api.js";
import { short } from "../format.js";
import { version } from "../live.js";
import { choose, place } from "../location.js";
import { Key } from "../parts/labels.js";
import { OneOf } from "../parts/menu.js";
import { Empty, Failed, Loading } from "../parts/states.js";
import { useResource } from "../resource.js";
import { useSeen } from "./card.js";
import { HeatMap, HeatScale, heightOf } from "./heatmap.js";
import { GONE } from "./series.js";
import { HeatTable, TableButton } from "./tables.js";

/** @typedef {import("../api.js").Reference} Reference */
/**
 * @typedef {object} HeatHeader
 * @property {string | null} key @property {string} x @property {string | null} unit @property {string | null} empty
 * @property {boolean} step_time whether it is the time of whole steps, in which ranks wait for each other
 * @property {number} rows @property {number} columns @property {Reference} grid @property {Reference} cells
 * @property {Reference} median @property {Reference} argmax
 * @property {{from: number, to: number, v_min: number, v_max: number, v_p01: number, v_p99: number, skew_max: number | null} | null} domain
 * @property {{rank: number, to_rank: number, node: string | null, state: string, last_x: number | null}[]} ranks
 * @property {{rank: number, from: number, to: number, why: string}[]} holes
 */

/**
 * The heat-map of a metric (null: seconds between rows) of a run's ranks.
 * @param {string} run @param {string | null} key @param {number} width px, 0: not yet
 * @param {{current: Promise<unknown> | null}} [asked] holds the newest request, for who lets the heat-map go first
 */
export function useRankMap(run, key, width, asked) {
  const { zoom = "", x: chosen = "step", attempt = "" } = place.value.choices;
  const x = ["step", "relative", "wall"].includes(chosen) ? chosen : "step";
  const apart = x !== chosen; // along a metric there is no heat-map
  const [from, to] = zoom === "" || apart ? [null, null] : zoom.split("~");
  const query = {
    run,
    key,
    x,
    from,
    to,
    width: Math.max(100, Math.min(1000, Math.ceil(width / 2 / 100) * 100)),
    superseded: attempt === "all" ? "1" : "",
  };
  const state = useResource(
    (signal) => {
      const answer = frame("api/heatmap", query, signal);
      if (asked !== undefined) asked.current = answer.catch(() => undefined);
      return answer;
    },
    width === 0 ? null : JSON.stringify(query),
    version([run]),
  );
  const heat = useMemo(() => (state.data === null ? null : heatOf(/** @type {any} */ (state.data))), [state.data]);
  return { ...state, heat, header: /** @type {HeatHeader | null} */ (state.data?.header ?? null), x, apart };
}

const NOTHING = { v_min: 0, v_max: 1, v_p01: 0, v_p99: 1, skew_max: 0, from: 0, to: 1 };

/** @param {{header: HeatHeader, numbers: (at: Reference | null) => ArrayLike<number> | null}} of @returns {import("./heatmap.js").Heat & {argmax: ArrayLike<number>}} */
function heatOf({ header, numbers }) {
  const { v_min, v_max, v_p01, v_p99, skew_max, from, to } = header.domain ?? NOTHING;
  const clipped = v_max - v_min > 4 * (v_p99 - v_p01) && v_p99 > v_p01;
  const [grid, cells, median] = [numbers(header.grid) ?? [], numbers(header.cells) ?? [], numbers(header.median)];
  const strays = straysOf(cells, median, header.ranks.length);
  return {
    grid,
    cells,
    median,
    argmax: numbers(header.argmax) ?? [],
    rows: header.ranks.map((rank, at) => ({
      short: rank.to_rank !== rank.rank ? `${rank.rank}–${rank.to_rank}` : String(rank.rank),
      strays: strays.includes(at),
      label: rank.to_rank !== rank.rank ? `ranks ${rank.rank}–${rank.to_rank}` : `rank ${rank.rank}`,
      group: rank.node ?? "",
      goneAfter: GONE.has(rank.state) ? (rank.last_x ?? from) : rank.state === "absent" ? from : null,
      state: rank.state,
    })),
    holes: header.holes.map(({ rank, ...hole }) => ({
      row: header.ranks.findIndex((each) => each.rank <= rank && rank <= each.to_rank),
      ...hole,
    })),
    range: clipped ? [v_p01, v_p99] : [v_min, v_max],
    skewMax: Math.max(skew_max ?? 0, header.step_time ? NOTABLE : 0.02), // nearly equal step times look equal
    unit: header.unit,
    domain: [from, to],
  };
}

/** Ranks that are named in a heat-map of many, and how far above the median they are on the whole. */
const [NAMED, NOTABLE] = [3, 0.1];

/** The rows that are furthest above the median of the ranks, on average. @param {ArrayLike<number>} cells @param {ArrayLike<number> | null} median @param {number} rows */
function straysOf(cells, median, rows) {
  if (median === null) return [];
  const found = [];
  for (let row = 0; row < rows; row += 1) {
    let [sum, count] = [0, 0];
    for (let column = 0; column < median.length; column += 1) {
      const share = (cells[row * median.length + column] - median[column]) / Math.abs(median[column]);
      if (!Number.isFinite(share)) continue;
      sum += share;
      count += 1;
    }
    if (count > 0 && sum / count >= NOTABLE) found.push({ row, share: sum / count });
  }
  return found
    .sort((a, b) => b.share - a.share)
    .slice(0, NAMED)
    .map(({ row }) => row);
}

/** What is drawn where there is no metric. */
const BETWEEN = "time between rows";

/**
 * @param {object} props
 * @param {string} props.run
 * @param {string | null} props.name the metric, null for the time between rows
 * @param {"value" | "skew"} [props.first] what is shown at first
 * @param {boolean} [props.strip] below it, which rank is the greatest at each step
 * @param {{current: Promise<unknown> | null}} [props.asked] holds the newest request
 */
export function RankMapCard({ run, name, first = "value", strip = false, asked }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { near, width } = useSeen(box);
  const [kind, setKind] = useState(first);
  const [table, setTable] = useState(false);
  const { heat, header, error, loading, retry, x, apart } = useRankMap(run, name, near ? width : 0, asked);
  // Until the answer is there, what is drawn is of the metric before: it keeps that one's name.
  const title = (header === null ? name : header.key) ?? BETWEEN;
  const chosenRanks = place.value.choices.ranks ?? "";
  const chosen =
    header === null
      ? []
      : header.ranks.flatMap((rank, at) => (chosenRanks.split(",").includes(String(rank.rank)) ? [at] : []));
  const tall = heat === null ? 150 : heightOf(heat.rows.length) + 22;
  return html`<figure class="card wide" ref=${box} data-heat=${title}>
    <figcaption>
      <${Key} name=${title} /> <span class="note quiet">rank × ${x}</span>
      <span class="tools">
        ${heat !== null && html`<${HeatScale} heat=${heat} kind=${kind} />`}
        <${OneOf}
          label=${`Colours of ${title}`}
          value=${kind}
          options=${[
            ["value", "value"],
            ["skew", "skew", "How far each rank strays from the median rank"],
          ]}
          onChange=${setKind}
        />
        <${TableButton} of=${`${title} of ranks`} pressed=${table} onClick=${() => setTable(!table)} />
      </span>
    </figcaption>
    <div class=${loading && heat !== null ? "dimmed" : ""} style=${{ minHeight: `${tall}px` }}>
      ${error !== null && html`<${Failed} error=${error} retry=${retry} what=${name ?? BETWEEN} />`}
      ${heat === null && error === null && html`<${Loading} rows=${4} />`}
      ${heat !== null && (header?.empty ?? null) !== null && html`<${Empty} text=${`No rank has logged ${title} here.`} />`}
      ${heat !== null && (header?.empty ?? null) === null && table && html`<${HeatTable} heat=${heat} what="rank" />`}
      ${
        heat !== null &&
        (header?.empty ?? null) === null &&
        !table &&
        html`<${HeatMap}
            heat=${heat}
            show=${kind}
            xKind=${x}
            apart=${apart}
            chosen=${chosen}
            label=${said(heat, header, title)}
            onRow=${(/** @type {number} */ row) => choose({ ranks: String(header?.ranks[row].rank ?? "") })}
          />
          ${strip && html`<${Strip} heat=${heat} header=${header} xKind=${x} apart=${apart} />`}`
      }
    </div>
  </figure>`;
}

/** @param {import("./heatmap.js").Heat} heat @param {HeatHeader | null} header @param {string} title */
function said(heat, header, title) {
  const gone = heat.rows.filter((row) => row.goneAfter !== null).map((row) => row.label);
  return `${title} of ${heat.rows.length} ranks by ${header?.x}: ${short(header?.domain?.v_min)} to ${short(header?.domain?.v_max)}, furthest from the median ${short((header?.domain?.skew_max ?? 0) * 100, 3)} %.${gone.length > 0 ? ` Gone: ${gone.join(", ")}.` : ""}`;
}

/** Which rank has the greatest value at each step: a line is one culprit, dust is none. @param {{heat: import("./heatmap.js").Heat & {argmax: ArrayLike<number>}, header: HeatHeader | null, xKind: string, apart: boolean}} props */
function Strip({ heat, header, xKind, apart }) {
  const strip = useMemo(() => {
    const { grid, argmax } = heat;
    const cells = new Float32Array(heat.rows.length * grid.length).fill(Number.NaN);
    /** @type {Map<number, number>} */
    const counts = new Map();
    for (let column = 0; column < grid.length; column += 1) {
      const row = (header?.ranks ?? []).findIndex(
        (each) => each.rank <= argmax[column] && argmax[column] <= each.to_rank,
      );
      if (row < 0) continue;
      cells[row * grid.length + column] = 1;
      counts.set(row, (counts.get(row) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1])[0];
    const total = [...counts.values()].reduce((sum, each) => sum + each, 0);
    return {
      heat: {
        ...heat,
        cells,
        median: null,
        range: /** @type {[number, number]} */ ([0, 1.3]),
        holes: [],
        rows: heat.rows.map((row) => ({ ...row, goneAfter: null, strays: false })),
      },
      most,
      total,
    };
  }, [heat, header]);
  if (strip.most === undefined) return null;
  if (header?.step_time && !heat.rows.some((row) => row.strays))
    return html`<p class="strip-note">
      Step time is synchronised: each rank waits for the slowest, so which of them has the greatest value names nobody.
    </p>`;
  const [row, times] = strip.most;
  const share = times / strip.total;
  const { label } = heat.rows[row];
  // Of two ranks one always has the greatest value in half of the steps.
  const text =
    share > Math.max(0.5, 1.5 / heat.rows.length)
      ? `${label} ${label.startsWith("ranks ") ? "have" : "has"} the greatest value in ${Math.round(share * 100)} % of the shown steps`
      : `The greatest value moves between ranks: ${label} most often, in ${Math.round(share * 100)} % of the shown steps`;
  return html`<p class="strip-note">${text}.</p>
    <${HeatMap}
      heat=${strip.heat}
      show="value"
      xKind=${xKind}
      apart=${apart}
      label=${text}
      height=${Math.min(140, Math.max(44, heat.rows.length * 6))}
    />`;
}
