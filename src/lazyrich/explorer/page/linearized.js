// The linearized network, and regression with the initial kernel K₀ (lazyrich.kernels), from
// one eigendecomposition of K₀ on the training points.

import { Kernel } from "./committee.js";
import { eigenSymmetric } from "./linear.js";

export class Linearized {
  // Of the network that `descent` starts from, whatever step that has reached.
  constructor(descent) {
    const { settings, data, start } = descent;
    const { n_train, dim } = settings;
    this.settings = settings;
    [this.targets, this.testTargets] = [descent.targets, descent.testTargets];
    const kernel = (x) => new Kernel(x, data.x, dim).of(start, settings);
    const { values, vectors } = eigenSymmetric(kernel(data.x), n_train);
    const cutoff = 10 * Number.EPSILON * values[n_train - 1];
    this.modes = [];
    for (let k = 0; k < n_train; k++) if (values[k] > cutoff) this.modes.push(k);
    this.values = Float64Array.from(this.modes, (k) => values[k]);
    this.vectors = columns(vectors, n_train, this.modes);
    this.testVectors = this.onTestPoints(kernel(data.xTest));
    this.goal = this.project(this.targets);
    this.state = new Float64Array(this.modes.length);
    this.velocity = new Float64Array(this.modes.length);
    this.step = 0;
  }

  // Row j: what the j-th mode, at size one on the training points, is on the test points.
  onTestPoints(testKernel) {
    const n = this.settings.n_train;
    const m = testKernel.length / n;
    const found = new Float64Array(this.modes.length * m);
    this.modes.forEach((_, j) => {
      const vector = this.vectors.subarray(j * n, (j + 1) * n);
      for (let i = 0; i < m; i++) {
        let sum = 0;
        for (let k = 0; k < n; k++) sum += testKernel[i * n + k] * vector[k];
        found[j * m + i] = sum / this.values[j];
      }
    });
    return found;
  }

  project(targets) {
    const n = targets.length;
    return Float64Array.from(this.modes, (_, j) => {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += this.vectors[j * n + k] * targets[k];
      return sum;
    });
  }

  // The learning rate is η = learning_rate N/α², the kernel here in units of α²/N.
  advance(nSteps) {
    const { learning_rate, momentum, n_train } = this.settings;
    this.step += nSteps;
    for (let j = 0; j < this.modes.length; j++) {
      const pace = (2 * learning_rate * this.values[j]) / n_train;
      let [f, velocity] = [this.state[j], this.velocity[j]];
      for (let k = 0; k < nSteps; k++) {
        velocity = momentum * velocity + pace * (f - this.goal[j]);
        f -= velocity;
      }
      this.state[j] = f;
      this.velocity[j] = velocity;
    }
  }

  measure() {
    return {
      linearized_train_loss: gap(this.state, this.vectors, this.targets),
      linearized_test_loss: gap(this.state, this.testVectors, this.testTargets),
    };
  }

  get kernelRegressionLoss() {
    return gap(this.goal, this.testVectors, this.testTargets);
  }
}

// Mean square of Σ_j sizes_j vectors_j − targets.
function gap(sizes, vectors, targets) {
  const n = targets.length;
  const left = targets.map((value) => -value);
  for (let j = 0; j < sizes.length; j++) {
    for (let k = 0; k < n; k++) left[k] += sizes[j] * vectors[j * n + k];
  }
  return left.reduce((sum, value) => sum + value * value, 0) / n;
}

function columns(matrix, n, wanted) {
  const found = new Float64Array(wanted.length * n);
  wanted.forEach((column, j) => {
    for (let k = 0; k < n; k++) found[j * n + k] = matrix[k * n + column];
  });
  return found;
}
