// Ranks: who is alive as tiles by node, who is slow as a table, and where and when as heat-map and strip.
// Not there yet: folding by mesh dimension; a rank's own page (GET /api/rank).

import { html } from "../vendor/html.js";
import { useMemo, useRef, useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { RankMapCard } from "../charts/rankmap.js";
import { SeriesCard } from "../charts/card.js";
import { ChartTools } from "../charts/toolbar.js";
import { ago, exact, many, ranges, short, skew } from "../format.js";
import { useKeys } from "../keys.js";
import { version } from "../live.js";
import { choose, href, listed, place } from "../location.js";
import { State, Verdict, shape, tone } from "../parts/labels.js";
import { Shown } from "../parts/states.js";
import { useResource } from "../resource.js";
import { LINES, marksOf, numbers, paced, strokes } from "./charts.js";

/** @typedef {import("./run.js").RunOf} RunOf */
/** @typedef {import("../runs/types.js").RanksOf} RanksOf */
/** @typedef {import("../runs/types.js").RankRow} RankRow */

/** Ranks up to which a band over them is drawn beside the heat-map. */
const BANDED = 64;
/** A rank this far above the median rank is marked. */
const NOTABLE = 1.1;

/** For so long, ms, the request for the table lets that for the heat-map go first: at once, each takes twice as long. */
const MAP_FIRST_MS = 150;

/** @param {{data: RunOf}} props */
export function RanksView({ data }) {
  const { by = "", ranks = "" } = place.value.choices;
  const key = by === "-" ? null : by !== "" ? by : paced(data);
  const map = useRef(/** @type {Promise<unknown> | null} */ (null));
  const state = useResource(
    async (signal) => {
      await Promise.race([map.current, new Promise((waited) => setTimeout(waited, MAP_FIRST_MS))]);
      return get("api/ranks", { run: data.run, key }, signal);
    },
    JSON.stringify([data.run, key]),
    version([data.run]),
  );
  const chosen = listed(ranks);
  const toggle = (/** @type {number} */ rank) =>
    choose({
      ranks: (chosen.includes(String(rank))
        ? chosen.filter((each) => each !== String(rank))
        : [...chosen, String(rank)]
      ).join(","),
    });
  useKeys([
    {
      keys: "Escape",
      does: "choose no rank",
      run: () => (place.value.choices.ranks ?? "") !== "" && choose({ ranks: "" }),
    },
  ]);
  return html`<section class="tab" aria-label="Ranks">
    <${ChartTools} keys=${[]}>
      <label class="pick"
        >compared by
        <select
          aria-label="Compare ranks by"
          onChange=${(/** @type {Event} */ event) => choose({ by: /** @type {HTMLSelectElement} */ (event.target).value })}
        >
          <option value="-" selected=${key === null}>time between rows</option>
          ${(state.data?.metrics ?? numbers(data)).map((/** @type {string} */ each) => html`<option key=${each} value=${each} selected=${each === key}>${each}</option>`)}
        </select></label
      >
      ${chosen.length > 0 && html`<button type="button" class="chip" onClick=${() => choose({ ranks: "" })}>${many(chosen.length, "rank")} chosen ✕</button>`}
    <//>
    <${Shown} of=${state} what="The ranks" rows=${6} dims=${false}>
      ${(/** @type {RanksOf} */ of) =>
        html` ${of.verdict.text !== data.verdict.text && html`<${Verdict} verdict=${of.verdict} />`}
          <${Tiles} of=${of} old=${state.loading} chosen=${chosen} onToggle=${toggle} />
          <div class="ranks-split">
            <${RanksTable} of=${of} old=${state.loading} chosen=${chosen} onToggle=${toggle} />
            <div class="cards">
              <${RankMapCard} run=${data.run} name=${key} first="skew" strip=${true} asked=${map} />
              ${chosen.length === 0 && key !== null && of.ranks.length <= BANDED && html`<${All} data=${data} name=${key} few=${of.ranks.length <= LINES} />`}
              ${chosen.length > 0 && html`<${Chosen} data=${data} chosen=${chosen} name=${key} />`}
            </div>
          </div>`}
    <//>
  </section>`;
}

/** A tile a rank, by node: what it does, and how far it strays. @param {{of: RanksOf, old: boolean, chosen: string[], onToggle: (rank: number) => void}} props */
function Tiles({ of, old, chosen, onToggle }) {
  const rows = new Map(of.ranks.map((rank) => [rank.rank, rank]));
  const nodes = of.nodes.length > 0 ? of.nodes : [{ node: "", ranks: of.ranks.map((rank) => rank.rank) }];
  /** @type {Map<string, number>} */
  const states = new Map();
  for (const { state } of of.ranks) states.set(state, (states.get(state) ?? 0) + 1);
  return html`<section class=${old ? "tiles dimmed" : "tiles"} aria-label="Ranks by node">
    <p class="tally">
      ${[...states].map(([state, count]) => html`<span key=${state} class="state ${tone(state)}">${shape(state)} ${count} ${state}</span>`)}
    </p>
    <div class=${of.ranks.length > 64 ? "nodes small" : "nodes"}>
      ${nodes.map(
        ({ node, ranks }) =>
          html`<div class="node" key=${node}>
            <span class="node-name" title=${`${node}: ranks ${ranges(ranks)}`}><bdi>${node}</bdi></span>
            <span class="node-ranks"
              >${ranks.map((number) => {
                const rank = rows.get(number);
                if (rank === undefined) return null;
                const slow = rank.skew !== null && rank.skew >= NOTABLE;
                const said = `rank ${number}: ${rank.state}${rank.last_step !== null ? `, step ${rank.last_step}` : ""}${(rank.steps_behind ?? 0) > 0 ? `, ${rank.steps_behind} behind` : ""}${rank.skew !== null ? `, ${skew(rank.skew)} against the median rank` : ""}, seen ${ago(rank.last_seen_s)}`;
                return html`<button
                  type="button"
                  key=${number}
                  class="tile ${tone(rank.state)} ${slow ? "slow" : ""} ${number >= 1000 ? "long" : ""}"
                  aria-pressed=${chosen.includes(String(number))}
                  title=${said}
                  aria-label=${said}
                  onClick=${() => onToggle(number)}
                >
                  <span class="tile-rank">${number}</span
                  ><span class="tile-state" aria-hidden="true">${slow ? "▲" : shape(rank.state)}</span>
                </button>`;
              })}</span
            >
          </div>`,
      )}
    </div>
  </section>`;
}

/** @type {[name: keyof RankRow, title: string, number: boolean][]} */
const COLUMNS = [
  ["rank", "rank", true],
  ["node", "node", false],
  ["state", "state", false],
  ["last_step", "step", true],
  ["steps_behind", "behind", true],
  ["median", "median", true],
  ["p95", "p95", true],
  ["skew", "skew", true],
  ["last_seen_s", "seen", true],
];

/** As `disttrack ranks`, slowest first. @param {{of: RanksOf, old: boolean, chosen: string[], onToggle: (rank: number) => void}} props */
function RanksTable({ of, old, chosen, onToggle }) {
  const { order = "-skew" } = place.value.choices;
  const [all, setAll] = useState(false);
  const [field, down] = [/** @type {keyof RankRow} */ (order.replace(/^-/, "")), order.startsWith("-")];
  const sorted = useMemo(() => {
    const value = (/** @type {RankRow} */ rank) => rank[field];
    return [...of.ranks].sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return one === other ? a.rank - b.rank : one === null ? 1 : -1;
      const less = typeof one === "string" ? one.localeCompare(String(other)) : Number(one) - Number(other);
      return (down ? -less : less) || a.rank - b.rank;
    });
  }, [of, field, down]);
  const shown = all ? sorted : sorted.slice(0, 64);
  const most = Math.max(0.02, ...of.ranks.map((rank) => Math.abs((rank.skew ?? 1) - 1)));
  const seconds = of.metric === null || of.unit === "s";
  const timed = (/** @type {number | null} */ value) =>
    value === null ? "–" : seconds ? `${short(value * 1000)} ms` : short(value);
  return html`<div class=${old ? "table-box dimmed" : "table-box"}>
    <table class="plain ranks-table">
      <caption class="sr">
        Ranks compared by ${of.metric ?? "time between rows"}
      </caption>
      <thead>
        <tr>
          ${COLUMNS.map(([name, title, number]) => html`<th key=${name} scope="col" class=${number ? "number" : ""} aria-sort=${name !== field ? undefined : down ? "descending" : "ascending"}><button type="button" class="sort" onClick=${() => choose({ order: order === `-${name}` ? name : `-${name}` })}>${title}${name === field ? (down ? " ↓" : " ↑") : ""}</button></th>`)}
        </tr>
      </thead>
      <tbody>
        ${shown.map(
          (rank) =>
            html`<tr
              key=${rank.rank}
              class=${chosen.includes(String(rank.rank)) ? "selected" : ""}
              onClick=${() => onToggle(rank.rank)}
            >
              <th scope="row" class="number">
                <a
                  href=${href({ tab: "logs", choices: { ranks: String(rank.rank) } })}
                  title="Its logs"
                  onClick=${(/** @type {Event} */ event) => event.stopPropagation()}
                  >${rank.rank}</a
                >
              </th>
              <td title=${rank.local_rank === null ? "" : `local rank ${rank.local_rank}`}>${rank.node ?? ""}</td>
              <td>
                <${State}
                  state=${rank.state}
                />${rank.signal !== null ? html` <span class="quiet">${rank.signal}</span>` : rank.exit_code ? html` <span class="quiet">exit ${rank.exit_code}</span>` : ""}
              </td>
              <td class="number">${short(rank.last_step)}</td>
              <td class=${(rank.steps_behind ?? 0) > 0 ? "number warn" : "number"}>
                ${rank.steps_behind ? short(rank.steps_behind) : ""}
              </td>
              <td class="number" title=${exact(rank.median)}>${timed(rank.median)}</td>
              <td class="number" title=${exact(rank.p95)}>${timed(rank.p95)}</td>
              <td class="number skew-cell"><${SkewBar} value=${rank.skew} most=${most} /> ${skew(rank.skew)}</td>
              <td class="number quiet">${ago(rank.last_seen_s)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${sorted.length > shown.length && html`<button type="button" onClick=${() => setAll(true)}>Show all ${sorted.length} ranks</button>`}
  </div>`;
}

/** How far a rank strays: to the right above the median, to the left below. @param {{value: number | null, most: number}} props */
function SkewBar({ value, most }) {
  if (value === null) return null;
  const share = Math.max(-1, Math.min(1, (value - 1) / most));
  return html`<svg class=${value >= NOTABLE ? "skew-bar slow" : "skew-bar"} width="60" height="10" aria-hidden="true">
    <line x1="30" x2="30" y1="0" y2="10" />
    <rect x=${share >= 0 ? 30 : 30 + share * 30} y="2" width=${Math.abs(share) * 30} height="6" />
  </svg>`;
}

/** What ranks are compared by: a line each, or a band; of more ranks the heat-map says it all. @param {{data: RunOf, name: string, few: boolean}} props */
function All({ data, name, few }) {
  const strokeOf = useMemo(() => strokes(data, ""), [data.ranks.length]);
  const marks = useMemo(() => marksOf(data), [data.marks, place.value.choices.x]);
  return html`<${SeriesCard} key=${name} name=${name} runs=${[data.run]} mode=${few ? "lines" : "band"} strokeOf=${strokeOf} marks=${marks} legend=${true} />`;
}

/** What the chosen ranks logged. @param {{data: RunOf, chosen: string[], name: string | null}} props */
function Chosen({ data, chosen, name }) {
  const ranks = chosen.join(",");
  const strokeOf = useMemo(() => strokes(data, ranks), [data.ranks.length, ranks]);
  const names = [...new Set([...(name === null ? [] : [name]), ...numbers(data)])].slice(0, 8);
  return html`${names.map((each) => html`<${SeriesCard} key=${each} name=${each} runs=${[data.run]} ranks=${ranks} mode="lines" strokeOf=${strokeOf} legend=${true} />`)}`;
}
