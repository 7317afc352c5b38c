// The exact dynamics off the page's own thread: one run at a time, in slices of 40 ms.

import { Descent } from "./committee.js";
import { Linearized } from "./linearized.js";
import { logSteps } from "./curves.js";

const SLICE_MS = 40;
const N_RECORDS = 120;

let run = null;

self.onmessage = ({ data }) => {
  if (data.type === "start") {
    run = null;
    begin(data);
  } else if (run && data.type === "pause") {
    run.isPaused = true;
  } else if (run && data.type === "resume" && run.isPaused) {
    run.isPaused = false;
    next(run);
  } else if (data.type === "stop") {
    run = null;
  }
};

function begin({ id, settings }) {
  const descent = new Descent(settings);
  run = { id, descent, linearized: null, steps: logSteps(settings.n_steps, N_RECORDS), at: 0, isPaused: false };
  next(run);
}

function next(current) {
  setTimeout(() => {
    if (run !== current || current.isPaused) return;
    slice(current);
  });
}

function slice(current) {
  const { id, descent, steps } = current;
  const begin = performance.now();
  const records = [];
  while (current.at < steps.length && performance.now() - begin < SLICE_MS) {
    const left = steps[current.at] - descent.step;
    if (left > 0) {
      // A few steps at a time, so that a slice ends in time.
      descent.advance(Math.min(left, current.nSteps ?? 1));
      current.nSteps = pace(current, begin);
      continue;
    }
    records.push({ step: descent.step, ...measured(current) });
    current.at++;
    if (!Number.isFinite(records[records.length - 1].train_loss)) current.at = steps.length;
  }
  self.postMessage({ type: "records", id, step: descent.step, records });
  if (current.at >= steps.length) {
    self.postMessage({ type: "done", id });
    run = null;
    return;
  }
  next(current);
}

function pace(current, begin) {
  return performance.now() - begin < SLICE_MS / 4 ? Math.min(64, (current.nSteps ?? 1) * 2) : current.nSteps;
}

function measured(current) {
  const { descent } = current;
  if (!current.linearized) {
    current.linearized = new Linearized(descent);
    const loss = current.linearized.kernelRegressionLoss;
    self.postMessage({ type: "kernel", id: current.id, loss });
  }
  current.linearized.advance(descent.step - current.linearized.step);
  return { ...descent.measure(), ...current.linearized.measure() };
}
