// The page: which view is shown, and the state in the address.

import { Learn } from "./learn.js";
import { MapView } from "./map.js";
import { Play } from "./play.js";
import { Runs } from "./runs.js";
import { Source } from "./source.js";
import { clamped, defaults, readState, writeState } from "./state.js";

const WRITE_MS = 250; // browsers refuse more than some writes a second

class App {
  constructor() {
    this.play = new Play({ onChange: () => this.write() });
    this.learn = new Learn({ onOpen: (number) => this.openLesson(number) });
    this.source = new Source();
    this.map = new MapView(this.source, { onChange: () => this.write() });
    this.runs = new Runs(this.source, { onChange: () => this.write() });
    addEventListener("hashchange", () => this.read());
    addEventListener("popstate", () => this.read());
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("main").focus();
    });
    for (const link of document.querySelectorAll("nav a")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.go(link.dataset.view);
      });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolor());
    this.source.load().then(() => {
      this.map.fill();
      this.runs.fill();
      this.isFilled = true;
      this.read();
    }, (error) => this.complain([error.message]));
    this.read();
  }

  go(view) {
    this.flush();
    this.view = view;
    history.pushState(null, "", this.address());
    this.last = location.hash;
    if (view === "learn") this.openLesson(this.learn.number);
    this.show();
    document.getElementById(`${view}-title`).scrollIntoView({ block: "nearest" });
  }

  address() {
    const { view, play: { settings }, learn: { number } } = this;
    const extra = view === "map" ? this.map.state() : view === "runs" ? this.runs.state() : {};
    const kept = view === "play" || view === "learn" ? settings : defaults();
    return writeState({ view, settings: kept, step: number, extra });
  }

  // The settings go into the address a little later, so that a slider can be dragged.
  write() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), WRITE_MS);
  }

  flush() {
    clearTimeout(this.timer);
    if (!this.view) return;
    history.replaceState(null, "", this.address());
    this.last = location.hash;
  }

  read() {
    if (this.last === location.hash && this.view && !this.isWaiting) return;
    this.last = location.hash;
    const { view, settings, problems, step, words } = readState(location.hash);
    this.view = view;
    this.isWaiting = !this.isFilled && (view === "map" || view === "runs");
    this.complain(problems);
    if (view === "learn") {
      this.learn.open(step || 1);
      const isPlain = JSON.stringify(settings) === JSON.stringify(defaults());
      this.play.set(isPlain ? { ...defaults(), ...this.learn.settings } : settings);
    } else if (view === "play") {
      this.play.set(settings);
    } else if (this.isFilled) {
      (view === "map" ? this.map : this.runs).restore(words);
    }
    this.show();
  }

  openLesson(number) {
    this.learn.open(number);
    this.play.set(clamped({ ...defaults(), ...this.learn.settings }));
    this.write();
  }

  show() {
    const isPlaying = this.view === "play" || this.view === "learn";
    document.getElementById("learn").hidden = this.view !== "learn";
    document.getElementById("play").hidden = !isPlaying;
    document.getElementById("map").hidden = this.view !== "map";
    document.getElementById("runs").hidden = this.view !== "runs";
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.view === this.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!isPlaying) this.play.leave();
    else if (!this.play.worker) this.play.start();
  }

  complain(problems) {
    const place = document.getElementById("problems");
    place.hidden = !problems.length;
    place.textContent = problems.map((one) => `${one.replace(/\.$/, "")}.`).join(" ");
  }

  recolor() {
    for (const part of [this.play, this.map, this.runs]) part.recolor();
  }
}

globalThis.lazyrichExplorer = new App();
