// The committee machine on the polynomial task, trained by its exact dynamics: the equations
// of lazyrich.theory, in the same form, in double precision.
//
// f = α w̄·x + (αε/2) xᵀMx depends on the weights through their moments w̄ and M alone, so a
// machine of any width trains like one of D + 1 units with the same moments. Its rows are
// moved, not the moments, which stay second moments in spite of rounding; the loop carries
// the rows' displacement, so that a lazy network loses no digits.

import { fold, keyOf, normals, printedNormals, split } from "./random.js";
import { eigenSymmetric } from "./linear.js";

export const N_TEST = 1000;
export const N_PROBE = 100;

// ------------------------------------------------------------------ data and weights

// Training points, test points, the direction β and the weights (null for infinitely many).
export function sample(settings) {
  return settings.keys ? printedSample(settings) : seedSample(settings);
}

function seedSample({ seed, dim, n_train, width, weight_scale, noise }) {
  const [targetKey, trainKey, testKey] = split(fold(keyOf(seed), 0), 3);
  const beta = normals(targetKey, dim);
  const inputs = (key, n) => normals(key, n * dim).map((value) => value / Math.sqrt(dim));
  const x = inputs(trainKey, n_train);
  const xTest = inputs(testKey, N_TEST);
  const y = labels(x, beta);
  if (noise > 0) {
    const errors = normals(fold(keyOf(seed), 4), n_train);
    for (let k = 0; k < n_train; k++) y[k] += noise * errors[k];
  }
  let weights = null;
  if (Number.isFinite(width)) {
    const [weightKey] = split(fold(keyOf(seed), 2), 2);
    weights = normals(weightKey, width * dim).map((value) => weight_scale * value);
  }
  return { x, y, xTest, yTest: labels(xTest, beta), beta, weights };
}

// The authors' own arrays: single precision, inputs as a matrix (D, P), a key for each array.
function printedSample({ keys, dim, n_train, width, weight_scale }) {
  const [inputKey, testKey, targetKey, weightKey] = keys;
  const beta = printedNormals(targetKey, dim);
  const root = Math.fround(Math.sqrt(dim));
  const inputs = (key, n) => {
    const found = new Float64Array(n * dim);
    printedNormals(key, n * dim).forEach((value, at) => {
      found[(at % n) * dim + Math.floor(at / n)] = Math.fround(value / root);
    });
    return found;
  };
  const x = inputs(inputKey, n_train);
  const xTest = inputs(testKey, N_TEST);
  const weights = printedNormals(weightKey, width * dim).map((value) => weight_scale * value);
  return { x, y: labels(x, beta), xTest, yTest: labels(xTest, beta), beta, weights };
}

function labels(x, beta) {
  const dim = beta.length;
  return Float64Array.from({ length: x.length / dim }, (_, n) => {
    let field = 0;
    for (let k = 0; k < dim; k++) field += x[n * dim + k] * beta[k];
    return 0.5 * field * field;
  });
}

// ------------------------------------------------------------------ moments

export function momentsOf(rows, dim) {
  const n = rows.length / dim;
  const mean = new Float64Array(dim);
  const second = new Float64Array(dim * dim);
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < dim; a++) {
      const value = rows[i * dim + a];
      mean[a] += value / n;
      for (let b = 0; b < dim; b++) second[a * dim + b] += (value * rows[i * dim + b]) / n;
    }
  }
  return { mean, second };
}

function infiniteWidth(dim, scale) {
  const second = new Float64Array(dim * dim);
  for (let a = 0; a < dim; a++) second[a * dim + a] = scale * scale;
  return { mean: new Float64Array(dim), second };
}

// D + 1 rows with given moments: the mean, and contrasts that sum to zero and have the spread.
export function equivalentRows({ mean, second }, dim) {
  const spread = Float64Array.from(second, (value, at) =>
    value - mean[Math.floor(at / dim)] * mean[at % dim]);
  const { values, vectors } = eigenSymmetric(spread, dim);
  const noise = dim * Number.EPSILON * second.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const rows = new Float64Array((dim + 1) * dim);
  for (let i = 0; i <= dim; i++) {
    for (let a = 0; a < dim; a++) {
      let sum = 0;
      for (let k = Math.max(0, i - 1); k < dim; k++) {
        const root = values[k] > noise ? Math.sqrt(values[k]) : 0;
        // Helmert's contrast k compares row k + 1 with the rows before it.
        const contrast = (i === k + 1 ? -(k + 1) : 1) / Math.sqrt((k + 1) * (k + 2));
        sum += contrast * root * vectors[a * dim + k];
      }
      rows[i * dim + a] = mean[a] + Math.sqrt(dim + 1) * sum;
    }
  }
  return rows;
}

