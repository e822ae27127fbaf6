// What a view shows of the server: fetched when what it depends on changes, old data kept until new is there.

import { useEffect, useRef, useState } from "./vendor/hooks.js";

/**
 * @template T
 * @typedef {{data: T | null, error: Error | null, loading: boolean, retry: () => void}} Resource
 */

/** Changes that come faster than this are taken together, so that one live run costs few requests. */
const LIVE_MS = 300;

/**
 * Fetches, and again when `key` changes (at once, and an older request is given up) or `version` does (after the
 * request under way, and not more often than every LIVE_MS).
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {string | null} key what is asked for; null: nothing yet
 * @param {number} [version] of what is asked for
 * @returns {Resource<T>}
 */
export function useResource(load, key, version = 0) {
  const [state, setState] = useState(
    /** @type {{data: T | null, error: Error | null, of: string | null}} */ ({ data: null, error: null, of: null }),
  );
  const [tries, setTries] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  const seen = useRef(
    /** @type {{key: string | null, version: number, at: number, busy: boolean}} */ ({
      key: null,
      version: -1,
      at: 0,
      busy: false,
    }),
  );
  const wanted = useRef(version);
  wanted.current = version;
  const changed = useRef(/** @type {() => void} */ (() => undefined));

  useEffect(() => {
    if (key === null) return undefined;
    const abort = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const fetchNow = async () => {
      seen.current = { key, version: wanted.current, at: performance.now(), busy: true };
      try {
        const data = await latest.current(abort.signal);
        if (!abort.signal.aborted) setState({ data, error: null, of: key });
      } catch (error) {
        if (abort.signal.aborted) return;
        setState((before) => ({ data: before.data, error: /** @type {Error} */ (error), of: key }));
      } finally {
        if (!abort.signal.aborted) {
          seen.current.busy = false;
          if (seen.current.version !== wanted.current) later();
        }
      }
    };
    const later = () => {
      clearTimeout(timer);
      timer = setTimeout(fetchNow, Math.max(0, seen.current.at + LIVE_MS - performance.now()));
    };
    changed.current = () => {
      if (!seen.current.busy && seen.current.version !== wanted.current) later();
    };
    void fetchNow();
    return () => {
      abort.abort();
      clearTimeout(timer);
      changed.current = () => undefined;
    };
  }, [key, tries]);
  useEffect(() => changed.current(), [version]);

  return {
    data: state.data,
    error: state.error,
    loading: key !== null && state.of !== key,
    retry: () => setTries(tries + 1),
  };
}

/** Whether `waiting` has lasted long enough for a skeleton: what is fast should not flicker. @param {boolean} waiting */
export function useSlow(waiting) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    if (!waiting) {
      setSlow(false);
      return undefined;
    }
    const timer = setTimeout(() => setSlow(true), 150);
    return () => clearTimeout(timer);
  }, [waiting]);
  return slow;
}
