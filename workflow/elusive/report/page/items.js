// Items: a dot for every one, and in full the one that is chosen.
const GROUPS = { largest: "loses most", smallest: "loses least", kept: "keeps all" };
const letter = k => String.fromCharCode(65 + k % 26);
const choiceStyle = (gold, k) => {
  const number = k < gold ? k : k - 1;
  return k === gold ? { className: "right", mark: MARKS[0] } : { className: "wrong" + number % 5, mark: MARKS[1 + number % (MARKS.length - 1)] };
};
const longText = (parent, text, limit, end) => {
  if (text.length <= limit * 1.2) return parent.append(text);
  const cut = end ? "… " + text.slice(-limit) : text.slice(0, limit) + "… ";
  const shown = document.createTextNode(cut);
  const more = button("show all", undefined, "more-text", () => {
    const all = more.textContent === "show all";
    shown.data = all ? text : cut;
    more.textContent = all ? "show less" : "show all";
  });
  parent.append(shown, " ", more);
};

// The items of a benchmark are unpacked when they are first asked for.
const packs = {};
const itemsOf = name => packs[name] ??= inflate(document.getElementById("items-" + page.benchmarks.findIndex(one => one.name === name)).textContent).then(run => {
  run.cardAt = new Map(run.cards.map(card => [card.at, card]));
  run.place = new Map(run.items.map((item, i) => [item, i]));
  return run;
});

const itemChart = (parent, run, card) => {
  const members = run.families[family()]?.checkpoints ?? [];
  if (!members.length) return;
  const node = make("div", undefined, parent);
  const checkpoints = members.map(i => run.checkpoints[i]);
  const values = card.log_likelihood.map(column => members.map(i => column[i] / 100));
  const x = checkpoints.map(one => Math.log10(one.flops));
  const share = x.map((_, i) => {
    const peak = Math.max(...values.map(column => column[i]));
    const mass = values.map(column => Math.exp(column[i] - peak));
    return mass[card.gold] / mass.reduce((a, b) => a + b);
  });
  const every = values.flat(), pad = 0.06 * (Math.max(...every) - Math.min(...every) || 1);
  const [low, high] = [Math.min(...every) - pad, Math.max(...every) + pad];
  const panels = [
    { title: "log-likelihood (nats)", height: 180, low, high, ticks: ticks(low, high, 5) },
    { title: "p_choices of the right choice", height: 62, low: 0, high: 1, ticks: [0, 0.5, 1] },
  ];
  const count = card.choices.length;
  const plot = new Plot(node, panels, computeAxis(checkpoints.map(one => one.flops)), `Log-likelihood of the ${count} choices, and p_choices of the right one, against compute under ${x.length} checkpoints. Arrow keys read values.`, 560);
  const [upper, lower] = plot.panels;
  plot.level(lower, 1 / count);
  const models = checkpoints.map(one => one.model), runs = runsOf(models), lines = [];
  const add = (panel, column, { className, mark }) => {
    for (const run of runs) {
      const path = plot.line(panel, run.map(i => [x[i], column[i]]), className + (runs.length > 1 ? " faint" : ""));
      if (path) lines.push([path, models[run[0]]]);
    }
    plot.dots(panel, column.map((value, i) => [x[i], value]), className, mark);
  };
  const order = [...card.choices.keys()].sort((a, b) => (a === card.gold) - (b === card.gold));
  for (const k of order) add(upper, values[k], choiceStyle(card.gold, k));
  add(lower, share, choiceStyle(card.gold, card.gold));
  // Letters at the lines' ends, pushed apart.
  const ends = order.map(k => ({ k, y: plot.y(upper, values[k].at(-1)) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + 12); });
  const over = Math.max(0, (ends.at(-1)?.y ?? 0) - upper.bottom);
  for (const end of ends) draw("text", { x: plot.right + 5, y: round(end.y - over + 4), class: "tag " + choiceStyle(card.gold, end.k).className }, plot.svg, letter(end.k));
  plot.reads(x.length, k => {
    for (const [path, model] of lines) path.style.opacity = k < 0 || runs.length < 2 ? "" : model === models[k] ? 1 : 0.1;
    if (k < 0) return {};
    const text = values.map((column, c) => `${letter(c)} ${fixed(column[k], 2)}${c === card.gold ? " ✓" : ""}`).join("\n");
    return { text: `${models[k]} ${checkpoints[k].checkpoint}\n${power(checkpoints[k].flops)} FLOPs\n${text}\np_choices ${fixed(share[k], 3)}`, x: plot.px(x[k]) };
  }, at => {
    let best = Infinity, found = 0;
    x.forEach((value, i) => {
      const heights = at.panel === 1 ? [plot.y(lower, share[i])] : values.map(column => plot.y(upper, column[i]));
      for (const y of heights) {
        const distance = (plot.px(value) - at.x) ** 2 + ((y - at.y) / 3) ** 2;
        if (distance < best) [best, found] = [distance, i];
      }
    });
    return found;
  });
};

