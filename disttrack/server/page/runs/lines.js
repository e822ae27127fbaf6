// The lines of the runs table: a run, a group, a node, a rank.

import { html } from "../vendor/html.js";
import { plain } from "../api.js";
import { href, listed as listOf, place } from "../location.js";
import { called, exact, many, ranges, short, skew as skewed } from "../format.js";
import { State, Swatch, shape, tone } from "../parts/labels.js";
import { cell, placed } from "./columns.js";
import { Editable } from "./editable.js";
import { annotate, rename, retag } from "./edits.js";

/** Shows or hides lines; coloured as they are. @param {{id: string, name: string, stroke: import("../colours.js").Stroke | undefined, onEye: (id: string) => void}} props */
const Eye = ({ id, name, stroke, onEye }) =>
  html`<button
    type="button"
    class="eye"
    aria-pressed=${stroke !== undefined}
    aria-label=${`Lines of ${name}`}
    title=${stroke !== undefined ? "Hide its lines" : "Show its lines"}
    onClick=${() => onEye(id)}
  >
    ${stroke !== undefined ? html`<${Swatch} stroke=${stroke} />` : html`<span class="no-eye" aria-hidden="true">○</span>`}
  </button>`;

/** @param {{open: boolean, name: string, onClick: () => void}} props */
const Caret = ({ open, name, onClick }) =>
  html`<button type="button" class="caret" aria-expanded=${open} aria-label=${`Unfold ${name}`} onClick=${onClick}>
    ${open ? "▾" : "▸"}
  </button>`;

/** @param {any} props */
export function RunLine({
  item,
  index,
  current,
  columns,
  strokes,
  onEye,
  unfold,
  onPoint,
  selected,
  onSelect,
  editable,
  edited,
  onEdited,
  onEdit,
}) {
  const { row, depth } = item;
  if (row === null) {
    return html`<tr class="blank" aria-rowindex=${index + 2}>
      <td colspan=${columns.length + 1}><span></span></td>
    </tr>`;
  }
  const open = listOf(place.value.choices.open ?? "").includes(row.id);
  const several = (row.world_size ?? row.ranks_joined) > 1;
  return html`<tr
    class=${[current && "current", selected && "selected"].filter(Boolean).join(" ")}
    aria-rowindex=${index + 2}
    aria-selected=${selected}
    data-run=${row.run}
    onPointerDown=${onPoint}
  >
    <th scope="row" style=${{ paddingLeft: `${4 + depth * 16}px` }}>
      <span class="first">
        <input type="checkbox" checked=${selected} aria-label=${`Select ${row.name}`} onClick=${onSelect} />
        <${Eye} id=${row.id} name=${row.name} stroke=${strokes.get(row.id)} onEye=${onEye} />
        ${several ? html`<${Caret} open=${open} name=${row.name} onClick=${() => unfold(item)} />` : html`<span class="caret"></span>`}
        <${State} state=${row.state} short=${true} />
        <${Editable}
          value=${row.name}
          label="name"
          editing=${edited === row.id}
          editable=${editable}
          onDone=${onEdited}
          onEdit=${() => onEdit(row.id)}
          onSave=${(/** @type {string} */ name) => rename(row, name)}
        >
          <a href=${href({ view: "run", run: row.id, tab: "charts" })} title=${`${row.name} (${row.id})`}
            >${called(row.name, row.id)}</a
          >
        <//>
        ${row.archived && html`<span class="quiet" title="Put away">⌄</span>`}
        ${row.damage + row.missing_bytes > 0 && html`<span class="warn" role="img" aria-label="Its log is damaged" title=${`${row.damage} damaged places, ${row.missing_bytes} bytes missing: disttrack fsck ${row.id}`}>⚠</span>`}
      </span>
    </th>
    ${columns.map((/** @type {import("./columns.js").Column} */ column) => {
      const shown = cell(row, column);
      if (column.name === "notes") {
        return html`<td key="notes" ...${placed(column)}>
          <${Editable}
            value=${row.notes ?? ""}
            label="notes"
            editable=${editable}
            onSave=${(/** @type {string} */ text) => annotate(row, text)}
            ><span title=${row.notes}>${row.notes ?? ""}</span><//
          >
        </td>`;
      }
      if (column.name === "tags") {
        return html`<td key="tags" ...${placed(column)}>
          <${Editable}
            value=${row.tags.join(", ")}
            label="tags"
            editable=${editable}
            onSave=${(/** @type {string} */ text) => retag(row, text)}
            >${shown}<//
          >
        </td>`;
      }
      return html`<td key=${column.name} ...${placed(column)}>${shown}</td>`;
    })}
  </tr>`;
}

