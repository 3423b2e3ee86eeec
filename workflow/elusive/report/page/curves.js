// The distribution over items of the correlations, and mean scores against compute.
const curves = read("curves");
const LEVELS = curves.levels;
const quantiles = bytes(curves.data, "i2");
const curveOf = (b, f, s) => {
  const start = ((b * curves.families.length + f) * curves.series.length + s) * LEVELS;
  return quantiles[start] === -32768 ? null : quantiles.subarray(start, start + LEVELS);
};
const seriesAt = (method, metric) => curves.series.findIndex(s => s.method === method && s.metric === metric);
// P(C > c) as corners of steps: see drawings.survival_points.
const survival = curve => {
  const points = [[-1, 1]];
  let last = null;
  for (let k = 0; k < LEVELS; k++) {
    if (k && curve[k] === curve[k - 1]) continue;
    let end = k;
    while (end + 1 < LEVELS && curve[end + 1] === curve[k]) end++;
    const above = (LEVELS - 1 - end) / (LEVELS - 1);
    if (above !== last) points.push([curve[k] / curves.scale, above]);
    last = above;
  }
  points.push([1, points.at(-1)[0] < 1 ? points.at(-1)[1] : 0]);
  return points;
};
const shareAbove = (curve, c) => {
  let count = 0;
  for (let k = 1; k < LEVELS; k++) if (curve[k] > c * curves.scale + 0.5) count++;
  return count / (LEVELS - 1);
};
// The distribution by chance: P(C > c) at values of c.
const chanceAt = (found, c) => {
  const at = c * curves.scale, k = found.c.findLastIndex(value => value <= at + 0.5);
  if (k < 0) return 1;
  if (found.step || k === found.c.length - 1) return found.above[k] / curves.scale;
  const part = (at - found.c[k]) / (found.c[k + 1] - found.c[k]);
  return (found.above[k] + part * (found.above[k + 1] - found.above[k])) / curves.scale;
};
const chancePoints = found => [[-1, 1], ...found.c.map((c, k) => [c / curves.scale, found.above[k] / curves.scale])];
const METHODS = ["pearson", "spearman", "kendall"];
const METRIC_CLASS = Object.fromEntries(page.metrics.map((metric, i) => [metric.name, "c" + i]));
const capital = text => text[0].toUpperCase() + text.slice(1);

