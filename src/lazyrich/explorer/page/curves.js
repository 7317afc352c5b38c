// When to record, and from a curve to a number: as in lazyrich.training and lazyrich.measures.

// Steps from 0 to nSteps, evenly spaced in log step, at most n of them.
export function logSteps(nSteps, n) {
  const found = new Set([0, nSteps]);
  for (let k = 0; k < n - 1; k++) {
    found.add(roundHalfEven(nSteps ** (k / (n - 2))));
  }
  return [...found].sort((a, b) => a - b);
}

function roundHalfEven(value) {
  const whole = Math.floor(value);
  const rest = value - whole;
  if (rest !== 0.5) return Math.round(value);
  return whole % 2 ? whole + 1 : whole;
}

// First step at which a loss is at or below a level, between records by log step.
export function fallStep(steps, loss, level) {
  const k = loss.findIndex((value) => Number.isFinite(value) && value <= level);
  if (k < 0) return Infinity;
  if (k === 0) return steps[0];
  const [before, now] = [loss[k - 1], loss[k]];
  if (!Number.isFinite(before)) return steps[k];
  const share = Math.min(1, Math.max(0, (before - level) / (before - now)));
  const [a, b] = [steps[k - 1], steps[k]];
  return a > 0 ? a * (b / a) ** share : b * share;
}

// The steps at which train and test loss fall to a share of the first train loss.
export function grokkingDelay(steps, train, test, threshold = 0.1) {
  const level = threshold * train[0];
  const [trainStep, testStep] = [fallStep(steps, train, level), fallStep(steps, test, level)];
  const isCensored = !Number.isFinite(trainStep) || !Number.isFinite(testStep);
  return {
    trainStep,
    testStep,
    isCensored,
    delay: isCensored ? Infinity : testStep - trainStep,
    ratio: isCensored ? Infinity : testStep === trainStep ? 1 : testStep / trainStep,
  };
}

// The highest record of a curve, and its step.
export function peak(steps, curve) {
  let best = 0;
  for (let k = 1; k < curve.length; k++) if (curve[k] > curve[best]) best = k;
  return { step: steps[best], value: curve[best] };
}