/** @param {any} props */
export function GroupLine({ item, index, current, columns, strokes, onEye, unfold, onPoint }) {
  const { group, key, open } = item;
  const name = group.values
    .map((/** @type {unknown} */ value) => (value === null ? "none" : exact(plain(value))))
    .join(" · ");
  return html`<tr class=${current ? "group current" : "group"} aria-rowindex=${index + 2} onPointerDown=${onPoint}>
    <th scope="row">
      <span class="first">
        <${Eye} id=${key} name=${`group ${name}`} stroke=${strokes.get(key)} onEye=${onEye} />
        <${Caret} open=${open} name=${`group ${name}`} onClick=${() => unfold(item)} />
        <span class="name" title=${name}>${name}</span> <span class="quiet">${many(group.count, "run")}</span>
        ${Object.entries(group.states).map(([state, count]) => html`<span key=${state} class="state ${tone(state)}" title=${`${count} ${state}`}>${shape(state)}<span class="quiet">${count}</span></span>`)}
      </span>
    </th>
    ${columns.map((/** @type {import("./columns.js").Column} */ column) => {
      const value = group.columns[column.name];
      const mean = plain(value?.mean);
      return html`<td key=${column.name} ...${placed(column)}>
        ${value === undefined || value.n === 0 ? "" : html`<span title=${`of ${value.n}: ${exact(value.min)} … ${exact(value.max)}`}>${short(mean)}${plain(value.min) !== plain(value.max) && html`<span class="quiet"> ±${short((Number(plain(value.max)) - Number(plain(value.min))) / 2, 2)}</span>`}</span>`}
      </td>`;
    })}
  </tr>`;
}

/** @param {any} props */
export function NodeLine({ item, index, current, columns, unfold, onPoint }) {
  /** @type {Map<string, number>} */
  const states = new Map();
  for (const { state } of item.ranks) states.set(state, (states.get(state) ?? 0) + 1);
  return html`<tr class=${current ? "below current" : "below"} aria-rowindex=${index + 2} onPointerDown=${onPoint}>
    <th scope="row" style=${{ paddingLeft: `${48 + item.depth * 16}px` }}>
      <span class="first">
        <${Caret} open=${item.open} name=${`node ${item.node}`} onClick=${() => unfold(item)} /><span class="name"
          >${item.node}</span
        >
      </span>
    </th>
    <td colspan=${columns.length}>
      <span class="quiet">ranks ${ranges(item.ranks.map((/** @type {{rank: number}} */ rank) => rank.rank))}</span>
      ${[...states].map(([state, count]) => html` <span key=${state} class="state ${tone(state)}">${shape(state)} ${count} ${state}</span>`)}
    </td>
  </tr>`;
}

/** @param {any} props */
export function RankLine({ item, index, current, columns, onPoint }) {
  const { rank } = item;
  const [project, run] = item.run.split(/\/(.*)/);
  return html`<tr class=${current ? "below current" : "below"} aria-rowindex=${index + 2} onPointerDown=${onPoint}>
    <th scope="row" style=${{ paddingLeft: `${66 + item.depth * 16}px` }}>
      <span class="first">
        <${State} state=${rank.state} short=${true} />
        <a href=${href({ view: "run", project, run, tab: "ranks", choices: { ranks: String(rank.rank) } })}
          >rank ${rank.rank}</a
        >
      </span>
    </th>
    <td colspan=${columns.length}>
      <span class="rank-facts"
        >${rank.state}${rank.last_step !== null && ` · step ${short(rank.last_step)}`}${rank.steps_behind > 0 && ` · ${many(rank.steps_behind, "step")} behind`}${rank.median !== null && ` · ${short(rank.median * 1000)} ms a row (${skewed(rank.skew)})`}${rank.signal !== null && ` · ${rank.signal}`}${rank.exit_code !== null && rank.exit_code !== 0 && ` · exit ${rank.exit_code}`}</span
      >
    </td>
  </tr>`;
}
