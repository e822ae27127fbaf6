// The wall of charts: a section a prefix, a card a metric, found by typing.

import { html } from "../vendor/html.js";
import { choose, place } from "../location.js";
import { many } from "../format.js";
import { Empty } from "../parts/states.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { Key } from "../parts/labels.js";
import { NEAR, SeriesCard } from "./card.js";

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
  const cards = (/** @type {string[]} */ members) => html`<${Cards} keys=${members} card=${card} />`;
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

/** Cards that are mounted at once, without waiting to be seen: those of a first window. */
const EAGER = 6;

/**
 * Cards of metrics: one is mounted when it first comes near to the window, until then its frame stands for it. Of
 * thousands of metrics each letter that is typed would draw all cards otherwise.
 * @param {{keys: string[], card: (key: string) => Record<string, unknown>}} props
 */
function Cards({ keys, card }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [seen, setSeen] = useState(() => new Set(keys.slice(0, EAGER)));
  useEffect(() => {
    const views = new IntersectionObserver(
      (entries) => {
        const near = entries
          .filter((each) => each.isIntersecting)
          .map(({ target }) => target.getAttribute("data-key") ?? "");
        if (near.length > 0) setSeen((before) => new Set([...before, ...near]));
      },
      { rootMargin: NEAR },
    );
    for (const each of box.current?.querySelectorAll(":scope > .frame") ?? []) views.observe(each);
    return () => views.disconnect();
  }, [keys.join("\n")]);
  return html`<div class="cards" ref=${box}>
    ${keys.map((key) =>
      seen.has(key)
        ? html`<${SeriesCard} key=${key} name=${key} ...${card(key)} />`
        : html`<figure key=${key} class="card frame" data-key=${key}>
            <figcaption><${Key} name=${key} /></figcaption>
            <div class="blank"></div>
          </figure>`,
    )}
  </div>`;
}
