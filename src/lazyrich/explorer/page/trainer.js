// "Train now": the local server trains in a process of its own, and the curve comes in pieces.

import { Chart, legend } from "./charts.js";
import { readable } from "./state.js";

const ASK_MS = 300;
const LINES = [
  { name: "train_loss", label: "train", color: "--train", width: 2.5 },
  { name: "test_loss", label: "test", color: "--test", width: 2.5 },
];

export class Trainer {
  constructor(source) {
    this.source = source;
    this.job = null;
    document.getElementById("train").addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    document.getElementById("train-stop").addEventListener("click", () => this.stop());
  }

  fill() {
    if (!this.source.canTrain) return;
    document.getElementById("train-preset").replaceChildren(...this.source.presets.map((name) => new Option(name, name, false, name === "committee")));
  }

  async start() {
    this.say("Starting …");
    this.setRunning(true);
    try {
      const { job } = await this.source.train(document.getElementById("train-preset").value, document.getElementById("train-changes").value);
      this.job = job;
      this.records = [];
      document.getElementById("train-figure").hidden = false;
      this.makeChart();
      await this.follow(job);
    } catch (error) {
      this.say(`${error.message}`);
    }
    this.job = null;
    this.setRunning(false);
  }

  makeChart() {
    if (this.chart) return;
    const place = document.getElementById("train-chart");
    place.before(legend(LINES));
    this.chart = new Chart(place, { title: "The run in progress", lines: LINES });
  }

  // Ask until it is over; nothing is asked while nothing is trained.
  async follow(job) {
    for (;;) {
      const found = await this.source.progress(job, this.records.length);
      this.records.push(...found.records);
      this.draw();
      const last = this.records[this.records.length - 1];
      const where = last ? `step ${readable(last.step)}, train ${readable(last.train_loss)}, test ${readable(last.test_loss)}` : "compiling";
      this.say(found.state === "failed" ? found.error : `${{ running: "Training", done: "Finished", stopped: "Stopped" }[found.state]}: ${where}.`, found.state !== "running");
      if (found.state !== "running") return;
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }

  draw() {
    const steps = this.records.map((one) => one.step);
    this.chart.draw(steps, Object.fromEntries(LINES.map(({ name }) => [name, this.records.map((one) => one[name])])));
  }

  async stop() {
    if (this.job === null) return;
    try {
      await this.source.stop(this.job);
    } catch (error) {
      this.say(error.message);
    }
  }

  setRunning(isRunning) {
    document.getElementById("train-start").disabled = isRunning;
    document.getElementById("train-stop").disabled = !isRunning;
  }

  // Screen readers read out the summary: it changes with the state and not with every number.
  say(text, isSummary = true) {
    document.getElementById("train-reading").textContent = text;
    if (isSummary) document.getElementById("train-summary").textContent = text;
  }

  recolor() {
    this.chart?.recolor();
  }
}