// Forecasts of single items: P(right) in percent at each target, and what the checkpoint with the most compute answers.
const percent = value => value < 1 ? "< 1 %" : value > 99 ? "> 99 %" : value + " %";
const foreseen = run => run.families[family()]?.foreseen ?? { targets: [] };
const forecastText = (run, position) => {
  const { targets, p_right, last } = foreseen(run);
  if (!targets.length) return "";
  const all = targets.map((target, i) => `${percent(p_right[i][position])} at “${target}”`).join(", ");
  const few = run.families[family()].checkpoints.length < 5 ? " Fewer than five checkpoints were learnt from." : "";
  return `P(right), forecast: ${all}; ${last[position] ? "right" : "wrong"} at the largest compute.${few}`;
};
// The items that are most likely to turn: of those wrong (or right) at the largest compute, by the chance of the other.
const TURNS = { right: "most likely to turn right", wrong: "most likely to turn wrong" };
const MOST_TURNS = 12;
const turning = run => {
  const [kind, number] = (state.turn ?? "").split("-"), { targets, p_right, last } = foreseen(run);
  if (!TURNS[kind] || !targets[number]) return null;
  const p = p_right[number], to = kind === "right" ? 1 : -1;
  const items = [...last.keys()].filter(i => last[i] === (to > 0 ? 0 : 1)).sort((a, b) => to * (p[b] - p[a]) || a - b);
  return { kind, target: targets[number], p, count: items.length, items: items.slice(0, MOST_TURNS) };
};

const showCard = (parent, run, position) => {
  parent.replaceChildren();
  const of = run.families[family()], card = run.cardAt.get(position);
  const article = make("article", undefined, parent, "item");
  const own = card?.families[family()];
  make("p", own ? own.title + "." : run.items[position], article, "item-title");
  const before = of?.before[position] ?? null, after = of?.after[position] ?? null;
  const about = [run.label, run.items[position], own?.group && GROUPS[own.group], card?.subject?.replaceAll("_", " "),
    `C ${known(before)} in log p_vocab, ${known(after)} in p_choices`,
    own && `${known(own.correlations.brier)} in −Brier, ${known(own.correlations.accuracy)} in accuracy`];
  make("p", about.filter(Boolean).join(" · "), article, "meta");
  const forecast = forecastText(run, position);
  if (forecast) make("p", forecast, article, "foreseen");
  if (!card) {
    make("p", `This page has ${run.cards.length} of the ${run.items.length} items of ${run.label} in full; this one is in items/${run.benchmark}.parquet and logprobs/*/*/${run.benchmark}.parquet.`, article, "note");
    return;
  }
  longText(make("div", undefined, article, "question"), card.question, 500, true);
  itemChart(article, run, card);
  const list = make("ol", undefined, article);
  card.choices.forEach((text, k) => {
    const line = make("li", undefined, list, k === card.gold ? "right" : "");
    make("span", letter(k), line, "letter " + choiceStyle(card.gold, k).className);
    longText(make("span", undefined, line), (k === card.gold ? "✓ " : "") + text, 220, false);
    make("span", "C " + known(own?.spearman[k] ?? null), line, "value");
  });
};

