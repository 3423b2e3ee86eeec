// Tables: those that are in the page get a download, and those that are packed are built, filtered and sorted here.
const PAGE = 100;
const formats = {
  number: value => fixed(value, 2),
  share: value => value > 0 && value < 0.005 ? "< 1 %" : (100 * value).toFixed(0) + " %",
  count: value => value.toLocaleString("en"),
  significant: value => minus(value !== 0 && (Math.abs(value) < 0.01 || Math.abs(value) >= 1e5) ? value.toExponential(1) : value.toPrecision(3)),
};
const tables = {};

class DataTable {
  constructor(node, packed) {
    this.name = node.dataset.table;
    this.rows = packed.rows;
    this.columns = packed.columns.map(column => column.kind === "key"
      ? { ...column, codes: bytes(column.data, column.type) }
      : { ...column, data: unpack(column), low: column.low && unpack(column.low), high: column.high && unpack(column.high) });
    this.keys = this.columns.filter(column => column.kind === "key" && column.values.length < 200);
    // The one table that is always open has its filters in the address, the others theirs to themselves.
    this.open = this.name === "statistics";
    this.own = {};
    this.start = 0;
    for (const key of this.keys) if (!key.names) this.own[key.name] = key.chosen ?? "";
    if (this.open) {
      for (const key of this.keys) if (!key.names) {
        const name = this.slot(key.name);
        if (!(name in defaults)) defaults[name] = key.chosen ?? "";
        if (!(name in state)) state[name] = defaults[name];
      }
    }
    const filters = make("div", undefined, node, "filters");
    for (const key of this.keys) {
      const select = make("select", undefined, make("label", key.name + " ", filters));
      make("option", "all", select).value = "";
      key.values.forEach((value, i) => make("option", value === "" ? "–" : value, select).value = key.names ? key.names[i] : value);
      select.addEventListener("change", () => {
        this.start = 0;
        if (key.names) change({ [key.name]: select.value });
        else if (this.open) change({ [this.slot(key.name)]: select.value });
        else { this.own[key.name] = select.value; this.fill(); }
      });
      key.select = select;
    }
    this.count = make("p", undefined, node, "note");
    this.count.setAttribute("role", "status");
    const scroll = make("div", undefined, node, "scroll tall");
    scroll.tabIndex = 0;
    this.table = make("table", undefined, scroll);
    this.table.id = this.name + "-table";
    this.head = make("tr", undefined, make("thead", undefined, this.table));
    make("tbody", undefined, this.table);
    for (const column of this.columns) {
      const cell = make("th", undefined, this.head, column.kind === "key" ? "text" : "");
      cell.scope = "col";
      button(column.name, cell, "table-sort", () => {
        const [by, direction] = this.sorting();
        const start = column.kind === "key" ? "asc" : "desc";
        const next = by === column.name ? (direction === "asc" ? "desc" : "asc") : start;
        this.start = 0;
        if (this.open) change({ sort: column.name, dir: next });
        else { Object.assign(this.own, { sort: column.name, dir: next }); this.fill(); }
      });
    }
    const pager = make("div", undefined, node, "pager");
    this.previous = button("‹ Previous " + PAGE, pager, "plain", () => this.turn(-PAGE));
    this.next = button("Next " + PAGE + " ›", pager, "plain", () => this.turn(PAGE));
    button("CSV of these rows", make("div", undefined, node, "table-tools"), "plain get-csv", () => save(this.name, this.csv()));
  }

  // Names of metric and method are those of the curves as well: the table's are its own.
  slot(name) { return name === "method" || name === "metric" ? "table_" + name : name; }

  sorting() { return this.open ? [state.sort, state.dir] : [this.own.sort, this.own.dir]; }

  wanted(key) {
    if (key.names) return state[key.name] ?? "";
    return (this.open ? state[this.slot(key.name)] : this.own[key.name]) ?? "";
  }

  turn(by) {
    this.start += by;
    this.fill();
    this.table.parentElement.scrollTop = 0;
  }

  chosen() {
    const wanted = this.keys.map(key => [key.codes, (key.names ?? key.values).indexOf(this.wanted(key)), this.wanted(key)])
      .filter(([, code, value]) => code >= 0 && value !== "" || value !== "");
    const found = [];
    for (let row = 0; row < this.rows; row++)
      if (wanted.every(([codes, code]) => codes[row] === code)) found.push(row);
    const [name, direction] = this.sorting();
    const by = this.columns.find(column => column.name === name);
    if (!by) return found;
    const sign = direction === "desc" ? -1 : 1;
    const values = by.kind === "key" ? by.codes : by.data;
    return found.sort((a, b) => {
      const x = values[a], y = values[b];
      if (x !== x || y !== y) return (x !== x) - (y !== y);
      return sign * (x - y);
    });
  }

