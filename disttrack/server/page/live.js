// The live feed: what changed, as the server tells it, as signals that views read to fetch again.

import { batch, signal } from "./vendor/signals.js";
import { Refused, get, locked, url } from "./api.js";

/** @typedef {{run: string, state: string, last_step: number | null, rows: number, ranks_alive: number, at: number, lines: boolean, about: boolean}} Change */

/**
 * The state of the feed. since: when it was lost, in ms; why: what the server said, or null. locked: the server, which
 * was started again, does not know this browser.
 * @type {import("./vendor/signals.js").Signal<{state: "connecting" | "live" | "lost" | "locked" | "stale", why: string | null, since: number}>}
 */
export const feed = signal({ state: "connecting", why: null, since: Date.now() });

/** Counts what happened to the list of runs. */
export const listed = signal(0);

/** Counts the times after which nothing that is shown can be relied on: all of it is fetched again. */
export const epoch = signal(0);

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
  source.addEventListener("error", () => void lost());
  source.addEventListener("hello", (event) => {
    const { now, instance: server } = JSON.parse(event.data);
    skewS.value = Date.now() / 1000 - now;
    if (instance !== null && instance !== server) everything();
    instance = server;
  });
  source.addEventListener("reset", everything);
  source.addEventListener("stale", (event) => away("stale", JSON.parse(event.data).why));
  source.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
}

/** @param {{runs: Change[], gone: string[], new: number, now: number}} message */
function changed(message) {
  batch(() => {
    const next = new Map(changes.value);
    for (const change of message.runs) {
      next.set(change.run, { ...change, count: (next.get(change.run)?.count ?? 0) + 1 });
    }
    for (const run of message.gone) {
      const known = next.get(run);
      next.set(run, { ...GONE, ...known, run, state: "deleted", count: (known?.count ?? 0) + 1 });
    }
    changes.value = next;
    skewS.value = Date.now() / 1000 - message.now;
    if (message.runs.length > 0 || message.gone.length > 0 || message.new > 0) listed.value += 1;
    if (feed.value.state === "stale") everything(); // what was asked for meanwhile was refused
    if (feed.value.state !== "live") feed.value = { state: "live", why: null, since: Date.now() };
  });
}

const GONE = { last_step: null, rows: 0, ranks_alive: 0, at: 0, lines: false, about: true };

const RETRY_MS = 3000;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let retrying;

/** @param {"lost" | "locked" | "stale"} state @param {string | null} why */
function away(state, why) {
  const since = feed.value.state === "live" || feed.value.state === "connecting" ? Date.now() : feed.value.since;
  feed.value = { state, why, since };
}

async function lost() {
  away(feed.value.state === "locked" ? "locked" : "lost", null);
  // A browser gives up where the answer was an error, as 401 or 502 of a proxy, and does not say which: then we ask.
  if (source?.readyState !== EventSource.CLOSED) return;
  const why = await get("api/about").then(
    () => null,
    (error) => (error instanceof Refused && error.status > 0 ? error.message : null),
  );
  if (source?.readyState !== EventSource.CLOSED) return;
  away(locked.value ? "locked" : "lost", why);
  clearTimeout(retrying);
  retrying = setTimeout(again, RETRY_MS);
}

/** Opens the stream anew, unless it is open. */
export function again() {
  clearTimeout(retrying);
  if (heard === "" || source?.readyState === EventSource.OPEN) return;
  const { searchParams } = new URL(heard, window.location.href);
  heard = "";
  listen(searchParams.get("project"), searchParams.getAll("run"));
}

// Who comes back to this tab, maybe from the one that the printed line opened, should not wait.
addEventListener("visibilitychange", () => document.visibilityState === "visible" && again());

function everything() {
  batch(() => {
    listed.value += 1;
    epoch.value += 1;
  });
}

/** How often these runs have changed: an effect that reads it runs again when one does. @param {readonly string[]} runs */
export const version = (runs) => runs.reduce((sum, run) => sum + (changes.value.get(run)?.count ?? 0), epoch.value);
