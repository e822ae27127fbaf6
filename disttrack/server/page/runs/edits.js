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
 * @param {string[]} runs @param {Change} change @param {string} done what is told
 * @param {Change | null} [back] what undoes it
 */
export async function edit(runs, change, done, back = null) {
  try {
    const { failed } = await post("api/edit", { runs, ...change });
    listed.value += 1;
    complain(failed);
    const undo = back === null ? undefined : () => void edit(runs, back, "Undone.");
    if (failed.length < runs.length) tell(done, { undo });
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { bad: true });
  }
}

/** @param {string[]} runs */
export async function remove(runs) {
  try {
    const { done, failed } = await post("api/delete", { runs });
    listed.value += 1;
    complain(failed);
    if (done.length > 0) tell(`${many(done.length, "run")} deleted.`, { undo: () => void restore(done) });
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { bad: true });
  }
}

/** @param {string[]} runs */
async function restore(runs) {
  try {
    const { done, failed } = await post("api/restore", { runs });
    listed.value += 1;
    complain(failed);
    tell(`${many(done.length, "run")} restored.`);
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { bad: true });
  }
}

/** @param {{run: string, error: string}[]} failed */
function complain(failed) {
  if (failed.length === 0) return;
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
  tell(`${failed[0].run}: ${failed[0].error}${more}`, { bad: true });
}

/** @param {string[]} runs @param {boolean} archived */
export const archive = (runs, archived) =>
  edit(runs, { archived }, `${many(runs.length, "run")} ${archived ? "put away" : "taken back"}.`, {
    archived: !archived,
  });

/** @param {Row} row @param {string} name */
export const rename = (row, name) => edit([row.run], { name }, `Renamed to ${name}.`, { name: row.name });

/** @param {Row} row @param {string} notes */
export const annotate = (row, notes) => edit([row.run], { notes }, "Notes saved.", { notes: row.notes ?? "" });

/** @param {Row} row @param {string} text the tags it is to have, with commas between */
export function retag(row, text) {
  const tags = text
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  const add_tags = tags.filter((tag) => !row.tags.includes(tag));
  const remove_tags = row.tags.filter((tag) => !tags.includes(tag));
  if (add_tags.length + remove_tags.length === 0) return undefined;
  return edit([row.run], { add_tags, remove_tags }, "Tags saved.", { add_tags: remove_tags, remove_tags: add_tags });
}
