// Matrices that lie in one piece of memory, and their products leftᵀ right in blocks of 4 × 4,
// whose sixteen sums stay in registers: by WebAssembly, and in JavaScript where there is none,
// with the same sums in the same order. Sides are padded with zeros to multiples of four.

import { stripBytes } from "./wasm.js";

const WORD = Float64Array.BYTES_PER_ELEMENT;
const PAGE_BYTES = 65536;
const fours = (n) => 4 * Math.ceil(n / 4);

// Null where the browser has no WebAssembly of this kind or the page may not use it.
const compiled = (() => {
  try {
    return new WebAssembly.Module(stripBytes());
  } catch {
    return null;
  }
})();

// Null where the browser cannot reserve the address space.
function memoryOf(bytes) {
  try {
    return new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE_BYTES) });
  } catch {
    return null;
  }
}

// Rows one after another in `values`, which begin at `at` in the common memory.
class Matrix {
  constructor(buffer, at, [nRows, nColumns]) {
    this.at = at;
    this.nRows = fours(nRows);
    this.nColumns = fours(nColumns);
    this.values = new Float64Array(buffer, at * WORD, this.nRows * this.nColumns);
  }

  // Copies n rows; the padding stays zero.
  set(rows, n) {
    const width = rows.length / n;
    for (let i = 0; i < n; i++) this.values.set(rows.subarray(i * width, (i + 1) * width), i * this.nColumns);
  }

  setTransposed(rows, n) {
    const width = rows.length / n;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < width; j++) this.values[j * this.nColumns + i] = rows[i * width + j];
    }
  }
}

export class Products {
  // `shapes`: by name the sides of each matrix, which begins at zero. `isFast` takes WebAssembly,
  // whose every memory reserves gigabytes of address space: it is for the loop that takes the time.
  constructor(shapes, { isFast = false } = {}) {
    const size = ([nRows, nColumns]) => fours(nRows) * fours(nColumns);
    const bytes = WORD * Object.values(shapes).reduce((sum, shape) => sum + size(shape), 0);
    const memory = isFast && compiled ? memoryOf(bytes) : null;
    const buffer = memory ? memory.buffer : new ArrayBuffer(bytes);
    this.matrices = {};
    let at = 0;
    for (const [name, shape] of Object.entries(shapes)) {
      this.matrices[name] = new Matrix(buffer, at, shape);
      at += size(shape);
    }
    this.numbers = new Float64Array(buffer);
    this.strip = memory ? new WebAssembly.Instance(compiled, { page: { memory } }).exports.strip : null;
  }

  // out = leftᵀ right.
  multiply(out, left, right) {
    const nBlocks = right.nColumns / 4;
    for (let i = 0; i < left.nColumns; i += 4) {
      const [to, from] = [out.at + i * out.nColumns, left.at + i];
      if (this.strip) {
        this.strip(
          WORD * to, WORD * from, WORD * right.at,
          WORD * out.nColumns, WORD * left.nColumns, WORD * right.nColumns,
          nBlocks, left.nRows,
        );
      } else {
        for (let j = 0; j < nBlocks; j++) {
          block(this.numbers, [to + 4 * j, from, right.at + 4 * j], [out.nColumns, left.nColumns, right.nColumns], left.nRows);
        }
      }
    }
  }
}

// One block: where it and its factors begin in `numbers`, and how far their rows are apart.
function block(numbers, at, apart, depth) {
  const o = numbers;
  const nl = apart[1];
  const nr = apart[2];
  let aa = 0, ab = 0, ac = 0, ad = 0;
  let ba = 0, bb = 0, bc = 0, bd = 0;
  let ca = 0, cb = 0, cc = 0, cd = 0;
  let da = 0, db = 0, dc = 0, dd = 0;
  for (let k = 0, i = at[1], j = at[2]; k < depth; k++, i += nl, j += nr) {
    const a = o[i], b = o[i + 1], c = o[i + 2], d = o[i + 3];
    const p = o[j], q = o[j + 1], s = o[j + 2], t = o[j + 3];
    aa += a * p; ab += a * q; ac += a * s; ad += a * t;
    ba += b * p; bb += b * q; bc += b * s; bd += b * t;
    ca += c * p; cb += c * q; cc += c * s; cd += c * t;
    da += d * p; db += d * q; dc += d * s; dd += d * t;
  }
  let to = at[0];
  o[to] = aa; o[to + 1] = ab; o[to + 2] = ac; o[to + 3] = ad;
  to += apart[0];
  o[to] = ba; o[to + 1] = bb; o[to + 2] = bc; o[to + 3] = bd;
  to += apart[0];
  o[to] = ca; o[to + 1] = cb; o[to + 2] = cc; o[to + 3] = cd;
  to += apart[0];
  o[to] = da; o[to + 1] = db; o[to + 2] = dc; o[to + 3] = dd;
}
