// Runs golden settings in the page's own arithmetic: node compare.mjs PAGE GOLDEN FIRST STRIDE.
// Prints for each setting the largest relative gap of each curve, and the crossing steps.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , page, golden, first, stride, whole] = process.argv;
const load = (name) => import(pathToFileURL(`${page}/${name}`));
const { Descent } = await load("committee.js");
const { Linearized } = await load("linearized.js");
const { fallStep, logSteps } = await load("curves.js");

// Where the points determine the target, regression leaves a loss that is rounding alone.
const ROUNDING = 1e-10;

const lines = readFileSync(golden, "utf8").trim().split("\n");
const found = [];
for (let k = Number(first); k < lines.length; k += Number(stride)) {
  const wanted = JSON.parse(lines[k]);
  const settings = { ...wanted.settings, width: wanted.settings.width ?? Infinity };
  found.push({
    number: k,
    gaps: gaps(settings, wanted),
    crossings: whole ? crossings(settings, wanted.crossings.train_loss.length) : null,
  });
}
console.log(JSON.stringify(found));

function gaps(settings, { steps, curves }) {
  const descent = new Descent(settings);
  const linearized = new Linearized(descent);
  const worst = {};
  const compare = (name, value, wanted) => {
    const gap = Math.abs(value - wanted) / Math.max(Math.abs(wanted), ROUNDING);
    worst[name] = Math.max(worst[name] ?? 0, Number.isNaN(gap) ? Infinity : gap);
  };
  steps.forEach((step, at) => {
    descent.advance(step - descent.step);
    linearized.advance(step - linearized.step);
    for (const [name, value] of Object.entries({ ...descent.measure(), ...linearized.measure() })) {
      compare(name, value, curves[name][at]);
    }
  });
  compare("kernel_regression_loss", linearized.kernelRegressionLoss, curves.kernel_regression_loss);
  return worst;
}

function crossings(settings, n) {
  const descent = new Descent(settings);
  const steps = logSteps(settings.n_steps, 120);
  const records = steps.map((step) => {
    descent.advance(step - descent.step);
    return descent.measure();
  });
  const start = records[0].train_loss;
  const found = {};
  for (const name of ["train_loss", "test_loss"]) {
    const loss = records.map((one) => one[name]);
    found[name] = [0.5, 0.3, 0.1].map((share) => {
      const step = fallStep(steps, loss, share * start);
      return Number.isFinite(step) ? step : null;
    });
  }
  return found;
}
