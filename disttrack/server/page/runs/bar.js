// Above the table: the filter, what groups and columns there are, and how many runs are found.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { Refused } from "../api.js";
import { count, many } from "../format.js";
import { useKeys } from "../keys.js";
import { choose, joined, listed as listOf, place } from "../location.js";
import { Menu, OneOf, Ticks } from "../parts/menu.js";
import { FIXED_NAMES, quoted } from "./columns.js";

/** A filter as the server takes it. @param {string} written */
export const filterOf = (written) => written.trim().replace(/\s+/g, " ");

/** @typedef {{project: string, keys: import("./types.js").Keys | null, columns: import("./columns.js").Column[], total: number | null, of: number | null, groups: number | null, error: Error | null}} Props */

const EXAMPLES = [
  "state:running",
  "loss<1",
  "lr:3e-4",
  "tag:good",
  "-state:crashed",
  "name:fold-*",
  "created>2026-11-01",
  "rank:5",
  "node:n1",
];

const SIDES = [
  ["runs", "runs"],
  ["", "both"],
  ["charts", "charts"],
];

/** Runs, charts or both. */
export const Sides = () =>
  html`<${OneOf} label="Show" value=${place.value.choices.side ?? ""} options=${SIDES} onChange=${(/** @type {string} */ side) => choose({ side })} />`;

/** @param {Props} props */
export function FilterBar({ keys, columns, total, of, groups, error }) {
  const { f = "", g = "", archived = "" } = place.value.choices;
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [text, setText] = useState(f);
  useEffect(() => setText(f), [f]);
  // Typing shows what it finds a moment later: not a request for every letter.
  useEffect(() => {
    if (text === f) return undefined;
    const timer = setTimeout(() => choose({ f: text }), 250);
    return () => clearTimeout(timer);
  }, [text]);
  useKeys([
    { keys: "/", does: "filter the runs", run: () => field.current?.focus() },
    {
      keys: "g",
      does: "group by the next key that differs",
      run: () => choose({ g: g === "" ? firstConfig(keys) : "", off: "", on: "" }),
    },
  ]);
  const wrong = error instanceof Refused && error.kind === "FilterError" ? error : null;
  const names =
    keys === null ? [] : ["group", "state", "job_type", "node", ...keys.config.map((key) => `config.${quoted(key)}`)];
  const all =
    keys === null
      ? []
      : [
          ...FIXED_NAMES,
          ...keys.summary.map((key) => `summary.${quoted(key)}`),
          ...keys.config.map((key) => `config.${quoted(key)}`),
        ];
  const shown = columns.map((column) => column.name);
  return html`<div class="filter-bar" role="search">
    <div class="filter">
      <input
        ref=${field}
        type="search"
        value=${text}
        placeholder="Filter: loss<1 state:running …"
        aria-label="Filter runs"
        aria-invalid=${wrong !== null}
        spellcheck=${false}
        autocomplete="off"
        onInput=${(/** @type {Event} */ event) => setText(/** @type {HTMLInputElement} */ (event.target).value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key === "Enter") choose({ f: text }, { push: true });
          if (event.key === "Escape") field.current?.blur();
        }}
      />
      ${f !== "" && html`<button type="button" class="bare" aria-label="Clear the filter" onClick=${() => choose({ f: "" }, { push: true })}>✕</button>`}
    </div>
    <span class="found"
      >${total === null ? "" : groups !== null ? `${count(groups)} groups` : total === of ? many(total, "run") : `${count(total)} of ${count(of ?? 0)}`}</span
    >
    <${Menu} label=${g === "" ? "Group" : `by ${g}`} title="Group (g)" kind=${g === "" ? "" : "on"}>
      <${Ticks}
        label="Group by"
        names=${names}
        ticked=${listOf(g)}
        onChange=${(/** @type {string[]} */ ticked) => choose({ g: joined(ticked), off: "", on: "", open: "" }, { push: true })}
      />
    <//>
    <${Menu} label="Columns" right=${true}>
      <${Ticks}
        label="Columns"
        names=${all}
        ticked=${shown}
        onChange=${(/** @type {string[]} */ ticked) =>
          choose({
            c: joined([
              ...columns
                .filter((column) => ticked.includes(column.name))
                .map((column) => (column.pinned ? "!" : "") + column.name),
              ...ticked.filter((name) => !shown.includes(name)),
            ]),
          })}
      />
      <button type="button" onClick=${() => choose({ c: "" })}>As at first</button>
    <//>
    <${Menu} label="⋯" title="More" right=${true}>
      <label
        ><input
          type="checkbox"
          checked=${archived !== ""}
          onChange=${() => choose({ archived: archived === "" ? "1" : "" })}
        />${" "}Archived runs too</label
      >
      <p class="quiet">Filters:</p>
      <ul class="examples">
        ${EXAMPLES.map((example) => html`<li key=${example}><button type="button" class="chip" onClick=${() => choose({ f: `${f} ${example}`.trim() })}>${example}</button></li>`)}
      </ul>
    <//>
    <${Sides} />
    ${wrong !== null && html`<p class="wrong" role="alert"><code>${marked(f, wrong.at)}</code>${wrong.message.split("\n")[0]}</p>`}
    ${
      wrong === null &&
      f !== "" &&
      html`<p class="chips">
        ${terms(f).map(
          (term, at) =>
            html`<button
              type="button"
              class="chip"
              key=${`${term}${at}`}
              title="Take this away"
              onClick=${() =>
                choose({
                  f: terms(f)
                    .filter((_, each) => each !== at)
                    .join(" "),
                })}
            >
              ${term} ✕
            </button>`,
        )}
      </p>`
    }
  </div>`;
}

/** The terms of a filter: spaces within quotes do not part them. @param {string} filter */
export const terms = (filter) => filter.match(/(?:"(?:\\.|[^"\\])*"|[^\s"])+/g) ?? [];

/** The filter with a mark where it cannot be read. @param {string} filter @param {number | null} at */
const marked = (filter, at) => (at === null ? "" : `${filter.slice(0, at)}▸${filter.slice(at)} `);

/** @param {import("./types.js").Keys | null} keys */
const firstConfig = (keys) => (keys !== null && keys.config.length > 0 ? `config.${quoted(keys.config[0])}` : "group");
