"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 100;
  const read = name => JSON.parse(document.getElementById("data-" + name).textContent);
  const make = (name, text, parent, className) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    if (parent) parent.append(node);
    return node;
  };
  const draw = (name, attributes, parent, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const button = (text, parent, className, action) => {
    const node = make("button", text, parent, className);
    node.type = "button";
    node.addEventListener("click", action);
    return node;
  };
  const minus = text => text.replace("-", "−");
  const fixed = (value, digits) => minus(value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1"));
  const formats = {
    number: value => fixed(value, 2),
    share: value => value > 0 && value < 0.005 ? "< 1 %" : (100 * value).toFixed(0) + " %",
    count: value => value.toLocaleString("en"),
    significant: value => minus(value !== 0 && (Math.abs(value) < 0.01 || Math.abs(value) >= 1e5) ? value.toExponential(1) : value.toPrecision(3)),
  };

  // Tables come packed by columns: see embed.py.
  const arrays = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array };
  const bytes = packed => new arrays[packed.type](Uint8Array.from(atob(packed.data), letter => letter.charCodeAt(0)).buffer);
  const unpack = packed => {
    const found = bytes(packed);
    if (packed.values) return Float64Array.from(found, code => packed.values[code] ?? NaN);
    if (packed.type === "i2") return Float64Array.from(found, value => value === -32768 ? NaN : value / 10000);
    return Float64Array.from(found);
  };

  // What is chosen for the whole page; the statistics table adds its own filters and its order.
  const state = {};
  const defaults = {};
  const tables = {};

  class DataTable {
    constructor(node) {
      this.name = node.dataset.table;
      const packed = read(this.name);
      this.rows = packed.rows;
      this.columns = packed.columns.map(column => column.kind === "key"
        ? { ...column, codes: bytes(column) }
        : { ...column, data: unpack(column), low: column.low && unpack(column.low), high: column.high && unpack(column.high) });
      this.keys = this.columns.filter(column => column.kind === "key");
      this.own = this.name === "statistics" ? state : {};
      this.start = 0;
      for (const key of this.keys) {
        if (this.own === state) defaults[key.name] = key.chosen ?? "";
        if (!(key.name in this.own)) this.own[key.name] = key.chosen ?? "";
      }
      const filters = make("div", undefined, node, "filters");
      for (const key of this.keys) {
        const select = make("select", undefined, make("label", key.name + " ", filters));
        select.dataset.filter = key.name;
        make("option", "all", select).value = "";
        for (const value of key.values) make("option", value, select).value = value;
        select.addEventListener("change", () => {
          this.start = 0;
          this.target(key.name)[key.name] = select.value;
          update();
        });
        key.select = select;
      }
      this.count = make("p", undefined, node);
      this.count.setAttribute("role", "status");
      const scroll = make("div", undefined, node, "scroll tall");
      this.table = make("table", undefined, scroll);
      this.table.id = this.name + "-table";
      this.head = make("tr", undefined, make("thead", undefined, this.table));
      make("tbody", undefined, this.table);
      for (const column of this.columns) {
        const cell = make("th", undefined, this.head, column.kind === "key" ? "text" : "");
        cell.scope = "col";
        button(column.name, cell, "table-sort", () => {
          const first = column.kind === "key" ? "asc" : "desc";
          this.own.dir = this.own.sort === column.name ? (this.own.dir === "asc" ? "desc" : "asc") : first;
          this.own.sort = column.name;
          this.start = 0;
          update();
        });
      }
      const pager = make("div", undefined, node, "pager");
      this.previous = button("‹ Previous " + PAGE, pager, "plain", () => this.turn(-PAGE));
      this.next = button("Next " + PAGE + " ›", pager, "plain", () => this.turn(PAGE));
      this.pager = pager;
    }

    // Family and benchmark are chosen for the whole page.
    target(key) { return key === "family" || key === "benchmark" ? state : this.own; }

    turn(by) {
      this.start += by;
      this.fill();
      this.table.parentElement.scrollTop = 0;
    }

    chosen() {
      const wanted = this.keys.map(key => [key.codes, key.values.indexOf(this.target(key.name)[key.name])])
        .filter(([, code], i) => code >= 0 || this.target(this.keys[i].name)[this.keys[i].name]);
      const found = [];
      for (let row = 0; row < this.rows; row++)
        if (wanted.every(([codes, code]) => codes[row] === code)) found.push(row);
      const by = this.columns.find(column => column.name === this.own.sort);
      if (!by) return found;
      const sign = this.own.dir === "desc" ? -1 : 1;
      const values = by.kind === "key" ? by.codes : by.data;
      return found.sort((a, b) => {
        const x = values[a], y = values[b];
        if (x !== x || y !== y) return (x !== x) - (y !== y);
        return sign * (x - y);
      });
    }

    fill() {
      const rows = this.chosen();
      const shown = rows.slice(this.start, this.start + PAGE);
      const hidden = this.columns.map(column => column.kind === "key" && this.target(column.name)[column.name] ? "fixed" : "");
      const body = document.createElement("tbody");
      for (const row of shown) {
        const line = make("tr", undefined, body);
        this.columns.forEach((column, i) => {
          if (column.kind === "key") return make("td", column.values[column.codes[row]], line, "text " + hidden[i]);
          const format = formats[column.style], value = column.data[row];
          const cell = make("td", value !== value ? "–" : format(value), line);
          if (column.low && column.low[row] === column.low[row] && column.high[row] === column.high[row])
            make("small", format(column.low[row]) + " to " + format(column.high[row]), cell);
        });
      }
      this.table.tBodies[0].replaceWith(body);
      [...this.head.cells].forEach((cell, i) => {
        cell.classList.toggle("fixed", hidden[i] === "fixed");
        if (this.columns[i].name === this.own.sort) cell.setAttribute("aria-sort", this.own.dir === "desc" ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
      for (const key of this.keys) key.select.value = this.target(key.name)[key.name] ?? "";
      const part = rows.length > shown.length ? ", " + (this.start + 1) + " to " + (this.start + shown.length) + " shown" : "";
      this.count.textContent = rows.length.toLocaleString("en") + " of " + this.rows.toLocaleString("en") + " rows" + part;
      this.pager.hidden = rows.length <= PAGE;
      this.previous.disabled = this.start === 0;
      this.next.disabled = this.start + PAGE >= rows.length;
    }
  }

  const build = node => {
    tables[node.dataset.table] = new DataTable(node);
    tables[node.dataset.table].fill();
  };
  for (const details of document.querySelectorAll("details.full"))
    details.addEventListener("toggle", () => {
      const node = details.querySelector(".data-table");
      if (details.open && !tables[node.dataset.table]) build(node);
    });

  // Items: the charts of one benchmark at a time.
  const RIGHT = "#3b4cc0", WRONG = ["#d97400", "#8c3a00", "#b58900", "#c75b39", "#5c3317"];
  const GROUPS = { largest: "one of the largest drops", smallest: "one of the smallest drops", kept: "nearest to no drop" };
  const letter = k => String.fromCharCode(65 + k % 26);
  const power = (value, parent, attributes) => {
    const [mantissa, exponent] = value.toExponential(0).split("e");
    const node = draw("text", attributes, parent, mantissa === "1" ? "10" : mantissa + "·10");
    draw("tspan", { dy: -4, "font-size": 8 }, node, minus(String(Number(exponent))));
    return node;
  };
  const ticks = (low, high, most) => {
    const raw = (high - low) / most, unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find(factor => factor * unit >= raw);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
    return found;
  };
  const MARKS = [
    (x, y) => `M${x - 3},${y}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0`,
    (x, y) => `M${x},${y - 3.4}l3.4,6h-6.8z`,
    (x, y) => `M${x - 2.6},${y - 2.6}h5.2v5.2h-5.2z`,
    (x, y) => `M${x},${y - 3.8}l3.8,3.8l-3.8,3.8l-3.8,-3.8z`,
    (x, y) => `M${x},${y + 3.4}l3.4,-6h-6.8z`,
  ];
  const style = (item, k) => {
    const number = k < item.gold ? k : k - 1;
    return k === item.gold ? { colour: RIGHT, mark: MARKS[0] }
      : { colour: WRONG[number % WRONG.length], mark: MARKS[1 + number % (MARKS.length - 1)] };
  };
  const longText = (parent, text, limit, end) => {
    if (text.length <= limit * 1.2) return parent.append(text);
    const cut = end ? "… " + text.slice(-limit) : text.slice(0, limit) + "… ";
    const shown = document.createTextNode(cut);
    const more = button("show all", undefined, "more", () => {
      const all = more.textContent === "show all";
      shown.data = all ? text : cut;
      more.textContent = all ? "show less" : "show all";
    });
    parent.append(shown, " ", more);
  };

  function chart(parent, run, item) {
    // A unit is a pixel when the card is drawn, so that text is as large on a phone as on a desk.
    const W = Math.min(560, Math.max(280, parent.clientWidth - 30)), LEFT = 42, RIGHT_EDGE = W - 22, TOP = 14, BOTTOM = 196, LOW = 226, END = 286;
    const x = run.flops.map(Math.log10), count = x.length, K = item.choices.length;
    const share = x.map((_, i) => {
      const peak = Math.max(...item.log_likelihood.map(l => l[i]));
      const mass = item.log_likelihood.map(l => Math.exp(l[i] - peak));
      return mass[item.gold] / mass.reduce((a, b) => a + b);
    });
    let [x0, x1] = [Math.min(...x), Math.max(...x)];
    if (x1 === x0) [x0, x1] = [x0 - 0.5, x1 + 0.5];
    const every = item.log_likelihood.flat();
    let [y0, y1] = [Math.min(...every), Math.max(...every)];
    const room = (y1 - y0 || 1) * 0.06;
    [y0, y1] = [y0 - room, y1 + room];
    const px = v => LEFT + 6 + (v - x0) / (x1 - x0) * (RIGHT_EDGE - LEFT - 12);
    const py = v => BOTTOM - (v - y0) / (y1 - y0) * (BOTTOM - TOP);
    const ps = v => END - v * (END - LOW);
    const round = v => v.toFixed(1);

    const title = `Log-likelihood of the ${K} choices, and p_choices of the right one, against compute under ${count} checkpoints. Arrow keys read values.`;
    const svg = draw("svg", { viewBox: `0 0 ${W} 320`, class: "chart", role: "img", tabindex: 0, "aria-label": title }, parent);
    for (const [top, bottom] of [[TOP, BOTTOM], [LOW, END]])
      draw("rect", { x: LEFT, y: top, width: RIGHT_EDGE - LEFT, height: bottom - top, fill: "none", stroke: "#8a92a0" }, svg);
    for (const value of ticks(y0, y1, 5)) {
      draw("line", { x1: LEFT, x2: RIGHT_EDGE, y1: round(py(value)), y2: round(py(value)), stroke: "#e6e6e6" }, svg);
      draw("text", { x: LEFT - 4, y: round(py(value) + 4), "text-anchor": "end" }, svg, minus(String(Number(value.toPrecision(6)))));
    }
    for (const value of [0, 0.5, 1]) draw("text", { x: LEFT - 4, y: round(ps(value) + 4), "text-anchor": "end" }, svg, value);
    draw("line", { x1: LEFT, x2: RIGHT_EDGE, y1: round(ps(1 / K)), y2: round(ps(1 / K)), stroke: "#6b7484", "stroke-dasharray": "4 3" }, svg);
    let marks = ticks(x0, x1, 6).map(v => Math.round(v)).filter((v, i, all) => v >= x0 && v <= x1 && all.indexOf(v) === i).map(v => 10 ** v);
    if (marks.length < 2) {
      marks = [];
      for (let e = Math.floor(x0); e <= x1; e++)
        for (const m of [1, 2, 5]) if (Math.log10(m) + e >= x0 && Math.log10(m) + e <= x1) marks.push(m * 10 ** e);
    }
    for (const value of marks) {
      const at = round(px(Math.log10(value)));
      for (const [top, bottom] of [[TOP, BOTTOM], [LOW, END]])
        draw("line", { x1: at, x2: at, y1: bottom, y2: bottom + 4, stroke: "#555" }, svg);
      power(value, svg, { x: at, y: END + 17, "text-anchor": "middle" });
    }
    draw("text", { x: LEFT, y: 10 }, svg, "log-likelihood (nats)");
    draw("text", { x: LEFT, y: LOW - 7 }, svg, "p_choices of the right choice");
    draw("text", { x: RIGHT_EDGE, y: 317, "text-anchor": "end" }, svg, "training FLOPs");

    // Lines join a model's checkpoints; where each model has one, all of them.
    const single = new Set(run.models).size === count;
    const runs = {};
    run.models.forEach((name, i) => (runs[single ? "" : name] ??= []).push(i));
    const several = Object.keys(runs).length > 1;
    const line = (values, scale, colour, width) => {
      for (const places of Object.values(runs))
        if (places.length > 1)
          draw("path", { d: "M" + places.map(i => round(px(x[i])) + "," + round(scale(values[i]))).join("L"), fill: "none", stroke: colour,
            "stroke-width": width, "stroke-opacity": several ? 0.35 : 0.9 }, svg);
    };
    const points = (values, scale, mark, colour) => draw("path", { d: values.map((v, i) => mark(px(x[i]), scale(v))
      .replace(/-?\d+\.\d+/g, number => Number(number).toFixed(1))).join(""), fill: colour, "fill-opacity": 0.85 }, svg);
    const order = [...item.choices.keys()].sort((a, b) => (a === item.gold) - (b === item.gold));
    for (const k of order) {
      const { colour, mark } = style(item, k);
      line(item.log_likelihood[k], py, colour, k === item.gold ? 2 : 1.4);
      points(item.log_likelihood[k], py, mark, colour);
    }
    line(share, ps, RIGHT, 2);
    points(share, ps, MARKS[0], RIGHT);
    // Letters at the end of the lines, pushed apart.
    const ends = order.map(k => ({ k, y: py(item.log_likelihood[k][count - 1]) })).sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + 11); });
    const over = Math.max(0, (ends.at(-1)?.y ?? 0) - BOTTOM);
    ends.forEach(end => draw("text", { x: RIGHT_EDGE + 5, y: round(end.y - over + 4), style: `fill:${style(item, end.k).colour};font-weight:${end.k === item.gold ? 700 : 400}` }, svg, letter(end.k)));

    const guide = draw("line", { y1: TOP, y2: END, stroke: "#1d2330", "stroke-opacity": 0.5, visibility: "hidden" }, svg);
    const readout = make("p", "Touch or hover to read values.", parent, "readout soft");
    readout.setAttribute("role", "status");
    let at = -1;
    const show = i => {
      at = i;
      guide.setAttribute("x1", px(x[i]));
      guide.setAttribute("x2", px(x[i]));
      guide.setAttribute("visibility", "visible");
      const [mantissa, exponent] = run.flops[i].toExponential(1).split("e");
      const raised = String(Number(exponent)).replace(/./g, d => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(d)]);
      const values = item.log_likelihood.map((l, k) => letter(k) + " " + fixed(l[i], 2)).join(", ");
      readout.textContent = `${run.models[i]} ${run.checkpoints[i]}, ${mantissa} × 10${raised} FLOPs: ${values}; p_choices ${fixed(share[i], 3)}`;
    };
    const near = event => {
      const box = svg.getBoundingClientRect();
      const [mx, my] = [(event.clientX - box.left) / box.width * W, (event.clientY - box.top) / box.height * 320];
      let best = Infinity, found = 0;
      for (let i = 0; i < count; i++)
        for (const y of [...item.log_likelihood.map(l => py(l[i])), ps(share[i])]) {
          const distance = (px(x[i]) - mx) ** 2 + ((y - my) / 4) ** 2;
          if (distance < best) [best, found] = [distance, i];
        }
      show(found);
    };
    svg.addEventListener("pointermove", near);
    svg.addEventListener("pointerdown", near);
    svg.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(Math.min(count - 1, Math.max(0, at + step)));
    });
  }

  const drilldowns = read("items");
  const cards = document.getElementById("item-cards");
  const number = value => value === null ? "–" : fixed(value, 2);
  let shownItems = null;
  function showItems(run) {
    shownItems = run;
    itemSelect.value = run.label;
    cards.replaceChildren();
    if (!run.items.length) make("p", "No item of this benchmark has both correlations.", cards);
    for (const item of run.items) {
      const card = make("article", undefined, cards, "item");
      const c = item.correlations;
      make("h4", `Drop ${number(item.drop)}: C ${number(c.log_p_vocab_correct)} in log p_vocab, ${number(c.p_choices_correct)} in p_choices`, card);
      const about = [item.item, GROUPS[item.group], item.subject && "subject: " + item.subject.replaceAll("_", " "), "C in −Brier " + number(c.brier) + ", in accuracy " + number(c.accuracy)];
      make("p", about.filter(Boolean).join(" · "), card, "meta");
      longText(make("div", undefined, card, "question"), item.question, 360, true);
      chart(card, run, item);
      const list = make("ol", undefined, card);
      item.choices.forEach((text, k) => {
        const line = make("li", undefined, list, k === item.gold ? "right" : "");
        const { colour, mark } = style(item, k);
        const key = draw("svg", { viewBox: "0 0 38 18", "aria-hidden": "true" }, line);
        draw("path", { d: mark(10, 9), fill: colour }, key);
        draw("text", { x: 20, y: 14, fill: colour, "font-size": 14, "font-weight": 700 }, key, letter(k));
        const words = make("span", undefined, line);
        longText(words, (k === item.gold ? "✓ " : "") + text, 180, false);
        make("span", "C " + number(item.spearman[k]), line, "value");
      });
    }
  }
  const itemSelect = make("select", undefined, make("label", "benchmark ", document.getElementById("items-filter")));
  for (const run of drilldowns) make("option", run.label, itemSelect);
  itemSelect.addEventListener("change", () => showItems(drilldowns[itemSelect.selectedIndex]));

  // Tables that are in the page as HTML: a cell is sorted by its data-sort, else by its text; empty ones come last.
  for (const sortable of document.querySelectorAll("table.sortable")) {
    const heads = [...sortable.tHead.rows[0].cells];
    heads.forEach((head, i) => {
      const text = head.textContent;
      head.scope = "col";
      head.replaceChildren();
      button(text, head, "table-sort", () => {
        const key = row => row.cells[i].dataset.sort ?? row.cells[i].textContent;
        const down = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : !head.classList.contains("text");
        const rows = [...sortable.tBodies[0].rows].sort((a, b) => {
          const x = key(a), y = key(b);
          if (x === "" || y === "") return (x === "") - (y === "");
          const order = a.cells[i].dataset.sort === undefined ? x.localeCompare(y, "en", { numeric: true }) : x - y;
          return down ? -order : order;
        });
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sortable.tBodies[0].append(...rows);
      });
    });
  }

  document.getElementById("filters").hidden = false;
  const selects = [...document.querySelectorAll("nav select[data-filter]")];
  let family = "";
  function showSections() {
    const match = (node, key) => !state[key] || !node.dataset[key] || node.dataset[key] === state[key];
    for (const node of document.querySelectorAll("main [data-family], main [data-benchmark], main [data-kind]"))
      node.hidden = !["family", "benchmark", "kind"].every(key => match(node, key));
    if (state.family && state.family !== family)
      for (const node of document.querySelectorAll("details.block[data-family]")) if (node.dataset.family === state.family) node.open = true;
    family = state.family;
    const run = drilldowns.find(one => one.label === state.benchmark) ?? shownItems ?? drilldowns[0];
    if (run && run !== shownItems) showItems(run);
  }
  function update() {
    for (const select of selects) select.value = state[select.dataset.filter] || "";
    showSections();
    for (const table of Object.values(tables)) table.fill();
    const query = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== (defaults[key] ?? "")));
    history.replaceState(null, "", "#" + query);
  }
  for (const select of selects) select.addEventListener("change", () => {
    state[select.dataset.filter] = select.value;
    for (const table of Object.values(tables)) table.start = 0;
    update();
  });
  for (const picture of document.querySelectorAll(".picture button"))
    picture.addEventListener("click", () => picture.parentElement.classList.toggle("full"));
  for (const scroll of document.querySelectorAll(".scroll")) scroll.tabIndex = 0;
  // A link to a figure that a filter hides shows everything again.
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.closest("[hidden]")) {
      state.benchmark = state.kind = "";
      const hash = location.hash;
      update();
      history.replaceState(null, "", hash);
      target.scrollIntoView();
    }
  });
  // The bar says in which section the reader is.
  const links = new Map([...document.querySelectorAll("nav .links a")].map(link => [link.hash.slice(1), link]));
  const bar = document.querySelector("nav .links");
  const observer = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id);
      link.setAttribute("aria-current", "true");
      bar.scrollLeft = link.offsetLeft - bar.offsetLeft - 40;
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const id of links.keys()) observer.observe(document.getElementById(id));

  const hash = location.hash.slice(1);
  const given = hash.includes("=");
  if (given) for (const [key, value] of new URLSearchParams(hash)) state[key] = value;
  for (const node of document.querySelectorAll(".data-table")) if (!node.closest("details")) build(node);
  if (given) update();
  else {
    for (const select of selects) select.value = "";
    showSections();
  }
})();