{
  const node = drawing("curves");
  const filters = document.getElementById("curves-filter");
  const selects = [];
  if (page.benchmarks.length > 1) selects.push(choice(filters, "benchmark", "benchmark", page.benchmarks.map(b => [b.name, b.label])));
  if (page.families.length > 1) selects.push(choice(filters, "family", "family", page.families.map(f => [f.name, f.label])));
  selects.push(choice(filters, "method", "method", METHODS.map(m => [m, capital(m)])));
  const ways = [["metrics", "metrics"], ["methods", "methods"]];
  if (page.families.length > 1) ways.splice(1, 0, ["families", "families"]);
  if (page.benchmarks.length > 1) ways.push(["benchmarks", "benchmarks"]);
  selects.push(choice(filters, "compare", "compare", ways));
  const metricSelect = choice(filters, "of", "metric", page.metrics.map(m => [m.name, m.label]));
  selects.push(metricSelect);
  const caption = document.getElementById("curves-caption"), get = document.getElementById("curves-get");

  const drawn = () => {
    const b = page.benchmarks.findIndex(one => one.name === benchmark());
    const f = curves.families.indexOf(family());
    const metric = state.metric || "log_p_vocab_correct", method = METHODS.includes(state.method) ? state.method : "spearman";
    const line = (text, className, b, f, method, metric) => {
      const s = seriesAt(method, method === "pearson" || metric !== "p_vocab_correct" ? metric : "log_p_vocab_correct");
      const at = b * curves.families.length + f;
      return { text, className, curve: s < 0 ? null : curveOf(b, f, s), undefined: curves.undefined[at * curves.series.length + s], items: curves.items[at], metric };
    };
    const where = `${benchmarkLabel(page.benchmarks[b].name)}, ${familyLabel(family())} (${curves.checkpoints[b * curves.families.length + f]} checkpoints)`;
    const found = {
      metrics: () => [page.seen[method].map(name => line(metricLabel(name), METRIC_CLASS[name], b, f, method, name)), `${where}, ${capital(method)}`],
      families: () => [curves.families.map((name, i) => line(familyLabel(name), "f" + i % 8, b, i, method, metric)), `${benchmarkLabel(page.benchmarks[b].name)}, ${metricLabel(metric)}, ${capital(method)}`],
      methods: () => [METHODS.map((name, i) => line(capital(name), "f" + i, b, f, name, metric)), `${where}, ${metricLabel(metric)}`],
      benchmarks: () => [page.benchmarks.map((one, i) => line(one.label, "f" + i % 8, i, f, method, metric)), `${familyLabel(family())}, ${metricLabel(metric)}, ${capital(method)}`],
    };
    const [lines, title] = (found[state.compare] ?? found.metrics)();
    return { lines: lines.filter(one => one.curve), title, method, compare: found[state.compare] ? state.compare : "metrics" };
  };

  const redraw = () => {
    const { lines, title, method, compare } = drawn();
    for (const select of selects)
      select.value = { benchmark: benchmark(), family: family(), method, compare, metric: state.metric || "log_p_vocab_correct" }[select.dataset.filter];
    metricSelect.parentElement.hidden = compare === "metrics";
    const panel = { title: "share of items with a correlation above c", height: 250, low: 0, high: 1, ticks: [0, 0.25, 0.5, 0.75, 1] };
    const plot = new Plot(node, [panel], { low: -1, high: 1, ticks: CORRELATIONS, title: "c" }, `Survival curves of correlations: ${title}. Arrow keys read values.`);
    const frame = plot.panels[0];
    const chance = curves.chance[family()]?.[method];
    if (chance && compare !== "methods" && compare !== "families") plot.line(frame, chancePoints(chance), "chance", chance.step);
    const paths = lines.map(one => plot.line(frame, survival(one.curve), one.className + (compare === "metrics" && state.metric && one.metric !== state.metric ? " faint" : ""), true));
    const legend = make("div", undefined, undefined, "legend");
    lines.forEach((one, i) => {
      const entry = make("span", "● " + one.text, legend, one.className);
      entry.addEventListener("pointerenter", () => paths.forEach((path, k) => path.classList.toggle("dim", k !== i)));
      entry.addEventListener("pointerleave", () => paths.forEach(path => path.classList.remove("dim")));
    });
    caption.replaceChildren(legend, make("div", title + (chance && compare !== "methods" && compare !== "families" ? ". Dotted: a score that has nothing to do with compute." : ".")));
    const missing = lines.filter(one => one.undefined);
    if (missing.length) make("div", "Items without a correlation are left out: " + missing.map(one => `${one.text} ${one.undefined.toLocaleString("en")} of ${one.items.toLocaleString("en")}`).join(", ") + ".", caption);
    plot.reads(201, k => {
      if (k < 0) return {};
      const c = -1 + k / 100;
      const values = lines.map(one => `${one.text}: ${(100 * shareAbove(one.curve, c)).toFixed(0)} %`);
      if (chance && compare !== "methods" && compare !== "families") values.push(`by chance: ${(100 * chanceAt(chance, c)).toFixed(0)} %`);
      return { text: `share above c = ${fixed(c, 2)}\n` + values.join("\n"), x: plot.px(c) };
    }, place => Math.round((plot.value(place.x) + 1) * 100));
    get.replaceChildren();
    button("CSV of these curves", get, "plain get-csv", () => save("curves", csv([["curve", "share", "correlation"],
      ...lines.flatMap(one => [...one.curve].map((value, k) => [one.text, (LEVELS - 1 - k) / (LEVELS - 1), value / curves.scale]))])));
    for (const [name, text] of [["survival", "figure"], ["methods", "by method"], ["densities", "densities"], ["by_family", "by family"]]) {
      const files = page.figures[`${name}/${benchmark()}`];
      if (!files) continue;
      get.append(" · ");
      make("a", `${text}`, get).href = files.gallery;
      get.append(" (");
      make("a", "PDF", get).href = files.pdf;
      get.append(", ");
      make("a", "data", get).href = files.csv;
      get.append(")");
    }
    get.append(" · ");
    make("a", "items of " + benchmarkLabel(benchmark()), get).href = address({}, "items");
  };
  redraw();
  redrawn.push(redraw);
  listeners.push(redraw);
}

// Mean scores: of checkpoints against compute.
const means = read("means");
const meanValues = bytes(means.data, "f4");
const meanOf = (b, m) => meanValues.subarray((b * means.metrics.length + m) * means.flops.length, (b * means.metrics.length + m + 1) * means.flops.length);
const memberPlaces = () => {
  const own = new Set(memberships[family()] ?? []);
  const all = means.models.map((_, i) => i);
  const found = all.filter(i => own.has(means.models[i] + "\0" + means.checkpoints[i]));
  return found.length ? found : all;
};
const memberships = Object.fromEntries(page.families.map(one => [one.name, (one.members ?? []).map(([model, checkpoint]) => model + "\0" + checkpoint)]));

