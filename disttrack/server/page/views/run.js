// One run: what it is, which rank is late or gone, and its tabs.
// Not there yet: ETA; code diff against the commit.

import { html } from "../vendor/html.js";
import { useEffect } from "../vendor/hooks.js";
import { get } from "../api.js";
import { called, duration, exact, many, moment, short } from "../format.js";
import { useKeys } from "../keys.js";
import { changes, listen, nowS, version } from "../live.js";
import { TABS, choose, go, href, place } from "../location.js";
import { speak } from "../notices.js";
import { State, Tags, Verdict } from "../parts/labels.js";
import { lazy } from "../parts/lazy.js";
import { Shown } from "../parts/states.js";
import { useResource } from "../resource.js";
import { Editable } from "../runs/editable.js";
import { about, annotate, rename, retag } from "../runs/edits.js";

const RunCharts = lazy(() => import("./charts.js").then((module) => module.RunCharts));
const Config = lazy(() => import("./config.js").then((module) => module.Config));
const Files = lazy(() => import("./files.js").then((module) => module.Files));
const Logs = lazy(() => import("./logs.js").then((module) => module.Logs));
const Media = lazy(() => import("./media.js").then((module) => module.Media));
const RanksView = lazy(() => import("./ranks.js").then((module) => module.RanksView));
const System = lazy(() => import("./system.js").then((module) => module.System));

/** @typedef {import("../runs/types.js").VerdictOf} VerdictOf */
/**
 * @typedef {object} RunOf what the server tells of one run; see docs/api.md
 * @property {string} run @property {string} id @property {string} name @property {string} state
 * @property {string | null} group @property {number | null} world_size @property {number} ranks_joined
 * @property {number} ranks_alive @property {number} attempt @property {number} created_at
 * @property {number | null} ended_at @property {number | null} duration_s @property {number | null} last_step
 * @property {string[]} tags @property {string | null} notes @property {boolean} archived @property {number} damage
 * @property {number} missing_bytes @property {Record<string, unknown>} config
 * @property {Record<string, unknown>} summary
 * @property {Record<string, {min: unknown, mean: unknown, max: unknown, argmax: number}>} summary_ranks
 * @property {import("../runs/types.js").RankRow[]} ranks @property {VerdictOf} verdict
 * @property {{key: string, kind: string, ranks: number, hidden: boolean, goal: string | null}[]} keys
 * @property {{kind: string, attempt?: number, step: number | null, at: number, text: string, to_step?: number, rank?: number}[]} marks
 * @property {{attempt: number, state: string, world_size: number, ranks_joined: number, first_step: number | null, last_step: number | null}[]} attempts
 * @property {{logged: number, stored: number, pending: number, dropped: number}} receipt
 * @property {{commit?: string, branch?: string, dirty?: boolean, remote?: string} | null} git
 * @property {string | null} program @property {unknown} argv @property {Record<string, unknown>} about
 * @property {{node: string, ranks: number[], host: Record<string, unknown>, devices: Record<string, unknown>}[]} nodes
 * @property {Record<string, Record<string, unknown>>} config_by_rank @property {unknown[]} alerts
 */

const TITLES = {
  charts: "Charts",
  ranks: "Ranks",
  system: "System",
  logs: "Logs",
  media: "Media",
  config: "Config",
  files: "Files",
};

/** @param {{project: string, id: string}} props */
export function Run({ project, id }) {
  const run = `${project}/${id}`;
  const state = useResource((signal) => get("api/run", { run }, signal), run, version([run]));
  useEffect(() => listen(project, [run]), [project, run]);
  const { tab } = place.value;
  useKeys(
    TABS.map((each, at) => ({
      keys: String(at + 1),
      does: `the run's ${TITLES[each]}`,
      run: () => go({ tab: each, choices: kept(each) }),
    })),
  );
  useEffect(() => {
    if (state.data !== null) speak(`${state.data.name} is ${state.data.state}. ${state.data.verdict.text}`);
  }, [state.data?.state, state.data?.verdict.text]);
  return html`${state.data === null && html`<h1 class="sr">${id}</h1>`}<${Shown} of=${state} what=${`The run ${id}`} rows=${6}>
    ${(/** @type {RunOf} */ data) =>
      html`<article class="run">
        <${Titles} data=${data} />
        <nav class="tabs" aria-label="Views of the run">
          ${TABS.map((each) => html`<a key=${each} href=${href({ tab: each, choices: kept(each) })} aria-current=${each === tab ? "page" : undefined}>${TITLES[each]}${each === "ranks" && data.verdict.kind === "dead" ? html` <span class="state bad" title=${data.verdict.text}>✕</span>` : ""}</a>`)}
        </nav>
        <${Tab} tab=${tab} data=${data} />
      </article>`}
  <//>`;
}

