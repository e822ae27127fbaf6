// Colours of runs and ranks, and the scales of heat-maps; none is the only sign of what it says.

import { dark } from "./theme.js";

// Okabe and Ito's eight, each moved until it has a contrast of 3:1 on its background.
const LIGHT = ["#0072b2", "#d55e00", "#008f68", "#b07700", "#2d8fc4", "#b5578a", "#857600", "#6b7280"];
const DARK = ["#4ba3e3", "#ff7a33", "#2fc79a", "#f0b429", "#8ad4ff", "#e08dbb", "#e3d64a", "#a0a8b4"];

/** Dashes are the second channel: the second eight lines differ from the first by them. */
const DASHES = [undefined, [6, 3], [2, 2], [8, 3, 2, 3]];

/** @typedef {{colour: string, dash: number[] | undefined}} Stroke */

/** How the n-th of the lines in view is drawn. @param {number} place @returns {Stroke} */
export function stroke(place) {
  const colours = dark.value ? DARK : LIGHT;
  return { colour: colours[place % colours.length], dash: DASHES[Math.floor(place / colours.length) % DASHES.length] };
}

/** Colours of one hue: of few lines, no two are of these. Blue and sky; vermillion and orange; orange and yellow. */
const NEAR = [[4], [3], [], [1, 6], [0], [], [3], []];

/**
 * A place in the palette for each run in view: by its id, so that it keeps its colour between views, and where two
 * would be alike the next free one.
 * @param {string[]} ids @returns {Map<string, number>}
 */
export function places(ids) {
  /** @type {Set<number>} */
  const taken = new Set();
  /** @type {Map<string, number>} */
  const found = new Map();
  const size = LIGHT.length * DASHES.length;
  for (const id of ids) {
    const from = hash(id) % LIGHT.length;
    const free = Array.from({ length: size }, (_, at) => (at < LIGHT.length ? (from + at) % LIGHT.length : at)).filter(
      (place) => !taken.has(place),
    );
    const clear = free.find((place) => place < LIGHT.length && !NEAR[place].some((each) => taken.has(each)));
    const place = clear ?? free[0] ?? from;
    taken.add(place);
    found.set(id, place);
  }
  return found;
}

/** FNV-1a. @param {string} text */
function hash(text) {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}

// Cividis (Nuñez, Anderton, Renslow 2018), every 32nd of its 256 colours: even for all kinds of colour vision.
const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"];
// Blue, the background, orange: below, at and above the median.
const DIVERGING_LIGHT = ["#0b4f8a", "#5a9bd0", "#f4f5f7", "#f0a35c", "#b34a00"];
const DIVERGING_DARK = ["#6cb8ff", "#2f6ea8", "#252a33", "#b5651d", "#ffa04d"];

/** @typedef {(share: number) => number} Scale a share of 0 to 1 → a colour as canvases store it (0xAABBGGRR) */

/** From little to much. @returns {Scale} */
export const sequential = () => scale(CIVIDIS);

/** From below the median (0) over it (0.5) to above (1). @returns {Scale} */
export const diverging = () => scale(dark.value ? DIVERGING_DARK : DIVERGING_LIGHT);

/** @param {string[]} stops @returns {Scale} */
function scale(stops) {
  const table = new Uint32Array(256);
  for (let at = 0; at < 256; at += 1) {
    const place = (at / 255) * (stops.length - 1);
    const [low, high] = [channels(stops[Math.floor(place)]), channels(stops[Math.ceil(place)])];
    const [r, g, b] = low.map((value, channel) => Math.round(value + (high[channel] - value) * (place % 1)));
    table[at] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return (share) => table[Math.max(0, Math.min(255, Math.round(share * 255)))];
}

/** @param {string} colour */
const channels = (colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));

/** The stops of a scale as a CSS gradient, for its legend. @param {"sequential" | "diverging"} kind */
export function gradient(kind) {
  const stops = kind === "sequential" ? CIVIDIS : dark.value ? DIVERGING_DARK : DIVERGING_LIGHT;
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** The value of a CSS variable of the page, for canvases. @param {string} name */
export const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
