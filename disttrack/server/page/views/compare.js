// Compare: what differs between runs first, their charts over each other, and how far each is from the baseline.
// Not there yet: small multiples; text diff of code; more than one baseline.

import { html } from "../vendor/html.js";
import { useEffect, useMemo } from "../vendor/hooks.js";
import { get, plain } from "../api.js";
import { places, stroke } from "../colours.js";
import { ChartTools } from "../charts/toolbar.js";
import { Wall } from "../charts/wall.js";
import { duration, exact, many, short } from "../format.js";
import { useKeys } from "../keys.js";
import { listen, version } from "../live.js";
import { choose, href, listed, place } from "../location.js";
import { Key, State, Swatch } from "../parts/labels.js";
import { Empty, Shown } from "../parts/states.js";
import { useResource } from "../resource.js";

/**
 * @typedef {object} Comparison
 * @property {(import("../runs/types.js").Row & {id: string})[]} runs @property {Record<string, unknown[]>} config
 * @property {string[]} same_config @property {Record<string, unknown>} same_values
 * @property {Record<string, unknown[]>} summary @property {number} baseline
 * @property {Record<string, unknown[]>} deltas @property {Record<string, unknown[]>} about
 * @property {Record<string, number>} best @property {string[]} metrics
 */

/** @param {{project: string}} props */
export function Compare({ project }) {
  const { runs: chosen = "", base = "", all = "" } = place.value.choices;
  const ids = [...new Set(listed(chosen))];
  const runs = ids.map((id) => (id.includes("/") ? id : `${project}/${id}`));
  const baseline = ids.includes(base) ? `${project}/${base}` : runs[0];
  useEffect(() => listen(project, runs), [project, chosen]);
  const state = useResource(
    (signal) => get("api/compare", { run: runs, baseline }, signal),
    runs.length < 2 ? null : JSON.stringify([runs, baseline]),
    version(runs),
  );
  const strokes = useMemo(() => {
    const at = places(ids);
    return new Map(ids.map((id) => [id, stroke(/** @type {number} */ (at.get(id)))]));
  }, [chosen]);
  useKeys([{ keys: "a", does: "equal values too, or not", run: () => choose({ all: all === "" ? "1" : "" }) }]);
  if (runs.length < 2)
    return html`<${Empty} text="Choose two runs or more: x selects a row of the table, d compares."
      ><a href=${href({ view: "project", run: null })}>To the runs</a><//
    >`;
  const strokeOf = (/** @type {{run: string}} */ line) =>
    strokes.get(line.run.slice(line.run.lastIndexOf("/") + 1)) ?? stroke(7);
  return html`<article class="compare" aria-label="Comparison"><h1 class="sr">Runs compared</h1>
    <${Shown} of=${state} what="The comparison" rows=${8}>
      ${(/** @type {Comparison} */ of) =>
        html` <section class="table-box pad" aria-label="Differences">
            <table class="plain sides">
              <thead>
                <tr>
                  <th scope="col"><span class="quiet">${many(of.runs.length, "run")}</span></th>
                  ${of.runs.map((run, at) => html`<th key=${run.id} scope="col"><${Head} run=${run} stroke=${strokes.get(run.id)} baseline=${at === of.baseline} alone=${of.runs.length <= 2} ids=${ids} /></th>`)}
                </tr>
              </thead>
              <${Part}
                title="Config that differs"
                rows=${of.config}
                count=${of.runs.length}
                none="The configs are equal."
              />
              <${Summary} of=${of} />
              ${Object.keys(of.about).length > 0 && html`<${Part} title="Code and environment that differ" rows=${of.about} count=${of.runs.length} none="" />`}
              ${
                of.same_config.length === 0
                  ? null
                  : all === ""
                    ? html`<tbody>
                      <tr>
                        <td colspan=${of.runs.length + 1}>
                          <button type="button" class="bare" onClick=${() => choose({ all: "1" })}>
                            ▸ ${many(of.same_config.length, "equal config key")}
                          </button>
                        </td>
                      </tr>
                    </tbody>`
                    : html`<${Part}
                      title="Equal"
                      rows=${Object.fromEntries(of.same_config.map((key) => [key, of.runs.map(() => of.same_values[key])]))}
                      count=${of.runs.length}
                      none="None is equal."
                    />`
              }
            </table>
          </section>
          <${ChartTools} keys=${of.metrics} />
          <${Wall} keys=${of.metrics} card=${() => ({ runs, strokeOf, mode: "mean" })} />`}
    <//>
  </article>`;
}

/** @param {{run: import("../runs/types.js").Row, stroke: import("../colours.js").Stroke | undefined, baseline: boolean, alone: boolean, ids: string[]}} props */
const Head = ({ run, stroke: drawn, baseline, alone, ids }) =>
  html`<span class="side-head">
    <span
      >${drawn !== undefined && html`<${Swatch} stroke=${drawn} />`}
      <a href=${href({ view: "run", run: run.id, tab: "charts" })}>${run.name}</a></span
    >
    <span class="quiet"><${State} state=${run.state} /> · ${duration(run.duration_s)}</span>
    <span
      >${baseline ? html`<span class="tag">baseline</span>` : html`<button type="button" class="chip" title="Compare with this run" onClick=${() => choose({ base: run.id })}>set as baseline</button>`}
      ${!alone && html`<button type="button" class="chip" aria-label=${`Leave ${run.name} out`} onClick=${() => choose({ runs: ids.filter((id) => id !== run.id).join(",") })}>✕</button>`}</span
    >
  </span>`;

/** @param {{title: string, rows: Record<string, unknown[]>, count: number, none: string}} props */
function Part({ title, rows, count, none }) {
  const keys = Object.keys(rows);
  return html`<tbody>
    <tr class="part">
      <th scope="rowgroup" colspan=${count + 1}>${title}</th>
    </tr>
    ${
      keys.length === 0 &&
      html`<tr>
        <td class="quiet" colspan=${count + 1}>${none}</td>
      </tr>`
    }
    ${keys.map(
      (key) =>
        html`<tr key=${key}>
          <th scope="row"><${Key} name=${key} /></th>
          ${rows[key].map((value, at) => html`<td key=${at} title=${exact(value)}>${text(value)}</td>`)}
        </tr>`,
    )}
  </tbody>`;
}

/** What runs ended with, how far from the baseline, and which is best. @param {{of: Comparison}} props */
const Summary = ({ of }) =>
  html`<tbody>
    <tr class="part">
      <th scope="rowgroup" colspan=${of.runs.length + 1}>Summary</th>
    </tr>
    ${Object.entries(of.summary).map(
      ([key, values]) =>
        html`<tr key=${key}>
          <th scope="row"><${Key} name=${key} /></th>
          ${values.map((value, at) => {
            const delta = plain(of.deltas[key]?.[at]);
            const best = of.best[key] === at;
            return html`<td key=${at} title=${exact(value)} class=${best ? "best-value" : ""}>
              ${text(value)}${best && html` <span class="tag">best</span>`}${typeof delta === "number" && delta !== 0 && html` <span class="quiet" title=${`${exact(delta)} from the baseline`}>${delta > 0 ? "+" : "−"}${short(Math.abs(delta), 3)}</span>`}
            </td>`;
          })}
        </tr>`,
    )}
  </tbody>`;

/** @param {unknown} value */
const text = (value) =>
  value === null || value === undefined
    ? html`<span class="quiet">–</span>`
    : typeof value === "object"
      ? Array.isArray(value) && value.every((each) => typeof each === "string")
        ? value.join(" ")
        : JSON.stringify(value)
      : short(plain(value), 5);
