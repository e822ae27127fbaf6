// The page: its bar, the view that the URL names, and what is told in passing.

import { html, render } from "./vendor/html.js";
import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import { get } from "./api.js";
import { copy, dismiss, notices, spoken, tell } from "./notices.js";
import { bindings, listenToKeys, useKeys } from "./keys.js";
import { epoch, feed, listed, listen } from "./live.js";
import { CHOICES, follow, go, href, place, unknown } from "./location.js";
import { duration, many } from "./format.js";
import { dark, nextTheme } from "./theme.js";
import { Icon } from "./parts/icons.js";
import { Menu } from "./parts/menu.js";
import { lazy } from "./parts/lazy.js";
import { Empty, Failed, Loading } from "./parts/states.js";
import { Trouble } from "./parts/trouble.js";
import { useResource } from "./resource.js";
import { about, askAbout } from "./runs/edits.js";

// What a view needs at once is named in the document by the server (server/preloads.py): these modules are on their way.
const Compare = lazy(() => import("./views/compare.js").then((module) => module.Compare));
const Project = lazy(() => import("./views/project.js").then((module) => module.Project));
const Run = lazy(() => import("./views/run.js").then((module) => module.Run));

/** @typedef {{project: string, runs: number, live: number, newest_at: number}} ProjectRow */

function App() {
  const [help, setHelp] = useState(false);
  const projects = useResource((signal) => get("api/projects", {}, signal), "projects", listed.value);
  const { view, project, run } = place.value;
  const rows = /** @type {ProjectRow[]} */ (projects.data?.projects ?? []);
  useEffect(() => {
    if (project !== null) return;
    if (rows.length > 0) go({ project: rows[0].project }, { replace: true });
    else listen(null, []); // the first run of all shows itself
  }, [projects.data, project]);
  // Whether runs can be edited may change: their directory comes with the first run, or is mounted otherwise.
  useEffect(() => {
    askAbout().catch(() => undefined); // the view says why the server does not answer
  }, [epoch.value, about.value?.editable ? 0 : listed.value]);
  useEffect(() => {
    document.title = [run, project, "disttrack"].filter(Boolean).join(" · ");
  }, [run, project]);
  useKeys([
    { keys: "?", does: "this list", run: () => setHelp(!help) },
    { keys: "y", does: "copy the link to what is shown", run: () => void copy(window.location.href, "Link") },
    { keys: "D", does: "dark or light", run: nextTheme },
    {
      keys: "Escape",
      does: "close what is open; back to the project",
      run: () => view !== "project" && go({ view: "project", run: null, tab: "charts", choices: {} }),
    },
  ]);
  return html`
    <header class="bar">
      <a class="brand" href=${href({ view: "project", run: null })}>disttrack</a>
      <${Projects} rows=${rows} current=${project} />
      ${view !== "project" && html`<a class="crumb" href=${href({ view: "project", run: null })}>runs</a>`}
      ${view !== "project" && html`<span class="crumb quiet" aria-current="page">${view === "run" ? run : "compare"}</span>`}
      <span class="space"></span>
      <${Feed} />
      <button
        type="button"
        class="bare"
        title="Copy the link to what is shown (y)"
        aria-label="Copy link"
        onClick=${() => copy(window.location.href, "Link")}
      >
        <${Icon} name="link" />
      </button>
      <button
        type="button"
        class="bare"
        title="Dark or light (D)"
        aria-label=${dark.value ? "Light colours" : "Dark colours"}
        onClick=${nextTheme}
      >
        <${Icon} name=${dark.value ? "sun" : "moon"} />
      </button>
      <button type="button" class="bare" title="Keys (?)" aria-label="Keys" onClick=${() => setHelp(!help)}>?</button>
    </header>
    <${Trouble} />
    <main><${View} projects=${projects} /></main>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}
    <div class="notices">
      ${notices.value.map(
        (notice) =>
          html`<div
            key=${notice.id}
            class=${notice.bad ? "notice bad" : "notice"}
            role=${notice.bad ? "alert" : "status"}
          >
            <span>${notice.text}</span>
            ${
              notice.undo !== null &&
              html`<button
                type="button"
                onClick=${() => {
                  notice.undo?.();
                  dismiss(notice.id);
                }}
              >
                Undo
              </button>`
            }
            <button type="button" class="bare" aria-label="Dismiss" onClick=${() => dismiss(notice.id)}>✕</button>
          </div>`,
      )}
    </div>
    <p class="sr" aria-live="polite">${spoken.value}</p>
  `;
}

