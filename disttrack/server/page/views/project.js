// The project: its runs as a table, and beside it what they logged, as a wall of charts.
// Not there yet: saved views; lines of more than 64 runs.

import { html } from "../vendor/html.js";
import { useEffect, useMemo } from "../vendor/hooks.js";
import { Refused, get, plain } from "../api.js";
import { places, stroke } from "../colours.js";
import { ChartTools } from "../charts/toolbar.js";
import { Wall } from "../charts/wall.js";
import { count, leaf, many, short } from "../format.js";
import { useKeys } from "../keys.js";
import { choose, href, listed as listOf, place } from "../location.js";
import { listen, listed } from "../live.js";
import { Empty, Failed, Loading } from "../parts/states.js";
import { useResource } from "../resource.js";
import { FilterBar, Sides, filterOf } from "../runs/bar.js";
import { NAME_PX, column, defaults, pinnedFirst } from "../runs/columns.js";
import { Divider, share, tablePx } from "../runs/divider.js";
import { about } from "../runs/edits.js";
import { banded } from "../runs/grouped.js";
import { below, useEach, useGroups, useRanksOf, useRuns } from "../runs/list.js";
import { SelectionBar, compare, selectionOf } from "../runs/selection.js";
import { RunsTable, toggle } from "../runs/table.js";

/** @typedef {import("../runs/types.js").Row} Row */
/** @typedef {import("../runs/list.js").Item} Item */

/** Lines of so many runs are drawn until eyes say otherwise; as many as the palette tells apart. */
const DRAWN = 8;

/** Room for a group's mean and how far its runs lie from it, px. */
const GROUPED_PX = 128;
/** Below this a number is cut, px. */
const LEAST_PX = 84;

