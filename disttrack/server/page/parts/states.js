// What stands where there is nothing to show (yet), and why.

import { html } from "../vendor/html.js";
import { Refused } from "../api.js";
import { copy } from "../notices.js";
import { useSlow } from "../resource.js";

/** @param {{text: string, children?: unknown}} props */
export const Empty = ({ text, children }) =>
  html`<div class="empty" role="status">
    <p>${text}</p>
    ${children}
  </div>`;

/** A grey shape of what is coming; only where it takes long. @param {{rows?: number}} props */
export function Loading({ rows = 3 }) {
  const slow = useSlow(true);
  if (!slow) return null;
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: rows }, () => html`<span></span>`)}
  </div>`;
}

/** What went wrong, in the server's words. @param {{error: Error, retry?: () => void, what?: string}} props */
export function Failed({ error, retry, what }) {
  const title = what === undefined ? "This cannot be shown." : `${what} cannot be shown.`;
  const details = `${error.name} ${error instanceof Refused ? `${error.status} ${error.kind}` : ""}: ${error.message}\n${window.location.href}`;
  return html`<div class="failed" role="alert">
    <p><strong>${title}</strong> ${error.message}</p>
    <p>
      ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
      <button type="button" onClick=${() => copy(details, "Details")}>Copy details</button>
    </p>
  </div>`;
}

/**
 * The resource's data drawn, or what stands in for it. Data of an earlier question stays, dimmed; where only a part of
 * what is drawn is of this resource, that part does (dims: false).
 * @template T
 * @param {{of: import("../resource.js").Resource<T>, what?: string, rows?: number, dims?: boolean, children: (data: T) => unknown}} props
 */
export function Shown({ of, what, rows, dims = true, children }) {
  if (of.error !== null && of.data === null)
    return html`<${Failed} error=${of.error} retry=${of.retry} what=${what} />`;
  if (of.data === null) return html`<${Loading} rows=${rows} />`;
  return html`<div class=${dims && of.loading ? "dimmed" : ""}>
    ${of.error !== null && html`<${Failed} error=${of.error} retry=${of.retry} what=${what} />`} ${children(of.data)}
  </div>`;
}
