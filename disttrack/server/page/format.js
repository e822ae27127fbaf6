// Numbers, times and states as the page prints them: short here, whole on hover (see `exact`).

/** What is printed where there is no value. */
export const NOTHING = "–";

const UNITS = ["", "k", "M", "G", "T", "P"];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * A number in at most `digits` significant digits: 12.4k, 0.000312, 1.998.
 * @param {unknown} value @param {number} [digits] @returns {string}
 */
export function short(value, digits = 4) {
  if (typeof value !== "number") return value === null || value === undefined ? NOTHING : String(value);
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if ((size !== 0 && size < 1e-4) || size >= 1e18) {
    return value
      .toExponential(Math.max(digits - 2, 0))
      .replace(/\.0+e|(\.\d*?)0+e/, "$1e")
      .replace("e+", "e");
  }
  if (size >= 10_000) {
    let unit = 0;
    let rest = size;
    while (rest >= 999.5 && unit < UNITS.length - 1) {
      rest /= 1000;
      unit += 1;
    }
    return `${value < 0 ? "-" : ""}${trimmed(rest, Math.min(digits, 3))}${UNITS[unit]}`;
  }
  return trimmed(value, digits);
}

/** @param {number} value @param {number} digits */
function trimmed(value, digits) {
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(digits)));
}

/** A whole number with a thin space between thousands. @param {number} value */
export const count = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");

/**
 * The value itself, for a tooltip and the clipboard.
 * @param {unknown} value @returns {string}
 */
export function exact(value) {
  if (value === null || value === undefined) return NOTHING;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Seconds as 340 ms, 4.2 s, 3m12s, 5h04m, 3d02h. @param {number | null | undefined} seconds @returns {string} */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NOTHING;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${trimmed(seconds, 2)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${padded(seconds % 60)}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${padded((seconds % 3600) / 60)}m`;
  return `${Math.floor(seconds / 86_400)}d${padded((seconds % 86_400) / 3600)}h`;
}

/** @param {number} value */
const padded = (value) => String(Math.floor(value)).padStart(2, "0");

/** How long ago, in one unit: now, 42 s ago, 5 min ago. @param {number | null | undefined} seconds */
export function ago(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

/** A Unix time in seconds by this browser's clock: 2026-11-01 13:30:05. @param {number | null | undefined} seconds */
export function moment(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  const at = new Date(seconds * 1000);
  const day = `${at.getFullYear()}-${padded(at.getMonth() + 1)}-${padded(at.getDate())}`;
  return `${day} ${clock(seconds)}`;
}

/** The time of day: 13:30:05. @param {number} seconds */
export function clock(seconds) {
  const at = new Date(seconds * 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(padded).join(":");
}

/** @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return NOTHING;
  let unit = 0;
  let rest = bytes;
  while (Math.abs(rest) >= 1024 && unit < BYTES.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${trimmed(rest, 3)} ${BYTES[unit]}`;
}

/** The unit in which an axis up to `greatest` is read, and how many of the given one make it. @param {string | null} unit @param {number} greatest */
export function scaled(unit, greatest) {
  if (unit !== "B" && unit !== "B/s") return { per: 1, unit: unit ?? "" };
  const power = greatest < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(greatest) / 10));
  return { per: 1024 ** power, unit: BYTES[power] + unit.slice(1) };
}

/** A value with its unit. @param {number} value @param {string | null | undefined} unit @param {number} [digits] */
export function withUnit(value, unit, digits = 4) {
  if (unit === "B" || unit === "B/s") return size(value) + unit.slice(1);
  return unit === null || unit === undefined || unit === "" ? short(value, digits) : `${short(value, digits)} ${unit}`;
}

/** A ratio to its median as a signed share: 1.31 → +31 %. @param {number | null | undefined} ratio */
export function skew(ratio) {
  if (ratio === null || ratio === undefined || Number.isNaN(ratio)) return NOTHING;
  const percent = (ratio - 1) * 100;
  return `${percent >= 0 ? "+" : "−"}${trimmed(Math.abs(percent), Math.abs(percent) < 10 ? 2 : 3)} %`;
}

/** Ranks as ranges: [0, 1, 2, 5] → "0–2, 5". @param {number[]} ranks */
export function ranges(ranks) {
  const sorted = [...ranks].sort((a, b) => a - b);
  const found = [];
  for (let first = 0; first < sorted.length;) {
    let last = first;
    while (last + 1 < sorted.length && sorted[last + 1] === sorted[last] + 1) last += 1;
    found.push(last === first ? `${sorted[first]}` : `${sorted[first]}–${sorted[last]}`);
    first = last + 1;
  }
  return found.join(", ");
}

/** The last part of a key, and the path before it: optimizer.lr → ["optimizer.", "lr"]. @param {string} key */
export function leaf(key) {
  const at = Math.max(key.lastIndexOf("."), key.lastIndexOf("/")) + 1;
  return [key.slice(0, at), key.slice(at)];
}

/** "1 rank", "8 ranks". @param {number} number @param {string} noun */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Text whose control characters can be seen, and turn nothing around: 7 as ␇, those of direction by their number. @param {string} text */
export const visible = (text) =>
  text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (each) => String.fromCharCode(0x2400 + each.charCodeAt(0)))
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, (each) => `⟨U+${each.charCodeAt(0).toString(16).toUpperCase()}⟩`);

/** A name that can be seen and clicked: the id, where the name is nothing but blanks. @param {string} name @param {string} id */
export const called = (name, id) => (/^[\s\u200b-\u200f\u2060\ufeff]*$/.test(name) ? id : visible(name));
