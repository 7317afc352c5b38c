// Curves over log steps with uPlot, in the page's own colours.

import { raised } from "./state.js";

/* global uPlot */

const START = 0.5; // where step 0 stands on the log axis

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const xOf = (steps) => steps.map((step) => (step > 0 ? step : START));

// One plot in `place`. `lines` are { name, label, color, dash, width, fill }; `isLog` is the y axis.
export class Chart {
  constructor(place, { title, lines, isLog = true, range = null }) {
    Object.assign(this, { place, title, lines, isLog, range, bands: [], data: [[], ...lines.map(() => [])] });
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", title);
    this.build();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(place);
  }

  build() {
    this.plot?.destroy();
    const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1, filter: decades }, ticks: { stroke: color("--line"), width: 1, filter: decades }, font: "12px system-ui, sans-serif" };
    const all = (_, ticks) => ticks;
    const linear = { grid: { ...axis.grid, filter: all }, ticks: { ...axis.ticks, filter: all } };
    const { width, height } = this.size();
    this.plot = new uPlot({
      width, height,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: false, distr: 3, range: (_, low, high) => [Math.min(low ?? START, 1), Math.max(high ?? 10, 10)] },
        y: this.isLog
          ? { distr: 3, range: (_, low, high) => logRange(low, high) }
          : { range: (_, low, high) => this.range ?? linearRange(low, high) },
      },
      axes: [
        { ...axis, filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map(stepText), label: "step", labelFont: axis.font, labelSize: 16, labelGap: -2, size: 30, space: 34 },
        { ...axis, ...(this.isLog ? {} : linear), values: (_, ticks) => ticks.map((tick) => tickText(tick, this.isLog)), size: 54 },
      ],
      series: [{}, ...this.lines.map((line) => ({
        label: line.label, stroke: color(line.color), width: line.width ?? 2, dash: line.dash,
        points: { show: false }, spanGaps: true, fill: line.fill,
      }))],
      bands: this.bands,
    }, this.data, this.place);
  }

  size() {
    return { width: Math.max(200, this.place.clientWidth), height: Math.max(150, this.place.clientHeight) };
  }

  resize() {
    const { width, height } = this.size();
    if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
  }

  // Steps, and for each line its values; on a log axis only what is above zero is drawn.
  draw(steps, curves) {
    const sound = (value) => (Number.isFinite(value) && (!this.isLog || value > 0) ? value : null);
    this.data = [xOf(steps), ...this.lines.map((line) => Array.from(curves[line.name] ?? steps.map(() => null), sound))];
    this.plot.setData(this.data);
  }

  setLines(lines, bands = []) {
    Object.assign(this, { lines, bands, data: [[], ...lines.map(() => [])] });
    this.build();
  }

  recolor() {
    this.build();
  }

  say(text) {
    this.place.setAttribute("aria-label", `${this.title}. ${text}`);
  }

  // The picture as a PNG file, on the page's ground.
  async png() {
    const source = this.plot.ctx.canvas;
    const canvas = document.createElement("canvas");
    const legend = 26 * devicePixelRatio;
    canvas.width = source.width;
    canvas.height = source.height + legend;
    const context = canvas.getContext("2d");
    context.fillStyle = color("--paper");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, legend);
    context.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
    let left = 10 * devicePixelRatio;
    for (const [k, line] of this.lines.entries()) {
      const isDrawn = this.data[k + 1].some((value) => value !== null);
      if (!line.label || !isDrawn || left > canvas.width) continue;
      context.fillStyle = color(line.color);
      context.fillText(`— ${line.label}`, left, 17 * devicePixelRatio);
      left += context.measureText(`— ${line.label}`).width + 16 * devicePixelRatio;
    }
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

function logRange(low, high) {
  if (!(low > 0)) return [0.1, 1];
  const floor = Math.max(low, high * 1e-9);
  return [roundedDown(floor / 1.1), high * 1.3];
}

// To one digit: from other starts uPlot's ticks would not meet the decades.
function roundedDown(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return Number((Math.max(1, Math.floor(value / decade)) * decade).toPrecision(1));
}

function linearRange(low, high) {
  if (low === null || !Number.isFinite(low)) return [0, 1];
  // Ticks closer than rounding would never end.
  const room = Math.max(0.06 * (high - low), 0.005 * Math.abs(high)) || 1;
  return [Math.min(low >= 0 ? Math.max(0, low - room) : low - room, low), high + room];
}

const isDecade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;

// Lines at decades alone: nine times as many say no more.
const decades = (_, ticks) => ticks.map((tick) => (tick !== null && isDecade(tick) ? tick : null));

function stepText(step) {
  if (step === START) return "0";
  if (step === null || !isDecade(step) || step < 1) return "";
  return step >= 1e6 ? `${step / 1e6}M` : step >= 1000 ? `${step / 1000}k` : String(step);
}

function tickText(tick, isLog) {
  if (tick === null || (isLog && !isDecade(tick))) return "";
  if (isLog && (tick < 0.001 || tick > 1e5)) return `10${raised(Math.round(Math.log10(tick)))}`;
  if (tick !== 0 && (Math.abs(tick) < 0.001 || Math.abs(tick) >= 1e5)) return tick.toExponential(0).replace("+", "");
  return String(Number(tick.toPrecision(4)));
}

// A legend of one's own, so that it can be read by a screen reader and wraps on a phone.
export function legend(lines) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const line of lines) {
    if (!line.label) continue;
    const item = document.createElement("li");
    item.dataset.line = line.name;
    const mark = document.createElement("i");
    mark.style.borderTopColor = `var(${line.color})`;
    mark.style.borderTopStyle = !line.dash ? "solid" : line.dash[0] < 4 ? "dotted" : "dashed";
    item.append(mark, line.label);
    list.append(item);
  }
  return list;
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function csv(header, rows) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return new Blob([[header, ...rows].map((row) => row.map(cell).join(",")).join("\n"), "\n"], { type: "text/csv" });
}
