// Run: not built yet.
import { html } from "../vendor/html.js";
/** @param {{project: string, id: string}} props */
export const Run = ({ project, id }) => html`<p>${project} ${id}</p>`;
