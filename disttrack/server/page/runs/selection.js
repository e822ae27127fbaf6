// Which runs are selected, by hand or as all that a filter finds, and below the table what can be done with them.

import { html } from "../vendor/html.js";
import { useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { count, many } from "../format.js";
import { go, listed as listOf, place } from "../location.js";
import { tell } from "../notices.js";
import { Menu } from "../parts/menu.js";
import { about, archive, busy, edit, remove } from "./edits.js";

/** The server compares so many; beside each other more could not be told apart. */
const COMPARED = 32;

/**
 * @typedef {object} Selection
 * @property {boolean} all whether it is all runs that are found, also those not loaded
 * @property {string[]} ids where it is not all
 * @property {number} count
 * @property {import("./edits.js").Which} which
 */

/** @typedef {import("./list.js").RunsQuery} RunsQuery */

/** All that a query finds, as the URL has it: another filter makes it another selection, which is none. @param {RunsQuery} query */
const allOf = ({ filter, archived }) => `*${archived === "" ? "" : "archived "}${filter}`;

/** The selection that the URL names. @param {RunsQuery} query @param {number} total of runs that the query finds @returns {Selection} */
export function selectionOf(query, total) {
  const { sel = "" } = place.value.choices;
  const { project, filter, archived } = query;
  if (sel === allOf(query)) {
    return { all: true, ids: [], count: total, which: { project, filter, archived_too: archived !== "" } };
  }
  const ids = sel.startsWith("*") ? [] : listOf(sel);
  return { all: false, ids, count: ids.length, which: { runs: ids.map((id) => `${project}/${id}`) } };
}

/** Goes to the comparison of the selected runs, or says why not. @param {Selection} selection @param {RunsQuery} query */
export async function compare({ all, ids, count: selected }, query) {
  if (selected < 2) return tell("Select two runs or more to compare: x selects a row.");
  let first = ids.slice(0, COMPARED);
  if (all) {
    try {
      const { rows } = await get("api/runs", { ...query, column: [], limit: COMPARED });
      first = rows.map((/** @type {{id: string}} */ row) => row.id);
    } catch (error) {
      return tell(/** @type {Error} */ (error).message, { bad: true });
    }
  }
  if (selected > COMPARED) {
    tell(`These are the first ${COMPARED} of ${count(selected)} selected runs: more are not compared at once.`);
  }
  go({ view: "compare", choices: { runs: first.join(",") } });
}

/** @param {{selection: Selection, query: RunsQuery, rows: import("./types.js").Row[], total: number, onSelect: (sel: string) => void}} props */
export function SelectionBar({ selection, query, rows, total, onSelect }) {
  const { all, ids, count: selected, which } = selection;
  if (selected === 0) return null;
  const chosen = rows.filter((row) => all || ids.includes(row.id));
  const away = chosen.length > 0 && chosen.every((row) => row.archived);
  const editable = about.value?.editable ?? false;
  const why = editable ? undefined : (about.value?.why_not_editable ?? "Not known yet");
  const off = !editable || busy.value !== null;
  const runs = many(selected, "run");
  const act = async (/** @type {string} */ doing, /** @type {() => Promise<void>} */ change, ends = true) => {
    busy.value = `${doing} ${runs} …`;
    try {
      await change();
    } finally {
      busy.value = null;
    }
    if (ends) onSelect("");
  };
  return html`<div class="selection" role="toolbar" aria-label="Selected runs">
    <b>${all ? `All ${runs} selected` : `${runs} selected`}</b>
    ${all && html`<span class="quiet">${query.filter === "" ? "of the project" : `found by ${query.filter}`}</span>`}
    <button
      type="button"
      class="main"
      disabled=${selected < 2}
      title="Compare (d)"
      onClick=${() => void compare(selection, query)}
    >
      Compare
    </button>
    <${Menu} label="Tag"
      >${(/** @type {() => void} */ close) =>
        html`<${TagForm}
          off=${off}
          why=${why}
          onTag=${(/** @type {string} */ tag, /** @type {boolean} */ add) => {
            close();
            const [put, taken] = [{ add_tags: [tag] }, { remove_tags: [tag] }];
            const change = () =>
              add
                ? edit(which, put, (some) => `${some} tagged ${tag}.`, taken)
                : edit(which, taken, (some) => `${tag} taken from ${some}.`, put);
            void act("Tagging", change, false);
          }}
        />`}<//
    >
    <button
      type="button"
      disabled=${off}
      title=${why}
      onClick=${() => void act(away ? "Taking back" : "Archiving", () => archive(which, !away))}
    >
      ${away ? "Take back" : "Archive"}
    </button>
    <button type="button" disabled=${off} title=${why} onClick=${() => void act("Deleting", () => remove(which))}>
      Delete
    </button>
    ${
      !all &&
      total > selected &&
      html`<button type="button" title="Also those that are not loaded" onClick=${() => onSelect(allOf(query))}>
        Select all ${count(total)} found
      </button>`
    }
    <button type="button" class="bare" aria-label="Select nothing" title="Esc" onClick=${() => onSelect("")}>✕</button>
    <span role="status" class="quiet">${busy.value ?? (editable ? "" : `Nothing can be changed here: ${why}.`)}</span>
  </div>`;
}

/** @param {{off: boolean, why: string | undefined, onTag: (tag: string, add: boolean) => void}} props */
function TagForm({ off, why, onTag }) {
  const [tag, setTag] = useState("");
  const given = tag.trim();
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (given !== "" && !off) onTag(given, true);
  };
  return html`<form class="tag-form" onSubmit=${send}>
    <input
      value=${tag}
      aria-label="Tag"
      placeholder="tag"
      onInput=${(/** @type {Event} */ event) => setTag(/** @type {HTMLInputElement} */ (event.target).value)}
    /><button type="submit" disabled=${off || given === ""} title=${why}>Add</button
    ><button type="button" disabled=${off || given === ""} title=${why} onClick=${() => onTag(given, false)}>
      Remove
    </button>
  </form>`;
}