/** @param {{projects: import("./resource.js").Resource<{projects: ProjectRow[]}>}} props */
function View({ projects }) {
  const { view, project, run } = place.value;
  if (project === null) {
    if (projects.error !== null)
      return html`<${Failed} error=${projects.error} retry=${projects.retry} what="The list of projects" />`;
    if (projects.data === null) return html`<${Loading} rows=${6} />`;
    if (projects.data.projects.length === 0) {
      return html`<div class="empty large">
        <h1>No runs yet</h1>
        <p>Watching <code>${about.value?.root ?? "…"}</code>. This logs a first one:</p>
        <pre><code>${about.value?.example ?? ""}</code></pre>
      </div>`;
    }
    return null; // on its way to the newest project
  }
  if (view === "run" && run !== null) return html`<${Run} key=${`${project}/${run}`} project=${project} id=${run} />`;
  if (view === "compare") return html`<${Compare} key=${project} project=${project} />`;
  if (view === "project") return html`<${Project} key=${project} project=${project} />`;
  return html`<${Empty} text="There is no such view." />`;
}

/** @param {{rows: ProjectRow[], current: string | null}} props */
const Projects = ({ rows, current }) =>
  html`<${Menu} label=${html`${current ?? "project"} ▾`} title="Project" kind="bare strong">
    <ul class="list">
      ${rows.map((row) => html`<li key=${row.project}><a href=${href({ view: "project", project: row.project, run: null })} aria-current=${row.project === current ? "true" : undefined}>${row.project}</a> <span class="quiet">${many(row.runs, "run")}${row.live > 0 ? `, ${row.live} running` : ""}</span></li>`)}
    </ul>
  <//>`;

/** Whether what is shown is what is: the live feed's state. */
function Feed() {
  const { state, since } = feed.value;
  const [, tick] = useState(0);
  useEffect(() => {
    if (state === "live") return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [state]);
  const lasted = Math.round((Date.now() - since) / 1000);
  const said = {
    live: "live",
    connecting: lasted > 2 ? "connecting" : "",
    lost: `live feed lost ${duration(lasted)} ago, trying again`,
    locked: "locked",
    stale: "the runs cannot be read",
  }[state];
  return html`<span
    class="feed ${state}"
    role="status"
    title=${state === "live" ? "What is shown follows the runs" : said}
    ><span aria-hidden="true">${state === "live" ? "●" : "◌"}</span> <span>${said}</span></span
  >`;
}

/** @param {{onClose: () => void}} props */
function Help({ onClose }) {
  useKeys([{ keys: "Escape", does: "close this list", run: onClose }]);
  const seen = new Set();
  const rows = bindings.value.flat().filter(({ keys, does }) => !seen.has(keys + does) && seen.add(keys + does));
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  // The browser keeps the focus within it, and gives it back to where it was.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return html`<dialog
    class="help"
    aria-label="Keys"
    ref=${dialog}
    onCancel=${onClose}
    onClick=${(/** @type {Event} */ event) => event.target === dialog.current && onClose()}
  >
    <div>
      <h2>Keys</h2>
      <dl>
        ${rows.map(
          ({ keys, does }) =>
            html`<div key=${`${keys} ${does}`}>
              <dt><kbd>${keys}</kbd></dt>
              <dd>${does}</dd>
            </div>`,
        )}
        <div>
          <dt><kbd>←</kbd> <kbd>→</kbd></dt>
          <dd>cursor of the chart that has the focus; + and − zoom</dd>
        </div>
        <div>
          <dt>drag</dt>
          <dd>zoom all charts; double click shows all; Ctrl or Shift and the wheel zoom and pan</dd>
        </div>
      </dl>
      <button type="button" onClick=${onClose}>Close</button>
    </div>
  </dialog>`;
}

follow();
listenToKeys();
if (unknown.value.length > 0) {
  tell(
    `This link names ${unknown.value.join(", ")}, which this version does not know: ignored. It knows ${Object.keys(CHOICES).join(", ")}.`,
  );
}
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("page")));
