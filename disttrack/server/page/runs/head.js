// The head of the runs table: click sorts; its menu pins, hides, moves, and chooses which value of a metric is shown.

import { html } from "../vendor/html.js";
import { choose, joined, place } from "../location.js";
import { Menu, OneOf } from "../parts/menu.js";
import { REDUCERS, placed, reducedBy } from "./columns.js";

/** @typedef {import("./columns.js").Column} Column */

/** @param {{columns: Column[]}} props */
export function Head({ columns }) {
  const sort = place.value.choices.s ?? "";
  const written = columns.map((column) => (column.pinned ? "!" : "") + column.name);
  return html`<thead>
    <tr>
      <th scope="col" aria-sort=${sorted(sort, "name")}>
        <button type="button" class="sort" onClick=${() => sortBy(sort, "name", false)}>
          name${arrow(sort, "name")}
        </button>
      </th>
      ${columns.map(
        (column, at) =>
          html`<th
            key=${column.name}
            scope="col"
            ...${placed(column)}
            aria-sort=${sorted(sort, column.sort)}
          >
            <span class="column">
              ${
                column.sort === null
                  ? html`<span class="sort">${column.label}</span>`
                  : html`<button
                      type="button"
                      class="sort"
                      title=${`Sort by ${column.name}`}
                      onClick=${() => sortBy(sort, /** @type {string} */ (column.sort), column.number)}
                    >
                      ${column.reducer && column.reducer !== "last" && html`<span class="path">${column.reducer} </span>`}${column.label}${arrow(sort, column.sort)}
                    </button>`
              }
              <${Menu} label="⋮" title=${`Column ${column.name}`} kind="bare" right=${at > columns.length / 2}>
                ${(/** @type {() => void} */ close) => html`<${ColumnMenu} column=${column} at=${at} written=${written} close=${close} sort=${sort} />`}
              <//>
            </span>
          </th>`,
      )}
    </tr>
  </thead>`;
}

/** @param {{column: Column, at: number, written: string[], close: () => void, sort: string}} props */
function ColumnMenu({ column, at, written, close, sort }) {
  const put = (/** @type {string[]} */ next) => {
    choose({ c: joined(next) });
    close();
  };
  const moved = (/** @type {number} */ by) => {
    const next = [...written];
    const [mine] = next.splice(at, 1);
    next.splice(at + by, 0, mine);
    put(next);
  };
  const by = (/** @type {string} */ direction) => {
    choose({ s: direction + column.sort });
    close();
  };
  const renamed = (/** @type {string} */ name) => put(written.map((each, place_) => (place_ === at ? name : each)));
  return html`<div class="actions">
    <p class="quiet">${column.name}</p>
    ${column.reducer !== undefined && html`<${OneOf} label="Value" value=${column.reducer} options=${REDUCERS.map((each) => [each, each])} onChange=${(/** @type {string} */ each) => renamed((column.pinned ? "!" : "") + reducedBy(column, each))} />`}
    ${column.sort !== null && html`<button type="button" onClick=${() => by("")}>Least first</button><button type="button" onClick=${() => by("-")}>Greatest first</button>`}
    ${
      column.sort !== null &&
      sort.replace(/^-/, "") === column.sort &&
      html`<button
        type="button"
        onClick=${() => {
          choose({ s: "" });
          close();
        }}
      >
        Newest first
      </button>`
    }
    <button
      type="button"
      onClick=${() => (column.pinned ? renamed(column.name) : put([`!${column.name}`, ...written.filter((_, each) => each !== at)]))}
    >
      ${column.pinned ? "Unpin" : "Pin to the left"}
    </button>
    ${at > 0 && html`<button type="button" onClick=${() => moved(-1)}>Move left</button>`}
    ${at < written.length - 1 && html`<button type="button" onClick=${() => moved(1)}>Move right</button>`}
    <button type="button" onClick=${() => put(written.filter((_, each) => each !== at))}>Hide</button>
  </div>`;
}

/** First click: numbers greatest first, text from A on; then the other way; then newest first again. @param {string} sort @param {string} field @param {boolean} number */
function sortBy(sort, field, number) {
  const [first, then] = number ? [`-${field}`, field] : [field, `-${field}`];
  choose({ s: sort === first ? then : sort === then ? "" : first });
}

/** @param {string} sort @param {string | null} field */
const sorted = (sort, field) => (sort === field ? "ascending" : sort === `-${field}` ? "descending" : undefined);
/** @param {string} sort @param {string | null} field */
const arrow = (sort, field) => (sort === field ? " ↑" : sort === `-${field}` ? " ↓" : "");
