// Files: what the run saved, and what became of each.
// Not there yet: a look into text files without downloading them.

import { html } from "../vendor/html.js";
import { get } from "../api.js";
import { many, moment, size } from "../format.js";
import { version } from "../live.js";
import { address } from "../location.js";
import { Empty, Shown } from "../parts/states.js";
import { useResource } from "../resource.js";

/** @typedef {{path: string, rank: number, attempt: number, size: number | null, at: number, state: string, why: string | null, url: string | null}} SavedFile */

/** @param {{data: import("./run.js").RunOf}} props */
export function Files({ data }) {
  const state = useResource((signal) => get("api/files", { run: data.run }, signal), data.run, version([data.run]));
  return html`<section class="tab" aria-label="Files">
    <${Shown} of=${state} what="The files">
      ${(/** @type {{files: SavedFile[]}} */ { files }) =>
        files.length === 0
          ? html`<${Empty} text="The run saved no files: run.save(path) keeps one, save_code=True the program." />`
          : html`<div class="table-box pad">
              <table class="plain files-table">
                <caption class="quiet">
                  ${many(files.length, "file")}
                </caption>
                <thead>
                  <tr>
                    <th scope="col">path</th>
                    <th scope="col" class="number">size</th>
                    <th scope="col" class="number">rank</th>
                    <th scope="col">saved</th>
                    <th scope="col">state</th>
                  </tr>
                </thead>
                <tbody>
                  ${files.map(
                    (file) =>
                      html`<tr key=${`${file.path} ${file.rank} ${file.attempt}`}>
                        <th scope="row">
                          ${file.url === null ? file.path : html`<a href=${address(file.url.replace(/^\//, ""))} download>${file.path}</a>`}
                        </th>
                        <td class="number">${size(file.size)}</td>
                        <td class="number">${file.rank}</td>
                        <td>${moment(file.at)}</td>
                        <td>
                          ${file.state === "stored" ? "stored" : html`<span class="warn" title=${file.why}>${file.state}${file.why ? `: ${file.why}` : ""}</span>`}
                        </td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`}
    <//>
  </section>`;
}
