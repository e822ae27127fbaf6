// Dark or light: what the system says, until the user says otherwise.

import { computed, effect, signal } from "./vendor/signals.js";

/** @typedef {"system" | "light" | "dark"} Theme */

const KEY = "disttrack.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(system.matches);
system.addEventListener("change", () => (systemIsDark.value = system.matches));

/** @type {import("./vendor/signals.js").Signal<Theme>} */
export const theme = signal(stored());

/** Whether the page is dark now; canvases that read it are drawn again when it changes. */
export const dark = computed(() => {
  const isDark = theme.value === "dark" || (theme.value === "system" && systemIsDark.value);
  // Here and not in an effect: what is drawn next reads CSS variables, which must be those of the new theme.
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  return isDark;
});

export function nextTheme() {
  theme.value = dark.value ? "light" : "dark";
}

effect(() => {
  if (theme.value !== "system") remember(theme.value);
  return void dark.value;
});

/** @returns {Theme} */
function stored() {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system"; // storage is off in this browser: the theme is not remembered
  }
}

/** @param {string} value */
function remember(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // As above.
  }
}
