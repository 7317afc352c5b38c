// The first view: sliders, the exact dynamics in a worker, and curves that grow while it runs.

import { Chart, csv, legend, save } from "./charts.js";
import { FIGURES, SLIDERS } from "./constants.js";
import { grokkingDelay, peak } from "./curves.js";
import { clamped, defaults, placeOf, readable, valueAt } from "./state.js";

const CHARTS = {
  losses: {
    title: "Losses",
    lines: [
      { name: "kept_train", label: "train, kept", color: "--train", width: 1, dash: [2, 4] },
      { name: "kept_test", label: "test, kept", color: "--test", width: 1, dash: [2, 4] },
      { name: "linearized_train_loss", label: "train, linearized network", color: "--train", width: 1.5, dash: [6, 5] },
      { name: "linearized_test_loss", label: "test, linearized network", color: "--test", width: 1.5, dash: [6, 5] },
      { name: "kernel_regression_loss", label: "test, regression with K₀", color: "--regression", width: 1.5, dash: [2, 3] },
      { name: "train_loss", label: "train", color: "--train", width: 2.5 },
      { name: "test_loss", label: "test", color: "--test", width: 2.5 },
    ],
  },
  terms: {
    title: "Three terms of the expected test loss",
    lines: [
      { name: "misalignment_term", label: "misalignment", color: "--one" },
      { name: "variance_term", label: "variance", color: "--three" },
      { name: "linear_term", label: "power in linear modes", color: "--four" },
    ],
  },
  alignment: {
    title: "Alignment", isLog: false,
    lines: [
      { name: "chance_alignment", label: "chance level", color: "--regression", dash: [6, 5] },
      { name: "alignment", label: "on 100 test points", color: "--one" },
      { name: "population_alignment", label: "over all inputs", color: "--three" },
    ],
  },
  norm: { title: "Weight norm", isLog: false, lines: [{ name: "weight_norm", color: "--one" }] },
  moment: { title: "Weights along the target", isLog: false, lines: [{ name: "target_moment", color: "--one" }] },
};

export class Play {
  // `onChange` is called when the settings have been changed by hand.
  constructor({ onChange }) {
    this.onChange = onChange;
    this.settings = defaults();
    this.id = 0;
    this.records = [];
    this.kept = null;
    this.isPaused = false;
    this.charts = Object.fromEntries(Object.entries(CHARTS).map(([name, about]) => {
      const place = document.getElementById(name);
      if (about.lines.some((line) => line.label)) place.before(legend(about.lines));
      return [name, new Chart(place, about)];
    }));
    this.showKept();
    this.makeSliders();
    this.makeFigures();
    const on = (id, act) => document.getElementById(id).addEventListener("click", () => act.call(this));
    on("pause", this.togglePause);
    on("restart", this.start);
    on("keep", this.toggleKept);
    on("reset", () => this.change(defaults()));
    on("play-csv", this.saveCsv);
    on("play-png", async () => save(await this.charts.losses.png(), "lazyrich-losses.png"));
    document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  }

  makeSliders() {
    const place = document.getElementById("sliders");
    this.inputs = {};
    for (const [name, { symbol, title, low, high, scale, step, help }] of Object.entries(SLIDERS)) {
      const row = document.createElement("div");
      row.className = "slider";
      const input = document.createElement("input");
      const isPlain = ["whole", "linear"].includes(scale);
      Object.assign(input, { type: "range", id: `set-${name}`, min: isPlain ? low : 0, max: isPlain ? high : 1000, step: step ?? (isPlain ? 1 : 5), title: help });
      const label = document.createElement("label");
      label.htmlFor = input.id;
      const words = document.createElement("span");
      words.textContent = symbol === title ? title : `${symbol}: ${title}`;
      const output = document.createElement("output");
      output.htmlFor = input.id;
      label.append(words, output);
      row.append(label, input);
      place.append(row);
      input.addEventListener("input", () => this.change({ ...this.settings, keys: null, [name]: valueAt(name, Number(input.value), this.settings) }, name));
      this.inputs[name] = { input, output };
    }
    const row = document.createElement("label");
    row.className = "check";
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", id: "set-center" });
    row.append(box, "subtract the output at the start (Eq.\u00a07)");
    place.append(row);
    box.addEventListener("input", () => this.change({ ...this.settings, keys: null, center: box.checked }, "center"));
    this.center = box;
  }

