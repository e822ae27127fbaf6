// Below the bar, where what is shown is not what is: why, since when, and what mends it.

import { html } from "../vendor/html.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { clock } from "../format.js";
import { again, feed } from "../live.js";

/** Shorter losses are a reconnection, which nobody needs to read about. */
const SHOWN_MS = 2000;

export function Trouble() {
  const { state, why, since } = feed.value;
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    const timer = setTimeout(() => setLate(true), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [since]);
  if (state === "live" || state === "connecting" || (state === "lost" && !late)) return null;
  const verb = html`<code>disttrack ui</code>`;
  const said = {
    lost: html`<strong>The server does not answer${why === null ? "" : ` as it should: ${why}`}.</strong> ${"Where "}${verb} was
      ended, start it again: this page goes on by itself.`,
    locked: html`<strong>The server was started again, and does not know this browser.</strong> ${"Open the line that "}${verb}
      ${" printed, in any tab: this page goes on by itself."}`,
    stale: html`<strong>The runs cannot be read.</strong> ${why} This page goes on by itself.`,
  }[state];
  return html`<div class="trouble" role="alert">
    <p>${said} <span class="quiet">What is shown is of ${clock(since / 1000)}.</span></p>
    <button type="button" onClick=${again}>Try now</button>
  </div>`;
}