// The change of the moments when rows move, without cancellation for small moves.
export function displacement(rows, moved, dim) {
  const n = rows.length / dim;
  const mean = new Float64Array(dim);
  const half = new Float64Array(dim * dim);
  for (let i = 0; i < n; i++) {
    const at = i * dim;
    for (let a = 0; a < dim; a++) {
      const step = moved[at + a] / n;
      mean[a] += step;
      for (let b = 0; b < dim; b++) half[a * dim + b] += step * (rows[at + b] + 0.5 * moved[at + b]);
    }
  }
  const second = Float64Array.from(half, (value, at) =>
    value + half[(at % dim) * dim + Math.floor(at / dim)]);
  return { mean, second };
}

// f = α w̄·x + (αε/2) xᵀMx at every input.
export function outputs({ mean, second }, x, { alpha, epsilon, dim }) {
  const found = new Float64Array(x.length / dim);
  for (let n = 0; n < found.length; n++) {
    const at = n * dim;
    let sum = 0;
    for (let a = 0; a < dim; a++) {
      let field = 0;
      for (let b = 0; b < dim; b++) field += second[a * dim + b] * x[at + b];
      sum += (0.5 * alpha * epsilon * field + alpha * mean[a]) * x[at + a];
    }
    found[n] = sum;
  }
  return found;
}

// ------------------------------------------------------------------ descent

// Gradient descent from the start of `settings`; `advance(n)` makes n steps, `measure()` tells
// what the moments decide.
export class Descent {
  constructor(settings) {
    const { dim, width, weight_scale, n_train } = settings;
    this.settings = settings;
    this.data = sample(settings);
    const { weights } = this.data;
    this.start = weights ? momentsOf(weights, dim) : infiniteWidth(dim, weight_scale);
    this.rows = weights && width <= dim + 1 ? weights : equivalentRows(this.start, dim);
    this.moved = new Float64Array(this.rows.length);
    this.velocity = settings.momentum > 0 ? new Float64Array(this.rows.length) : null;
    this.step = 0;
    this.nRows = this.rows.length / dim;
    this.change = new Float64Array(this.nRows * n_train);
    this.residual = new Float64Array(n_train);
    this.gradient = new Float64Array(dim);
    this.prepare();
  }

  // What stays the same in all steps: φ′ at the start, and the labels less f(θ₀) if it stays.
  prepare() {
    const { dim, n_train, alpha, epsilon, center } = this.settings;
    const { x, y } = this.data;
    this.slope = new Float64Array(this.nRows * n_train);
    this.targets = Float64Array.from(y);
    for (let i = 0; i < this.nRows; i++) {
      for (let n = 0; n < n_train; n++) {
        let hidden = 0;
        for (let a = 0; a < dim; a++) hidden += this.rows[i * dim + a] * x[n * dim + a];
        this.slope[i * n_train + n] = 1 + epsilon * hidden;
        if (!center) {
          this.targets[n] -= (alpha * (hidden + 0.5 * epsilon * hidden * hidden)) / this.nRows;
        }
      }
    }
  }

  advance(nSteps) {
    for (let k = 0; k < nSteps; k++) this.makeStep();
    this.step += nSteps;
  }

  makeStep() {
    const { n_train, alpha } = this.settings;
    this.moveOutputs();
    const { residual, targets } = this;
    const scale = alpha / this.nRows;
    for (let n = 0; n < n_train; n++) {
      residual[n] = (scale * residual[n] - targets[n]) / n_train;
    }
    this.moveRows();
  }

