// The second view: a quantity over two settings of a sweep, and the runs at a dot.

import { Chart, legend } from "./charts.js";
import { readable } from "./state.js";
import { hasLosses, joined, median, valuesOf } from "./source.js";

export const QUANTITIES = {
  delay: "delay: steps from the fall of the train loss to that of the test loss",
  ratio: "ratio of the two steps",
  test_step: "step at which the test loss falls to a tenth",
  train_step: "step at which the train loss falls to a tenth",
  final_test: "test loss at the end / first train loss",
  peak_test: "highest test loss / its start",
};
const CAN_BE_CENSORED = new Set(["delay", "ratio", "test_step", "train_step"]);
const MOST_CURVES = 12;
const SVG = "http://www.w3.org/2000/svg";

export class MapView {
  constructor(source, { onChange }) {
    Object.assign(this, { source, onChange, x: null, y: null, quantity: "delay", at: [0, 0], fixed: {} });
    this.lines = [
      { name: "train", label: "train", color: "--train" },
      { name: "test", label: "test", color: "--test" },
    ];
    const place = document.getElementById("map-chart");
    place.before(legend(this.lines));
    this.chart = new Chart(place, { title: "Losses of the runs at the dot", lines: this.lines });
  }

  fill() {
    const { document: found } = this.source;
    this.names = Object.keys(found.settings).filter((name) => valuesOf(found.settings[name]).length > 1);
    this.axes = this.names.filter((name) => name !== "seed");
    const about = document.getElementById("map-about");
    this.isEmpty = this.axes.length < 2;
    document.querySelector("#map .map").hidden = document.getElementById("map-form").hidden = this.isEmpty;
    about.textContent = this.isEmpty
      ? "A map needs runs that differ in two settings besides the seed. Open a store of such a sweep: lazyrich explore STORE."
      : `${found.title.replaceAll(" = ", "\u00a0=\u00a0")}. Drag the dot, or move it with the arrow keys; hatched cells are censored: the test loss has not fallen within the run.`;
    if (this.isEmpty) return;
    this.x = this.axes.includes("alpha") ? "alpha" : this.axes[0];
    this.y = this.axes.includes("epsilon") && this.x !== "epsilon" ? "epsilon" : this.axes.find((name) => name !== this.x);
    this.makeForm();
    this.at = [Math.floor(this.columns.length / 2), Math.floor(this.rows.length / 2)];
    this.draw();
  }

  get columns() {
    return valuesOf(this.source.document.settings[this.x]);
  }

  get rows() {
    return valuesOf(this.source.document.settings[this.y]);
  }

