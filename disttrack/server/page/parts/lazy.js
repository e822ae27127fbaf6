// A view whose module is fetched when it is first shown: who opens one view does not wait for the code of all.

import { html } from "../vendor/html.js";
import { useEffect, useState } from "../vendor/hooks.js";
import { Failed, Loading } from "./states.js";

/** @typedef {(props: any) => unknown} Component */

/**
 * A component that stands for one that `load` fetches.
 * @param {() => Promise<Component>} load @returns {Component}
 */
export function lazy(load) {
  /** @type {Component | null} */
  let there = null;
  return function Lazy(props) {
    const [, arrived] = useState(0);
    const [error, setError] = useState(/** @type {Error | null} */ (null));
    useEffect(() => {
      if (there !== null) return;
      load().then((component) => {
        there = component;
        arrived(1);
      }, setError);
    }, []);
    if (there !== null) return html`<${there} ...${props} />`;
    // A browser does not ask again for a module that it could not have.
    if (error !== null)
      return html`<${Failed} error=${error} retry=${() => window.location.reload()} what="This view" />`;
    return html`<${Loading} rows=${6} />`;
  };
}
