// A run's charts: loss over ranks and pace of ranks on one x-axis, then everything it logged.
// Not there yet: x-axis of a metric on the heat-map; folding by mesh dimension (dp, tp, pp).

import { html } from "../vendor/html.js";
import { useMemo } from "../vendor/hooks.js";
import { stroke } from "../colours.js";
import { RankMapCard } from "../charts/rankmap.js";
import { SeriesCard } from "../charts/card.js";
import { ChartTools } from "../charts/toolbar.js";
import { Wall } from "../charts/wall.js";
import { useKeys } from "../keys.js";
import { choose, place } from "../location.js";
import { OneOf } from "../parts/menu.js";

/** @typedef {import("./run.js").RunOf} RunOf */

/** Ranks up to which each gets a line of its own. */
export const LINES = 8;
const MODES = ["", "lines", "band", "heat", "skew"];

/** Keys of numbers, hidden ones left out. @param {RunOf} data */
export const numbers = (data) => data.keys.filter((key) => key.kind === "number" && !key.hidden).map((key) => key.key);

/** The metric that says how the training goes: one with a goal, else one named like it. @param {RunOf} data */
export function telling(data) {
  const keys = data.keys.filter((key) => key.kind === "number" && !key.hidden);
  return (
    (
      keys.find((key) => key.goal !== null) ??
      keys.find(({ key }) => /(^|[/_.])loss$/.test(key)) ??
      keys.find(({ key }) => /loss|acc|reward/.test(key)) ??
      keys[0]
    )?.key ?? null
  );
}

/** The metric that tells ranks' paces apart: the one that the verdict goes by, else work before the barrier. @param {RunOf} data */
export function paced(data) {
  const keys = numbers(data);
  const metric = data.verdict.metric;
  if (metric !== null && keys.includes(metric)) return metric;
  return (
    keys.find((key) => /(^|[/_.])(compute|work|forward)(_time|_s|_ms)?$/.test(key)) ??
    keys.find((key) => /step_?time|time[/_.]step/.test(key)) ??
    null
  );
}

/** Marks of a run on the x-axis, where it is steps. @param {RunOf} data @returns {import("../charts/plot.js").Mark[]} */
export function marksOf(data) {
  const x = place.value.choices.x ?? "step";
  return data.marks
    .filter((mark) => mark.kind !== "hole")
    .map((mark) => ({
      x: x === "wall" ? mark.at : x === "relative" ? mark.at - data.created_at : (mark.step ?? Number.NaN),
      text: mark.text,
      kind: mark.kind,
    }))
    .filter((mark) => !Number.isNaN(mark.x) && ["step", "wall", "relative"].includes(x));
}

/** @param {{data: RunOf}} props */
export function RunCharts({ data }) {
  const { rank = "", ranks = "" } = place.value.choices;
  const keys = numbers(data);
  const joined = data.ranks_joined;
  const main = telling(data);
  const marks = useMemo(() => marksOf(data), [data.marks, place.value.choices.x]);
  const strokeOf = useMemo(() => strokes(data, ranks), [data.ranks.length, ranks]);
  useKeys([
    {
      keys: "r",
      does: "how ranks are drawn",
      run: () => choose({ rank: MODES[(MODES.indexOf(rank) + 1) % MODES.length] }),
    },
  ]);
  const mode = rank === "lines" || rank === "band" ? rank : undefined;
  const card = (/** @type {string} */ name) => ({
    runs: [data.run],
    ranks,
    mode: (data.keys.find((key) => key.key === name)?.ranks ?? joined) > 1 ? mode : undefined,
    marks,
    strokeOf,
  });
  const maps = rank === "heat" || rank === "skew";
  // Above, the main metric is a band already, unless its ranks are few enough for lines.
  const band = joined > LINES && rank !== "lines" && !place.value.choices.q && !place.value.choices.card;
  const below = band && keys.length > 1 ? keys.filter((key) => key !== main) : keys;
  return html`<section class="tab" aria-label="Charts">
    <${ChartTools} keys=${keys}>
      ${
        joined > 1 &&
        html`<${OneOf}
          label="Ranks as"
          value=${rank}
          options=${[
            ["", "auto", `Lines up to ${LINES} ranks, a band above`],
            ["lines", "lines"],
            ["band", "band"],
            ["heat", "heat"],
            ["skew", "skew"],
          ]}
          onChange=${(/** @type {string} */ each) => choose({ rank: each })}
        />`
      }
      ${ranks !== "" && html`<button type="button" class="chip" onClick=${() => choose({ ranks: "" })} title="Show all ranks">ranks ${ranks} ✕</button>`}
    <//>
    ${
      joined > 1 &&
      !place.value.choices.card &&
      !maps &&
      html`<div class="pair">
        ${main !== null && html`<${SeriesCard} key=${main} name=${main} ...${card(main)} mode=${mode ?? "band"} height=${200} legend=${true} />`}
        <${RankMapCard} run=${data.run} name=${paced(data)} first="skew" />
      </div>`
    }
    ${
      maps
        ? html`<div class="section">
            <div class="cards">
              ${keys.map((key) => html`<${RankMapCard} key=${`${key} ${rank}`} run=${data.run} name=${key} first=${rank === "skew" ? "skew" : "value"} />`)}
            </div>
          </div>`
        : html`<${Wall} keys=${below} card=${card} first=${main === null ? [] : [main]} />`
    }
  </section>`;
}

/**
 * Colours of ranks: of its place among those shown up to eight; above, outliers stand out from the grey of the others.
 * @param {RunOf} data @param {string} chosen @returns {import("../charts/series.js").StrokeOf}
 */
export function strokes(data, chosen) {
  const few = data.ranks.length <= LINES || (chosen !== "" && chosen.split(",").length <= LINES);
  return (line, at) => {
    if (line.rank === null) return stroke(0);
    if (line.role === "outlier") return stroke([1, 3, 5][at % 3]);
    if (few) return stroke(chosen === "" ? line.rank : at);
    return { colour: stroke(nodeOf(data, line.rank)).colour, dash: undefined };
  };
}

/** @param {RunOf} data @param {number} rank */
const nodeOf = (data, rank) =>
  Math.max(
    0,
    data.nodes.findIndex((node) => node.ranks.includes(rank)),
  );
