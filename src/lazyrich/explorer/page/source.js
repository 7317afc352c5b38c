// Where stored runs come from: the page itself, or the server that it was opened from.

import { EMBEDDED, SERVER } from "./constants.js";

const MOST_RUNS_AT_ONCE = 200;
const MOST_KEPT = 600;

export class Source {
  constructor() {
    this.document = null;
    this.curves = new Map();
  }

  get isLoaded() {
    return this.document !== null;
  }

  get canTrain() {
    return Boolean(SERVER?.presets);
  }

  get presets() {
    return SERVER?.presets ?? [];
  }

  async load() {
    this.document = SERVER?.has_document ? await ask("api/document") : EMBEDDED ?? { kind: "nothing" };
    this.document.runs ??= [];
    this.document.settings ??= {};
    this.document.quantities ??= {};
    this.document.common ??= {};
  }

  // The curves of runs by number: { steps, values: { name: [...] } }.
  async curvesOf(numbers) {
    const missing = numbers.filter((number) => !this.curves.has(number));
    if (this.document.curves) {
      for (const number of missing) this.curves.set(number, this.document.curves[number]);
    } else {
      for (let k = 0; k < missing.length; k += MOST_RUNS_AT_ONCE) {
        const part = missing.slice(k, k + MOST_RUNS_AT_ONCE);
        const found = await ask(`api/curves?runs=${part.join(",")}`);
        part.forEach((number, at) => this.curves.set(number, found[at]));
      }
    }
    const result = numbers.map((number) => this.curves.get(number));
    // What was looked at long ago is forgotten: a page may stay open for days.
    for (const number of this.curves.keys()) {
      if (this.curves.size <= MOST_KEPT || numbers.includes(number)) break;
      this.curves.delete(number);
    }
    return result;
  }

  train(preset, changes) {
    return ask("api/train", { preset, changes });
  }

  progress(job, since) {
    return ask(`api/jobs/${job}?since=${since}`);
  }

  stop(job) {
    return ask(`api/jobs/${job}/stop`, {});
  }
}

// An answer of the server; what it refuses becomes an error with its sentence.
async function ask(path, content = null) {
  const options = content === null ? {} : {
    method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" },
  };
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error("The server does not answer; start `lazyrich explore` again");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

// ------------------------------------------------------------------ what runs have in common

// Whether a run recorded both losses, so that a step at which one falls can be missing.
export function hasLosses({ outcome }) {
  return outcome !== "–" && outcome !== undefined;
}

// The different values of a setting, in order.
export function valuesOf(column) {
  const found = new Map(column.map((value) => [JSON.stringify(value), value]));
  return [...found.values()].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
}

export function median(values) {
  const sorted = values.filter((value) => value !== null && !Number.isNaN(value)).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// The values of many runs at one set of steps; null where a run has no record.
export function joined(curves, name) {
  const steps = [...new Set(curves.flatMap((one) => one.steps))].sort((a, b) => a - b);
  const rows = curves.map((one) => {
    const at = new Map(one.steps.map((step, k) => [step, one.values[name]?.[k] ?? null]));
    return steps.map((step) => at.get(step) ?? null);
  });
  return { steps, rows };
}
