// Axes: how far apart ticks lie, so that they are round in the unit that people read, and what they say.

import { clock, duration, moment, short } from "../format.js";

/** 1, 2 and 5 times powers of ten. @param {number} from power @param {number} to power */
const decimal = (from, to) =>
  Array.from({ length: to - from }, (_, at) => [1, 2, 5].map((each) => Number(`${each}e${from + at}`))).flat();

const SECONDS = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200],
  ...[1, 2, 7, 14, 28, 56, 112, 365].map((days) => days * 86_400),
];
/** Steps of training are whole, times have a clock's steps; a metric's are as its numbers. @type {Record<string, number[]>} */
const STEPS = {
  step: decimal(0, 18),
  wall: SECONDS,
  relative: [...decimal(-6, 0), ...SECONDS],
};

/** What may lie between two ticks of an x-axis; undefined: anything round. @param {string} kind */
export const stepsOf = (kind) => (Object.hasOwn(STEPS, kind) ? STEPS[kind] : undefined);

/** What may lie between two ticks of an axis whose unit is so many of what is drawn: GiB of bytes. @param {number} per */
export const stepsPer = (per) => decimal(-6, 12).map((each) => each * per);

/** Round places on an axis. @param {number} from @param {number} to @param {number} most @param {string} [kind] */
export function ticks(from, to, most, kind = "") {
  const rough = (to - from) / Math.max(most, 1);
  if (!(rough > 0)) return [from];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step =
    stepsOf(kind)?.find((each) => each >= rough) ?? power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

/** What ticks of an x-axis say. @param {number[]} places @param {string} kind */
export function xTicks(places, kind) {
  if (kind === "wall") {
    const long = places.length > 1 && places[places.length - 1] - places[0] > 86_400;
    const whole = places.length > 1 && places.every((place) => place % 60 === 0);
    return places.map((place) => (long ? moment(place).slice(5, 16) : whole ? clock(place).slice(0, 5) : clock(place)));
  }
  return places.map((place) => (kind === "relative" ? duration(place) : short(place)));
}