  // Into `change` how far each hidden unit's field has moved, into `residual` the outputs' sum.
  moveOutputs() {
    const { dim, n_train, epsilon } = this.settings;
    const { moved, change, slope, residual } = this;
    const { x } = this.data;
    const half = 0.5 * epsilon;
    residual.fill(0);
    for (let i = 0; i < this.nRows; i++) {
      const row = i * dim;
      const at = i * n_train;
      let n = 0;
      for (; n + 3 < n_train; n += 4) {
        const p = n * dim;
        const q = p + dim;
        const r = q + dim;
        const s = r + dim;
        let [a, b, c, d] = [0, 0, 0, 0];
        for (let k = 0; k < dim; k++) {
          const w = moved[row + k];
          a += w * x[p + k];
          b += w * x[q + k];
          c += w * x[r + k];
          d += w * x[s + k];
        }
        change[at + n] = a;
        change[at + n + 1] = b;
        change[at + n + 2] = c;
        change[at + n + 3] = d;
      }
      for (; n < n_train; n++) {
        let a = 0;
        for (let k = 0; k < dim; k++) a += moved[row + k] * x[n * dim + k];
        change[at + n] = a;
      }
      for (n = 0; n < n_train; n++) {
        const a = change[at + n];
        residual[n] += a * (slope[at + n] + half * a);
      }
    }
  }

  // w_i ← w_i − c ⟨r φ′(w_i·x) x⟩ with c = 2 learning_rate/α, by way of the heavy ball if asked.
  moveRows() {
    const { dim, n_train, alpha, epsilon, learning_rate, momentum } = this.settings;
    const { moved, velocity, change, slope, residual, gradient } = this;
    const { x } = this.data;
    const rate = (2 * learning_rate) / alpha;
    for (let i = 0; i < this.nRows; i++) {
      const at = i * n_train;
      gradient.fill(0);
      let n = 0;
      for (; n + 3 < n_train; n += 4) {
        const p = n * dim;
        const q = p + dim;
        const r = q + dim;
        const s = r + dim;
        const a = residual[n] * (slope[at + n] + epsilon * change[at + n]);
        const b = residual[n + 1] * (slope[at + n + 1] + epsilon * change[at + n + 1]);
        const c = residual[n + 2] * (slope[at + n + 2] + epsilon * change[at + n + 2]);
        const d = residual[n + 3] * (slope[at + n + 3] + epsilon * change[at + n + 3]);
        for (let k = 0; k < dim; k++) {
          gradient[k] += a * x[p + k] + b * x[q + k] + (c * x[r + k] + d * x[s + k]);
        }
      }
      for (; n < n_train; n++) {
        const a = residual[n] * (slope[at + n] + epsilon * change[at + n]);
        for (let k = 0; k < dim; k++) gradient[k] += a * x[n * dim + k];
      }
      const row = i * dim;
      if (velocity) {
        for (let k = 0; k < dim; k++) {
          velocity[row + k] = momentum * velocity[row + k] + rate * gradient[k];
          moved[row + k] -= velocity[row + k];
        }
      } else {
        for (let k = 0; k < dim; k++) moved[row + k] -= rate * gradient[k];
      }
    }
  }

  measure() {
    return measure(this);
  }
}

// ------------------------------------------------------------------ what is measured

export const MEASURES = [
  "train_loss", "test_loss", "variance_term", "misalignment_term", "linear_term", "weight_norm",
  "alignment", "chance_alignment", "population_alignment", "target_moment",
];

function measure({ settings, data, start, rows, moved }) {
  const { dim, epsilon, center } = settings;
  const change = displacement(rows, moved, dim);
  const now = {
    mean: start.mean.map((value, k) => value + change.mean[k]),
    second: start.second.map((value, k) => value + change.second[k]),
  };
  const trained = center ? change : now;
  const { beta } = data;
  let normSquare = 0;
  let targetMoment = 0;
  for (let a = 0; a < dim; a++) {
    normSquare += beta[a] ** 2;
    for (let b = 0; b < dim; b++) targetMoment += beta[a] * now.second[a * dim + b] * beta[b];
  }
  return {
    train_loss: meanSquare(outputs(trained, data.x, settings), data.y),
    test_loss: meanSquare(outputs(trained, data.xTest, settings), data.yTest),
    ...lossTerms(trained, beta, settings),
    weight_norm: Math.sqrt(trace(now.second, dim) / trace(start.second, dim)),
    ...alignments(now, data, settings),
    population_alignment: populationAlignment(now, beta, epsilon),
    target_moment: targetMoment / normSquare,
  };
}

