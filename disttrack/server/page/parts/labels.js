// Small words about runs and ranks: states, names, verdicts.

import { html } from "../vendor/html.js";
import { leaf, many } from "../format.js";

/** What each state is drawn as: a shape and a tone, so that colour is not the only sign. */
const STATES = {
  running: ["●", "good"],
  pending: ["◌", "quiet"],
  finished: ["✓", "calm"],
  stopped: ["■", "quiet"],
  preempted: ["■", "warn"],
  terminated: ["■", "quiet"], // by its launcher, since a peer failed
  silent: ["◐", "warn"],
  failed: ["✕", "bad"],
  crashed: ["✕", "bad"],
  lost: ["?", "bad"],
  absent: ["·", "quiet"],
  unknown: ["?", "quiet"],
};

/** @param {string} state */
export const shape = (state) => (STATES[/** @type {keyof typeof STATES} */ (state)] ?? STATES.unknown)[0];
/** @param {string} state */
export const tone = (state) => (STATES[/** @type {keyof typeof STATES} */ (state)] ?? STATES.unknown)[1];

/** @param {{state: string, short?: boolean}} props */
export const State = ({ state, short = false }) => html`
  <span class="state ${tone(state)}" title=${state}
    ><span
      aria-hidden=${short ? undefined : "true"}
      role=${short ? "img" : undefined}
      aria-label=${short ? state : undefined}
      >${shape(state)}</span
    >${short ? null : ` ${state}`}</span
  >
`;

/** "8/8", with what is amiss. @param {{run: {world_size: number | null, ranks_joined: number, ranks_alive: number, state: string}}} props */
export function Ranks({ run }) {
  const world = run.world_size ?? run.ranks_joined;
  const gone = run.state === "running" ? run.ranks_joined - run.ranks_alive : 0;
  const absent = world - run.ranks_joined;
  const said = [
    `${run.ranks_joined} of ${many(world, "rank")} called init`,
    gone > 0 ? `${gone} of them do not run` : "",
  ];
  return html`<span class=${gone > 0 ? "ranks bad" : "ranks"} title=${said.filter(Boolean).join("; ")}
    >${run.state === "running" ? run.ranks_alive : run.ranks_joined}/${world}${gone > 0 ? " ✕" : absent > 0 ? "" : ""}</span
  >`;
}

/** A key with its path dimmed. @param {{name: string}} props */
export function Key({ name }) {
  const [path, last] = leaf(name);
  return html`<span class="key" title=${name}>${path && html`<span class="path">${path}</span>`}${last}</span>`;
}

/** The line that a lines's colour and dash are known by. @param {{stroke: import("../colours.js").Stroke}} props */
export const Swatch = ({ stroke }) => html`
  <svg class="swatch" width="18" height="10" aria-hidden="true">
    <line
      x1="1"
      x2="17"
      y1="5"
      y2="5"
      stroke=${stroke.colour}
      stroke-width="3"
      stroke-dasharray=${stroke.dash?.join(" ")}
    />
  </svg>
`;

/**
 * The sentence that says which rank is late, dead or silent, or why none can be named.
 * @param {{verdict: {kind: string, text: string}}} props
 */
export function Verdict({ verdict }) {
  const kinds = { dead: "bad", slow: "warn", synchronised: "info", even: "calm", single: "quiet", unknown: "quiet" };
  const kind = kinds[/** @type {keyof typeof kinds} */ (verdict.kind)] ?? "quiet";
  return html`<p class="verdict ${kind}">
    <span aria-hidden="true">${{ bad: "✕", warn: "▲", info: "ⓘ", calm: "✓", quiet: "·" }[kind]}</span> ${verdict.text}
  </p>`;
}

/** @param {{tags: string[]}} props */
export const Tags = ({ tags }) => html`${tags.map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`)}`;