  makeForm() {
    const form = document.getElementById("map-form");
    const select = (name, title, options, value, act) => {
      const label = document.createElement("label");
      const field = document.createElement("select");
      field.id = `map-${name}`;
      for (const [key, text] of options) field.append(new Option(text, key, false, key === value));
      field.addEventListener("change", () => {
        act(field.value);
        this.makeForm();
        this.draw();
        this.onChange();
      });
      label.append(title, field);
      return label;
    };
    const axes = this.axes.map((name) => [name, name]);
    const others = this.axes.filter((name) => name !== this.x && name !== this.y);
    const focused = document.activeElement?.id;
    form.replaceChildren(
      select("x", "Across", axes, this.x, (name) => this.turn("x", "y", name)),
      select("y", "Up", axes, this.y, (name) => this.turn("y", "x", name)),
      select("quantity", "Colour", Object.entries(QUANTITIES), this.quantity, (name) => { this.quantity = name; }),
      ...others.map((name) => select(`of-${name}`, name, [["", "median over all"], ...valuesOf(this.source.document.settings[name]).map((value) => [JSON.stringify(value), String(value)])], this.fixed[name] ?? "", (value) => {
        if (value) this.fixed[name] = value;
        else delete this.fixed[name];
      })),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  turn(axis, other, name) {
    if (this[other] === name) this[other] = this[axis];
    this[axis] = name;
    delete this.fixed[this.x];
    delete this.fixed[this.y];
    this.at = [Math.min(this.at[0], this.columns.length - 1), Math.min(this.at[1], this.rows.length - 1)];
  }

  // The numbers of the runs in a cell.
  runsAt(column, row) {
    const { settings, runs } = this.source.document;
    const wanted = { ...this.fixed, [this.x]: JSON.stringify(this.columns[column]), [this.y]: JSON.stringify(this.rows[row]) };
    return runs.map((_, number) => number).filter((number) =>
      Object.entries(wanted).every(([name, value]) => JSON.stringify(settings[name][number]) === value));
  }

  // The median over the runs of a cell; censored runs are later than all others.
  cell(column, row) {
    const numbers = this.runsAt(column, row);
    if (!numbers.length) return { numbers, value: null, isCensored: false };
    const values = numbers.map((number) => {
      const run = this.source.document.runs[number];
      const value = run[this.quantity];
      return value === null && CAN_BE_CENSORED.has(this.quantity) && run.status === "ok" && hasLosses(run) ? Infinity : value;
    });
    const value = median(values);
    return { numbers, value: Number.isFinite(value) ? value : null, isCensored: value === Infinity };
  }

  draw() {
    if (this.isEmpty) return;
    const { columns, rows } = this;
    const size = { left: 64, top: 8, width: 560, height: Math.max(200, Math.min(420, rows.length * 60)), bottom: 44 };
    this.size = { ...size, w: (size.width - size.left - 8) / columns.length, h: size.height / rows.length };
    const svg = node("svg", { viewBox: `0 0 ${size.width} ${size.height + size.top + size.bottom}`, role: "group", "aria-label": `Map of ${this.quantity} over ${this.x} and ${this.y}` });
    svg.append(hatch());
    const cells = columns.map((_, i) => rows.map((__, j) => this.cell(i, j)));
    const known = cells.flat().map((one) => one.value).filter((value) => value !== null);
    const scale = scaleOf(known);
    columns.forEach((column, i) => rows.forEach((row, j) => svg.append(this.cellNode(i, j, cells[i][j], scale))));
    this.addTicks(svg);
    this.dot = node("circle", { r: 11, class: "dot", tabindex: 0, role: "slider", "aria-label": "Runs that are shown", "aria-valuemin": 0, "aria-valuemax": columns.length * rows.length - 1 });
    svg.append(this.dot);
    this.cells = cells;
    this.listen(svg);
    document.getElementById("map-grid").replaceChildren(svg);
    document.getElementById("map-caption").textContent = known.length
      ? `${QUANTITIES[this.quantity]}: ${readable(Math.min(...known))} (dark) to ${readable(Math.max(...known))} (bright)`
      : `${QUANTITIES[this.quantity]}: no run has it`;
    this.move(...this.at);
  }

  cellNode(i, j, { value, isCensored, numbers }, scale) {
    const { left, top, w, h, height } = this.size;
    const place = { x: left + i * w + 1, y: top + height - (j + 1) * h + 1, width: Math.max(1, w - 2), height: Math.max(1, h - 2), rx: 3 };
    const group = node("g", {});
    group.append(node("rect", { ...place, style: `fill: ${value === null ? "var(--none)" : scale(value)}` }));
    if (isCensored) group.append(node("rect", { ...place, fill: "url(#hatch)", class: "censored" }));
    const title = node("title", {});
    title.textContent = this.describe(i, j, { value, isCensored, numbers });
    group.append(title);
    return group;
  }

  describe(i, j, { value, isCensored, numbers }) {
    const what = isCensored ? "censored" : value !== null ? readable(value) : numbers.length ? "not recorded" : "no run";
    return `${this.x} = ${this.columns[i]}, ${this.y} = ${this.rows[j]}: ${this.quantity} ${what}${numbers.length > 1 ? `, median of ${numbers.length} runs` : ""}`;
  }

  addTicks(svg) {
    const { left, top, w, h, height, width } = this.size;
    const text = (content, place) => {
      const one = node("text", place);
      one.textContent = content;
      svg.append(one);
    };
    const every = Math.ceil(this.columns.length / 10);
    this.columns.forEach((value, i) => i % every || text(short(value), { x: left + (i + 0.5) * w, y: top + height + 18, "text-anchor": "middle" }));
    this.rows.forEach((value, j) => text(short(value), { x: left - 8, y: top + height - (j + 0.5) * h + 4, "text-anchor": "end" }));
    text(this.x, { class: "name", x: (left + width) / 2, y: top + height + 38, "text-anchor": "middle" });
    text(this.y, { class: "name", x: 14, y: top + height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${top + height / 2})` });
  }

  listen(svg) {
    const place = (event) => {
      const box = svg.getBoundingClientRect();
      const unit = this.size.width / box.width;
      const i = Math.floor(((event.clientX - box.left) * unit - this.size.left) / this.size.w);
      const j = Math.floor((this.size.top + this.size.height - (event.clientY - box.top) * unit) / this.size.h);
      this.move(Math.min(this.columns.length - 1, Math.max(0, i)), Math.min(this.rows.length - 1, Math.max(0, j)), true);
    };
    svg.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      this.isDragged = true;
      place(event);
      this.dot.focus();
    });
    svg.addEventListener("pointermove", (event) => this.isDragged && place(event));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { this.isDragged = false; });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [i, j] = this.at;
      this.move(Math.min(this.columns.length - 1, Math.max(0, i + step[0])), Math.min(this.rows.length - 1, Math.max(0, j + step[1])), true);
    });
  }

  move(i, j, isByHand = false) {
    if (isByHand && this.at[0] === i && this.at[1] === j) return;
    this.at = [i, j];
    const { left, top, w, h, height } = this.size;
    this.dot.setAttribute("cx", left + (i + 0.5) * w);
    this.dot.setAttribute("cy", top + height - (j + 0.5) * h);
    const cell = this.cells[i][j];
    this.dot.setAttribute("aria-valuenow", j * this.columns.length + i);
    this.dot.setAttribute("aria-valuetext", this.describe(i, j, cell));
    document.getElementById("map-run-caption").textContent = this.describe(i, j, cell);
    this.drawRuns(cell.numbers);
    if (isByHand) this.onChange();
  }

  async drawRuns(numbers) {
    this.shown = numbers;
    let curves;
    try {
      curves = await this.source.curvesOf(numbers.slice(0, MOST_CURVES));
    } catch (error) {
      document.getElementById("map-run-caption").textContent = error.message;
      return;
    }
    if (this.shown !== numbers) return;
    const names = ["train_loss", "test_loss"];
    const lines = curves.flatMap((_, k) => names.map((name) => ({ name: `${name}${k}`, color: name === "train_loss" ? "--train" : "--test", width: 1.8 })));
    const data = {};
    let steps = [];
    for (const name of names) {
      const found = joined(curves, name);
      steps = found.steps;
      found.rows.forEach((row, k) => { data[`${name}${k}`] = row; });
    }
    if (this.chart.lines.length !== lines.length) this.chart.setLines(lines);
    this.chart.draw(steps, data);
    this.chart.say(`${numbers.length} runs`);
  }

  state() {
    if (this.isEmpty) return {};
    const fixed = Object.entries(this.fixed).map(([name, value]) => [`of-${name}`, value]);
    return { x: this.x, y: this.y, colour: this.quantity, at: this.at.join("-"), ...Object.fromEntries(fixed) };
  }

  restore(words) {
    if (this.isEmpty) return;
    const [x, y] = [words.get("x"), words.get("y")];
    if (this.axes.includes(x) && this.axes.includes(y) && x !== y) Object.assign(this, { x, y });
    if (Object.hasOwn(QUANTITIES, words.get("colour"))) this.quantity = words.get("colour");
    this.fixed = {};
    for (const name of this.axes) {
      if (name === this.x || name === this.y) continue;
      const wanted = words.get(`of-${name}`);
      const values = valuesOf(this.source.document.settings[name]);
      if (values.some((value) => JSON.stringify(value) === wanted)) this.fixed[name] = wanted;
    }
    const [i, j] = (words.get("at") ?? "").split("-").map(Number);
    if (Number.isInteger(i) && i >= 0 && i < this.columns.length && Number.isInteger(j) && j >= 0 && j < this.rows.length) this.at = [i, j];
    this.at = [Math.min(this.at[0], this.columns.length - 1), Math.min(this.at[1], this.rows.length - 1)];
    this.makeForm();
    this.draw();
  }

  recolor() {
    this.chart.recolor();
    if (this.source.isLoaded && !this.isEmpty) this.draw();
  }
}

const node = (name, attributes) => {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
};

function short(value) {
  return typeof value === "number" ? readable(value) : String(value).slice(0, 12);
}

function hatch() {
  const pattern = node("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  pattern.append(node("line", { x1: 0, y1: 0, x2: 0, y2: 8, style: "stroke: var(--ink)", "stroke-width": 2.5 }));
  const defs = node("defs", {});
  defs.append(pattern);
  return defs;
}

// Five colours from dark to bright, by the logarithm where all values are above zero.
function scaleOf(values) {
  const isLog = values.every((value) => value > 0);
  const place = isLog ? Math.log : (value) => value;
  const [low, high] = [place(Math.min(...values)), place(Math.max(...values))];
  return (value) => {
    const at = high > low ? (4 * (place(value) - low)) / (high - low) : 2;
    const k = Math.min(3, Math.floor(at));
    const share = Math.round(100 * (at - k));
    return `color-mix(in oklab, var(--map${k + 1}) ${share}%, var(--map${k}))`;
  };
}