const meanChart = (node, series, yTitle, b, level) => {
  const places = memberPlaces().filter(i => series.every(one => meanOf(b, one.m)[i] === meanOf(b, one.m)[i]));
  if (!places.length) return node.replaceChildren(make("p", "No mean score is known here.", undefined, "note"));
  const x = places.map(i => Math.log10(means.flops[i]));
  const every = series.flatMap(one => places.map(i => meanOf(b, one.m)[i])).concat(level === undefined ? [] : [level]);
  const pad = 0.06 * (Math.max(...every) - Math.min(...every) || 1);
  const [low, high] = [Math.min(...every) - pad, Math.max(...every) + pad];
  const panel = { title: yTitle, height: 220, low, high, ticks: ticks(low, high, 5) };
  const plot = new Plot(node, [panel], computeAxis(places.map(i => means.flops[i])), `${yTitle} on ${benchmarkLabel(page.benchmarks[b].name)} against compute. Arrow keys read values.`);
  const frame = plot.panels[0];
  if (level !== undefined) plot.level(frame, level);
  const models = places.map(i => means.models[i]);
  const runs = runsOf(models);
  const lines = [];
  series.forEach(one => {
    const values = places.map(i => meanOf(b, one.m)[i]);
    for (const run of runs) {
      const path = plot.line(frame, run.map(i => [x[i], values[i]]), one.className + (runs.length > 1 ? " faint" : ""));
      if (path) lines.push([path, models[run[0]]]);
    }
    plot.dots(frame, values.map((value, i) => [x[i], value]), one.className, MARKS[one.mark ?? 0]);
  });
  plot.reads(places.length, k => {
    for (const [path, model] of lines) path.style.opacity = k < 0 || runs.length < 2 ? "" : model === models[k] ? 1 : 0.12;
    if (k < 0) return {};
    const values = series.map(one => `${one.text}: ${minus(String(Number(meanOf(b, one.m)[places[k]].toPrecision(4))))}`);
    return { text: `${models[k]} ${means.checkpoints[places[k]]}\n${power(means.flops[places[k]])} FLOPs\n` + values.join("\n"), x: plot.px(x[k]) };
  }, place => {
    let best = Infinity, found = 0;
    x.forEach((at, i) => series.forEach(one => {
      const distance = (plot.px(at) - place.x) ** 2 + ((plot.y(frame, meanOf(b, one.m)[places[i]]) - place.y) / 3) ** 2;
      if (distance < best) [best, found] = [distance, i];
    }));
    return found;
  });
};

{
  const node = drawing("means"), caption = document.getElementById("means-caption"), filters = document.getElementById("means-filter");
  const names = means.metrics;
  const selects = [];
  if (page.benchmarks.length > 1) selects.push(choice(filters, "benchmark", "benchmark", page.benchmarks.map(b => [b.name, b.label])));
  if (page.families.length > 1) selects.push(choice(filters, "family", "family", page.families.map(f => [f.name, f.label])));
  const mean = choice(filters, "score", "mean", names.map(name => [name, metricLabel(name)]));
  const redraw = () => {
    const metric = names.includes(state.mean) ? state.mean : names.includes("accuracy") ? "accuracy" : names[0];
    for (const select of selects) select.value = select.dataset.filter === "benchmark" ? benchmark() : family();
    mean.value = metric;
    const b = page.benchmarks.findIndex(one => one.name === benchmark());
    const text = metric === "brier" ? "Brier score (less is better)" : metricLabel(metric);
    const guess = metric === "accuracy" || metric === "p_choices_correct" ? page.benchmarks[b].chance : undefined;
    meanChart(node, [{ m: names.indexOf(metric), className: METRIC_CLASS[metric] ?? "f0", text }], "mean " + text, b, guess);
    caption.textContent = `${benchmarkLabel(benchmark())}, ${familyLabel(family())}: mean ${text} over the items of every checkpoint.` + (guess === undefined ? "" : " Dashed: guessing.");
  };
  redraw();
  redrawn.push(redraw);
  listeners.push(redraw);
}

{
  const node = drawing("right-and-wrong");
  const [right, wrong] = ["log_p_vocab_correct", "log_p_vocab_incorrect"].map(name => means.metrics.indexOf(name));
  if (node && right >= 0 && wrong >= 0) {
    const filters = document.querySelector('[data-for="right-and-wrong"]');
    const select = page.benchmarks.length > 1 ? choice(filters, "benchmark", "benchmark", page.benchmarks.map(b => [b.name, b.label])) : null;
    const redraw = () => {
      const name = state.benchmark || page.shown;
      if (select) select.value = name;
      const b = page.benchmarks.findIndex(one => one.name === name);
      meanChart(node, [{ m: wrong, className: "wrong0", text: "all wrong choices together", mark: 1 }, { m: right, className: "right", text: "the right choice" }], "mean log-likelihood (nats)", b);
      const caption = node.parentElement.querySelector("figcaption");
      caption.replaceChildren(`${benchmarkLabel(name)}, ${familyLabel(family())}, mean over items: `);
      make("span", "● the right choice", caption, "right");
      caption.append(", ");
      make("span", "▲ all wrong choices together", caption, "wrong0");
      caption.append(" (log of their summed probability).");
    };
    redraw();
    redrawn.push(redraw);
    listeners.push(redraw);
  }
}
