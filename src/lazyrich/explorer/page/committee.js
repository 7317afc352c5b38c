// The committee machine on the polynomial task, trained by its exact dynamics: the equations
// of lazyrich.theory, in the same form, in double precision.
//
// f = α w̄·x + (αε/2) xᵀMx depends on the weights through their moments w̄ and M alone, so a
// machine of any width trains like one of D + 1 units with the same moments. Its rows are
// moved (rows.js), not the moments, which stay second moments in spite of rounding.

import { fold, keyOf, normals, printedNormals, split } from "./random.js";
import { Products } from "./products.js";
import { equivalentRows, MovingRows } from "./rows.js";

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

// f = α w̄·x + (αε/2) xᵀMx at every input.
export class Outputs {
  constructor(x, dim) {
    this.n = x.length / dim;
    this.products = new Products({ across: [dim, this.n], second: [dim, dim], fields: [dim, this.n] });
    this.products.matrices.across.setTransposed(x, this.n);
  }

  of({ mean, second }, { alpha, epsilon, dim }) {
    const { across, second: matrix, fields } = this.products.matrices;
    matrix.set(second, dim);
    this.products.multiply(fields, matrix, across);
    const found = new Float64Array(this.n);
    for (let a = 0; a < dim; a++) {
      const at = a * across.nColumns;
      for (let k = 0; k < this.n; k++) {
        found[k] += (alpha * mean[a] + 0.5 * alpha * epsilon * fields.values[at + k]) * across.values[at + k];
      }
    }
    return found;
  }
}

// The tangent kernel in units of α²/N, Eq. 5, between rows of inputs.
export class Kernel {
  constructor(x, x2, dim) {
    [this.n, this.m] = [x.length / dim, x2.length / dim];
    const sides = [this.n, this.m];
    this.products = new Products({
      left: [dim, this.n], right: [dim, this.m], mean: [dim, 1], second: [dim, dim],
      fields: [dim, this.n], leftMean: [this.n, 1], rightMean: [this.m, 1], overlap: sides, curved: sides,
    });
    const { left, right, overlap } = this.products.matrices;
    left.setTransposed(x, this.n);
    right.setTransposed(x2, this.m);
    this.products.multiply(overlap, left, right);
  }

  of({ mean, second }, { epsilon, dim }) {
    const { left, right, fields, leftMean, rightMean, overlap, curved, ...moments } = this.products.matrices;
    moments.mean.set(mean, dim);
    moments.second.set(second, dim);
    this.products.multiply(leftMean, left, moments.mean);
    this.products.multiply(rightMean, right, moments.mean);
    this.products.multiply(fields, moments.second, left);
    this.products.multiply(curved, fields, right);
    const found = new Float64Array(this.n * this.m);
    for (let i = 0; i < this.n; i++) {
      for (let j = 0; j < this.m; j++) {
        const at = i * curved.nColumns + j;
        const means = leftMean.values[i * leftMean.nColumns] + rightMean.values[j * rightMean.nColumns];
        found[i * this.m + j] = overlap.values[at] * (1 + epsilon * means + epsilon * epsilon * curved.values[at]);
      }
    }
    return found;
  }
}

// ------------------------------------------------------------------ descent

// Gradient descent from the start of `settings`; `advance(n)` makes n steps, `measure()` tells
// what the moments decide.
export class Descent {
  constructor(settings) {
    const { dim, width, weight_scale } = settings;
    this.settings = settings;
    this.data = sample(settings);
    const { x, y, xTest, yTest, weights } = this.data;
    this.start = weights ? momentsOf(weights, dim) : infiniteWidth(dim, weight_scale);
    this.step = 0;
    [this.onTrain, this.onTest] = [x, xTest].map((inputs) => new Outputs(inputs, dim));
    const probes = xTest.subarray(0, N_PROBE * dim);
    this.probe = new Kernel(probes, probes, dim);
    this.targets = this.toReach(this.onTrain, y);
    this.testTargets = this.toReach(this.onTest, yTest);
    const rows = weights && width <= dim + 1 ? weights : equivalentRows(this.start, dim);
    this.moving = new MovingRows(settings, { x, rows, targets: this.targets });
  }

  // The labels, less f(θ₀) where that is not subtracted from the network.
  toReach(inputs, labels) {
    if (this.settings.center) return labels;
    const f0 = inputs.of(this.start, this.settings);
    return labels.map((value, k) => value - f0[k]);
  }

  advance(nSteps) {
    for (let k = 0; k < nSteps; k++) this.moving.makeStep();
    this.step += nSteps;
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

function measure({ settings, data, start, moving, onTrain, onTest, probe }) {
  const { dim, epsilon, center } = settings;
  const change = moving.displacement();
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
    train_loss: meanSquare(onTrain.of(trained, settings), data.y),
    test_loss: meanSquare(onTest.of(trained, settings), data.yTest),
    ...lossTerms(trained, beta, settings),
    weight_norm: Math.sqrt(trace(now.second, dim) / trace(start.second, dim)),
    ...alignments(probe.of(now, settings), data.yTest),
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

// yᵀKy / (‖K‖ ‖y‖²) on test points, and what random labels would score.
function alignments(k, yTest) {
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
