// Compare: not built yet.
import { html } from "../vendor/html.js";
/** @param {{project: string}} props */
export const Compare = ({ project }) => html`<p>${project}</p>`;