  makeFigures() {
    const place = document.getElementById("figures");
    this.figureButtons = FIGURES.map((figure) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: figure.title, title: figure.text });
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => this.change({ ...defaults(), ...figure.settings }));
      place.append(button);
      return button;
    });
  }

  // New settings, by hand; with a slider's name the others keep their ratio.
  change(settings, name = null) {
    const next = { ...settings };
    if (name === "dim") next.n_train = Math.round((this.settings.n_train / this.settings.dim) * next.dim);
    this.set(next);
    this.onChange();
  }

  set(settings) {
    this.settings = clamped(settings);
    this.show();
    this.start();
  }

  show() {
    const { settings } = this;
    for (const [name, { input, output }] of Object.entries(this.inputs)) {
      // A slider that already stands for the setting is left where it is: rounding would hold it.
      if (valueAt(name, Number(input.value), settings) !== settings[name]) input.value = placeOf(name, settings);
      const text = name === "n_train" ? `${readable(settings.n_train / settings.dim)} (P = ${settings.n_train})` : readable(settings[name]);
      output.textContent = text;
      input.setAttribute("aria-valuetext", text.replace("∞", "infinitely many"));
    }
    this.center.checked = settings.center;
    const chosen = FIGURES.findIndex((figure) => isSame(settings, { ...defaults(), ...figure.settings }));
    this.figureButtons.forEach((button, k) => button.setAttribute("aria-pressed", String(k === chosen)));
    document.getElementById("figure-text").textContent = chosen < 0 ? "" : FIGURES[chosen].text;
    document.getElementById("command").textContent = command(settings);
  }

  start() {
    this.id++;
    this.records = [];
    this.kernelLoss = null;
    this.step = 0;
    this.isDone = false;
    this.setPaused(false);
    this.worker ??= this.newWorker();
    this.worker.postMessage({ type: "start", id: this.id, settings: this.settings });
  }

  newWorker() {
    const source = document.getElementById("worker-source").textContent;
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(address);
    URL.revokeObjectURL(address);
    worker.addEventListener("message", ({ data }) => {
      if (data.id === this.id) this.take(data);
    });
    worker.addEventListener("error", (event) => {
      for (const id of ["reading", "summary"]) document.getElementById(id).textContent = `The computation failed: ${event.message}`;
    });
    return worker;
  }

  // The view is left: what runs is given up, and started again when one comes back.
  leave() {
    this.worker?.terminate();
    this.worker = null;
  }

  take({ type, step, records, loss }) {
    if (type === "kernel") this.kernelLoss = loss;
    if (type === "records") {
      this.records.push(...records);
      this.step = step;
    }
    if (type === "done") this.isDone = true;
    this.request();
  }

  // At most one redraw a frame, and with reduced motion one a second.
  request() {
    if (this.isRequested && !this.isDone) return;
    this.isRequested = true;
    const draw = () => {
      this.isRequested = false;
      this.draw();
    };
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (isCalm && !this.isDone) setTimeout(draw, 1000);
    else requestAnimationFrame(draw);
  }

  curves() {
    const { records } = this;
    const found = { steps: records.map((one) => one.step) };
    for (const name of Object.keys(records[0] ?? {})) if (name !== "step") found[name] = records.map((one) => one[name]);
    found.kernel_regression_loss = records.map(() => this.kernelLoss);
    return found;
  }

  draw() {
    const curves = this.curves();
    for (const [name, chart] of Object.entries(this.charts)) {
      if (name === "losses" && this.kept) this.drawKept(curves);
      else chart.draw(curves.steps, curves);
    }
    this.tell(curves);
  }

  // Kept curves were recorded at steps of their own.
  drawKept(curves) {
    const steps = [...new Set([...curves.steps, ...this.kept.steps])].sort((a, b) => a - b);
    const spread = (own, values) => {
      const at = new Map(own.map((step, k) => [step, values[k]]));
      return steps.map((step) => at.get(step) ?? null);
    };
    const all = Object.fromEntries(Object.keys(curves).filter((name) => name !== "steps").map((name) => [name, spread(curves.steps, curves[name])]));
    all.kept_train = spread(this.kept.steps, this.kept.train_loss);
    all.kept_test = spread(this.kept.steps, this.kept.test_loss);
    this.charts.losses.draw(steps, all);
  }

  tell(curves) {
    const { steps, train_loss: train, test_loss: test } = curves;
    if (!steps.length) return;
    const found = this.found = reading(curves);
    const last = steps.length - 1;
    const text = !Number.isFinite(train[last])
      ? `Diverged by step ${readable(steps[last])}. Take a smaller learning rate.`
      : `Step ${readable(this.step)} of ${readable(this.settings.n_steps)}: train ${readable(train[last])}, test ${readable(test[last])}. ${sentence(found)}`;
    document.getElementById("reading").textContent = text;
    if (!this.isDone || this.told === this.id) return;
    this.told = this.id;
    document.getElementById("summary").textContent = `Finished. ${text}`;
    for (const [name, chart] of Object.entries(this.charts)) {
      chart.say(CHARTS[name].lines.filter((line) => curves[line.name]?.length && line.name in curves)
        .map((line) => `${line.label ?? CHARTS[name].title} goes from ${readable(curves[line.name][0])} to ${readable(curves[line.name][last])}`).join("; "));
    }
    document.getElementById("pause").disabled = true;
  }

  setPaused(isPaused) {
    this.isPaused = isPaused;
    const button = document.getElementById("pause");
    button.textContent = isPaused ? "Go on" : "Pause";
    button.disabled = false;
  }

  togglePause() {
    this.setPaused(!this.isPaused);
    this.worker?.postMessage({ type: this.isPaused ? "pause" : "resume" });
  }

  toggleKept() {
    this.kept = this.kept ? null : this.curves();
    const button = document.getElementById("keep");
    button.setAttribute("aria-pressed", String(Boolean(this.kept)));
    button.textContent = this.kept ? "Forget the kept curves" : "Keep curves to compare";
    this.showKept();
    this.draw();
  }

  // The legend names the kept curves while there are some.
  showKept() {
    for (const item of document.querySelectorAll('[data-line^="kept"]')) item.hidden = !this.kept;
  }

  saveCsv() {
    const curves = this.curves();
    const names = Object.keys(curves);
    save(csv(names, curves.steps.map((_, k) => names.map((name) => curves[name][k]))), "lazyrich-play.csv");
  }

  recolor() {
    for (const chart of Object.values(this.charts)) chart.recolor();
  }
}

