"use strict";
document.documentElement.classList.add("scripted");
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ------------------------------------------------------------------ tables that sort
const key = (row, column) => {
  const cell = row.cells[column];
  return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent.trim();
};
const compare = (a, b) => {
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return a === b ? 0 : a < b ? -1 : 1;
};
for (const table of all("table.sortable")) {
  const headings = all("thead th", table);
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const falls = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((one) => one.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    const isOpen = ([value]) => typeof value === "number" && Number.isNaN(value); // always last
    rows.sort((a, b) => (falls && !isOpen(a) && !isOpen(b) ? -1 : 1) * compare(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
  }));
}

// ------------------------------------------------------------------ the table that filters
const filters = document.querySelector(".filters");
const [byVerdict, byFigure, byWords] = ["by-verdict", "by-figure", "by-words"].map((id) => document.getElementById(id));
const rows = all("#all-claims tbody tr");
const filter = () => {
  const words = byWords.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const isShown = (!byVerdict.value || row.dataset.verdict.split("|").includes(byVerdict.value))
      && (!byFigure.value || row.dataset.figure === byFigure.value)
      && words.every((word) => text.includes(word));
    row.hidden = !isShown;
    n += isShown;
  }
  document.getElementById("shown").textContent = `${n} of ${rows.length} claims`;
};
filters.addEventListener("input", filter);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(filter));
for (const card of all(".card")) {
  card.addEventListener("click", () => {
    filters.reset();
    byVerdict.value = card.dataset.verdict;
    setTimeout(filter);
  });
}

// ------------------------------------------------------------------ pictures, enlarged
const viewer = document.getElementById("viewer");
const stage = viewer.querySelector(".stage");
const pictures = all(".picture img");
let current = 0;
const zoom = (isFull) => {
  stage.classList.toggle("full", isFull);
  viewer.querySelector('[data-do="zoom"]').setAttribute("aria-pressed", isFull);
};
const show = (index) => {
  current = (index + pictures.length) % pictures.length;
  const image = new Image();
  image.src = pictures[current].src;
  image.alt = pictures[current].alt;
  stage.replaceChildren(image);
  viewer.querySelector(".name").textContent = pictures[current].closest("section").querySelector("h2").textContent;
  zoom(false);
};
const actions = {
  previous: () => show(current - 1),
  next: () => show(current + 1),
  zoom: () => zoom(!stage.classList.contains("full")),
  close: () => viewer.close(),
};
pictures.forEach((image, index) => image.parentElement.addEventListener("click", () => {
  show(index);
  viewer.showModal();
  stage.focus();
}));
viewer.addEventListener("click", (event) => actions[event.target.dataset.do]?.());
stage.addEventListener("click", actions.zoom);
viewer.addEventListener("keydown", (event) => {
  const isFull = stage.classList.contains("full"); // then arrows scroll
  const action = { ArrowLeft: !isFull && "previous", ArrowRight: !isFull && "next", z: "zoom" }[event.key];
  if (action) actions[action]();
});
viewer.addEventListener("close", () => pictures[current].parentElement.focus());

// ------------------------------------------------------------------ commands to copy
if (navigator.clipboard) {
  for (const command of all(".command")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.setAttribute("aria-label", `copy the command ${command.textContent}`);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    command.after(button);
  }
}

// ------------------------------------------------------------------ the page to explore
let explorer = "";
for (const button of all(".explore")) {
  button.addEventListener("click", () => {
    const page = JSON.parse(document.getElementById("explorer").textContent);
    explorer ||= URL.createObjectURL(new Blob([page], { type: "text/html" }));
    open(explorer + button.dataset.state);
  });
}

// ------------------------------------------------------------------ print everything
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
