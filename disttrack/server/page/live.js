// The live feed: what changed, as the server tells it, as signals that views read to fetch again.

import { batch, signal } from "./vendor/signals.js";
import { url } from "./api.js";

/** @typedef {{run: string, state: string, last_step: number | null, rows: number, ranks_alive: number, at: number, lines: boolean, about: boolean}} Change */

/**
 * The state of the feed. since: when it was lost, in ms; why: what the server said, or null.
 * @type {import("./vendor/signals.js").Signal<{state: "connecting" | "live" | "lost" | "stale", why: string | null, since: number}>}
 */
export const feed = signal({ state: "connecting", why: null, since: Date.now() });

/** Counts what happened to the list of runs. */
export const listed = signal(0);

/** The last change of every run heard of, by its name. @type {import("./vendor/signals.js").Signal<Map<string, Change & {count: number}>>} */
export const changes = signal(new Map());

/** This machine's clock less the server's, in seconds: ages are told by the server's. */
export const skewS = signal(0);

/** The server's time now, unix seconds. */
export const nowS = () => Date.now() / 1000 - skewS.value;

/** @type {EventSource | null} */
let source = null;
let heard = "";
/** @type {string | null} */
let instance = null;

/**
 * Listens to one project's table and to the runs that are open; one stream a page.
 * @param {string | null} project @param {string[]} runs
 */
export function listen(project, runs) {
  const wanted = url("api/events", { project, run: runs });
  if (wanted === heard && source !== null) return;
  source?.close();
  heard = wanted;
  source = new EventSource(wanted);
  source.addEventListener("open", () => (feed.value = { state: "live", why: null, since: Date.now() }));
  source.addEventListener("error", lost);
  source.addEventListener("hello", (event) => {
    const { now, instance: server } = JSON.parse(event.data);
    skewS.value = Date.now() / 1000 - now;
    if (instance !== null && instance !== server) everything();
    instance = server;
  });
  source.addEventListener("reset", everything);
  source.addEventListener("stale", (event) => {
    feed.value = { state: "stale", why: JSON.parse(event.data).why, since: Date.now() };
  });
  source.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
}

/** @param {{runs: Change[], gone: string[], new: number, now: number}} message */
function changed(message) {
  batch(() => {
    const next = new Map(changes.value);
    for (const change of message.runs) {
      next.set(change.run, { ...change, count: (next.get(change.run)?.count ?? 0) + 1 });
    }
    changes.value = next;
    skewS.value = Date.now() / 1000 - message.now;
    if (message.runs.length > 0 || message.gone.length > 0 || message.new > 0) listed.value += 1;
    if (feed.value.state !== "live") feed.value = { state: "live", why: null, since: Date.now() };
  });
}

function lost() {
  if (feed.value.state !== "lost") feed.value = { state: "lost", why: null, since: Date.now() };
  // A browser gives up where the answer was an error, as 401 or 502 of a proxy: then it is ours to try again.
  if (source?.readyState === EventSource.CLOSED) setTimeout(again, 4000);
}

function again() {
  if (source?.readyState !== EventSource.CLOSED) return;
  const { searchParams } = new URL(heard, window.location.href);
  heard = "";
  listen(searchParams.get("project"), searchParams.getAll("run"));
}

function everything() {
  batch(() => {
    listed.value += 1;
    const next = new Map(changes.value);
    for (const [run, change] of next) next.set(run, { ...change, count: change.count + 1 });
    changes.value = next;
  });
}

/** How often these runs have changed: an effect that reads it runs again when one does. @param {readonly string[]} runs */
export const version = (runs) => runs.reduce((sum, run) => sum + (changes.value.get(run)?.count ?? 0), 0);
