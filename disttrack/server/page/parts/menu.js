// A button that opens a panel below it: lists to choose from, settings of a view.

import { html } from "../vendor/html.js";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/hooks.js";

/** Between a panel and the sides of the window, px. */
const MARGIN = 4;

/** Moves a panel to where all of it can be seen, from where its style put it. @param {HTMLElement} panel */
function fit(panel) {
  panel.style.translate = "none";
  const { left, right } = panel.getBoundingClientRect();
  const over = Math.max(right + MARGIN - document.documentElement.clientWidth, 0);
  const moved = Math.max(MARGIN - left, -over);
  panel.style.translate = moved === 0 ? "none" : `${moved}px`;
}

/**
 * @param {{label: unknown, title?: string, kind?: string, right?: boolean, children: unknown | ((close: () => void) => unknown)}} props
 */
export function Menu({ label, title, kind = "", right = false, children }) {
  const [open, setOpen] = useState(false);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!open) return undefined;
    const away = (/** @type {Event} */ event) => {
      if (event.target instanceof Node && !box.current?.contains(event.target)) setOpen(false);
    };
    addEventListener("pointerdown", away);
    const first = box.current?.querySelector(".panel input, .panel button, .panel select");
    if (first instanceof HTMLElement) first.focus();
    return () => removeEventListener("pointerdown", away);
  }, [open]);
  useLayoutEffect(() => {
    const panel = box.current?.querySelector(".panel");
    if (!(panel instanceof HTMLElement)) return undefined;
    const sizes = new ResizeObserver(() => fit(panel)); // also as typing makes its list narrower
    sizes.observe(panel);
    return () => sizes.disconnect();
  }, [open]);
  const close = () => {
    setOpen(false);
    box.current?.querySelector("button")?.focus();
  };
  const escaped = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !open) return;
    event.stopPropagation();
    event.preventDefault();
    close();
  };
  return html`<span class="menu" ref=${box} onKeyDown=${escaped}>
    <button type="button" class=${kind} title=${title} aria-expanded=${open} onClick=${() => setOpen(!open)}>
      ${label}
    </button>
    ${open && html`<div class=${right ? "panel right" : "panel"}>${typeof children === "function" ? children(close) : children}</div>`}
  </span>`;
}

/**
 * Names to tick, found by typing.
 * @param {{label: string, names: string[], ticked: string[], onChange: (ticked: string[]) => void, hint?: (name: string) => unknown}} props
 */
export function Ticks({ label, names, ticked, onChange, hint }) {
  const [text, setText] = useState("");
  const found = names.filter((name) => name.toLowerCase().includes(text.toLowerCase()));
  const toggle = (/** @type {string} */ name) =>
    onChange(ticked.includes(name) ? ticked.filter((each) => each !== name) : [...ticked, name]);
  return html`<div class="ticks">
    <input
      type="search"
      placeholder="Find"
      aria-label=${`Find in ${label}`}
      value=${text}
      onInput=${(/** @type {Event} */ event) => setText(/** @type {HTMLInputElement} */ (event.target).value)}
    />
    <ul aria-label=${label}>
      ${found.slice(0, 200).map(
        (name) =>
          html`<li key=${name}>
            <label
              ><input type="checkbox" checked=${ticked.includes(name)} onChange=${() => toggle(name)} /> ${name}</label
            >${hint?.(name)}
          </li>`,
      )}
      ${found.length === 0 && html`<li class="quiet">Nothing is called so.</li>`}
      ${found.length > 200 && html`<li class="quiet">${found.length - 200} more: type to find them.</li>`}
    </ul>
  </div>`;
}

/**
 * One of a few, as buttons side by side.
 * @param {{label: string, options: [value: string, text: string, title?: string][], value: string, onChange: (value: string) => void}} props
 */
export const OneOf = ({ label, options, value, onChange }) =>
  html`<span class="one-of" role="group" aria-label=${label}>
    ${options.map(
      ([each, text, title]) =>
        html`<button
          type="button"
          key=${each}
          title=${title}
          aria-pressed=${each === value}
          onClick=${() => onChange(each)}
        >
          ${text}
        </button>`,
    )}
  </span>`;
