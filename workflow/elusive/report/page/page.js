// The whole page: filters, places, links.
document.getElementById("filters").hidden = false;
const barSelects = [...document.querySelectorAll("nav select[data-filter]")];
for (const select of barSelects) select.addEventListener("change", () => change({ [select.dataset.filter]: select.value }));

const showSections = () => {
  for (const select of barSelects) select.value = state[select.dataset.filter] || "";
  for (const node of document.querySelectorAll("main [data-family], main [data-benchmark]")) {
    const family = node.dataset.family, benchmark = node.dataset.benchmark;
    const picked = Boolean(state.benchmark && benchmark === state.benchmark);
    // The strip and the arrows stay whole: a row among others says more.
    const whole = benchmark && node.closest(".strip, .arrows");
    if (whole) node.classList.toggle("chosen", picked);
    let hidden = Boolean(state.benchmark && benchmark && !picked && !whole);
    if (family && state.family) hidden ||= family !== state.family;
    // What only repeats the first family's text for another is shown where that other one is asked for.
    else if (family && node.matches("div.other") && !node.querySelector("details")) hidden ||= family !== first.family;
    node.hidden = hidden;
    if (!state.family) continue;
    if (node.matches("details.block") && !hidden) node.open = true;
    for (const details of node.matches("div.other") && !hidden ? node.querySelectorAll("details.block") : []) details.open = true;
  }
};
listeners.push(showSections);

// Links into the page carry what is chosen, and what they choose themselves.
const aimed = () => {
  for (const link of document.querySelectorAll("a[data-go]")) {
    const own = Object.fromEntries(new URLSearchParams(link.dataset.go));
    link.dataset.place ??= link.hash.slice(1);
    link.href = address(own, link.dataset.place);
  }
};
const goTo = (id, smooth) => {
  const target = document.getElementById(id);
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  const inside = target.tagName === "DETAILS" ? target : null;
  if (inside) inside.open = true;
  if (target.closest("[hidden]")) { delete state.family; delete state.benchmark; for (const listener of listeners) listener({}); }
  target.scrollIntoView({ behavior: smooth ? "smooth" : "auto" });
};
document.addEventListener("click", event => {
  const link = event.target.closest?.("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const own = link.dataset.go ? Object.fromEntries(new URLSearchParams(link.dataset.go)) : {};
  const to = link.dataset.place ?? link.getAttribute("href").slice(1).split("&")[0];
  if ("benchmark" in own && own.benchmark !== state.benchmark) delete state.item;
  place = to === "top" ? "" : to;
  Object.assign(state, own);
  history.pushState(null, "", address());
  for (const listener of listeners) listener(own);
  goTo(to);
});
addEventListener("popstate", () => {
  parse();
  for (const listener of listeners) listener({});
  goTo(place || "top");
});

for (const picture of document.querySelectorAll(".picture button"))
  picture.addEventListener("click", () => picture.parentElement.classList.toggle("full"));
for (const scroll of document.querySelectorAll(".scroll")) scroll.tabIndex = 0;

const bibtex = document.getElementById("bibtex");
if (bibtex) {
  const tools = make("div", undefined, undefined, "table-tools");
  const copy = button("Copy BibTeX", tools, "plain", async () => {
    try { await navigator.clipboard.writeText(bibtex.textContent); } catch {
      const range = document.createRange();
      range.selectNodeContents(bibtex);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy BibTeX"; }, 2000);
  });
  bibtex.after(tools);
}

// The bar says in which section the reader is, and the address keeps it.
const bar = document.querySelector("nav .links");
const links = new Map([...bar.querySelectorAll("a")].map(link => [link.hash.slice(1).split("&")[0], link]));
const sections = [...document.querySelectorAll("main > section")];
const under = id => links.has(id) ? id : [...links.keys()].findLast(key => sections.findIndex(s => s.id === key) <= sections.findIndex(s => s.id === id));
let moved = false;
addEventListener("scroll", () => { moved = true; }, { passive: true });
const observer = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    const link = links.get(under(entry.target.id));
    link?.setAttribute("aria-current", "true");
    if (link) bar.scrollLeft = link.offsetLeft - bar.offsetLeft - 40;
    const within = document.getElementById(place)?.closest("main > section");
    if (moved && within?.id !== entry.target.id) {
      place = entry.target.id === "overview" ? "" : entry.target.id;
      remember();
    }
  }
}, { rootMargin: "-20% 0px -75% 0px" });
for (const section of sections) observer.observe(section);

showSections();
aimed();
listeners.push(aimed);
if (place) requestAnimationFrame(() => goTo(place));
