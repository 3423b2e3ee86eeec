// What the charts share: scales, ticks, and a panel with axes that reads values at the pointer and by keys.
const ticks = (low, high, most) => {
  const raw = (high - low) / most, unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find(factor => factor * unit >= raw * (1 - 1e-9));
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
};
const powers = (low, high) => {
  let whole = [];
  for (let k = Math.ceil(low - 1e-9); k <= high + 1e-9; k++) whole.push(k);
  while (whole.length > 7) whole = whole.filter((_, i) => i % 2 === 0);
  if (whole.length >= 2) return whole.map(k => [k, "10" + raised(k)]);
  const found = [];
  for (let k = Math.floor(low); k <= high; k++)
    for (const factor of [1, 2, 5]) {
      const at = k + Math.log10(factor);
      if (at >= low && at <= high) found.push([at, (factor === 1 ? "" : factor + "·") + "10" + raised(k)]);
    }
  return found;
};
const CORRELATIONS = [[-1, "−1"], [-0.5, "−0.5"], [0, "0"], [0.5, "0.5"], [1, "1"]];
const round = value => value.toFixed(1);
const MARKS = [
  (x, y) => `M${round(x - 3)},${round(y)}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0`,
  (x, y) => `M${round(x)},${round(y - 3.6)}l3.6,6.4h-7.2z`,
  (x, y) => `M${round(x - 2.7)},${round(y - 2.7)}h5.4v5.4h-5.4z`,
  (x, y) => `M${round(x)},${round(y - 4)}l4,4l-4,4l-4,-4z`,
  (x, y) => `M${round(x)},${round(y + 3.6)}l3.6,-6.4h-7.2z`,
];

// An SVG as wide as its place, so that text is as large on a phone as on a desk.
// panels: [{title, height, low, high, ticks}]; x: {low, high, ticks, title}.
class Plot {
  constructor(node, panels, x, title, most = 720) {
    this.width = Math.min(most, Math.max(280, node.clientWidth || 560));
    this.left = 46;
    this.right = this.width - 26;
    this.x = x.high > x.low ? x : { ...x, low: x.low - 0.5, high: x.high + 0.5 };
    let top = 20;
    this.panels = panels.map(panel => {
      const found = { ...panel, top, bottom: top + panel.height };
      top += panel.height + 34;
      return found;
    });
    this.bottom = top - 34;
    this.height = this.bottom + 34;
    node.replaceChildren();
    this.svg = draw("svg", { viewBox: `0 0 ${this.width} ${this.height}`, class: "chart", role: "img", tabindex: 0, "aria-label": title }, node);
    for (const panel of this.panels) {
      draw("text", { x: this.left, y: panel.top - 7 }, this.svg, panel.title);
      for (const value of panel.ticks) {
        draw("path", { class: "grid", d: `M${this.left},${round(this.y(panel, value))}H${this.right}` }, this.svg);
        draw("text", { x: this.left - 5, y: round(this.y(panel, value) + 4), "text-anchor": "end" }, this.svg, minus(String(value)));
      }
      for (const [at] of x.ticks)
        draw("path", { class: "grid", d: `M${round(this.px(at))},${panel.top}V${panel.bottom}` }, this.svg);
      draw("rect", { class: "frame", x: this.left, y: panel.top, width: this.right - this.left, height: panel.height }, this.svg);
    }
    for (const [at, text] of x.ticks) draw("text", { x: round(this.px(at)), y: this.bottom + 16, "text-anchor": "middle" }, this.svg, text);
    draw("text", { x: this.right, y: this.bottom + 30, "text-anchor": "end" }, this.svg, x.title);
  }

  px(value) { return this.left + (value - this.x.low) / (this.x.high - this.x.low) * (this.right - this.left); }
  y(panel, value) { return panel.bottom - (value - panel.low) / ((panel.high - panel.low) || 1) * panel.height; }

  line(panel, points, className, step) {
    if (points.length < 2) return null;
    const places = points.map(([a, b]) => [round(this.px(a)), round(this.y(panel, b))]);
    const d = `M${places[0]}` + places.slice(1).map(([a, b]) => step ? `H${a}V${b}` : `L${a},${b}`).join("");
    return draw("path", { class: "line " + className, d }, this.svg);
  }

  dots(panel, points, className, mark = MARKS[0]) {
    return draw("path", { class: "dot " + className, d: points.map(([a, b]) => mark(this.px(a), this.y(panel, b))).join("") }, this.svg);
  }

  level(panel, value) {
    draw("path", { class: "level", d: `M${this.left},${round(this.y(panel, value))}H${this.right}` }, this.svg);
  }

  // Where in the SVG's units, and in which panel, a pointer is.
  at(event) {
    const box = this.svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * this.width, y = (event.clientY - box.top) / box.height * this.height;
    return { x, y, panel: this.panels.findIndex(panel => y <= panel.bottom + 17) };
  }

  value(x) { return this.x.low + (x - this.left) / (this.right - this.left) * (this.x.high - this.x.low); }

  // show(position) draws the reading at a position in 0 .. count - 1 and returns its text, near(place) finds the position.
  reads(count, show, near) {
    let at = -1;
    const guide = draw("path", { class: "guide", visibility: "hidden" }, this.svg);
    const go = (position, x, y) => {
      at = Math.min(count - 1, Math.max(0, position));
      const { text, x: line } = show(at);
      guide.setAttribute("d", `M${round(line)},${this.panels[0].top}V${this.bottom}`);
      guide.setAttribute("visibility", "visible");
      const box = this.svg.getBoundingClientRect();
      note(text, x ?? box.left + line / this.width * box.width, y ?? box.top + 30);
    };
    const leave = () => { at = -1; guide.setAttribute("visibility", "hidden"); unnote(); show(-1); };
    for (const kind of ["pointermove", "pointerdown"])
      this.svg.addEventListener(kind, event => go(near(this.at(event)), event.clientX, event.clientY));
    this.svg.addEventListener("pointerleave", leave);
    this.svg.addEventListener("blur", leave);
    this.svg.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") return leave();
      if (!step) return;
      event.preventDefault();
      go(at + step);
    });
  }
}

// Lines join a model's checkpoints; where each model has one, all of them. [[places of a line], ...] and whether several.
const runsOf = models => {
  const single = new Set(models).size === models.length;
  const runs = {};
  models.forEach((name, i) => (runs[single ? "" : name] ??= []).push(i));
  return Object.values(runs);
};
const computeAxis = flops => {
  const x = flops.map(Math.log10);
  const pad = 0.02 * (Math.max(...x) - Math.min(...x) || 1);
  const [low, high] = [Math.min(...x) - pad, Math.max(...x) + pad];
  return { low, high, ticks: powers(low, high), title: "training FLOPs" };
};
// Charts are drawn anew where their place has another width.
const redrawn = [];
let lastWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === lastWidth) return;
  lastWidth = innerWidth;
  for (const redraw of redrawn) redraw();
});
const drawing = name => document.querySelector(`[data-chart="${name}"]`);
