// Text that becomes a field: a double click or "e", Enter keeps it, Esc leaves it as it was.

import { html } from "../vendor/html.js";
import { Icon } from "../parts/icons.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";

/**
 * @param {object} props
 * @param {string} props.value
 * @param {string} props.label what it is, for screen readers
 * @param {boolean} props.editable
 * @param {boolean} [props.editing] from outside, by a key
 * @param {boolean} [props.area] several lines
 * @param {() => void} [props.onEdit]
 * @param {() => void} [props.onDone]
 * @param {(value: string) => void} props.onSave
 * @param {unknown} [props.children] as it stands there; default the value
 */
export function Editable({ value, label, editable, editing = false, area = false, onEdit, onDone, onSave, children }) {
  const [open, setOpen] = useState(false);
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const shown = (open || editing) && editable;
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const byKey = useRef(false);
  useEffect(() => {
    if (shown) field.current?.select();
    else if (byKey.current) button.current?.focus(); // who ended it by a key has no focus otherwise
    byKey.current = false;
  }, [shown]);
  const end = (/** @type {boolean} */ keep) => {
    const text = field.current?.value.trim() ?? value;
    setOpen(false);
    onDone?.();
    if (keep && text !== value) onSave(text);
  };
  if (!shown) {
    const begin = () => {
      setOpen(true);
      onEdit?.();
    };
    return html`<span class="editable" onDblClick=${editable ? begin : undefined}
      >${children ?? value}${editable && html`<button type="button" class="pen" ref=${button} aria-label=${`Edit ${label}`} title=${`Edit ${label}`} onClick=${begin}><${Icon} name="pen" /></button>`}</span
    >`;
  }
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    const keeps = event.key === "Enter" && (!area || event.ctrlKey);
    if (!keeps && event.key !== "Escape") return;
    byKey.current = true;
    end(keeps);
    event.preventDefault();
    event.stopPropagation();
  };
  const shared = { ref: field, class: "field", "aria-label": label, onKeyDown: keyed, onBlur: () => end(true) };
  return area ? html`<textarea ...${shared} rows="4">${value}</textarea>` : html`<input ...${shared} value=${value} />`;
}