/** @param {{project: string}} props */
export function Project({ project }) {
  const {
    f = "",
    g = "",
    s = "",
    c = "",
    off = "",
    on = "",
    open = "",
    archived = "",
    side = "",
  } = place.value.choices;
  const keys = useResource((signal) => get("api/keys", { project }, signal), project, listed.value);
  const room = tablePx(side) - NAME_PX - 8;
  const columns = useMemo(() => {
    const names = c !== "" ? listOf(c) : keys.data === null ? [] : defaults(keys.data, room);
    const all = distinct(names.map(column), keys.data).map((each) =>
      g !== "" && each.asked ? { ...each, width: Math.max(each.width, GROUPED_PX) } : each,
    );
    const wide = () => all.reduce((sum, each) => sum + each.width, 0) > room;
    while (c === "" && all.length > 1 && wide()) all.pop();
    if (c === "" && all.length === 1 && wide()) all[0] = { ...all[0], width: Math.max(room, LEAST_PX) }; // a telephone
    return pinnedFirst(all, room);
  }, [c, keys.data, room, g]);
  const by = listOf(g);
  const asked = columns.filter((each) => each.asked).map((each) => each.name);
  const query = { project, filter: filterOf(f), sort: s, column: asked, archived };
  const ready = keys.data !== null || c !== "";
  const runs = useRuns(ready ? query : null);
  const groups = useGroups(
    by.length > 0 && ready ? { project, filter: query.filter, archived, column: asked, by } : null,
  );
  const unfolded = listOf(open);
  const members = useMembers(by, unfolded, groups.data?.groups ?? [], query);
  const rows = by.length > 0 ? [...members.values()].flatMap((page) => page.rows) : runs.known();
  const ranks = useRanksOf(rows.filter((row) => unfolded.includes(row.id)).map((row) => row.run));
  const items = useItems({ by, groups: groups.data, members, runs, ranks, open });

  const drawn = useMemo(
    () =>
      drawnOf({
        by,
        groups: groups.data?.groups ?? [],
        of: groups.data?.count ?? 0,
        items,
        off: listOf(off),
        on: listOf(on),
        project,
      }),
    [items, off, on, groups.data, project],
  );
  useEffect(() => listen(project, []), [project]);
  const selection = selectionOf(query, runs.data?.total ?? 0);
  const select = (/** @type {string} */ sel) => choose({ sel });
  useKeys([
    {
      keys: "d",
      does: "compare the selected runs",
      run: () => void compare(selectionOf(query, runs.data?.total ?? 0), query),
    },
    {
      keys: "t",
      does: "runs, charts, or both",
      run: () => choose({ side: side === "" ? "runs" : side === "runs" ? "charts" : "" }),
    },
    { keys: "Escape", does: "select nothing", run: () => (place.value.choices.sel ?? "") !== "" && select("") },
  ]);

  if (runs.data !== null && runs.data.of === 0) return html`<${Nothing} project=${project} />`;
  const card = () => ({
    runs: drawn.runs,
    strokeOf: drawn.strokeOf,
    change: drawn.change,
    mode: drawn.runs.length > 1 ? "mean" : undefined,
  });
  return html`<div class="project ${side}" style=${{ "--table": `${share()}%` }}>
    <h1 class="sr">${project}</h1>
    <section class="runs-side" aria-label="Runs">
      <${FilterBar}
        project=${project}
        keys=${keys.data}
        columns=${columns}
        total=${runs.data?.total ?? null}
        of=${runs.data?.of ?? null}
        groups=${by.length > 0 ? (groups.data?.count ?? null) : null}
        error=${runs.error}
      />
      ${runs.error !== null && !isFilterError(runs.error) && html`<${Failed} error=${runs.error} retry=${runs.retry} what=${runs.data === null ? "The table" : "What is asked for of the table"} />`}
      ${keys.error !== null && keys.data === null && html`<${Failed} error=${keys.error} retry=${keys.retry} what="The project" />`}
      ${runs.data === null && runs.error === null && keys.error === null && html`<${Loading} rows=${8} />`}
      ${runs.data !== null && runs.data.total === 0 && html`<${Empty} text=${`None of ${runs.data.of} runs is found by this filter.`}><button type="button" onClick=${() => choose({ f: "" })}>Clear the filter</button><//>`}
      ${
        runs.data !== null &&
        runs.data.total > 0 &&
        html`<${RunsTable}
          items=${items}
          columns=${columns}
          strokes=${drawn.strokes}
          selected=${selection.ids}
          all=${selection.all}
          onSelect=${(/** @type {string[]} */ ids) => select(ids.join(","))}
          editable=${about.value?.editable ?? false}
          onVisible=${(/** @type {number} */ first, /** @type {number} */ last) => by.length === 0 && runs.want(first, last)}
          onEye=${(/** @type {string} */ id) => eye(id, drawn.strokes.has(id))}
        />`
      }
      <${SelectionBar}
        selection=${selection}
        query=${query}
        rows=${rows}
        total=${runs.data?.total ?? 0}
        onSelect=${select}
      />
      ${side === "" && html`<${Divider} />`}
    </section>
    <section class="charts-side" aria-label="Charts">
      <${ChartTools} keys=${keys.data?.metrics ?? []}>${side === "charts" && html`<${Sides} />`}<//>
      <p class="drawn"><${Best} project=${project} /> <span class="quiet">${drawn.said}</span></p>
      ${keys.data !== null && drawn.runs.length > 0 && html`<${Wall} keys=${keys.data.metrics} card=${card} />`}
      ${keys.data !== null && drawn.runs.length === 0 && runs.data !== null && runs.data.total > 0 && html`<${Empty} text="No run's lines are shown. The circle before a name shows them." />`}
    </section>
  </div>`;
}

/**
 * Columns whose last names other keys have too show their paths.
 * @param {import("../runs/columns.js").Column[]} columns @param {import("../runs/types.js").Keys | null} keys
 */
function distinct(columns, keys) {
  const known = keys === null ? [] : [...keys.summary, ...keys.config].map((key) => leaf(key)[1]);
  const labels = columns.map((each) => each.label);
  const several = (/** @type {string} */ label) =>
    label === "name" || [labels, known].some((names) => names.filter((each) => each === label).length > 1);
  return columns.map((each) =>
    each.path !== "" && several(each.label)
      ? { ...each, label: each.path + each.label, width: Math.min(170, each.width + each.path.length * 7) }
      : each,
  );
}

/** The members of the groups that are unfolded or drawn, by the group's key. @param {string[]} by @param {string[]} unfolded @param {import("../runs/types.js").Group[]} groups @param {import("../runs/list.js").RunsQuery} query */
function useMembers(by, unfolded, groups, query) {
  const wanted =
    by.length === 0 ? [] : groups.filter((group) => unfolded.includes(group.filter)).map((group) => group.filter);
  return useEach(
    wanted,
    (filter, signal) =>
      /** @type {Promise<import("../runs/types.js").Page>} */ (
        get("api/runs", { ...query, filter: `${query.filter} ${filter}`.trim(), limit: 100 }, signal)
      ),
    `${listed.value} ${JSON.stringify(query)}`,
  );
}

/** @param {any} of @returns {Item[]} */
function useItems({ by, groups, members, runs, ranks, open }) {
  return useMemo(() => {
    const unfolded = new Set(listOf(open));
    /** @type {Item[]} */
    const items = [];
    const add = (/** @type {Row | null} */ row, /** @type {number} */ index, /** @type {number} */ depth) => {
      items.push({ kind: "run", index, row, depth });
      if (row !== null && unfolded.has(row.id)) items.push(...below(row.run, ranks.get(row.run), unfolded, depth));
    };
    if (by.length === 0)
      for (let index = 0; index < (runs.data?.total ?? 0); index += 1) add(runs.row(index), index, 0);
    for (const group of groups?.groups ?? []) {
      const isOpen = unfolded.has(group.filter);
      items.push({ kind: "group", group, key: group.filter, open: isOpen });
      if (!isOpen) continue;
      const page = members.get(group.filter);
      if (page === undefined) items.push({ kind: "more", text: "Loading …" });
      page?.rows.forEach((/** @type {Row} */ row, /** @type {number} */ index) => add(row, index, 1));
      if (page !== undefined && page.total > page.rows.length)
        items.push({
          kind: "more",
          text: `${page.total - page.rows.length} more: filter by ${group.filter} to see them`,
        });
    }
    const smaller = by.length > 0 && groups !== null ? groups.count - groups.groups.length : 0;
    if (smaller > 0)
      items.push({ kind: "more", text: `${count(smaller)} more groups, none larger: filter to see them` });
    return items;
  }, [by.join(), groups, members, runs.data, ranks, open]);
}

/**
 * Whose lines the charts draw, and how: of groups a band, and the lines of members whose eye is open.
 * @param {{by: string[], groups: import("../runs/types.js").Group[], of: number, items: Item[], off: string[], on: string[], project: string}} what of: how many groups there are
 */
function drawnOf({ by, groups, of, items, off, on, project }) {
  /** @type {Map<string, import("../colours.js").Stroke>} */
  const strokes = new Map();
  const rows = items
    .filter((item) => item.kind === "run")
    .map((item) => item.row)
    .filter((row) => row !== null);
  if (by.length === 0) {
    const first = rows
      .slice(0, DRAWN)
      .map((row) => row.id)
      .filter((id) => !off.includes(id));
    const ids = [...new Set([...first, ...on])].slice(0, 64);
    const at = places(ids);
    for (const id of ids) strokes.set(id, stroke(/** @type {number} */ (at.get(id))));
    const strokeOf = (/** @type {{run: string}} */ line) => strokes.get(idOf(line.run)) ?? stroke(7);
    const more = items.length > ids.length ? "; the circles before their names show others" : "";
    return {
      runs: ids.map((id) => `${project}/${id}`),
      strokes,
      strokeOf,
      change: undefined,
      said: `Lines of ${ids.length} of ${many(items.filter((item) => item.kind === "run").length, "run")}${more}`,
    };
  }
  const shown = groups.slice(0, DRAWN).filter((group) => !off.includes(group.filter));
  shown.forEach((group) => strokes.set(group.filter, stroke(groups.indexOf(group))));
  const memberOf = new Map(
    shown.flatMap((group) => group.runs.map((run) => /** @type {[string, string]} */ ([run, group.filter]))),
  );
  for (const id of on) {
    const group = [...memberOf].find(([run]) => idOf(run) === id)?.[1];
    strokes.set(id, {
      ...(group !== undefined ? /** @type {import("../colours.js").Stroke} */ (strokes.get(group)) : stroke(7)),
      dash: [2, 2],
    });
  }
  const runs = [...new Set([...memberOf.keys(), ...on.map((id) => `${project}/${id}`)])].slice(0, 64);
  const said = `Bands of ${shown.length} of ${count(of)} groups, over ${runs.length} runs${memberOf.size > 64 ? " (the first 64)" : ""}`;
  const named = new Map(
    shown.map((group) => [
      group.filter,
      group.values.map((value) => (value === null ? "none" : String(plain(value)))).join(" · "),
    ]),
  );
  return { runs, strokes, strokeOf: () => stroke(7), change: banded(memberOf, strokes, named), said };
}

/** @param {string} run */
const idOf = (run) => run.slice(run.lastIndexOf("/") + 1);

/** Opens or shuts the eye of a run or group. @param {string} id @param {boolean} shown */
function eye(id, shown) {
  const { off = "", on = "" } = place.value.choices;
  if (!shown && listOf(off).includes(id)) toggle("off", id);
  else if (!shown || listOf(on).includes(id)) toggle("on", id);
  else toggle("off", id);
}

/** The best run so far, by the metric that has a goal. @param {{project: string}} props */
function Best({ project }) {
  const best = useResource((signal) => get("api/best", { project }, signal), project, listed.value).data;
  if (best === null || best.run === undefined) return null;
  return html`<a
    class="best"
    href=${href({ view: "run", run: idOf(best.run), tab: "charts" })}
    title=${best.goal === null ? "" : `${best.goal} ${best.key}`}
    >best: ${best.name} <b>${best.key} ${short(plain(best.value))}</b></a
  >`;
}

/** A filter that cannot be read is shown where it is written. @param {Error} error */
const isFilterError = (error) => error instanceof Refused && error.kind === "FilterError";

/** Where there is nothing: why, and how to log a first run. @param {{project: string}} props */
function Nothing({ project }) {
  const away = useResource(
    (signal) => get("api/runs", { project, archived: "1", limit: 1 }, signal),
    project,
    listed.value,
  );
  if (away.data === null && away.error === null) return null;
  const count = away.data?.total ?? 0;
  if (count > 0) {
    return html`<${Empty} text=${count === 1 ? "The one run of this project was put away." : `All ${count} runs of this project were put away.`}
      ><button type="button" onClick=${() => choose({ archived: "1" })}>Show archived runs</button><//
    >`;
  }
  return html`<div class="empty large">
    <h1>No runs yet</h1>
    <p>
      ${(about.value?.runs ?? 0) > 0 && html`The project <b>${project}</b> has no runs. The list above has other projects. `}${"Watching "}<code>${about.value?.root ?? "…"}</code>. This logs a first one:
    </p>
    <pre><code>${about.value?.example ?? ""}</code></pre>
  </div>`;
}
