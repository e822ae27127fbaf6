// The runs table: a line a run, unfolded to its nodes and ranks; groups; keyboard; the server sorts and filters.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { useSignal } from "../vendor/signals.js";
import { choose, go, joined, listed as listOf, place } from "../location.js";
import { useKeys } from "../keys.js";
import { tell } from "../notices.js";
import { reveal, useVisible } from "../parts/rows.js";
import { NAME_PX } from "./columns.js";
import { about } from "./edits.js";
import { Head } from "./head.js";
import { GroupLine, NodeLine, RankLine, RunLine } from "./lines.js";

/** @typedef {import("./list.js").Item} Item */
/** @typedef {import("./types.js").Row} Row */

export const ROW_PX = 28;

/**
 * @param {object} props
 * @param {Item[]} props.items
 * @param {import("./columns.js").Column[]} props.columns
 * @param {(first: number, last: number) => void} props.onVisible
 * @param {Map<string, import("../colours.js").Stroke>} props.strokes of the runs and groups whose lines are drawn
 * @param {(id: string) => void} props.onEye
 * @param {string[]} props.selected ids
 * @param {boolean} props.all whether all runs are selected, also those that are not loaded
 * @param {(ids: string[]) => void} props.onSelect
 * @param {boolean} props.editable
 */
export function RunsTable({ items, columns, onVisible, strokes, onEye, selected, all, onSelect, editable }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const { first, last, before, after } = useVisible(box, items.length, ROW_PX);
  const cursor = useSignal(/** @type {{index: number, key: string} | null} */ (null));
  const [edited, setEdited] = useState(/** @type {string | null} */ (null));
  const anchor = useRef(/** @type {string | null} */ (null)); // id of the run that Shift selects from
  useEffect(() => onVisible(first, last), [first, last, items]);
  const chosen = new Set(selected);

  /** Where the cursor is now: it stays with its row when rows come and go above it. */
  const currentAt = () => {
    if (cursor.value === null) return -1;
    const { index, key } = cursor.value;
    if (index < items.length && keyOf(items[index], index) === key) return index;
    const moved = items.findIndex((item, at) => keyOf(item, at) === key);
    return moved >= 0 ? moved : Math.min(index, items.length - 1);
  };
  const point = (/** @type {number} */ at) => {
    cursor.value = at < 0 || at >= items.length ? null : { index: at, key: keyOf(items[at], at) };
  };
  const current = currentAt();
  const idAt = (/** @type {number} */ at) => {
    const item = items[at];
    return item?.kind === "run" && item.row !== null ? item.row.id : null;
  };
  const select = (/** @type {number} */ at, /** @type {boolean} */ through) => {
    const id = idAt(at);
    if (id === null) return;
    const { sel = "" } = place.value.choices; // and not what was drawn last: keys may come faster
    const before = sel.startsWith("*") ? [] : listOf(sel); // all that are found: from here on, this one
    const from = through && anchor.current !== null ? items.findIndex((_, each) => idAt(each) === anchor.current) : -1;
    if (from >= 0) {
      const [low, high] = [Math.min(from, at), Math.max(from, at)];
      const between = Array.from({ length: high - low + 1 }, (_, more) => idAt(low + more)).filter(
        (each) => each !== null,
      );
      onSelect([...new Set([...before, ...between])]);
    } else onSelect(before.includes(id) ? before.filter((each) => each !== id) : [...before, id]);
    anchor.current = id;
  };
  const move = (/** @type {number} */ by) => {
    const next = Math.max(0, Math.min(items.length - 1, currentAt() + by));
    point(next);
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
  const edit = (/** @type {string | null} */ id) => {
    if (editable) setEdited(id);
    else tell(`Nothing can be changed here: ${about.value?.why_not_editable ?? "not known yet"}.`);
  };
  useKeys([
    { keys: "j", does: "next row", run: () => move(1) },
    { keys: "k", does: "row before", run: () => move(-1) },
    { keys: "x", does: "select the row", run: () => select(currentAt(), false) },
    { keys: "o", does: "unfold the row: node, rank", run: () => unfold(items[currentAt()]) },
    { keys: "v", does: "show or hide the row's lines", run: () => eyeOf(items[currentAt()], onEye) },
    { keys: "e", does: "edit the row's name", run: () => edit(idAt(currentAt())) },
    { keys: "Enter", does: "open the row's run", run: (event) => follow(event, items[currentAt()]) },
  ]);
  const width = NAME_PX + columns.reduce((sum, column) => sum + column.width, 0);
  const arrows = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -items.length, End: items.length }[event.key];
    if (event.target !== box.current || (by === undefined && event.key !== " ")) return;
    event.preventDefault();
    if (by === undefined) select(currentAt(), event.shiftKey);
    else move(by);
  };
  return html`<div
    class="scroller"
    ref=${box}
    tabindex="0"
    role="region"
    aria-label="Table of runs"
    onKeyDown=${arrows}
  >
    <table class="runs" aria-rowcount=${items.length + 1} style=${{ minWidth: `${width}px` }}>
      <colgroup>
        <col />
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
            onPoint: () => point(index),
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
                selected=${item.row !== null && (all || chosen.has(item.row.id))}
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
  else if (item?.kind === "run" && item.row !== null) {
    go({ view: "run", run: item.row.id, tab: "charts", choices: {} });
    scrollTo(0, 0);
  }
}
