// The runs table: a line a run, unfolded to its nodes and ranks; groups; keyboard; the server sorts and filters.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { plain } from "../api.js";
import { choose, href, joined, listed as listOf, place } from "../location.js";
import { exact, many, ranges, short, skew as skewed } from "../format.js";
import { useKeys } from "../keys.js";
import { State, Swatch, shape, tone } from "../parts/labels.js";
import { reveal, useVisible } from "../parts/rows.js";
import { cell } from "./columns.js";
import { Head } from "./head.js";
import { Editable } from "./editable.js";
import { annotate, rename, retag } from "./edits.js";

/** @typedef {import("./list.js").Item} Item */
/** @typedef {import("./types.js").Row} Row */

export const ROW_PX = 28;
const NAME_PX = globalThis.innerWidth <= 640 ? 210 : 250;

/**
 * @param {object} props
 * @param {Item[]} props.items
 * @param {import("./columns.js").Column[]} props.columns
 * @param {(first: number, last: number) => void} props.onVisible
 * @param {Map<string, import("../colours.js").Stroke>} props.strokes of the runs and groups whose lines are drawn
 * @param {(id: string) => void} props.onEye
 * @param {string[]} props.selected ids
 * @param {(ids: string[]) => void} props.onSelect
 * @param {boolean} props.editable
 */
export function RunsTable({ items, columns, onVisible, strokes, onEye, selected, onSelect, editable }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { first, last, before, after } = useVisible(box, items.length, ROW_PX);
  const [current, setCurrent] = useState(-1);
  const [edited, setEdited] = useState(/** @type {string | null} */ (null));
  const anchor = useRef(-1);
  useEffect(() => onVisible(first, last), [first, last, items]);
  const chosen = new Set(selected);

  const idAt = (/** @type {number} */ at) => {
    const item = items[at];
    return item?.kind === "run" && item.row !== null ? item.row.id : null;
  };
  const select = (/** @type {number} */ at, /** @type {boolean} */ through) => {
    const id = idAt(at);
    if (id === null) return;
    if (through && anchor.current >= 0) {
      const [low, high] = [Math.min(anchor.current, at), Math.max(anchor.current, at)];
      const between = Array.from({ length: high - low + 1 }, (_, more) => idAt(low + more)).filter(
        (each) => each !== null,
      );
      onSelect([...new Set([...selected, ...between])]);
    } else onSelect(chosen.has(id) ? selected.filter((each) => each !== id) : [...selected, id]);
    anchor.current = at;
  };
  const move = (/** @type {number} */ by) => {
    const next = Math.max(0, Math.min(items.length - 1, current + by));
    setCurrent(next);
    reveal(box.current, next, ROW_PX, ROW_PX + 4);
  };
  const unfold = (/** @type {Item} */ item) => {
    const key =
      item?.kind === "run"
        ? item.row?.id
        : item?.kind === "group"
          ? item.key
          : item?.kind === "node"
            ? `${item.run}@${item.node}`
            : undefined;
    if (key !== undefined) toggle("open", key);
  };
  useKeys([
    { keys: "j", does: "next row", run: () => move(1) },
    { keys: "k", does: "row before", run: () => move(-1) },
    { keys: "x", does: "select the row", run: () => select(current, false) },
    { keys: "o", does: "unfold the row: node, rank", run: () => unfold(items[current]) },
    { keys: "v", does: "show or hide the row's lines", run: () => eyeOf(items[current], onEye) },
    { keys: "e", does: "edit the row's name", run: () => setEdited(idAt(current)) },
    { keys: "Enter", does: "open the row's run", run: (event) => follow(event, items[current]) },
  ]);
  const width = NAME_PX + columns.reduce((sum, column) => sum + column.width, 0);
  return html`<div class="scroller" ref=${box} tabindex="0" role="region" aria-label="Table of runs">
    <table class="runs" aria-rowcount=${items.length + 1} style=${{ minWidth: `${width}px` }}>
      <colgroup>
        <col style=${{ width: `${NAME_PX}px` }} />
        ${columns.map((column) => html`<col key=${column.name} style=${{ width: `${column.width}px` }} />`)}
      </colgroup>
      <${Head} columns=${columns} />
      <tbody>
        ${
          before > 0 &&
          html`<tr aria-hidden="true" style=${{ height: `${before}px` }}>
            <td colspan=${columns.length + 1}></td>
          </tr>`
        }
        ${items.slice(first, last).map((item, at) => {
          const index = first + at;
          const shared = {
            key: keyOf(item, index),
            index,
            current: index === current,
            columns,
            strokes,
            onEye,
            unfold,
            onPoint: () => setCurrent(index),
          };
          switch (item.kind) {
            case "run":
              return html`<${RunLine}
                ...${shared}
                item=${item}
                editable=${editable}
                edited=${edited}
                onEdited=${() => setEdited(null)}
                onEdit=${setEdited}
                selected=${item.row !== null && chosen.has(item.row.id)}
                onSelect=${(/** @type {MouseEvent} */ event) => select(index, event.shiftKey)}
              />`;
            case "group":
              return html`<${GroupLine} ...${shared} item=${item} />`;
            case "node":
              return html`<${NodeLine} ...${shared} item=${item} />`;
            case "rank":
              return html`<${RankLine} ...${shared} item=${item} />`;
            default:
              return html`<tr key=${shared.key} aria-rowindex=${index + 2}>
                <td class="quiet" colspan=${columns.length + 1}>${item.text}</td>
              </tr>`;
          }
        })}
        ${
          after > 0 &&
          html`<tr aria-hidden="true" style=${{ height: `${after}px` }}>
            <td colspan=${columns.length + 1}></td>
          </tr>`
        }
      </tbody>
    </table>
  </div>`;
}

