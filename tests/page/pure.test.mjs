// What of the page needs no browser: URLs, numbers, which column a pixel shows. Run by test_sources.py (node --test).

import assert from "node:assert/strict";
import test from "node:test";
import { pathToFileURL } from "node:url";

const from = (name) => import(pathToFileURL(`${process.env.PAGE}/${name}`));
const { joined, listed, read, write } = await from("url.js");
const { ago, called, duration, leaf, ranges, scaled, short, size, skew, visible, withUnit } = await from("format.js");
const { ticks, xTicks } = await from("charts/axis.js");
const { columnsOf, edgesOf, rowAt } = await from("charts/paint.js");

test("a place survives its URL, behind any path of a proxy", () => {
  for (const base of ["/", "/proxy/6017/"]) {
    for (const place of [
      { view: "project", project: "a b/ü", run: null, tab: "charts", choices: { f: "loss<1 lr:3e-4", g: "config.lr" } },
      { view: "run", project: "demo", run: "k3f9", tab: "ranks", choices: { zoom: "300~999", ranks: "0,5" } },
      { view: "run", project: "demo", run: "k%2F", tab: "charts", choices: {} },
      { view: "compare", project: "demo", run: null, tab: "charts", choices: { runs: "a,b", base: "b" } },
    ]) {
      const url = new URL(write(place, base), "http://127.0.0.1:6017");
      assert.deepEqual(read(url, base), { place, unknown: [] });
    }
  }
});

test("what people read in a URL stays readable, and unknown names are told", () => {
  const place = { view: "project", project: "demo", run: null, tab: "charts", choices: { f: "loss<1 name:a*", s: "-summary.loss" } };
  assert.equal(write(place, "/"), "/p/demo?f=loss<1+name:a*&s=-summary.loss");
  assert.deepEqual(read(new URL("http://h/p/demo?nonsense=1&x=wall"), "/").unknown, ["nonsense"]);
});

test("lists keep commas and percent signs of their members", () => {
  const list = ["a,b", "100%", "%2C", "plain"];
  assert.deepEqual(listed(joined(list)), list);
  assert.deepEqual(listed(""), []);
});

test("what turns text around or cannot be seen is shown, and a name of blanks is no name", () => {
  assert.equal(visible("a\u0007b\u0000\u202ec\u2066d\te"), "a␇b␀⟨U+202E⟩c⟨U+2066⟩d\te");
  assert.deepEqual([called("fox", "k1"), called(" \u200b\ufeff", "k1"), called("", "k1")], ["fox", "k1", "k1"]);
  assert.deepEqual([1e308, -2.5e200, 1e-320, 1.5e18, 2e-5].map((value) => short(value)), ["1e308", "-2.5e200", "1e-320", "1.5e18", "2e-5"]);
});

test("numbers are short, and say what they are", () => {
  const said = [0, 1, -1, 0.1 + 0.2, 1234, 12_345, -123_456_789, 3.14159e-7, 1e21, NaN, -Infinity, null, "text"].map((value) => short(value));
  assert.deepEqual(said, ["0", "1", "-1", "0.3", "1234", "12.3k", "-123M", "3.14e-7", "1e21", "NaN", "-∞", "–", "text"]);
  assert.deepEqual([0.34, 4.2, 42, 192, 18_240, 262_800].map(duration), ["340 ms", "4.2 s", "42 s", "3m12s", "5h04m", "3d01h"]);
  assert.deepEqual([1.31, 0.97, null].map(skew), ["+31 %", "−3 %", "–"]);
  assert.deepEqual([0, 42, 300].map(ago), ["now", "42 s ago", "5 min ago"]);
  assert.deepEqual([512, 1536, 70e9].map(size), ["512 B", "1.5 KiB", "65.2 GiB"]);
  assert.equal(ranges([5, 0, 1, 2, 7, 8]), "0–2, 5, 7–8");
  assert.deepEqual(leaf("optimizer.lr"), ["optimizer.", "lr"]);
});

test("a pixel shows the column it lies in, and none where nothing was logged", () => {
  assert.deepEqual([...columnsOf([0, 1, 2, 3], -0.5, 3.5, 8)], [0, 0, 1, 1, 2, 2, 3, 3]);
  assert.ok(columnsOf([0, 1, 9, 10], 0, 10, 11).includes(-1));
  assert.deepEqual([...columnsOf([], 0, 1, 3)], [-1, -1, -1]);
});

test("ticks are round in the unit of their axis, and none says the same as the one before", () => {
  assert.deepEqual(ticks(0, 1000, 5), [0, 200, 400, 600, 800, 1000]);
  assert.deepEqual(ticks(0.2, 3.1, 9, "step"), [1, 2, 3]); // no half steps
  assert.deepEqual(ticks(1_800_000_000.2, 1_800_000_003, 9, "wall"), [1, 2, 3].map((second) => 1_800_000_000 + second));
  assert.deepEqual(xTicks(ticks(0, 3700, 5, "relative"), "relative"), ["0 ms", "15m00s", "30m00s", "45m00s", "1h00m"]);
  const minutes = xTicks(ticks(1_800_000_000, 1_800_000_600, 5, "wall"), "wall");
  assert.ok(minutes.every((text) => /^\d\d:\d\d$/.test(text)) && new Set(minutes).size === minutes.length);
});

test("bytes are read in the unit of the largest, other units as they are", () => {
  assert.deepEqual([scaled("B", 70e9), scaled("B/s", 2e6)], [{ per: 1024 ** 3, unit: "GiB" }, { per: 1024 ** 2, unit: "MiB/s" }]);
  assert.deepEqual([scaled("B", 0), scaled("%", 1e9), scaled(null, 5)], [{ per: 1, unit: "B" }, { per: 1, unit: "%" }, { per: 1, unit: "" }]);
  assert.deepEqual([withUnit(70e9, "B"), withUnit(1536, "B/s"), withUnit(62.5, "°C"), withUnit(3, null)], ["65.2 GiB", "1.5 KiB/s", "62.5 °C", "3"]);
});

test("rows that must be seen are high among hundreds, and the whole stays as high as it is", () => {
  assert.deepEqual([...edgesOf(4, 80, new Set([1]))], [0, 20, 40, 60, 80]); // high enough as they are
  const edges = edgesOf(256, 307, new Set([200]));
  assert.ok(Math.abs(edges[201] - edges[200] - 8) < 1e-9 && Math.abs(edges[256] - 307) < 1e-9);
  assert.deepEqual([rowAt(edges, 0), rowAt(edges, edges[200] + 4), rowAt(edges, 306.9), rowAt(edges, 9999)], [0, 200, 255, 255]);
  const dead = edgesOf(256, 307, new Set(Array.from({ length: 200 }, (_, row) => row)));
  assert.ok(Math.abs(dead[256] - 307) < 1e-9 && dead[256] > dead[255]);
});
