// Below the table: what can be done with the selected runs.

import { html } from "../vendor/html.js";
import { useState } from "../vendor/hooks.js";
import { post } from "../api.js";
import { many } from "../format.js";
import { go } from "../location.js";
import { listed } from "../live.js";
import { tell } from "../notices.js";
import { Menu } from "../parts/menu.js";
import { about, archive, edit, remove } from "./edits.js";

/** @param {{project: string, selected: string[], rows: import("./types.js").Row[], total: number, filter: string, onSelect: (ids: string[]) => void}} props */
export function SelectionBar({ project, selected, rows, total, filter, onSelect }) {
  if (selected.length === 0) return null;
  const runs = selected.map((id) => `${project}/${id}`);
  const chosen = rows.filter((row) => selected.includes(row.id));
  const away = chosen.length > 0 && chosen.every((row) => row.archived);
  const editable = about.value?.editable ?? false;
  const why = editable ? undefined : (about.value?.why_not_editable ?? "Not known yet");
  const done = (/** @type {Promise<void>} */ change) => void change.then(() => onSelect([]));
  return html`<div class="selection" role="toolbar" aria-label="Selected runs">
    <b>${many(selected.length, "run")} selected</b>
    <button
      type="button"
      class="main"
      disabled=${selected.length < 2}
      title="Compare (d)"
      onClick=${() => go({ view: "compare", choices: { runs: selected.join(",") } })}
    >
      Compare
    </button>
    <${Menu} label="Tag"
      ><${TagForm}
        onTag=${(/** @type {string} */ tag) => void edit(runs, { add_tags: [tag] }, `Tagged ${tag}.`, { remove_tags: [tag] })}
    /><//>
    <button type="button" disabled=${!editable} title=${why} onClick=${() => done(archive(runs, !away))}>
      ${away ? "Take back" : "Archive"}
    </button>
    <button type="button" disabled=${!editable} title=${why} onClick=${() => done(remove(runs))}>Delete</button>
    ${
      total > selected.length &&
      html`<${Menu} label=${`All ${total} found …`}>
        <div class="actions">
          <p class="quiet">
            ${filter === "" ? `All ${total} runs of the project` : `All ${total} runs found by ${filter}`}
          </p>
          <button
            type="button"
            disabled=${!editable}
            title=${why}
            onClick=${() => void archiveFound(project, filter, total)}
          >
            Archive them
          </button>
          <button type="button" onClick=${() => onSelect(rows.map((row) => row.id))}>
            Select the ${rows.length} loaded
          </button>
        </div>
      <//>`
    }
    <button type="button" class="bare" aria-label="Select nothing" onClick=${() => onSelect([])}>✕</button>
  </div>`;
}

/** @param {{onTag: (tag: string) => void}} props */
function TagForm({ onTag }) {
  const [tag, setTag] = useState("");
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (tag.trim() !== "") onTag(tag.trim());
    setTag("");
  };
  return html`<form class="tag-form" onSubmit=${send}>
    <input
      value=${tag}
      aria-label="Tag"
      placeholder="tag"
      onInput=${(/** @type {Event} */ event) => setTag(/** @type {HTMLInputElement} */ (event.target).value)}
    /><button type="submit">Add</button>
  </form>`;
}

/** @param {string} project @param {string} filter @param {number} total */
async function archiveFound(project, filter, total) {
  try {
    const { rows } = await post("api/edit", { project, filter, archived: true });
    listed.value += 1;
    const runs = rows.map((/** @type {{run: string}} */ row) => row.run);
    tell(`${many(total, "run")} put away.`, { undo: () => void edit(runs, { archived: false }, "Undone.") });
  } catch (error) {
    tell(/** @type {Error} */ (error).message, { bad: true });
  }
}
