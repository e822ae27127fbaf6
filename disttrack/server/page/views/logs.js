// Logs: what all ranks printed, merged by time; found by rank, stream and pattern; equal lines of many ranks as one.
// Not there yet: lines wrapped in place; marks of errors on charts' x-axes.

import { html } from "../vendor/html.js";
import { useEffect, useRef, useState } from "../vendor/hooks.js";
import { Refused, get } from "../api.js";
import { stroke } from "../colours.js";
import { clock, count, many, moment, ranges, short, size, visible } from "../format.js";
import { useKeys } from "../keys.js";
import { version } from "../live.js";
import { choose, href, listed, place } from "../location.js";
import { copy } from "../notices.js";
import { Menu, OneOf, Ticks } from "../parts/menu.js";
import { reveal, useVisible } from "../parts/rows.js";
import { Empty, Failed, Loading } from "../parts/states.js";

/**
 * @typedef {object} Line
 * @property {string} cursor @property {number} rank @property {number[]} ranks @property {number} attempt
 * @property {"stdout" | "stderr"} stream @property {number} at @property {string} text @property {number} count
 * @property {number} length characters of it in full; text has the first of them
 * @property {number} lost_bytes @property {number | null} cell @property {number | null} step
 * @property {"error" | "warning" | null} level
 */
/** @typedef {{lines: Line[], first: string | null, last: string | null, more_before: boolean, more_after: boolean, total: number, matched: number, ranks: number[]}} Answer */

const LINE_PX = 20;
/** Characters of a line in the list; a click shows more of it. */
const SEEN = 1000;
const PAGE = 500;
/** Lines kept in the page; beyond them the far end is let go and fetched again when it is scrolled to. */
const KEPT = 6000;

/** @typedef {{lines: Line[], before: boolean, after: boolean, total: number, matched: number, ranks: number[], error: Error | null, loaded: boolean}} Found */

/** Lines around what is looked at, and the means to get those before and after. @param {import("../api.js").Query} query @param {number} changed @param {boolean} follow */
function useLines(query, changed, follow) {
  const key = JSON.stringify(query);
  const [found, setFound] = useState(
    /** @type {Found} */ ({
      lines: [],
      before: false,
      after: false,
      total: 0,
      matched: 0,
      ranks: [],
      error: null,
      loaded: false,
    }),
  );
  const busy = useRef(false);
  const latest = useRef(found);
  latest.current = found;
  const current = useRef(key);
  current.current = key;
  const ask = async (/** @type {"newest" | "before" | "after"} */ side) => {
    if (busy.current && side !== "newest") return;
    busy.current = true;
    const { lines } = latest.current;
    const edge =
      side === "before" ? { before: lines[0]?.cursor } : side === "after" ? { after: lines.at(-1)?.cursor } : {};
    try {
      const answer = /** @type {Answer} */ (await get("api/logs", { ...query, limit: PAGE, ...edge }));
      if (current.current !== key) return;
      setFound((now) => {
        if (side === "newest")
          return {
            lines: answer.lines,
            before: answer.more_before,
            after: answer.more_after,
            total: answer.total,
            matched: answer.matched,
            ranks: answer.ranks,
            error: null,
            loaded: true,
          };
        const shared = { total: answer.total, matched: answer.matched, ranks: answer.ranks, error: null, loaded: true };
        if (side === "before")
          return {
            ...now,
            ...shared,
            lines: [...answer.lines, ...now.lines].slice(0, KEPT),
            before: answer.more_before,
            after: now.after || answer.lines.length + now.lines.length > KEPT,
          };
        const all = [...now.lines, ...answer.lines];
        return {
          ...now,
          ...shared,
          lines: all.slice(-KEPT),
          before: now.before || all.length > KEPT,
          after: answer.more_after,
        };
      });
    } catch (error) {
      if (current.current === key) setFound((now) => ({ ...now, error: /** @type {Error} */ (error), loaded: true }));
    } finally {
      busy.current = false;
    }
  };
  useEffect(() => void ask("newest"), [key]);
  useEffect(() => {
    if (!latest.current.loaded) return;
    if (latest.current.lines.length === 0) void ask("newest");
    else if (follow) void ask("after");
  }, [changed, follow]);
  return { found, ask };
}

