// What the settings of the lessons, and others, come to: node lessons.mjs PAGE [SETTINGS].
import { pathToFileURL } from "node:url";

const [, , page, others] = process.argv;
const load = (name) => import(pathToFileURL(`${page}/${name}`));
const { Descent } = await load("committee.js");
const { Linearized } = await load("linearized.js");
const { grokkingDelay, logSteps, peak } = await load("curves.js");
const { LESSONS } = await load("learn.js");
const { base, more, isWithoutLessons } = JSON.parse(others);

const lessons = isWithoutLessons ? [] : LESSONS.map((one) => one.settings);
const found = [...lessons, ...more].map((settings) => {
  const all = { ...base, ...settings };
  const descent = new Descent(all);
  const linearized = new Linearized(descent);
  const steps = logSteps(all.n_steps, 100);
  const records = steps.map((step) => {
    descent.advance(step - descent.step);
    return descent.measure();
  });
  const curve = (name) => records.map((one) => one[name]);
  return {
    start: records[0],
    end: records[records.length - 1],
    regression: linearized.kernelRegressionLoss,
    delay: grokkingDelay(steps, curve("train_loss"), curve("test_loss")),
    peaks: { test: peak(steps, curve("test_loss")), linear: peak(steps, curve("linear_term")) },
  };
});
console.log(JSON.stringify(found));