// What the curves come to: the steps at which they fall, and the peak of the test loss.
export function reading({ steps, train_loss: train, test_loss: test }) {
  const delay = grokkingDelay(steps, train, test);
  const before = steps.filter((step) => step <= delay.testStep).length;
  return { ...delay, peak: peak(steps.slice(0, before), test.slice(0, before)), start: test[0] };
}

export function sentence({ trainStep, testStep, isCensored, delay, peak: top, start }) {
  const rise = top && top.value > 1.01 * start ? ` The test loss rises to ${readable(top.value / start)} times its start at step ${readable(top.step)}.` : "";
  if (!Number.isFinite(trainStep)) return `The train loss is not at a tenth of its start yet.${rise}`;
  if (isCensored) return `Train falls to a tenth at step ${readable(trainStep)}, test not yet.${rise}`;
  return `Train falls to a tenth at step ${readable(trainStep)}, test at ${readable(testStep)}: a delay of ${readable(delay)} steps.${rise}`;
}

function isSame(one, other) {
  return Object.keys(defaults()).every((name) => JSON.stringify(one[name]) === JSON.stringify(other[name]));
}

// What computes the same run with the library; noise and infinite width are the page's own.
export function command(settings) {
  const words = [];
  const names = ["alpha", "epsilon", "dim", "n_train", "width", "weight_scale", "learning_rate", "momentum", "seed", "n_steps"];
  if (settings.width === Infinity || settings.noise > 0) return "not there: infinite width and label noise are this page's own";
  for (const name of names) words.push(`--set ${name}=${settings[name]}`);
  words.push("--set precision=float64");
  if (!settings.center) words.push("--set center=false");
  if (settings.keys) {
    const [input, test, target, weight] = settings.keys;
    words.push(`--set 'printed={"input_key":${input},"test_key":${test},"target_keys":[${target}],"weight_keys":[${weight}]}'`);
  }
  return `lazyrich train committee ${words.join(" ")}`;
}