/** @param {{data: import("./run.js").RunOf}} props */
export function Logs({ data }) {
  const { ranks = "", stream = "", grep = "", at = "", all = "" } = place.value.choices;
  const [follow, setFollow] = useState(data.state === "running" && at === "");
  const [open, setOpen] = useState(/** @type {string | null} */ (null));
  const fold = all === "" && data.ranks_joined > 1;
  const narrowed = [ranks, stream, grep, at].some((choice) => choice !== "");
  const query = { run: data.run, rank: ranks || null, stream, grep, at: at || null, fold: fold ? "1" : "" };
  const { found, ask } = useLines(query, version([data.run]), follow);
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const { first, last, before, after } = useVisible(box, found.lines.length, LINE_PX);
  const kept = useRef({ top: "", offset: 0 });
  const { lines } = found;

  // Lines put before those in view must not move them.
  useEffect(() => {
    const element = box.current;
    if (element === null || lines.length === 0) return;
    if (kept.current.top === "" || follow) element.scrollTop = element.scrollHeight;
    else {
      const place_ = lines.findIndex((line) => line.cursor === kept.current.top);
      if (place_ > 0 && element.scrollTop < LINE_PX * 4) element.scrollTop = place_ * LINE_PX + element.scrollTop;
    }
    kept.current.top = lines[0].cursor;
  }, [lines]);
  useEffect(() => {
    kept.current.top = "";
  }, [JSON.stringify(query)]);
  useEffect(() => {
    if (first < 20 && found.before) void ask("before");
    if (last > lines.length - 20 && found.after) void ask("after");
  }, [first, last, lines]);

  const jump = (/** @type {1 | -1} */ by, every = false) => {
    const now = open === null ? (by > 0 ? -1 : lines.length) : lines.findIndex((line) => line.cursor === open);
    for (let to = now + by; to >= 0 && to < lines.length; to += by) {
      if (lines[to].level === null && !every) continue;
      setOpen(lines[to].cursor);
      setFollow(false);
      reveal(box.current, to, LINE_PX, LINE_PX * 4);
      return;
    }
  };
  useKeys([
    { keys: "/", does: "find in the logs", run: () => field.current?.focus() },
    { keys: "n", does: "next error or warning", run: () => jump(1) },
    { keys: "p", does: "error or warning before", run: () => jump(-1) },
    { keys: "j", does: "next line", run: () => jump(1, true) },
    { keys: "k", does: "line before", run: () => jump(-1, true) },
    { keys: "f", does: "follow what is printed", run: () => setFollow(!follow) },
    { keys: "Escape", does: "close the line", run: () => open !== null && setOpen(null) },
  ]);
  const wrong = found.error instanceof Refused && found.error.status === 400 ? found.error.message : null;
  const shown = lines.find((line) => line.cursor === open);
  return html`<section class="tab logs" aria-label="Logs">
    <div class="chart-tools" role="toolbar" aria-label="Logs">
      <input
        ref=${field}
        type="search"
        class="find wide"
        value=${grep}
        placeholder="Find: regular expression"
        aria-label="Find in the logs"
        aria-invalid=${wrong !== null}
        spellcheck=${false}
        onInput=${(/** @type {Event} */ event) => typed(/** @type {HTMLInputElement} */ (event.target).value)}
      />
      <${Menu} label=${ranks === "" ? "All ranks" : `Ranks ${ranks}`} kind=${ranks === "" ? "" : "on"}>
        <${Ticks}
          label="Ranks"
          names=${(found.ranks.length > 0 ? found.ranks : data.ranks.map((rank) => rank.rank)).map(String)}
          ticked=${listed(ranks)}
          onChange=${(/** @type {string[]} */ ticked) => choose({ ranks: ticked.join(",") })}
        />
        <button type="button" onClick=${() => choose({ ranks: "" })}>All ranks</button>
      <//>
      <${OneOf}
        label="Stream"
        value=${stream}
        options=${[
          ["", "both"],
          ["stdout", "stdout"],
          ["stderr", "stderr"],
        ]}
        onChange=${(/** @type {string} */ each) => choose({ stream: each })}
      />
      ${data.ranks_joined > 1 && html`<button type="button" aria-pressed=${fold} title="Equal lines of many ranks as one, with their number" onClick=${() => choose({ all: fold ? "1" : "" })}>fold</button>`}
      <button
        type="button"
        aria-pressed=${follow}
        title="Follow what is printed (f)"
        onClick=${() => {
          setFollow(!follow);
          if (at !== "") choose({ at: "" });
        }}
      >
        follow
      </button>
      <span class="found"
        >${!found.loaded ? "" : found.matched === null || found.total === null ? "" : found.matched === found.total ? many(found.total, "line") : `${count(found.matched)} of ${many(found.total, "line")}`}</span
      >
      ${at !== "" && html`<button type="button" class="chip" onClick=${() => choose({ at: "" })}>around ${clock(Number(at))} ✕</button>`}
      ${wrong !== null && html`<p class="wrong" role="alert">${wrong}</p>`}
    </div>
    ${found.error !== null && wrong === null && html`<${Failed} error=${found.error} retry=${() => void ask("newest")} what="The log" />`}
    ${!found.loaded && html`<${Loading} rows=${8} />`}
    ${
      found.loaded &&
      lines.length === 0 &&
      found.error === null &&
      html`<${Empty}
        text=${narrowed ? "No line is like this." : "Nothing was printed, or printing is not kept (settings: console)."}
      >
        ${narrowed && html`<button type="button" onClick=${() => choose({ grep: "", ranks: "", stream: "", at: "" })}>Show all lines</button>`}<//
      >`
    }
    <div
      class="log-box"
      ref=${box}
      tabindex="0"
      role="log"
      aria-label="What ranks printed"
      aria-live="off"
      onWheel=${(/** @type {WheelEvent} */ event) => event.deltaY < 0 && setFollow(false)}
    >
      <div style=${{ height: `${before}px` }}></div>
      ${lines.slice(first, last).map((line) => html`<${LogLine} key=${line.cursor} line=${line} open=${line.cursor === open} onOpen=${() => setOpen(open === line.cursor ? null : line.cursor)} world=${data.ranks_joined} />`)}
      <div style=${{ height: `${after}px` }}></div>
    </div>
    ${shown !== undefined && html`<${Whole} line=${shown} onClose=${() => setOpen(null)} />`}
  </section>`;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let typing;
/** Typing asks a moment later. @param {string} text */
function typed(text) {
  clearTimeout(typing);
  typing = setTimeout(() => choose({ grep: text }), 250);
}

/** @param {{line: Line, open: boolean, onOpen: () => void, world: number}} props */
const LogLine = ({ line, open, onOpen, world }) =>
  html`<div class=${["line", line.level ?? "", line.stream, open ? "open" : ""].join(" ")} onClick=${onOpen}>
    <time title=${moment(line.at)}>${clock(line.at)}</time>
    <span
      class="gutter"
      style=${{ borderColor: world > 1 && line.ranks.length === 1 ? stroke(line.rank).colour : "transparent" }}
      title=${`rank ${ranges(line.ranks)}`}
      >${line.ranks.length > 1 ? `×${line.count}` : line.rank}</span
    >
    <span class="mark" aria-label=${line.level ?? undefined}
      >${line.level === "error" ? "✕" : line.level === "warning" ? "▲" : ""}</span
    >
    <span class="text"
      >${line.lost_bytes > 0 ? html`<em class="warn">${size(line.lost_bytes)} more were printed than are kept</em>` : visible(line.text.slice(0, SEEN))}</span
    >
  </div>`;

/** One line in full. @param {{line: Line, onClose: () => void}} props */
const Whole = ({ line, onClose }) =>
  html`<aside class="whole" aria-label="The chosen line">
    <p>
      <b>${moment(line.at)}</b> · rank ${ranges(line.ranks)}${line.count > 1 && ` · ${line.count} times`} · ${line.stream}${line.attempt > 0 && ` · attempt ${line.attempt}`}${line.cell !== null && ` · cell ${line.cell}`}
      ${line.step !== null && html` · <a href=${href({ tab: "charts", choices: { zoom: `${Math.max(0, line.step - 50)}~${line.step + 50}` } })}>charts at step ${short(line.step)}</a>`}
      <button type="button" onClick=${() => copy(line.text, "Line")}>Copy</button>
      <button type="button" class="bare" aria-label="Close" onClick=${onClose}>✕</button>
    </p>
    ${line.length > line.text.length && html`<p class="warn">The first ${count(line.text.length)} of ${count(line.length)} characters: disttrack tail prints all of them.</p>`}
    <pre>${visible(line.text)}</pre>
  </aside>`;
