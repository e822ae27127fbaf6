// Paints a heat-map: columns where they lie on the x-axis, hatches where a rank has nothing because it is gone.

/** @typedef {import("../colours.js").Scale} Scale */

/**
 * Which column each pixel shows; -1 where none lies near.
 * @param {ArrayLike<number>} grid middles of columns, ascending @param {number} from @param {number} to @param {number} width px
 * @returns {Int32Array}
 */
export function columnsOf(grid, from, to, width) {
  const found = new Int32Array(width).fill(-1);
  if (grid.length === 0 || !(to > from)) return found;
  const gaps = Array.from({ length: grid.length - 1 }, (_, at) => grid[at + 1] - grid[at]).sort((a, b) => a - b);
  const usual = gaps.length > 0 ? gaps[Math.floor(gaps.length / 2)] : to - from;
  let column = 0;
  for (let pixel = 0; pixel < width; pixel += 1) {
    const x = from + ((pixel + 0.5) / width) * (to - from);
    while (column + 1 < grid.length && Math.abs(grid[column + 1] - x) <= Math.abs(grid[column] - x)) column += 1;
    if (Math.abs(grid[column] - x) <= usual * 0.75) found[pixel] = column;
  }
  return found;
}

/**
 * The cells as an image of `columns.length` × rows pixels; nothing is left transparent.
 * @param {ArrayLike<number>} cells row by row @param {number} rows @param {number} width of a row of cells
 * @param {Int32Array} columns of each pixel @param {(value: number, column: number) => number} share 0 to 1 @param {Scale} scale
 */
export function imageOf(cells, rows, width, columns, share, scale) {
  const image = new ImageData(Math.max(columns.length, 1), Math.max(rows, 1));
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row += 1) {
    const from = row * width;
    const at = row * columns.length;
    for (let pixel = 0; pixel < columns.length; pixel += 1) {
      const column = columns[pixel];
      if (column < 0) continue;
      const value = cells[from + column];
      if (!Number.isNaN(value)) pixels[at + pixel] = scale(share(value, column));
    }
  }
  return image;
}

/** Diagonal lines, as a pattern. @param {CanvasRenderingContext2D} context @param {string} colour @param {number} ratio device pixels a px */
export function hatch(context, colour, ratio) {
  const side = Math.round(5 * ratio);
  const tile = new OffscreenCanvas(side, side);
  const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (tile.getContext("2d"));
  pen.strokeStyle = colour;
  pen.lineWidth = ratio;
  pen.beginPath();
  for (const shift of [-side, 0, side]) {
    pen.moveTo(shift, side);
    pen.lineTo(shift + side, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat") ?? colour;
}

/** Rows that must be seen are at least so high, px: a hatch of one pixel is none. */
const SEEN = 8;

/**
 * Where rows lie: `count` + 1 edges in px from the top. All are alike, but where they are thin, notable ones are
 * taken up to SEEN, together at most half of the height.
 * @param {number} count @param {number} height px @param {ReadonlySet<number>} notable rows
 * @returns {Float64Array}
 */
export function edgesOf(count, height, notable) {
  const even = height / Math.max(count, 1);
  const tall = notable.size === 0 ? 0 : Math.min(SEEN, height / 2 / notable.size);
  const rest = count > notable.size ? (height - tall * notable.size) / (count - notable.size) : even;
  const edges = new Float64Array(count + 1);
  for (let row = 0; row < count; row += 1) {
    edges[row + 1] = edges[row] + (tall <= even ? even : notable.has(row) ? tall : rest);
  }
  return edges;
}

/** The row at a place from the top. @param {ArrayLike<number>} edges @param {number} top */
export function rowAt(edges, top) {
  let [low, high] = [0, Math.max(edges.length - 2, 0)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (edges[middle] <= top) low = middle;
    else high = middle - 1;
  }
  return low;
}
