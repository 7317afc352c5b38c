// Losses of the page's printed figures at the recorded steps: node figures.mjs PAGE SETTINGS.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , page, file] = process.argv;
const load = (name) => import(pathToFileURL(`${page}/${name}`));
const { Descent } = await load("committee.js");
const { logSteps } = await load("curves.js");
const MARKS = [1, 2, 3, 100, 300, 1000, 3000, 10000, 20000];

const found = JSON.parse(readFileSync(file)).map((settings) => {
  const steps = [...new Set([...logSteps(settings.n_steps, 160), ...MARKS])].sort((a, b) => a - b);
  const descent = new Descent(settings);
  const records = steps.map((step) => {
    descent.advance(step - descent.step);
    return descent.measure();
  });
  return { steps, train: records.map((one) => one.train_loss), test: records.map((one) => one.test_loss) };
});
console.log(JSON.stringify(found));
