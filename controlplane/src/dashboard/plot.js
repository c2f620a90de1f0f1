// A line over the last five minutes.

import { h, say, svg } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 72];
const POINTS = 150;

function number(value) {
  if (value === null || value === undefined) return "–";
  return value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

// Pieces of a line, one for each run of values that are known.
function outline(values, top) {
  let path = "";
  let isOpen = false;
  values.forEach((value, n) => {
    if (value === null) {
      isOpen = false;
      return;
    }
    const x = ((n + POINTS - values.length) / (POINTS - 1)) * WIDTH;
    const y = HEIGHT - 2 - (value / top) * (HEIGHT - 6);
    path += `${isOpen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    isOpen = true;
  });
  return path;
}

export class Plot {
  // `series`: [{name, label}], the first one is what the large figure says.
  constructor(title, unit, series) {
    this.title = title;
    this.unit = unit;
    this.series = series;
    this.figure = h("output", { class: "figure" }, "–");
    this.most = h("span", { class: "quiet most" });
    this.paths = series.map(({ name }) => svg("path", { class: `line ${name}`, fill: "none" }));
    this.picture = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
      svg("path", { class: "ground", d: `M0 ${HEIGHT - 2}H${WIDTH}` }),
      ...this.paths,
    );
    this.legend = series.length > 1 && series.map(({ name, label }) => h("span", { class: `legend ${name}` }, label));
    this.element = h(
      "figure",
      { class: "card plot" },
      h("figcaption", {}, h("span", {}, title), this.legend, this.most),
      h("p", {}, this.figure, h("span", { class: "quiet" }, ` ${unit}`)),
      this.picture,
      h("p", { class: "times quiet", "aria-hidden": "true" }, h("span", {}, "5 minutes ago"), h("span", {}, "now")),
    );
  }

  show(samples) {
    const lines = this.series.map(({ name }) => samples.map((sample) => sample[name]));
    const most = Math.max(0, ...lines.flat().filter((value) => value !== null));
    this.paths.forEach((path, n) => path.setAttribute("d", outline(lines[n], most || 1)));
    const last = number(lines[0].at(-1));
    say(this.figure, last);
    say(this.most, `at most ${number(most)}`);
    this.picture.setAttribute(
      "aria-label",
      `${this.title}: ${last} ${this.unit} now, at most ${number(most)} in the last five minutes`,
    );
  }
}