const scatter = (node, run, chosen, open) => {
  const of = run.families[family()];
  const points = run.items.map((_, i) => i).filter(i => of && of.before[i] !== null && of.after[i] !== null);
  const caption = document.getElementById("scatter-caption");
  const lost = points.filter(i => of.before[i] > of.after[i]).length;
  const full = run.cards.length < run.items.length ? ` Strong dots: the ${run.cards.length} that this page has in full.` : "";
  caption.textContent = points.length
    ? `${run.label}, ${familyLabel(family())}: ${points.length.toLocaleString("en")} items, ${lost.toLocaleString("en")} of them below the diagonal.${full}`
    : `${run.label}, ${familyLabel(family())}: no item has both correlations.`;
  const size = Math.min(430, Math.max(280, node.clientWidth || 420));
  const panel = { title: "C in p_choices (after)", height: size - 100, low: -1, high: 1, ticks: [-1, -0.5, 0, 0.5, 1] };
  const plot = new Plot(node, [panel], { low: -1, high: 1, ticks: CORRELATIONS, title: "C in log p_vocab (before)" },
    `${points.length} items of ${run.label} by their correlation with compute before and after the wrong choices enter. Arrow keys move from item to item, Enter opens one.`, 430);
  const frame = plot.panels[0];
  draw("path", { class: "level", d: `M${plot.left},${frame.bottom}L${plot.right},${frame.top}` }, plot.svg);
  const place = i => [plot.px(of.before[i]), plot.y(frame, of.after[i])];
  for (const [className, some] of [["cloud", points.filter(i => !run.cardAt.has(i))], ["cloud has", points.filter(i => run.cardAt.has(i))]])
    draw("path", { class: className, d: some.map(i => `M${place(i).map(round)}h0`).join("") }, plot.svg);
  const ring = draw("circle", { class: "picked", r: 6, visibility: "hidden" }, plot.svg);
  const ringAt = i => {
    const shown = i >= 0 && points.includes(i);
    ring.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) [ring.cx.baseVal.value, ring.cy.baseVal.value] = place(i);
  };
  ringAt(chosen);
  const order = [...points].sort((a, b) => of.before[a] - of.before[b] || of.after[a] - of.after[b]);
  let at = order.indexOf(chosen);
  const tell = (i, x, y) => {
    ringAt(i);
    const title = run.cardAt.get(i)?.families[family()].title;
    note(`${run.items[i]}\nC ${known(of.before[i])} → ${known(of.after[i])}${title ? "\n" + title : ""}`, x, y);
  };
  const nearest = event => {
    const spot = plot.at(event);
    let best = 400, found = -1;
    for (const i of points) {
      const [x, y] = place(i), distance = (x - spot.x) ** 2 + (y - spot.y) ** 2;
      if (distance < best) [best, found] = [distance, i];
    }
    return found;
  };
  plot.svg.style.cursor = "pointer";
  plot.svg.addEventListener("pointermove", event => {
    const i = nearest(event);
    if (i < 0) { unnote(); ringAt(chosen); } else tell(i, event.clientX, event.clientY);
  });
  plot.svg.addEventListener("pointerleave", () => { unnote(); ringAt(chosen); });
  plot.svg.addEventListener("blur", () => { unnote(); ringAt(chosen); });
  plot.svg.addEventListener("click", event => {
    const i = nearest(event);
    if (i >= 0) open(i);
  });
  plot.svg.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 10, ArrowDown: -10 }[event.key];
    if (event.key === "Enter" && at >= 0) return open(order[at], true);
    if (!step || !order.length) return;
    event.preventDefault();
    at = Math.min(order.length - 1, Math.max(0, at + step));
    const box = plot.svg.getBoundingClientRect(), [x, y] = place(order[at]);
    tell(order[at], box.left + x / plot.width * box.width, box.top + y / plot.height * box.height);
  });
};