function meanSquare(found, wanted) {
  let sum = 0;
  for (let k = 0; k < found.length; k++) sum += (found[k] - wanted[k]) ** 2;
  return sum / found.length;
}

function trace(matrix, dim) {
  let sum = 0;
  for (let a = 0; a < dim; a++) sum += matrix[a * dim + a];
  return sum;
}

// Eq. 6, the three terms of the expected test loss.
function lossTerms({ mean, second }, beta, { alpha, epsilon, dim }) {
  let [diagonal, square, linear] = [0, 0, 0];
  for (let a = 0; a < dim; a++) {
    linear += (alpha * mean[a]) ** 2;
    for (let b = 0; b < dim; b++) {
      const excess = alpha * epsilon * second[a * dim + b] - beta[a] * beta[b];
      square += (excess / dim) ** 2;
      if (a === b) diagonal += excess;
    }
  }
  return {
    variance_term: (diagonal / dim) ** 2 / 4,
    misalignment_term: square / 2,
    linear_term: linear / dim,
  };
}

// The tangent kernel in units of α²/N, Eq. 5, between rows of inputs.
export function kernel({ mean, second }, x, x2, { epsilon, dim }) {
  const n = x.length / dim;
  const m = x2.length / dim;
  const project = (inputs) => Float64Array.from({ length: inputs.length / dim }, (_, k) => {
    let sum = 0;
    for (let a = 0; a < dim; a++) sum += inputs[k * dim + a] * mean[a];
    return sum;
  });
  const [left, right] = [project(x), project(x2)];
  const found = new Float64Array(n * m);
  const field = new Float64Array(dim);
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < dim; a++) {
      let sum = 0;
      for (let b = 0; b < dim; b++) sum += second[a * dim + b] * x[i * dim + b];
      field[a] = sum;
    }
    for (let j = 0; j < m; j++) {
      let [overlap, curved] = [0, 0];
      for (let a = 0; a < dim; a++) {
        overlap += x[i * dim + a] * x2[j * dim + a];
        curved += field[a] * x2[j * dim + a];
      }
      const slopes = 1 + epsilon * (left[i] + right[j]) + epsilon * epsilon * curved;
      found[i * m + j] = overlap * slopes;
    }
  }
  return found;
}

// yᵀKy / (‖K‖ ‖y‖²) on test points, and what random labels would score.
function alignments(now, { xTest, yTest }, settings) {
  const x = xTest.subarray(0, N_PROBE * settings.dim);
  const k = kernel(now, x, x, settings);
  let [overlap, square, diagonal, labelSquare] = [0, 0, 0, 0];
  for (let i = 0; i < N_PROBE; i++) {
    labelSquare += yTest[i] ** 2;
    diagonal += k[i * N_PROBE + i];
    for (let j = 0; j < N_PROBE; j++) {
      overlap += yTest[i] * k[i * N_PROBE + j] * yTest[j];
      square += k[i * N_PROBE + j] ** 2;
    }
  }
  return {
    alignment: overlap / (Math.sqrt(square) * labelSquare),
    chance_alignment: diagonal / (N_PROBE * Math.sqrt(square)),
  };
}

// Eqs. 19 and 20: the alignment over all inputs, which has no chance level.
function populationAlignment({ mean, second }, beta, epsilon) {
  const dim = beta.length;
  const square = (values) => values.reduce((sum, value) => sum + value * value, 0);
  const meanSquared = (epsilon ** 2 * square(mean)) / dim;
  const momentSquare = (epsilon ** 4 * square(second)) / dim ** 2;
  const momentTrace = (epsilon ** 2 * trace(second, dim)) / dim;
  const norm = square(beta) / dim;
  let overlap = 0;
  for (let a = 0; a < dim; a++) {
    for (let b = 0; b < dim; b++) overlap += beta[a] * second[a * dim + b] * beta[b];
  }
  overlap *= (epsilon / dim) ** 2;
  const numerator = (norm ** 2 * momentTrace) / 4 + 2 * norm * overlap;
  const quadratic = (dim + 6) * momentSquare + 2 * momentTrace ** 2;
  const power = 1 / dim + (2 * (dim + 2) * meanSquared + quadratic) / dim ** 2;
  return numerator / dim / (Math.sqrt(power) * 0.75 * norm ** 2);
}
