// Charts as tables: for those who cannot see them, and for numbers to copy.

import { html } from "../vendor/html.js";
import { plain } from "../api.js";
import { exact, short, withUnit } from "../format.js";
import { Icon } from "../parts/icons.js";

/** @param {{of: string, pressed: boolean, onClick: () => void}} props */
export const TableButton = ({ of, pressed, onClick }) =>
  html`<button
    type="button"
    class="bare"
    aria-pressed=${pressed}
    title="View as table"
    aria-label=${`View ${of} as table`}
    onClick=${onClick}
  >
    <${Icon} name="table" />
  </button>`;

/** The numbers of a chart. @param {{drawing: import("./series.js").Drawing}} props */
export function AsTable({ drawing: { header, x, lines } }) {
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

/** A heat-map's rows: what each was in the shown part, and what became of it. @param {{heat: import("./heatmap.js").Heat, what: string}} props */
export function HeatTable({ heat, what }) {
  const told = heat.rows.some((row) => row.goneAfter !== null);
  const holed = new Map(heat.holes.map((hole) => [hole.row, hole.why]));
  return html`<div class="as-table" tabindex="0">
    <table>
      <thead>
        <tr>
          ${[what, "least", "mean", "greatest", "last"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}
          ${(told || holed.size > 0) && html`<th scope="col">missing</th>`}
        </tr>
      </thead>
      <tbody>
        ${heat.rows.map((row, at) => {
          const { least, mean, greatest, last } = statsOf(heat, at);
          const gone = row.goneAfter === null ? "" : `${row.state} after ${short(row.goneAfter, 6)}`;
          return html`<tr key=${row.label}>
            <th scope="row">${row.label}${row.group !== "" && !row.label.startsWith(row.group) && html` <span class="quiet">${row.group}</span>`}</th>
            ${[least, mean, greatest, last].map((value, column) => html`<td key=${column} title=${exact(value)}>${Number.isNaN(value) ? "" : withUnit(value, heat.unit, 5)}</td>`)}
            ${(told || holed.size > 0) && html`<td>${[gone, holed.get(at)].filter(Boolean).join(", ")}</td>`}
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

/** @param {import("./heatmap.js").Heat} heat @param {number} row */
function statsOf({ cells, grid }, row) {
  let [least, greatest, sum, count, last] = [Infinity, -Infinity, 0, 0, Number.NaN];
  for (let at = row * grid.length; at < (row + 1) * grid.length; at += 1) {
    const value = cells[at];
    if (Number.isNaN(value)) continue;
    [least, greatest, last] = [Math.min(least, value), Math.max(greatest, value), value];
    sum += value;
    count += 1;
  }
  if (count === 0) return { least: Number.NaN, mean: Number.NaN, greatest: Number.NaN, last };
  return { least, mean: sum / count, greatest, last };
}
