// The state of the page as it stands in its address, and the ranges of the sliders.

import { SLIDERS } from "./constants.js";

export const VIEWS = ["play", "map", "runs", "learn"];
const ORDER = Object.keys(SLIDERS);

export function defaults() {
  const settings = Object.fromEntries(ORDER.map((name) => [name, SLIDERS[name].start]));
  return { ...settings, center: true, keys: null };
}

// The settings as near to the given ones as the sliders can be.
export function clamped(given) {
  const settings = { ...defaults(), ...given };
  for (const name of ORDER) {
    const { low, high, start, scale } = SLIDERS[name];
    if (name === "width" && settings.width === Infinity) continue;
    let value = Number(settings[name]);
    if (!Number.isFinite(value)) value = start;
    value = Math.min(high, Math.max(low, value));
    settings[name] = ["whole", "logwhole", "width", "ratio"].includes(scale) ? Math.round(value) : value;
  }
  const [low, high] = SLIDERS.n_train.ratios;
  settings.n_train = Math.min(
    Math.floor(high * settings.dim), Math.max(Math.ceil(low * settings.dim), settings.n_train));
  settings.center = settings.center !== false;
  if (settings.keys) {
    Object.assign(settings, { seed: 0, noise: 0 });
    if (settings.width === Infinity) settings.keys = null;
  }
  return settings;
}

// From the part of the address after #: the view, the settings, other words, and what was wrong.
export function readState(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const given = {};
  const problems = [];
  for (const [name, text] of words) {
    if (name in SLIDERS) readNumber(name, text, given, problems);
    else if (name === "center") given.center = text !== "0";
    else if (name === "keys") readKeys(text, given, problems);
  }
  const settings = clamped(given);
  for (const name of ORDER) {
    if (name in given && !sameNumber(given[name], settings[name])) {
      problems.push(`${name} = ${given[name]} is out of range; ${settings[name]} is shown`);
    }
  }
  const view = VIEWS.includes(words.get("view")) ? words.get("view") : "play";
  if (words.get("view") && words.get("view") !== view) problems.push(`There is no view ${JSON.stringify(words.get("view").slice(0, 20))}`);
  const step = Number(words.get("step"));
  return { view, settings, problems, step: Number.isInteger(step) ? step : 0, words };
}

function sameNumber(one, other) {
  return one === other || Math.abs(one - other) <= 1e-9 * Math.abs(one);
}

function readNumber(name, text, given, problems) {
  if (name === "width" && text === "inf") {
    given.width = Infinity;
    return;
  }
  const value = text.trim() === "" ? NaN : Number(text);
  if (Number.isFinite(value)) given[name] = value;
  else problems.push(`${name} = ${JSON.stringify(text.slice(0, 20))} is not a number`);
}

function readKeys(text, given, problems) {
  const keys = text.split("-").map(Number);
  const isSound = keys.length === 4 && keys.every((key) => Number.isInteger(key) && key >= 0 && key < 2 ** 32);
  if (isSound) given.keys = keys;
  else problems.push(`keys = ${JSON.stringify(text.slice(0, 20))} are not four whole numbers such as 0-1-2-0`);
}

// The address of a state: what differs from the start, in a fixed order.
export function writeState({ view, settings, step = 0, extra = {} }) {
  const start = defaults();
  const words = new URLSearchParams();
  words.set("view", view);
  for (const name of ORDER) {
    if (settings[name] === start[name]) continue;
    words.set(name, settings[name] === Infinity ? "inf" : String(Number(settings[name].toPrecision(12))));
  }
  if (!settings.center) words.set("center", "0");
  if (settings.keys) words.set("keys", settings.keys.join("-"));
  if (view === "learn" && step) words.set("step", String(step));
  for (const [name, value] of Object.entries(extra)) if (value) words.set(name, value);
  return `#${words}`;
}

// ------------------------------------------------------------------ sliders

// A slider's place, 0 to 1000, and the setting that it stands for.
export function placeOf(name, settings) {
  const { low, high, scale, ratios } = SLIDERS[name];
  const value = settings[name];
  if (scale === "log" || scale === "logwhole") return 1000 * share(value, low, high);
  if (scale === "ratio") return 1000 * share(value / settings.dim, ...ratios);
  if (scale === "width") return value === Infinity ? 1000 : 960 * share(value, low, high);
  return value;
}

export function valueAt(name, place, settings) {
  const { low, high, scale, ratios } = SLIDERS[name];
  if (scale === "log") return Number((low * (high / low) ** (place / 1000)).toPrecision(3));
  if (scale === "logwhole") return Math.round(Number((low * (high / low) ** (place / 1000)).toPrecision(2)));
  if (scale === "ratio") {
    const ratio = ratios[0] * (ratios[1] / ratios[0]) ** (place / 1000);
    return Math.round(ratio * settings.dim);
  }
  if (scale === "width") {
    return place > 980 ? Infinity : Math.min(high, Math.round(low * (high / low) ** (place / 960)));
  }
  return place;
}

function share(value, low, high) {
  return Math.log(value / low) / Math.log(high / low);
}

// A number for a reader: three digits, and thousands set apart.
export function readable(value) {
  if (value === Infinity) return "∞";
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size !== 0 && size < 0.001) return powerOfTen(value);
  return String(Number(value.toPrecision(3)));
}

function powerOfTen(value) {
  const [digits, power] = value.toExponential(2).split("e");
  const factor = Number(digits) === 1 ? "" : `${Number(digits)}·`;
  return `${factor}10${raised(Number(power))}`;
}

// A whole number as an exponent.
export function raised(power) {
  return String(power).replace("-", "⁻").replace(/[0-9]/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
}
