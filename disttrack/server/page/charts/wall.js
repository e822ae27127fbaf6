// The wall of charts: a section a prefix, a card a metric, found by typing.

import { html } from "../vendor/html.js";
import { choose, place } from "../location.js";
import { many } from "../format.js";
import { Empty } from "../parts/states.js";
import { SeriesCard } from "./card.js";

/** Metrics by what stands before their first / or .: those without one first. @param {string[]} keys @returns {[string, string[]][]} */
export function sections(keys) {
  /** @type {Map<string, string[]>} */
  const found = new Map([["", []]]);
  for (const key of keys) {
    const at = key.search(/[/.]/);
    const section = at > 0 ? key.slice(0, at) : "";
    found.set(section, [...(found.get(section) ?? []), key]);
  }
  // A prefix of one metric alone is no section.
  const rest = [...found].filter(([section, members]) => section === "" || members.length === 1);
  const parts = [...found].filter(([section, members]) => section !== "" && members.length > 1);
  const first = rest.flatMap(([, members]) => members);
  return first.length > 0 ? [["", first], ...parts] : parts;
}

/** Keys that have all these words in them; * stands for any text. @param {string[]} keys @param {string} text */
export function matching(keys, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const tests = words.map((word) => new RegExp(word.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*")));
  return keys.filter((key) => tests.every((test) => test.test(key.toLowerCase())));
}

/**
 * @param {object} props
 * @param {string[]} props.keys
 * @param {(key: string) => Record<string, unknown>} props.card what each card is given, see SeriesCard
 * @param {string[]} [props.first] keys that come first
 */
export function Wall({ keys, card, first = [] }) {
  const { q = "", card: large = "", x = "" } = place.value.choices;
  const shown = matching(keys, q).filter((key) => key !== x);
  const ordered = [...first.filter((key) => shown.includes(key)), ...shown.filter((key) => !first.includes(key))];
  if (keys.length === 0)
    return html`<${Empty} text="No numbers were logged yet: run.log({…}) draws the first chart." />`;
  if (shown.length === 0) {
    return html`<${Empty} text=${`None of ${many(keys.length, "metric")} has “${q}” in its name.`}
      ><button type="button" onClick=${() => choose({ q: "" })}>Show all</button><//
    >`;
  }
  if (large !== "" && keys.includes(large)) {
    return html`<div class="wall section">
      <div class="cards"><${SeriesCard} key=${large} name=${large} ...${card(large)} legend=${true} /></div>
    </div>`;
  }
  const parts = sections(ordered);
  const cards = (/** @type {string[]} */ members) =>
    html`<div class="cards">${members.map((key) => html`<${SeriesCard} key=${key} name=${key} ...${card(key)} />`)}</div>`;
  if (parts.length === 1) return html`<div class="wall section">${cards(parts[0][1])}</div>`;
  return html`<div class="wall">
    ${parts.map(
      ([section, members]) => html`<details key=${section} open class="section">
        <summary><h2>${section || "metrics"}</h2> <span class="quiet">${members.length}</span></summary>
        ${cards(members)}
      </details>`,
    )}
  </div>`;
}