{
  const filters = document.getElementById("items-filter"), cards = document.getElementById("item-cards"), node = drawing("scatter");
  const selects = [];
  if (page.benchmarks.length > 1) selects.push(choice(filters, "benchmark", "benchmark", page.benchmarks.map(b => [b.name, b.label])));
  if (page.families.length > 1) selects.push(choice(filters, "family", "family", page.families.map(f => [f.name, f.label])));
  const turns = choice(filters, "list", "turn", [["", "by what is lost"]]);
  const offerTurns = run => {
    const { targets } = foreseen(run);
    turns.parentElement.hidden = !targets.length;
    turns.querySelectorAll("optgroup").forEach(group => group.remove());
    targets.forEach((target, i) => {
      const group = make("optgroup", undefined, turns);
      group.label = "at “" + target + "”";
      for (const [kind, text] of Object.entries(TURNS)) make("option", text, group).value = `${kind}-${i}`;
    });
    turns.value = turning(run) ? state.turn : "";
  };
  const search = make("input", undefined, make("label", "find ", filters));
  search.type = "search";
  search.placeholder = "id or word";
  const list = make("div", undefined, undefined, undefined), holder = make("div");
  list.id = "item-list";
  cards.replaceChildren(list, holder);
  const current = () => state.benchmark || page.shown;
  let request = 0, chosen = -1;

  const open = (run, position, focus) => {
    chosen = position;
    state.item = run.items[position];
    if (run.benchmark !== current()) { change({ benchmark: run.benchmark }); return; }
    remember();
    showCard(holder, run, position);
    scatter(node, run, chosen, (i, keys) => open(run, i, keys));
    for (const one of list.children) one.setAttribute("aria-pressed", String(one.dataset.item === state.item));
    if (focus) node.querySelector("svg").focus();
  };
  const offer = (run, position, text) => {
    const entry = button(text, list, "plain", () => open(run, position));
    entry.dataset.item = run.items[position];
    entry.setAttribute("aria-pressed", String(position === chosen && run.benchmark === current()));
  };
  const listed = run => {
    list.replaceChildren();
    const turn = turning(run);
    if (turn) {
      const now = turn.kind === "right" ? "wrong" : "right";
      make("span", `${turn.items.length} of the ${turn.count} items that are ${now} at the largest compute, by P(right) at “${turn.target}”:`, list, "note").setAttribute("role", "status");
      for (const i of turn.items) offer(run, i, `${percent(turn.p[i])}: ${run.cardAt.get(i)?.families[family()].title ?? run.items[i]}`);
      return;
    }
    for (const group of ["largest", "smallest", "kept"])
      for (const card of run.cards)
        if (card.families[family()]?.group === group) {
          const of = run.families[family()];
          offer(run, card.at, `${GROUPS[group]}: ${known(of.before[card.at])} → ${known(of.after[card.at])}`);
        }
  };
  const found = async text => {
    const own = ++request;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const names = state.benchmark ? [state.benchmark] : page.benchmarks.map(one => one.name);
    const runs = await Promise.all(names.map(itemsOf));
    if (own !== request) return;
    list.replaceChildren();
    let hits = 0;
    for (const run of runs)
      run.items.forEach((id, i) => {
        const card = run.cardAt.get(i);
        const text = (id + " " + (card ? [card.question, ...card.choices, card.subject ?? ""].join(" ") : "")).toLowerCase();
        if (!words.every(word => text.includes(word)) || ++hits > 40) return;
        offer(run, i, `${run.label} ${id}${card ? ": " + card.families[family()].title : ""}`);
      });
    const count = make("span", hits === 0 ? "nothing found" : hits > 40 ? `40 of ${hits} shown` : "", undefined, "note");
    count.setAttribute("role", "status");
    list.prepend(count);
  };
  const refresh = async () => {
    const name = current(), own = ++request;
    for (const select of selects) select.value = select.dataset.filter === "benchmark" ? name : family();
    const run = await itemsOf(name);
    if (own !== request) return;
    const wanted = run.place.get(state.item);
    offerTurns(run);
    const groups = run.cards.filter(card => card.families[family()]?.group === "largest");
    chosen = wanted ?? turning(run)?.items[0] ?? groups[0]?.at ?? run.cards[0]?.at ?? -1;
    if (wanted === undefined) delete state.item;
    if (search.value.trim()) found(search.value); else listed(run);
    if (chosen >= 0) showCard(holder, run, chosen); else holder.replaceChildren();
    scatter(node, run, chosen, (i, keys) => open(run, i, keys));
  };
  let timer;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { search.value.trim() ? found(search.value) : itemsOf(current()).then(listed); }, 150);
  });
  button("a random item", filters, "plain", async () => {
    const run = await itemsOf(current());
    const card = run.cards[Math.floor(Math.random() * run.cards.length)];
    if (card) open(run, card.at);
  });
  if (!("DecompressionStream" in window)) {
    holder.append(make("p", "Items need a browser of 2023 or newer; they are in drilldown/*.json.", undefined, "note"));
  } else {
    // Nothing is unpacked before the reader comes near.
    let near = false;
    const watch = new IntersectionObserver(entries => {
      if (!entries.some(entry => entry.isIntersecting)) return;
      watch.disconnect();
      near = true;
      refresh();
    }, { rootMargin: "1000px" });
    watch.observe(document.getElementById("items"));
    redrawn.push(() => { if (near) refresh(); });
    listeners.push(() => { if (near) refresh(); });
  }
}
