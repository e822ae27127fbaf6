// Which rows of a long table can be seen: the others are two spacers, so that a table of 10,000 costs as one of 40.

import { useEffect, useState } from "../vendor/hooks.js";

/** Rows drawn beyond what can be seen, so that scrolling shows no blank ones. */
const SPARE = 8;

/**
 * @param {{current: HTMLElement | null}} box what scrolls
 * @param {number} count of rows @param {number} height of one, px
 * @returns {{first: number, last: number, before: number, after: number}} rows first to last (without it), px of spacers
 */
export function useVisible(box, count, height) {
  const [view, setView] = useState({ top: 0, height: 900 });
  useEffect(() => {
    const element = /** @type {HTMLElement} */ (box.current);
    const look = () => {
      setView((before) => {
        const next = { top: Math.floor(element.scrollTop / (height * 4)) * height * 4, height: element.clientHeight };
        return next.top === before.top && next.height === before.height ? before : next;
      });
    };
    look();
    element.addEventListener("scroll", look, { passive: true });
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    return () => {
      element.removeEventListener("scroll", look);
      sizes.disconnect();
    };
  }, [height]);
  const first = Math.max(0, Math.min(count, Math.floor(view.top / height) - SPARE));
  const last = Math.min(count, Math.ceil((view.top + view.height) / height) + 4 + SPARE);
  return { first, last, before: first * height, after: (count - last) * height };
}

/** Scrolls a row into view below a head that stays. @param {HTMLElement | null} element @param {number} index @param {number} height @param {number} head */
export function reveal(element, index, height, head) {
  if (element === null) return;
  const top = index * height;
  if (top < element.scrollTop) element.scrollTop = top;
  const bottom = top + height + head;
  if (bottom > element.scrollTop + element.clientHeight) element.scrollTop = bottom - element.clientHeight;
}
