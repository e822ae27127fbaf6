// The rows of the runs table: pages fetched as they come into view, groups, and what is unfolded below a run.

import { useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
import { get } from "../api.js";
import { listed, version } from "../live.js";
import { useResource } from "../resource.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Group} Group */
/** @typedef {import("./types.js").RanksOf} RanksOf */

const PAGE = 100;
/** Pages that are kept; the ones looked at longest ago go first. */
const KEPT = 30;

/** @typedef {{project: string, filter: string, sort: string, column: string[], archived: string}} RunsQuery */

/**
 * The runs that a query finds. `want(first, last)` fetches the rows of a part of the table.
 * @param {RunsQuery | null} query
 */
export function useRuns(query) {
  const key = query === null ? null : JSON.stringify(query);
  const pages = useRef(
    /** @type {{key: string | null, found: Map<number, Row[]>}} */ ({ key: null, found: new Map() }),
  );
  const [range, setRange] = useState({ first: 0, last: 0 });
  const offsets = /** @type {number[]} */ ([]);
  for (let page = Math.floor(range.first / PAGE); page <= Math.floor(range.last / PAGE); page += 1)
    offsets.push(page * PAGE);
  const asked = key === null ? null : JSON.stringify([query, offsets]);
  const state = useResource(
    async (signal) => {
      const answers = await Promise.all(
        offsets.map((offset) => get("api/runs", { .../** @type {RunsQuery} */ (query), offset, limit: PAGE }, signal)),
      );
      if (pages.current.key !== key) pages.current = { key, found: new Map() };
      const { found } = pages.current;
      for (const answer of /** @type {import("./types.js").Page[]} */ (answers)) {
        found.delete(answer.offset);
        found.set(answer.offset, answer.rows);
        if (found.size > KEPT) found.delete(/** @type {number} */ (found.keys().next().value));
      }
      const { total, of } = /** @type {import("./types.js").Page} */ (answers[0]);
      return { total, of, key };
    },
    asked,
    listed.value,
  );
  const row = (/** @type {number} */ index) => pages.current.found.get(index - (index % PAGE))?.[index % PAGE] ?? null;
  const want = (/** @type {number} */ first, /** @type {number} */ last) => {
    const [low, high] = [Math.floor(first / PAGE), Math.floor(last / PAGE)];
    if (low !== Math.floor(range.first / PAGE) || high !== Math.floor(range.last / PAGE)) setRange({ first, last });
  };
  const known = useMemo(() => () => [...pages.current.found.values()].flat(), []);
  return { ...state, fresh: state.data?.key === key, row, want, known };
}

/**
 * The largest groups of a query; count: how many there are.
 * @param {{project: string, filter: string, archived: string, column: string[], by: string[]} | null} query
 * @returns {import("../resource.js").Resource<{total: number, count: number, groups: Group[]}>}
 */
export const useGroups = (query) =>
  useResource(
    (signal) => get("api/groups", /** @type {import("../api.js").Query} */ (query), signal),
    query === null ? null : JSON.stringify(query),
    listed.value,
  );

/**
 * What is unfolded: the answer for each of these keys, fetched once and again when `version` says so.
 * @template T
 * @param {string[]} keys @param {(key: string, signal: AbortSignal) => Promise<T>} load @param {unknown} changed
 * @returns {Map<string, T>}
 */
export function useEach(keys, load, changed) {
  const [found, setFound] = useState(/** @type {Map<string, T>} */ (new Map()));
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    for (const key of keys) {
      latest.current(key, abort.signal).then(
        (answer) => setFound((before) => new Map(before).set(key, answer)),
        () => undefined, // given up, or the run has gone: its row says so when the table is fetched again
      );
    }
    return () => abort.abort();
  }, [keys.join("\n"), changed]);
  return found;
}

/** The ranks of the runs that are unfolded, by run. @param {string[]} runs @returns {Map<string, RanksOf>} */
export const useRanksOf = (runs) => useEach(runs, (run, signal) => get("api/ranks", { run }, signal), version(runs));

/**
 * @typedef {{kind: "run", index: number, row: Row | null, depth: number}
 *   | {kind: "group", group: Group, key: string, open: boolean}
 *   | {kind: "node", run: string, node: string, ranks: import("./types.js").RankRow[], open: boolean, depth: number}
 *   | {kind: "rank", run: string, rank: import("./types.js").RankRow, depth: number}
 *   | {kind: "more", text: string}} Item one line of the table
 */

/**
 * The lines below a run that is unfolded: its nodes, and the ranks of nodes that are unfolded; of a single node its
 * ranks at once.
 * @param {string} run @param {RanksOf | undefined} ranks @param {Set<string>} open @param {number} depth
 * @returns {Item[]}
 */
export function below(run, ranks, open, depth) {
  if (ranks === undefined) return [{ kind: "more", text: "Loading ranks …" }];
  const of = new Map(ranks.ranks.map((rank) => [rank.rank, rank]));
  /** @type {Item[]} */
  const items = [];
  for (const { node, ranks: numbers } of ranks.nodes) {
    const mine = numbers.map((number) => of.get(number)).filter((rank) => rank !== undefined);
    const unfolded = ranks.nodes.length === 1 || open.has(`${run}@${node}`);
    if (ranks.nodes.length > 1) items.push({ kind: "node", run, node, ranks: mine, open: unfolded, depth });
    if (unfolded)
      items.push(
        ...mine.map(
          (rank) => /** @type {Item} */ ({ kind: "rank", run, rank, depth: depth + (ranks.nodes.length > 1 ? 1 : 0) }),
        ),
      );
  }
  const homeless = ranks.ranks.filter(
    (rank) => rank.node === null && !ranks.nodes.some(({ ranks: numbers }) => numbers.includes(rank.rank)),
  );
  items.push(...homeless.map((rank) => /** @type {Item} */ ({ kind: "rank", run, rank, depth })));
  return items;
}
