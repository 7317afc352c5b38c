// The third view: a table of runs with filters, curves of those that are selected, a diagnosis.

import { Chart, csv, legend, save } from "./charts.js";
import { diagnosisNodes } from "./diagnosis.js";
import { readable } from "./state.js";
import { hasLosses, joined, median, valuesOf } from "./source.js";
import { Trainer } from "./trainer.js";

const COLORS = ["--one", "--two", "--three", "--four", "--five", "--six"];
const DASHES = [undefined, [8, 4], [2, 3], [10, 3, 2, 3]];
const FACTS = [
  ["status", "status"], ["outcome", "outcome"], ["train_step", "train falls"], ["test_step", "test falls"],
  ["delay", "delay"], ["final_test", "final test"], ["seconds", "seconds"],
];
const MOST_LINES = 24;
const ROWS_AT_ONCE = 50; // in the table; a page of thousands of rows would be slow

export class Runs {
  constructor(source, { onChange }) {
    Object.assign(this, { source, onChange, chosen: new Set(), quantity: "test_loss", filters: {} });
    this.chart = new Chart(document.getElementById("runs-chart"), { title: "Selected runs", lines: [] });
    this.trainer = new Trainer(source);
    const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
    on("runs-all", "click", () => this.choose(this.visible()));
    on("runs-none", "click", () => this.choose([]));
    on("runs-quantity", "change", (event) => { this.quantity = event.target.value; this.changed(); });
    on("runs-bands", "change", () => this.changed());
    on("runs-csv", "click", () => this.saveCsv());
    on("runs-png", "click", async () => save(await this.chart.png(), "lazyrich-runs.png"));
    on("runs-more", "click", () => { this.nListed += ROWS_AT_ONCE; this.list(); });
    on("filters", "submit", (event) => event.preventDefault());
  }

  fill() {
    const found = this.source.document;
    document.getElementById("train").hidden = !this.source.canTrain;
    document.getElementById("runs-about").textContent = found.runs.length || found.diagnosis
      ? `${found.title.replaceAll(" = ", "\u00a0=\u00a0")}.`
      : "There are no stored runs. Open some: lazyrich explore STORE, the folder of lazyrich train, or a diagnosis.";
    document.getElementById("diagnosis").replaceChildren(...(found.diagnosis ? diagnosisNodes(found.diagnosis) : []));
    document.getElementById("stored").hidden = !found.runs.length;
    this.trainer.fill();
    if (!found.runs.length) return;
    this.names = Object.keys(found.settings);
    const names = Object.keys(found.quantities);
    if (!names.includes(this.quantity)) this.quantity = names[0];
    document.getElementById("runs-quantity").replaceChildren(...names.map((name) => new Option(`${name.replaceAll("_", " ")} (${found.quantities[name]})`, name)));
    const common = Object.entries(found.common).map(([name, value]) => `${name} = ${typeof value === "string" ? value : JSON.stringify(value)}`);
    document.getElementById("runs-common").textContent = common.length ? `Equal in all runs: ${common.join(", ")}.` : "";
    this.makeFilters();
    this.makeTable();
    this.choose(found.runs.map((_, k) => k).slice(0, Math.min(6, found.runs.length)), false);
  }

  makeFilters() {
    const { settings, runs } = this.source.document;
    const form = document.getElementById("filters");
    const fields = this.names.filter((name) => valuesOf(settings[name]).length > 1).slice(0, 8).map((name) => this.filterField(name, settings[name]));
    fields.push(this.filterField("status", runs.map((run) => run.status)), this.filterField("outcome", runs.map((run) => run.outcome)));
    const label = document.createElement("label");
    label.className = "grow";
    const words = document.createElement("input");
    Object.assign(words, { type: "text", id: "filter-words", autocomplete: "off", maxLength: 200 });
    words.addEventListener("input", () => this.filterByHand());
    label.append("Words, or conditions such as alpha>=1", words);
    form.replaceChildren(...fields, label);
  }

  filterField(name, column) {
    const label = document.createElement("label");
    const field = document.createElement("select");
    field.id = `filter-${name}`;
    field.append(new Option("all", ""), ...valuesOf(column).slice(0, 200).map((value) => new Option(String(value), JSON.stringify(value))));
    field.addEventListener("change", () => this.filterByHand());
    label.append(name, field);
    this.filters[name] = { field, column };
    return label;
  }

