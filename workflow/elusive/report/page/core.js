// Helpers, the state of the page, and its address.
const SVG = "http://www.w3.org/2000/svg";
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
const known = (value, digits = 2) => value === null || value !== value ? "–" : fixed(value, digits);
const raised = value => String(value).replace(/./g, d => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(d)]);
const power = value => {
  const [mantissa, exponent] = value.toExponential(1).split("e");
  return `${mantissa} × 10${raised(Number(exponent))}`;
};

// Numbers come packed: see embed.py and report.py.
const arrays = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, f4: Float32Array };
const bytes = (data, type) => new arrays[type](Uint8Array.from(atob(data), letter => letter.charCodeAt(0)).buffer);
const unpack = packed => {
  const found = bytes(packed.data, packed.type);
  if (packed.values) return Float64Array.from(found, code => packed.values[code] ?? NaN);
  if (packed.type === "i2") return Float64Array.from(found, value => value === -32768 ? NaN : value / 10000);
  return Float64Array.from(found);
};
const inflate = async text => {
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
};

const page = read("page");
const first = { family: page.families[0].name };
const label = (list, name) => list.find(one => one.name === name)?.label ?? name;
const familyLabel = name => label(page.families, name);
const benchmarkLabel = name => label(page.benchmarks, name);
const metricLabel = name => label(page.metrics, name) === name ? page.names[name] ?? name : label(page.metrics, name);

// What is chosen on the page. The address has it as #place&family=...&benchmark=...; defaults are left out.
const state = {};
const defaults = { method: "spearman", compare: "metrics" };
let place = "";
const listeners = [];
const parse = () => {
  const parts = location.hash.slice(1).split("&").filter(Boolean);
  place = parts.length && !parts[0].includes("=") ? decodeURIComponent(parts.shift()) : "";
  for (const key of Object.keys(state)) delete state[key];
  Object.assign(state, defaults);
  for (const [key, value] of new URLSearchParams(parts.join("&"))) state[key] = value;
  for (const [key, list] of [["family", page.families], ["benchmark", page.benchmarks]])
    if (state[key] && !list.some(one => one.name === state[key])) delete state[key];
};
const address = (changes = {}, to = place) => {
  const all = Object.entries({ ...state, ...changes }).filter(([key, value]) => value && value !== defaults[key]);
  return "#" + [to, new URLSearchParams(all).toString()].filter(Boolean).join("&");
};
const remember = () => history.replaceState(null, "", address());
const change = changes => {
  unnote();
  Object.assign(state, changes);
  for (const listener of listeners) listener(changes);
  remember();
};
parse();
const family = () => state.family || first.family;
const benchmark = () => state.benchmark || page.shown;

// The choice of one of several, which is part of the state.
const choice = (parent, text, key, options, all) => {
  const select = make("select", undefined, make("label", text + " ", parent));
  select.dataset.filter = key;
  if (all) make("option", "all", select).value = "";
  for (const [value, name] of options) make("option", name, select).value = value;
  select.addEventListener("change", () => change({ [key]: select.value }));
  return select;
};

// A note at the pointer.
const tip = document.getElementById("tip");
const note = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(6, x + 14), innerWidth - box.width - 6);
  const above = y - box.height - 12;
  tip.style.left = left + "px";
  tip.style.top = (above > 4 ? above : y + 18) + "px";
};
const unnote = () => { tip.hidden = true; };

const save = (name, text) => {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  link.download = name + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const csv = rows => rows.map(row => row.map(cell => {
  const text = cell === null || cell === undefined || cell !== cell ? "" : String(cell);
  return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}).join(",")).join("\n") + "\n";
