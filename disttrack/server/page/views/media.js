// Media: not built yet.

import { html } from "../vendor/html.js";

/** @param {{data: import("./run.js").RunOf}} props */
export const Media = ({ data }) => html`<p>${data.name}</p>`;