/** What a tab takes over from the one before: the x-axis and chosen ranks mean the same there. @param {string} tab */
function kept(tab) {
  const names =
    tab === "charts" || tab === "ranks"
      ? ["x", "zoom", "sm", "log", "ranks", "rank", "attempt"]
      : tab === "logs"
        ? ["ranks"]
        : [];
  return Object.fromEntries(Object.entries(place.value.choices).filter(([name]) => names.includes(name)));
}

/** @param {{tab: string, data: RunOf}} props */
function Tab({ tab, data }) {
  switch (tab) {
    case "ranks":
      return html`<${RanksView} data=${data} />`;
    case "system":
      return html`<${System} data=${data} />`;
    case "logs":
      return html`<${Logs} data=${data} />`;
    case "media":
      return html`<${Media} data=${data} />`;
    case "config":
      return html`<${Config} data=${data} />`;
    case "files":
      return html`<${Files} data=${data} />`;
    default:
      return html`<${RunCharts} data=${data} />`;
  }
}

/** Name, state, how far, who; and the sentence about its ranks. @param {{data: RunOf}} props */
function Titles({ data }) {
  const change = changes.value.get(data.run);
  const editable = about.value?.editable ?? false;
  const row = /** @type {any} */ (data);
  const world = data.world_size ?? data.ranks_joined;
  const lasted = data.state === "running" ? nowS() - data.created_at : data.duration_s;
  const step = change?.last_step ?? data.last_step;
  const { dropped, pending } = data.receipt;
  return html`<header class="titles">
    <h1>
      <${State} state=${data.state} short=${true} />
      <${Editable}
        value=${data.name}
        label="name"
        editable=${editable}
        onSave=${(/** @type {string} */ name) => rename(row, name)}
        >${called(data.name, data.id)}<//
      >
    </h1>
    <ul class="facts">
      <li><${State} state=${data.state} /></li>
      <li title=${`${data.ranks_joined} of ${world} called init`}>
        ${many(world, "rank")}${data.ranks_joined < world && `, ${data.ranks_joined} joined`} on ${many(data.nodes.length, "node")}
      </li>
      ${step !== null && step !== undefined && html`<li>step ${short(step)}</li>`}
      <li title=${moment(data.created_at)}>${duration(lasted)}</li>
      <li class="quiet minor">started ${moment(data.created_at)}</li>
      ${data.attempts.length > 1 && html`<li><${Attempts} data=${data} /></li>`}
      ${data.group !== null && html`<li class="quiet">group <a href=${href({ view: "project", run: null, tab: "charts", choices: { f: `group:${quoted(data.group)}` } })}>${data.group}</a></li>`}
      ${data.git?.commit && html`<li class="quiet minor" title=${exact(data.git.commit)}>git ${data.git.commit.slice(0, 8)}${data.git.dirty ? "+" : ""}</li>`}
      ${dropped + pending > 0 && html`<li class="warn" title="See disttrack show">${dropped > 0 ? `${short(dropped)} records dropped` : `${short(pending)} records on their way`}</li>`}
      ${data.damage + data.missing_bytes > 0 && html`<li class="warn">log damaged: disttrack fsck ${data.id}</li>`}
    </ul>
    <p class=${data.tags.length > 0 || data.notes ? "labels" : "labels bare"}>
      <${Editable}
        value=${data.tags.join(", ")}
        label="tags"
        editable=${editable}
        onSave=${(/** @type {string} */ text) => retag(row, text)}
        >${data.tags.length > 0 ? html`<${Tags} tags=${data.tags} />` : editable ? html`<span class="quiet">no tags</span>` : ""}<//
      >
      <${Editable}
        value=${data.notes ?? ""}
        label="notes"
        editable=${editable}
        area=${true}
        onSave=${(/** @type {string} */ text) => annotate(row, text)}
        >${data.notes ? html`<span class="notes">${data.notes}</span>` : editable ? html`<span class="quiet">no notes</span>` : ""}<//
      >
    </p>
    ${data.verdict.kind !== "single" && html`<${Verdict} verdict=${data.verdict} />`}
  </header>`;
}

/** Whether rows that a later attempt went over again are shown too. @param {{data: RunOf}} props */
const Attempts = ({ data }) =>
  html`<label title="A later attempt that starts before the step where the one before ended goes over its steps again"
    ><input
      type="checkbox"
      checked=${place.value.choices.attempt === "all"}
      onChange=${() => choose({ attempt: place.value.choices.attempt === "all" ? "" : "all" })}
    />
    ${many(data.attempts.length, "attempt")}: show rows done again, too</label
  >`;

/** @param {string} text */
const quoted = (text) => (/[\s"]/.test(text) ? `"${text.replace(/["\\]/g, "\\$&")}"` : text);