  makeTable() {
    const { settings, runs } = this.source.document;
    const head = document.createElement("thead");
    const line = head.insertRow();
    const cell = document.createElement("th");
    cell.append("shown");
    line.append(cell);
    this.columns = [...this.names.map((name) => [name, name, (k) => settings[name][k]]), ...FACTS.map(([name, title]) => [name, title, (k) => runs[k][name]])];
    for (const [, title, value] of this.columns) {
      const heading = document.createElement("th");
      heading.scope = "col";
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: title });
      button.addEventListener("click", () => this.sort(heading, value));
      heading.append(button);
      line.append(heading);
    }
    this.rows = runs.map((_, k) => this.makeRow(k));
    this.order = runs.map((_, k) => k);
    document.getElementById("runs-table").replaceChildren(head, document.createElement("tbody"));
    this.filter();
  }

  makeRow(k) {
    const row = document.createElement("tr");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", ariaLabel: `show run ${k + 1}` });
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(k);
      else this.chosen.delete(k);
      this.changed();
    });
    row.insertCell().append(box);
    const texts = this.columns.map(([name, , value]) => textOf(name, value(k), this.source.document.runs[k]));
    for (const text of texts) row.insertCell().textContent = text;
    if (this.source.document.runs[k].error) row.title = this.source.document.runs[k].error;
    return { row, box, words: texts.join(" ").toLowerCase(), isShown: true };
  }

  filterByHand() {
    this.filter();
    this.onChange();
  }

  // Which rows fit the fields and the words; rows are made once.
  filter() {
    const active = Object.values(this.filters).filter(({ field }) => field.value);
    const parts = (document.getElementById("filter-words")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const tests = parts.map((part) => this.testOf(part));
    this.rows.forEach((one, k) => {
      one.isShown = active.every(({ field, column }) => JSON.stringify(column[k]) === field.value) && tests.every((test) => test(k, one));
    });
    this.nListed = ROWS_AT_ONCE;
    this.list();
  }

  // The first of the rows that fit, in the order of the table.
  list() {
    const shown = this.visible();
    document.querySelector("#runs-table tbody").replaceChildren(...shown.slice(0, this.nListed).map((k) => this.rows[k].row));
    document.getElementById("runs-count").textContent = `${shown.length} of ${this.rows.length} run${this.rows.length === 1 ? "" : "s"}`;
    document.getElementById("runs-more").hidden = shown.length <= this.nListed;
  }

  testOf(part) {
    const match = /^([^<>=!]+)(>=|<=|!=|=|<|>)(.+)$/.exec(part);
    const column = match && this.columns.find(([name]) => name.toLowerCase() === match[1]);
    if (!column) return (k, { words }) => words.includes(part);
    const [name, , value] = column;
    const wanted = Number(match[3]);
    const isNumber = !Number.isNaN(wanted);
    return (k) => {
      const found = value(k);
      // A missing value is neither above nor below a number; it equals its text in the table.
      if (found === null || found === undefined) {
        const isShown = textOf(name, found, this.source.document.runs[k]) === match[3];
        return { "=": isShown, "!=": !isShown }[match[2]] ?? false;
      }
      const [a, b] = isNumber && typeof found === "number" ? [found, wanted] : [String(found).toLowerCase(), match[3]];
      return { ">=": a >= b, "<=": a <= b, "!=": a !== b, "=": a === b, "<": a < b, ">": a > b }[match[2]];
    };
  }

  sort(heading, value) {
    const falls = heading.getAttribute("aria-sort") === "ascending";
    for (const one of heading.parentElement.cells) one.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    this.order.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // always last
      const by = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return (falls ? -by : by) || a - b;
    });
    this.list();
  }

  visible() {
    return this.order.filter((k) => this.rows[k].isShown);
  }

  choose(numbers, isByHand = true) {
    this.chosen = new Set(numbers);
    this.rows.forEach(({ box }, k) => { box.checked = this.chosen.has(k); });
    if (isByHand) this.changed();
    else this.draw();
  }

  changed() {
    this.draw();
    this.onChange();
  }

  // The curves of some runs; null, with the reason in the caption, if they cannot be fetched.
  async curvesOf(numbers) {
    try {
      return await this.source.curvesOf(numbers);
    } catch (error) {
      document.getElementById("runs-caption").textContent = error.message;
      return null;
    }
  }

  async draw() {
    if (!this.source.document.runs.length) return;
    const numbers = [...this.chosen].sort((a, b) => a - b).slice(0, MOST_LINES);
    const request = (this.request = {});
    document.getElementById("runs-quantity").value = this.quantity;
    const curves = await this.curvesOf(numbers);
    if (!curves) return;
    if (request !== this.request) return;
    const isBanded = document.getElementById("runs-bands").checked;
    const groups = isBanded ? this.groups(numbers) : numbers.map((number) => [number]);
    const { steps, rows } = joined(curves, this.quantity);
    const { lines, bands, data } = this.linesOf(groups, numbers, rows);
    this.chart.isLog = this.quantity.endsWith("loss") || this.quantity.endsWith("term");
    this.chart.setLines(lines, bands);
    this.chart.draw(steps, data);
    const labelled = lines.filter((line) => line.label);
    document.querySelector("#runs figure > .legend")?.remove();
    document.getElementById("runs-chart").before(legend(labelled));
    const count = this.chosen.size > MOST_LINES ? `the first ${MOST_LINES} of ${this.chosen.size}` : numbers.length;
    document.getElementById("runs-caption").textContent = `${this.quantity.replaceAll("_", " ")} of ${count} selected run${this.chosen.size === 1 ? "" : "s"}${isBanded ? ": medians, and bands from the lowest to the highest seed" : ""}`;
    this.chart.say(labelled.map((line) => line.label).join("; "));
  }

  // Runs that differ in nothing but the seed.
  groups(numbers) {
    const { settings } = this.source.document;
    const found = new Map();
    for (const number of numbers) {
      const key = JSON.stringify(this.names.filter((name) => name !== "seed").map((name) => settings[name][number]));
      found.set(key, [...(found.get(key) ?? []), number]);
    }
    return [...found.values()];
  }

  linesOf(groups, numbers, rows) {
    const [lines, bands, data] = [[], [], {}];
    const row = new Map(numbers.map((number, k) => [number, rows[k]]));
    groups.forEach((group, g) => {
      const style = { color: COLORS[g % COLORS.length], dash: DASHES[Math.floor(g / COLORS.length) % DASHES.length] };
      const own = group.map((number) => row.get(number));
      const each = (f) => (own[0] ?? []).map((_, k) => f(own.map((one) => one[k]).filter((value) => value !== null)));
      if (group.length > 1) {
        data[`high${g}`] = each((values) => (values.length ? Math.max(...values) : null));
        data[`low${g}`] = each((values) => (values.length ? Math.min(...values) : null));
        lines.push({ name: `high${g}`, width: 0, ...style }, { name: `low${g}`, width: 0, ...style });
        const fill = `color-mix(in srgb, ${getComputedStyle(document.documentElement).getPropertyValue(style.color)} 22%, transparent)`;
        bands.push({ series: [lines.length - 1, lines.length], fill });
      }
      data[`line${g}`] = each(median);
      lines.push({ name: `line${g}`, label: this.labelOf(group), width: 2, ...style });
    });
    return { lines, bands, data };
  }

  labelOf(group) {
    const { settings } = this.source.document;
    const names = this.names.filter((name) => group.length === 1 || name !== "seed");
    const words = names.slice(0, 4).map((name) => `${name} ${textOf(name, settings[name][group[0]], {})}`);
    return [...(words.length ? words : ["the run"]), ...(group.length > 1 ? [`${group.length} seeds`] : [])].join(", ");
  }

  async saveCsv() {
    const numbers = [...this.chosen].sort((a, b) => a - b);
    const curves = await this.curvesOf(numbers);
    if (!curves) return;
    const { settings, quantities } = this.source.document;
    const names = Object.keys(quantities);
    const rows = curves.flatMap((one, k) => one.steps.map((step, at) => [...this.names.map((name) => settings[name][numbers[k]]), step, ...names.map((name) => one.values[name]?.[at])]));
    save(csv([...this.names, "step", ...names], rows), "lazyrich-runs.csv");
  }

  state() {
    if (!this.rows) return {};
    const filters = Object.entries(this.filters).map(([name, { field }]) => [`only-${name}`, field.value]);
    return {
      ...Object.fromEntries(filters),
      find: document.getElementById("filter-words").value,
      curve: this.quantity,
      selected: [...this.chosen].sort((a, b) => a - b).slice(0, MOST_LINES).join("-"),
      bands: document.getElementById("runs-bands").checked ? "1" : "",
    };
  }

  restore(words) {
    if (!this.rows) return;
    if (Object.hasOwn(this.source.document.quantities, words.get("curve") ?? "")) this.quantity = words.get("curve");
    document.getElementById("runs-bands").checked = words.get("bands") === "1";
    document.getElementById("filter-words").value = (words.get("find") ?? "").slice(0, 200);
    for (const [name, { field }] of Object.entries(this.filters)) {
      field.value = words.get(`only-${name}`) ?? "";
      if (field.selectedIndex < 0) field.value = "";
    }
    this.filter();
    const numbers = (words.get("selected") ?? "").split("-").filter(Boolean).map(Number);
    const sound = numbers.filter((number) => Number.isInteger(number) && number >= 0 && number < this.rows.length);
    this.choose(words.has("selected") ? sound : [...this.chosen], false);
  }

  recolor() {
    this.trainer.recolor();
    if (this.rows) this.draw();
  }
}

// A value of a run as text; "never" stands for a recorded loss that did not fall.
function textOf(name, value, run) {
  if (value === null || value === undefined) {
    return ["train_step", "test_step", "delay"].includes(name) && hasLosses(run) ? "never" : "–";
  }
  if (typeof value === "number") return Number.isInteger(value) && Math.abs(value) < 1e15 ? value.toLocaleString("en") : readable(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}