  csv() {
    const head = this.columns.flatMap(c => c.low ? [c.name, c.name + " low", c.name + " high"] : [c.name]);
    return csv([head, ...this.chosen().map(row => this.columns.flatMap(c => c.kind === "key" ? [c.values[c.codes[row]]]
      : c.low ? [c.data[row], c.low[row], c.high[row]] : [c.data[row]]))]);
  }

  fill() {
    const rows = this.chosen();
    const shown = rows.slice(this.start, this.start + PAGE);
    const hidden = this.columns.map(column => this.keys.includes(column) && this.wanted(column) !== "" ? "fixed" : "");
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
    const [by, direction] = this.sorting();
    [...this.head.cells].forEach((cell, i) => {
      cell.classList.toggle("fixed", hidden[i] === "fixed");
      if (this.columns[i].name === by) cell.setAttribute("aria-sort", direction === "desc" ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    for (const key of this.keys) key.select.value = this.wanted(key);
    const part = rows.length > shown.length ? ", " + (this.start + 1) + " to " + (this.start + shown.length) + " shown" : "";
    this.count.textContent = rows.length.toLocaleString("en") + " of " + this.rows.toLocaleString("en") + " rows" + part;
    this.previous.parentElement.hidden = rows.length <= PAGE;
    this.previous.disabled = this.start === 0;
    this.next.disabled = this.start + PAGE >= rows.length;
  }
}

const begun = new Set();
const build = async node => {
  const name = node.dataset.table;
  if (begun.has(name)) return;
  begun.add(name);
  if (!("DecompressionStream" in window)) {
    make("p", `This table needs a browser of 2023 or newer; it is in tables/${name}.csv.`, node, "note");
    return;
  }
  tables[name] = new DataTable(node, await inflate(document.getElementById("data-" + name).textContent));
  tables[name].fill();
};
for (const details of document.querySelectorAll("details.full"))
  details.addEventListener("toggle", () => { if (details.open) build(details.querySelector(".data-table")); });
// The open table is built when the reader comes near it.
const nearing = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) { nearing.unobserve(entry.target); build(entry.target); }
}, { rootMargin: "1500px" });
for (const node of document.querySelectorAll(".data-table")) if (!node.closest("details")) nearing.observe(node);
listeners.push(() => { for (const table of Object.values(tables)) { table.start = 0; table.fill(); } });

// Tables that are in the page as HTML: a download with the numbers behind the cells, not their rounded texts.
const cellsOf = table => {
  const rows = [...table.querySelectorAll("thead tr:last-child, tbody tr")];
  const heads = rows.length && rows[0].closest("thead") ? [...rows.shift().cells].map(cell => cell.innerText.trim()) : ["name", "value"];
  const wide = heads.map((_, i) => rows.some(row => row.cells[i]?.dataset.low !== undefined));
  const ends = table.classList.contains("strip") ? "shuffled " : "";
  const head = heads.flatMap((name, i) => wide[i] ? [name, `${name} ${ends}low`, `${name} ${ends}high`] : [name]);
  const text = cell => cell.dataset.v ?? cell.dataset.sort ?? [...cell.childNodes].map(n => n.nodeName === "SMALL" ? " (" + n.textContent + ")" : n.textContent).join("").trim();
  return [head, ...rows.map(row => [...row.cells].flatMap((cell, i) => wide[i]
    ? [cell.dataset.v ?? cell.innerText.trim(), cell.dataset.low ?? "", cell.dataset.high ?? ""] : [text(cell)]))];
};
const csvTables = new Set();
for (const table of document.querySelectorAll("table[data-csv]")) {
  // What is folded below a table of the same name is a part of it.
  if (csvTables.has(table.dataset.csv)) continue;
  csvTables.add(table.dataset.csv);
  const tools = make("div", undefined, undefined, "table-tools");
  const parts = [...document.querySelectorAll(`table[data-csv="${CSS.escape(table.dataset.csv)}"]`)];
  button("CSV", tools, "plain get-csv", () => save(table.dataset.csv, csv(parts.flatMap((part, i) => cellsOf(part).slice(i ? 1 : 0)))));
  // Below the strip stand the sentences: they come first.
  const answer = table.closest(".strip-figure")?.parentElement.querySelector(".answer");
  if (answer) answer.append(tools);
  else (table.closest(".scroll") ?? table).after(tools);
}

// A cell is sorted by its data-sort, else by its text; empty ones come last.
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
