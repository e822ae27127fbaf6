// Config: what the run was set to, what it ended with, where ranks differ, and what ran where.
// Not there yet: values that ranks share folded; a diff against another run (Compare has it).

import { html } from "../vendor/html.js";
import { useState } from "../vendor/hooks.js";
import { plain } from "../api.js";
import { exact, ranges, short } from "../format.js";
import { Key } from "../parts/labels.js";
import { matching } from "../charts/wall.js";

/** A mapping as rows of dotted keys. @param {unknown} value @param {string} [path] @returns {[string, unknown][]} */
export function flat(value, path = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[path, brief(value)]];
  if ("_type" in value) return [[path, brief(value)]];
  const entries = Object.entries(value);
  if (entries.length === 0) return path === "" ? [] : [[path, {}]];
  return entries.flatMap(([key, each]) => flat(each, path === "" ? key : `${path}.${key}`));
}

/** Media as a word: the media tab shows them. @param {unknown} value @returns {unknown} */
function brief(value) {
  if (Array.isArray(value) && value.length > 0 && value.every((each) => each?._type !== undefined)) {
    return `${value.length} × ${value[0]._type}`;
  }
  return value !== null && typeof value === "object" && "_type" in value ? String(value._type) : value;
}

/** @param {{data: import("./run.js").RunOf}} props */
export function Config({ data }) {
  const [text, setText] = useState("");
  const { packages = {}, ...about } = data.about;
  const nodes = data.nodes.flatMap((node) => [
    [`${node.node}.ranks`, ranges(node.ranks)],
    ...flat({ [node.node]: { ...node.host, ...node.devices } }),
  ]);
  const ranks = Object.entries(data.config_by_rank ?? {}).flatMap(([rank, config]) =>
    flat(config).map(([key, value]) => [`rank ${rank}.${key}`, value]),
  );
  const spread = data.summary_ranks ?? {};
  return html`<section class="tab config" aria-label="Config">
    <div class="chart-tools">
      <input
        type="search"
        class="find"
        placeholder="Find key"
        aria-label="Find key"
        value=${text}
        onInput=${(/** @type {Event} */ event) => setText(/** @type {HTMLInputElement} */ (event.target).value)}
      />
    </div>
    <div class="blocks">
      <${Block}
        title="Config"
        rows=${flat(data.config)}
        text=${text}
        empty="The run has no config: init(config={…}) sets it."
      />
      <${Block}
        title="Summary"
        rows=${flat(data.summary)}
        text=${text}
        empty="Nothing was logged yet."
        more=${(/** @type {string} */ key) => (spread[key] === undefined || data.ranks_joined < 2 ? "" : `${short(plain(spread[key].min))} … ${short(plain(spread[key].max))} over ranks`)}
      />
      ${ranks.length > 0 && html`<${Block} title="Where ranks' configs differ" rows=${ranks} text=${text} empty="" />`}
      <${Block} title="Program" rows=${flat(about)} text=${text} empty="Nothing is known of the program." />
      <${Block} title="Packages" rows=${flat(packages)} text=${text} empty="" />
      <${Block} title="Nodes" rows=${nodes} text=${text} empty="" />
    </div>
  </section>`;
}

/** @param {{title: string, rows: [string, unknown][], text: string, empty: string, more?: (key: string) => string}} props */
function Block({ title, rows, text, empty, more }) {
  const known = rows.filter(([, value]) => value !== null && value !== undefined);
  const wanted = new Set(
    matching(
      known.map(([key]) => key),
      text,
    ),
  );
  const shown = known.filter(([key]) => wanted.has(key));
  if (known.length === 0 && empty === "") return null;
  return html`<section class="block">
    <h2>
      ${title}${" "}
      <span class="quiet">${shown.length === known.length ? known.length : `${shown.length} of ${known.length}`}</span>
    </h2>
    ${
      known.length === 0
        ? html`<p class="quiet">${empty}</p>`
        : html`<div class="table-box">
            <table class="plain">
              <tbody>
                ${shown.map(
                  ([key, value]) =>
                    html`<tr key=${key}>
                      <th scope="row"><${Key} name=${key} /></th>
                      <td class=${typeof value === "number" ? "value digits" : "value"} title=${exact(value)}>
                        ${typeof value === "object" ? JSON.stringify(value) : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(9))) : String(plain(value))}
                      </td>
                      ${more !== undefined && html`<td class="quiet">${more(key)}</td>`}
                    </tr>`,
                )}
              </tbody>
            </table>
          </div>`
    }
  </section>`;
}
