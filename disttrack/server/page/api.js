// Asks the server (docs/api.md): JSON, numbers in bulk, and changes.

import { signal } from "./vendor/signals.js";
import { address } from "./location.js";

/** What the server refused, in its words. */
export class Refused extends Error {
  /** @param {number} status 0: nobody answered @param {string} kind @param {string} message @param {number | null} at */
  constructor(status, kind, message, at = null) {
    super(message);
    this.status = status;
    this.kind = kind;
    this.at = at;
  }
}

/** Whether the server has asked who we are, and not answered since: the page then says where its link is. */
export const locked = signal(false);

/** @typedef {Record<string, string | number | boolean | null | undefined | readonly string[]>} Query */

/** @param {string} path @param {Query} [query] */
export function url(path, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) for (const each of value) words.append(name, each);
    else if (value !== null && value !== undefined && value !== "") words.set(name, String(value));
  }
  const text = words.toString();
  return address(path) + (text === "" ? "" : `?${text}`);
}

/**
 * Asks for JSON.
 * @template T @param {string} path @param {Query} [query] @param {AbortSignal} [signal] @returns {Promise<T>}
 */
export async function get(path, query, signal) {
  return (await ask(url(path, query), { signal })).json();
}

/**
 * Changes something.
 * @template T @param {string} path @param {object} body @returns {Promise<T>}
 */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(url(path), { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** @typedef {{at: number, n: number, type: "f4" | "f8" | "i4" | "u1", base?: number}} Reference */
/** @typedef {Float32Array | Float64Array | Int32Array | Uint8Array} Numbers */

const TYPES = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };

/**
 * Asks for numbers in bulk.
 * @template H
 * @param {string} path @param {Query} [query] @param {AbortSignal} [signal]
 * @returns {Promise<{header: H, numbers: (at: Reference | null) => Numbers | null}>}
 */
export async function frame(path, query, signal) {
  return decoded(await (await ask(url(path, query), { signal })).arrayBuffer());
}

/**
 * Reads a frame. Arrays with a base become Float64Array, with it added: steps and times stay exact.
 * @template H @param {ArrayBuffer} buffer @returns {{header: H, numbers: (at: Reference | null) => Numbers | null}}
 */
export function decoded(buffer) {
  const bytes = new Uint8Array(buffer);
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "DTF1") {
    throw new Refused(0, "Frame", "The server sent something else than numbers. Load the page again: it may be newer.");
  }
  const length = new DataView(buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return {
    header,
    numbers: (reference) => {
      if (reference === null || reference === undefined) return null;
      const raw = new TYPES[reference.type](buffer, 8 + length + reference.at, reference.n);
      const base = reference.base ?? 0;
      return base === 0 ? raw : Float64Array.from(raw, (value) => value + base);
    },
  };
}

/** @param {string} at @param {RequestInit} how */
async function ask(at, how) {
  let answer;
  try {
    answer = await fetch(at, how);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(0, "Unreachable", "The server does not answer. Is `disttrack ui` still running?");
  }
  locked.value = answer.status === 401;
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => null);
  const { kind = "Error", message = `The server answered ${answer.status}.`, at: place = null } = said?.error ?? {};
  throw new Refused(answer.status, kind, message, place);
}

/** A number as the server writes it: NaN and infinities are text. @param {unknown} value @returns {unknown} */
export function plain(value) {
  return value === "NaN" ? Number.NaN : value === "Infinity" ? Infinity : value === "-Infinity" ? -Infinity : value;
}
