// Changes of runs by a person, each with its way back.

import { signal } from "../vendor/signals.js";
import { get, post } from "../api.js";
import { many } from "../format.js";
import { listed } from "../live.js";
import { tell } from "../notices.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {{name?: string, notes?: string, add_tags?: string[], remove_tags?: string[], archived?: boolean}} Change */

/** What the server says of itself; null until it has. @type {import("../vendor/signals.js").Signal<{version: string, root: string, editable: boolean, why_not_editable: string | null, example: string, runs: number} | null>} */
export const about = signal(null);

export async function askAbout() {
  about.value = await get("api/about");
}

/**
 * Runs to change: by their names, or all that a filter finds, which the server then looks up at that moment.
 * @typedef {{runs: string[]} | {project: string, filter: string, archived_too: boolean}} Which
 */
/** @typedef {{done: string[], unchanged?: number, failed: {run: string, error: string}[]}} Changed */

/** What is being done to many runs, and takes a while. @type {import("../vendor/signals.js").Signal<string | null>} */
export const busy = signal(null);

/**
 * @param {Which} which @param {Change} change @param {(runs: string) => string} said what is told, of "3 runs"
 * @param {Change | null} [back] what undoes it, in the runs that it changed
 */
export async function edit(which, change, said, back = null) {
  const answer = await changed("api/edit", { ...which, ...change });
  if (answer === null) return;
  const { done, unchanged = 0, failed } = answer;
  const undo = back === null ? undefined : () => void edit({ runs: done }, back, () => "Undone.");
  if (done.length > 0) tell(said(many(done.length, "run")), { undo });
  else if (failed.length === 0 && unchanged > 0) tell("Nothing to change: it is so already.");
}

/** @param {Which} which */
export async function remove(which) {
  const answer = await changed("api/delete", which);
  if (answer === null || answer.done.length === 0) return;
  tell(`${many(answer.done.length, "run")} deleted.`, { undo: () => void restore(answer.done) });
}

/** @param {string[]} runs */
async function restore(runs) {
  const answer = await changed("api/restore", { runs });
  if (answer !== null) tell(`${many(answer.done.length, "run")} restored.`);
}

/** @param {string} path @param {object} body @returns {Promise<Changed | null>} null where nothing was changed; that is told */
async function changed(path, body) {
  try {
    const answer = /** @type {Changed} */ (await post(path, body));
    listed.value += 1;
    complain(answer.failed);
    return answer;
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { bad: true });
    return null;
  }
}

/** @param {{run: string, error: string}[]} failed */
function complain(failed) {
  if (failed.length === 0) return;
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
  tell(`${failed[0].run}: ${failed[0].error}${more}`, { bad: true });
}

/** @param {Which} which @param {boolean} archived */
export const archive = (which, archived) =>
  edit(which, { archived }, (runs) => `${runs} ${archived ? "put away" : "taken back"}.`, { archived: !archived });

/** @param {Row} row @param {string} name */
export const rename = (row, name) =>
  edit({ runs: [row.run] }, { name }, () => `Renamed to ${name}.`, { name: row.name });

/** @param {Row} row @param {string} notes */
export const annotate = (row, notes) =>
  edit({ runs: [row.run] }, { notes }, () => "Notes saved.", { notes: row.notes ?? "" });

/** @param {Row} row @param {string} text the tags it is to have, with commas between */
export function retag(row, text) {
  const tags = text
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  const add_tags = tags.filter((tag) => !row.tags.includes(tag));
  const remove_tags = row.tags.filter((tag) => !tags.includes(tag));
  if (add_tags.length + remove_tags.length === 0) return undefined;
  const back = { add_tags: remove_tags, remove_tags: add_tags };
  return edit({ runs: [row.run] }, { add_tags, remove_tags }, () => "Tags saved.", back);
}
