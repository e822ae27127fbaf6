// Media: images, tables, histograms and others by step.
// Not there yet: a metric beside the step slider; images of two steps side by side.

import { html } from "../vendor/html.js";
import { useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { count, many, short, size } from "../format.js";
import { useKeys } from "../keys.js";
import { version } from "../live.js";
import { address, choose, place } from "../location.js";
import { Key } from "../parts/labels.js";
import { Empty, Shown } from "../parts/states.js";
import { useResource } from "../resource.js";

/**
 * @typedef {object} Item
 * @property {string} key @property {number} rank @property {number} attempt @property {number} step @property {string} kind
 * @property {string} state @property {number | null} size @property {string | null} why @property {string | null} caption
 * @property {number | null} width @property {number | null} height @property {string | null} type @property {string | null} url
 * @property {any} value
 */
/** @typedef {{total: number, keys: {key: string, kind: string, count: number}[], steps: number[], media: Item[]}} MediaOf */

/** @param {{data: import("./run.js").RunOf}} props */
export function Media({ data }) {
  const { at = "", ranks = "" } = place.value.choices;
  const all = useResource(
    (signal) => get("api/media", { run: data.run, ranks, limit: 1 }, signal),
    JSON.stringify([data.run, ranks]),
    version([data.run]),
  );
  const steps = /** @type {MediaOf | null} */ (all.data)?.steps ?? [];
  const step = at === "" ? steps.at(-1) : (steps.findLast((each) => each <= Number(at)) ?? steps[0]);
  const state = useResource(
    (signal) => get("api/media", { run: data.run, ranks, from: step, to: step, limit: 200 }, signal),
    step === undefined ? null : JSON.stringify([data.run, ranks, step]),
    version([data.run]),
  );
  const go = (/** @type {number} */ by) => {
    const next = steps[Math.max(0, Math.min(steps.length - 1, steps.indexOf(/** @type {number} */ (step)) + by))];
    if (next !== undefined) choose({ at: next === steps.at(-1) ? "" : String(next) });
  };
  useKeys([
    { keys: "[", does: "step before", run: () => go(-1) },
    { keys: "]", does: "next step", run: () => go(1) },
  ]);
  return html`<section class="tab" aria-label="Media">
    <${Shown} of=${all} what="The media">
      ${(/** @type {MediaOf} */ of) => {
        if (of.total === 0)
          return html`<${Empty} text="No media was logged: run.log({'sample': disttrack.Image(…)}) shows it here." />`;
        return html`<div class="chart-tools">
            <button type="button" aria-label="Step before" title="Step before ([)" onClick=${() => go(-1)}>‹</button>
            <label class="media-step"
              >step <b>${step === undefined ? "" : count(step)}</b>
              <input
                type="range"
                min="0"
                max=${steps.length - 1}
                value=${steps.indexOf(/** @type {number} */ (step))}
                aria-label="Step"
                onInput=${(/** @type {Event} */ event) => choose({ at: String(steps[Number(/** @type {HTMLInputElement} */ (event.target).value)]) })}
            /></label>
            <button type="button" aria-label="Next step" title="Next step (])" onClick=${() => go(1)}>›</button>
            <span class="found">${many(of.total, "item")} at ${many(steps.length, "step")}</span>
          </div>
          <${Shown} of=${state} what="This step"
            >${(/** @type {MediaOf} */ now) =>
              html`<div class="media">
                ${byKey(now.media).map(
                  ([key, items]) =>
                    html`<section key=${key}>
                      <h2><${Key} name=${key} /></h2>
                      <div class="media-items">
                        ${items.map((item, at_) => html`<${One} key=${`${item.rank} ${at_}`} item=${item} run=${data.run} several=${data.ranks_joined > 1} />`)}
                      </div>
                    </section>`,
                )}
              </div>`}<//
          >`;
      }}
    <//>
  </section>`;
}

/** Kinds in the order in which they are shown: what is long comes last. */
const ORDER = ["image", "video", "audio", "histogram", "table"];

/** @param {Item[]} media @returns {[string, Item[]][]} */
function byKey(media) {
  /** @type {Map<string, Item[]>} */
  const found = new Map();
  for (const item of media) found.set(item.key, [...(found.get(item.key) ?? []), item]);
  const weight = (/** @type {Item[]} */ items) => ORDER.indexOf(items[0].kind) + 1 || ORDER.length + 1;
  return [...found].sort(([, a], [, b]) => weight(a) - weight(b));
}

/** @param {{item: Item, run: string, several: boolean}} props */
function One({ item, run, several }) {
  const caption = [several ? `rank ${item.rank}` : "", item.caption ?? ""].filter(Boolean).join(" · ");
  return html`<figure class="medium ${item.kind}">
    <${Content} item=${item} run=${run} />${caption !== "" && html`<figcaption>${caption}</figcaption>`}
  </figure>`;
}

/** @param {{item: Item, run: string}} props */
function Content({ item, run }) {
  if (item.kind === "histogram") return html`<${Histogram} value=${item.value} name=${item.key} />`;
  if (item.state !== "stored" || item.url === null) {
    return html`<p class="quiet">
      ${item.state === "pending" ? "On its way: its bytes have not arrived yet." : `Not stored: ${item.why ?? item.state}`}
    </p>`;
  }
  const source = address(item.url.replace(/^\//, ""));
  switch (item.kind) {
    case "image":
      return html`<a href=${source} target="_blank" rel="noreferrer"
        ><img
          src=${source}
          alt=${item.caption ?? `${item.key}, step ${item.step}, rank ${item.rank}`}
          width=${item.width ?? undefined}
          height=${item.height ?? undefined}
          loading="lazy"
      /></a>`;
    case "video":
      return html`<video src=${source} controls preload="metadata" aria-label=${item.caption ?? item.key}></video>`;
    case "audio":
      return html`<audio src=${source} controls preload="metadata" aria-label=${item.caption ?? item.key}></audio>`;
    case "table":
      return html`<${Table} item=${item} run=${run} />`;
    default:
      return html`<a href=${source} download>${item.kind}, ${size(item.size)}</a>`;
  }
}

/** Rows of a table that are shown at once. */
const ROWS = 12;

/** The rows of a logged table, a page at a time. @param {{item: Item, run: string}} props */
function Table({ item, run }) {
  const [offset, setOffset] = useState(0);
  const query = { run, key: item.key, step: item.step, rank: item.rank, offset, limit: ROWS };
  const state = useResource((signal) => get("api/table", query, signal), JSON.stringify(query));
  return html`<${Shown} of=${state} what=${item.key}
    >${(/** @type {{columns: string[], rows: unknown[][], total: number}} */ { columns, rows, total }) =>
      html`<div class="table-box">
          <table class="plain">
            <thead>
              <tr>
                ${columns.map((name, at) => html`<th key=${name} scope="col" class=${typeof rows[0]?.[at] === "number" ? "number" : ""}>${name}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${rows.map(
                (row, at) =>
                  html`<tr key=${at}>
                    ${row.map((value, column) => html`<td key=${column} class=${typeof value === "number" ? "number" : ""}>${typeof value === "object" && value !== null ? JSON.stringify(value) : short(value)}</td>`)}
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
        ${total > ROWS && html`<p><button type="button" aria-label="Rows before" disabled=${offset === 0} onClick=${() => setOffset(Math.max(0, offset - ROWS))}>‹</button> ${offset + 1}–${Math.min(offset + ROWS, total)} of ${count(total)} <button type="button" aria-label="Next rows" disabled=${offset + ROWS >= total} onClick=${() => setOffset(offset + ROWS)}>›</button></p>`}`}<//
  >`;
}

/** Bars, with their edges. @param {{value: any, name: string}} props */
function Histogram({ value, name }) {
  const counts = /** @type {number[]} */ (value?.values ?? []);
  const edges = /** @type {number[]} */ (value?.bins ?? []);
  if (counts.length === 0) return html`<p class="quiet">An empty histogram.</p>`;
  const most = Math.max(...counts, 1);
  const width = 280 / counts.length;
  return html`<svg
    class="histogram"
    viewBox="0 0 280 112"
    role="img"
    aria-label=${`${name}: ${counts.length} bins from ${short(edges[0])} to ${short(edges.at(-1))}`}
  >
    ${counts.map((each, at) => html`<rect key=${at} x=${at * width} y=${96 - (each / most) * 92} width=${Math.max(width - 0.6, 0.4)} height=${(each / most) * 92}><title>${short(edges[at])} … ${short(edges[at + 1])}: ${each}</title></rect>`)}
    <text x="0" y="109">${short(edges[0])}</text>
    <text x="280" y="109" text-anchor="end">${short(edges.at(-1))}</text>
  </svg>`;
}