/** @param {"open" | "off" | "on" | "sel"} name @param {string} key */
export function toggle(name, key) {
  const now = listOf(place.value.choices[name] ?? "");
  choose({ [name]: joined(now.includes(key) ? now.filter((each) => each !== key) : [...now, key]) });
}

/** @param {Item} item @param {number} index */
function keyOf(item, index) {
  switch (item.kind) {
    case "run":
      return item.row?.run ?? `blank ${index}`;
    case "group":
      return `group ${item.key}`;
    case "node":
      return `${item.run} ${item.node}`;
    case "rank":
      return `${item.run} ${item.rank.rank}`;
    default:
      return `more ${index}`;
  }
}

/** @param {Item} item @param {(id: string) => void} onEye */
function eyeOf(item, onEye) {
  if (item?.kind === "run" && item.row !== null) onEye(item.row.id);
  if (item?.kind === "group") onEye(item.key);
}

/** @param {KeyboardEvent} event @param {Item} item */
function follow(event, item) {
  const link = event.target instanceof Element ? event.target.closest("a, button, summary") : null;
  if (link instanceof HTMLElement) link.click();
  else if (item?.kind === "run" && item.row !== null)
    document
      .querySelector(`tr[data-run="${CSS.escape(item.row.run)}"] a`)
      ?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
}

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
function RunLine({
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
            >${row.name}</a
          >
        <//>
        ${row.archived && html`<span class="quiet" title="Put away">⌄</span>`}
        ${row.damage + row.missing_bytes > 0 && html`<span class="warn" role="img" aria-label="Its log is damaged" title=${`${row.damage} damaged places, ${row.missing_bytes} bytes missing: disttrack fsck ${row.id}`}>⚠</span>`}
      </span>
    </th>
    ${columns.map((/** @type {import("./columns.js").Column} */ column) => {
      const shown = cell(row, column);
      if (column.name === "notes") {
        return html`<td key="notes">
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
        return html`<td key="tags">
          <${Editable}
            value=${row.tags.join(", ")}
            label="tags"
            editable=${editable}
            onSave=${(/** @type {string} */ text) =>
              retag(
                row,
                text
                  .split(",")
                  .map((tag) => tag.trim())
                  .filter(Boolean),
              )}
            >${shown}<//
          >
        </td>`;
      }
      return html`<td key=${column.name} class=${column.number ? "number" : ""}>${shown}</td>`;
    })}
  </tr>`;
}

/** @param {any} props */
function GroupLine({ item, index, current, columns, strokes, onEye, unfold, onPoint }) {
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
      return html`<td key=${column.name} class=${column.number ? "number" : ""}>
        ${value === undefined || value.n === 0 ? "" : html`<span title=${`of ${value.n}: ${exact(value.min)} … ${exact(value.max)}`}>${short(mean)}${plain(value.min) !== plain(value.max) && html`<span class="quiet"> ±${short((Number(plain(value.max)) - Number(plain(value.min))) / 2, 2)}</span>`}</span>`}
      </td>`;
    })}
  </tr>`;
}

/** @param {any} props */
function NodeLine({ item, index, current, columns, unfold, onPoint }) {
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
function RankLine({ item, index, current, columns, onPoint }) {
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
