// Gradient descent on rows of weights. The loop updates their displacement, so that no digits of
// a lazy network's small changes are lost.

import { eigenSymmetric } from "./linear.js";
import { Products } from "./products.js";

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

export class MovingRows {
  // `targets` are the labels less what of f(θ₀) stays.
  constructor(settings, { x, targets, rows }) {
    const { dim, n_train } = settings;
    this.settings = settings;
    this.targets = targets;
    this.rows = rows;
    this.nRows = rows.length / dim;
    const n = this.nRows;
    this.products = new Products({
      points: [n_train, dim], pointsAcross: [dim, n_train],
      // A column for each row of weights.
      moved: [dim, n], velocity: [dim, n], gradient: [dim, n],
      slope: [n_train, n], change: [n_train, n], pull: [n_train, n],
    }, { isFast: true });
    Object.assign(this, this.products.matrices);
    this.points.set(x, n_train);
    this.pointsAcross.setTransposed(x, n_train);
    this.prepareSlope();
  }

  // φ′ at the start; zero in the columns of padding, which therefore never move.
  prepareSlope() {
    const { slope, moved } = this;
    moved.setTransposed(this.rows, this.nRows);
    this.products.multiply(slope, this.pointsAcross, moved);
    moved.values.fill(0);
    slope.values.forEach((hidden, at, values) => {
      values[at] = at % slope.nColumns < this.nRows ? 1 + this.settings.epsilon * hidden : 0;
    });
  }

  // w_i ← w_i − c ⟨r φ′(w_i·x) x⟩ with c = 2 learning_rate/α, with heavy-ball momentum.
  makeStep() {
    const { alpha, learning_rate, momentum } = this.settings;
    this.products.multiply(this.change, this.pointsAcross, this.moved);
    this.weigh();
    this.products.multiply(this.gradient, this.points, this.pull);
    const rate = (2 * learning_rate) / alpha;
    const [moved, velocity, gradient] = [this.moved.values, this.velocity.values, this.gradient.values];
    for (let at = 0; at < moved.length; at++) {
      velocity[at] = momentum * velocity[at] + rate * gradient[at];
      moved[at] -= velocity[at];
    }
  }

  // Writes r φ′ for each point and row to `pull`.
  weigh() {
    const { n_train, alpha, epsilon } = this.settings;
    const n = this.change.nColumns;
    const [change, slope, pull] = [this.change.values, this.slope.values, this.pull.values];
    const half = 0.5 * epsilon;
    for (let p = 0; p < n_train; p++) {
      const at = p * n;
      // Four independent sums, which the processor computes at the same time.
      let a = 0, b = 0, c = 0, d = 0;
      for (let i = at; i < at + n; i += 4) {
        a += change[i] * (slope[i] + half * change[i]);
        b += change[i + 1] * (slope[i + 1] + half * change[i + 1]);
        c += change[i + 2] * (slope[i + 2] + half * change[i + 2]);
        d += change[i + 3] * (slope[i + 3] + half * change[i + 3]);
      }
      const residual = ((alpha / this.nRows) * (a + b + (c + d)) - this.targets[p]) / n_train;
      for (let i = at; i < at + n; i++) pull[i] = residual * (slope[i] + epsilon * change[i]);
    }
  }

  // The change of the moments since the start, without cancellation for small moves.
  displacement() {
    const { dim } = this.settings;
    const n = this.nRows;
    const mean = new Float64Array(dim);
    const half = new Float64Array(dim * dim);
    for (let a = 0; a < dim; a++) {
      for (let i = 0; i < n; i++) {
        const step = this.moved.values[a * this.moved.nColumns + i] / n;
        mean[a] += step;
        for (let b = 0; b < dim; b++) {
          half[a * dim + b] += step * (this.rows[i * dim + b] + 0.5 * this.moved.values[b * this.moved.nColumns + i]);
        }
      }
    }
    const second = Float64Array.from(half, (value, at) =>
      value + half[(at % dim) * dim + Math.floor(at / dim)]);
    return { mean, second };
  }
}
