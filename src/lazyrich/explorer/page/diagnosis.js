// A diagnosis (lazyrich.diagnosis) as nodes: verdict, numbers with intervals, advice.

import { readable } from "./state.js";

const element = (name, text, className) => {
  const found = document.createElement(name);
  if (text !== undefined) found.textContent = text;
  if (className) found.className = className;
  return found;
};

export function diagnosisNodes({ regime, reason, readings, advice, notes }) {
  const nodes = [element("p", `This network is ${regime}.`, "regime"), element("p", reason)];
  nodes.push(element("h3", "Measurements"), table(["measured", "value", "95 % interval", "null level"], Object.values(readings).map((one) => [
    one.title, readable(one.value),
    one.low === null || one.low === undefined ? "–" : `${readable(one.low)} to ${readable(one.high)}`,
    levelOf(one),
  ])));
  if (advice.length) {
    nodes.push(element("h3", "Causes, in the order in which to act"));
    for (const one of advice) {
      nodes.push(element("h4", one.cause), element("p", `${one.mechanism} ${one.evidence}`), element("p", `Change: ${one.knob}. Predicted effect: ${one.predicted_effect}`));
    }
  }
  if (notes.length) {
    const list = element("ul");
    list.append(...notes.map((note) => element("li", note)));
    nodes.push(element("h3", "Notes"), list);
  }
  return nodes;
}

function levelOf(one) {
  const found = Object.entries(one).filter(([name, value]) => name.startsWith("null") && typeof value === "number");
  return found.length ? found.map(([, value]) => readable(value)).join(" to ") : "–";
}

function table(head, rows) {
  const frame = element("div", undefined, "table");
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", "Measurements");
  const found = element("table");
  const line = found.createTHead().insertRow();
  for (const title of head) {
    const heading = element("th", title);
    heading.scope = "col";
    line.append(heading);
  }
  const body = found.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const text of row) tr.insertCell().textContent = text;
  }
  frame.append(found);
  return frame;
}
