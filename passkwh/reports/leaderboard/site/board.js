"use strict";
// The controls and the table, and what happens when the reader touches them.
(function () {
  const { raw, state, groups, number, byName, TEXTS, FACETS } = passkwh;
  const PAGE = 50;
  const app = document.getElementById("app");
  let shownRows = PAGE, current = null, facetsOf = null;

  // ---------------------------------------------------------------- building the page once

  function make(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value !== undefined) node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }

  const labelled = (text, control, className = "") => make("label", { class: className }, make("span", {}, text), control);
  const option = (value, text) => make("option", { value }, text);
  const button = (text, act, attributes = {}) => make("button", { type: "button", onclick: act, ...attributes }, text);

  const group = make("select", { id: "group", onchange: () => set({ group: group.value, facets: {}, budget: null, floor: null, sort: "", y: "" }) },
    ...groups.map((g) => option(g.key, `${g.first.benchmark} · ${g.first.hardware} · ${g.first.provenance} (${g.members.length})`)));
  const search = make("input", { type: "search", id: "search", placeholder: "model, quantization, source …", autocomplete: "off", oninput: () => set({ q: search.value }) });
  const facets = Object.fromEntries(FACETS.map(([key]) => [key, make("select", { id: `facet-${key}`, onchange: (e) => set({ facets: { ...state.facets, [key]: e.target.value } }) })]));
  const ACROSS = [["hardware", "other machines"], ["tasks", "other tasks or decoding"], ["provenance", "other kinds of energy figure"], ["published", "published results"]];
  const across = ACROSS.map(([key, text]) => make("label", {}, make("input", { type: "checkbox", value: key, id: `across-${key}`, onchange: () => set({ across: across.map((l) => l.firstChild).filter((i) => i.checked).map((i) => i.value) }) }), make("span", {}, text)));
  const mixed = make("p", { class: "callout", role: "note" });
  const gone = make("p", { class: "callout", id: "gone-rows", role: "status", hidden: true });
  const said = make("p", { class: "note", id: "count", "aria-live": "polite" });

  const budget = make("input", { type: "range", id: "budget", min: 0, max: 1000, value: 1000, oninput: () => slide(budget, "budget") });
  const floor = make("input", { type: "range", id: "floor", min: 0, max: 1000, value: 0, oninput: () => slide(floor, "floor") });
  const budgetText = make("output", { for: "budget" }), floorText = make("output", { for: "floor" });
  const budgetWinner = make("p", { class: "winner", id: "budget-winner", "aria-live": "polite" }), floorWinner = make("p", { class: "winner", id: "floor-winner", "aria-live": "polite" });
  const grid = make("select", { id: "grid", onchange: () => set({ grid: grid.value }) }, ...raw.grids.map(([code, name, g, year]) => option(code, `${name} (${number(g)} g/kWh, ${year})`)));
  const pue = make("input", { type: "number", id: "pue", min: 1, max: 5, step: 0.05, onchange: () => set({ pue: Math.max(1, Number(pue.value) || 1) }) });
  const price = make("input", { type: "number", id: "price", min: 0, step: 0.01, onchange: () => set({ price: Math.max(0, Number(price.value) || 0) }) });
  const accuracy = make("select", { id: "accuracy", onchange: () => set({ y: accuracy.value }) }, ...raw.accuracy.map((key) => option(key, raw.measures[key][0])));
  const log = make("input", { type: "checkbox", id: "log", onchange: () => { passkwh.chart.forget(); set({ log: log.checked }); } });

  const live = make("p", { class: "sr", "aria-live": "polite" }), tip = make("div", { class: "tip", hidden: true });
  const chart = make("div", { class: "chart" },
    make("div", { class: "tools" }, button("+", null, { "data-zoom": "in", "aria-label": "Zoom in" }), button("−", null, { "data-zoom": "out", "aria-label": "Zoom out" }), button("Reset", null, { "data-zoom": "reset", "aria-label": "Reset zoom" })),
    make("div", { class: "stage", tabindex: 0, role: "application", "aria-label": "Chart of energy against accuracy. Left and right arrows move between configurations, Enter chooses one for comparison, plus and minus zoom, 0 resets." }), tip, live, make("div", { class: "legend" }));

  const compare = make("section", { id: "compare", hidden: true, "aria-labelledby": "compare-title" },
    make("h2", { id: "compare-title" }, "Compare"), make("div", { class: "more picked" }), make("div", { class: "sheet" }), make("div", { class: "tests", style: "margin-top: 1rem" }));

  const plane = make("details", { id: "plane" });

  const table = make("table", { id: "board-table" }), more = make("div", { class: "more" });
  const columnMenu = make("div", { class: "checks" });
  const downloads = make("div", { class: "more" }, button("CSV of this view", () => download("csv"), { id: "download-csv" }), button("JSON of this view", () => download("json"), { id: "download-json" }), button("Copy link to this view", null, { "data-copy": "address", id: "copy-view" }),
    make("a", { href: "board.parquet", download: true }, "whole board as Parquet"), make("a", { href: "board.csv", download: true }, "as CSV"), make("a", { href: "board.json", download: true }, "as JSON"));

  app.append(
    make("div", { class: "controls" },
      make("div", { class: "row" }, labelled("Rank among", group, "grow"), labelled("Search", search, "find")),
      make("fieldset", {}, make("legend", {}, "Rank together with (asked for, never by default)"), make("div", { class: "checks" }, ...across)),
      make("div", { class: "row facets" }, ...FACETS.map(([key, name]) => labelled(name, facets[key]))), mixed, gone),
    make("h2", {}, "Energy and accuracy"),
    make("div", { class: "split" }, chart, make("div", { class: "panel" },
      make("h3", {}, "What can I afford?"), labelled("Energy budget", budget), budgetText, budgetWinner, labelled("Accuracy floor", floor), floorText, floorWinner,
      make("div", { class: "row" }, labelled("Accuracy is", accuracy), make("label", { class: "checks" }, log, make("span", {}, "logarithmic energy"))))),
    plane,
    compare,
    make("h2", { id: "table-title" }, "Configurations"), said,
    make("div", { class: "row" }, labelled("Grid for CO₂e", grid, "grow"), labelled("PUE of the building", pue), labelled("Price per kWh", price)),
    make("details", {}, make("summary", {}, "Columns"), columnMenu),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "table-title", style: "margin-top: .8rem" }, table), more, downloads,
    make("p", { class: "note" }, `CO₂e = energy × PUE × the grid's yearly mean; cost = energy × PUE × price. Intensities: ${raw.grid_source}.`),
    ...raw.limits.map((text) => make("p", { class: "note" }, text)));

  // ---------------------------------------------------------------- changing the view

  // Changes that move rows or add columns, and leave points, sliders and facets as they are.
  const TABLE_ONLY = new Set(["sort", "down", "columns", "all"]);

  function set(change) {
    Object.assign(state, change);
    shownRows = PAGE;
    if ("group" in change || "across" in change) passkwh.chart.forget();
    render(Object.keys(change).every((key) => TABLE_ONLY.has(key)) ? drawAgain : draw);
  }

  function choose(id) {
    const chosen = state.chosen.includes(id) ? state.chosen.filter((other) => other !== id) : [...state.chosen, id].slice(-passkwh.compare.MOST);
    state.chosen = chosen;
    render();
  }

  function bounds() {
    const points = current.shown.filter((r) => r.figures.energy_kwh && r.figures[current.accuracy]);
    const energies = points.map((r) => r.figures.energy_kwh.value * 1000), rates = points.map((r) => r.figures[current.accuracy].value);
    return points.length ? { e0: Math.min(...energies), e1: Math.max(...energies), a0: Math.min(...rates), a1: Math.max(...rates) } : null;
  }

  // A budget moves by equal ratios where the energies span more than a decade.
  const wide = (b) => b.e0 > 0 && b.e1 / b.e0 > 10;
  const toBudget = (b, t) => wide(b) ? b.e0 * (b.e1 / b.e0) ** t : b.e0 + t * (b.e1 - b.e0);
  const fromBudget = (b, v) => b.e1 === b.e0 ? 1 : wide(b) ? Math.log(v / b.e0) / Math.log(b.e1 / b.e0) : (v - b.e0) / (b.e1 - b.e0);

  function slide(input, what) {
    const b = bounds(), t = Number(input.value) / 1000;
    if (!b) return;
    if (what === "budget") state.budget = t >= 1 ? null : Number(toBudget(b, t).toPrecision(3));
    else state.floor = t <= 0 ? null : Number((b.a0 + t * (b.a1 - b.a0)).toPrecision(3));
    render();
  }

  // ---------------------------------------------------------------- drawing

  // What the keyboard is on is drawn anew; the focus must not fall off it.
  function focused() {
    const active = document.activeElement;
    if (!active || !app.contains(active)) return null;
    if (active.id) return `#${active.id}`;
    if (active.dataset.sort) return `[data-sort="${active.dataset.sort}"]`;
    const row = active.closest("tr[data-id]");
    return row ? `tr[data-id="${row.dataset.id}"] ${active.localName}` : null;
  }

  function render(how = draw) {
    const focus = focused();
    how();
    if (focus && !app.contains(document.activeElement)) app.querySelector(focus)?.focus({ preventScroll: true });
  }

  function drawAgain() {
    current = passkwh.view();
    passkwh.toAddress();
    drawTable();
  }

  function draw() {
    current = passkwh.view();
    passkwh.toAddress();
    controls();
    passkwh.chart.draw(current);
    log.checked = passkwh.chart.logarithmic();
    passkwh.planeView.draw(current);
    passkwh.compare.draw(compare, current.columns, choose);
    drawTable();
  }

  function controls() {
    group.value = groups.some((g) => g.key === state.group) ? state.group : groups[0]?.key;
    if (search.value !== state.q) search.value = state.q;
    across.forEach((label) => { label.firstChild.checked = state.across.includes(label.firstChild.value); });
    const members = `${state.group} ${state.across}`;
    for (const [key, , get] of FACETS) {
      const select = facets[key], wanted = state.facets[key] || "";
      if (members !== facetsOf) {
        const values = [...new Set(current.members.map(get))].sort((a, b) => byName(String(a), String(b)));
        select.replaceChildren(option("", "all"), ...values.map((value) => option(value, value)));
      }
      if (wanted && ![...select.options].some((o) => o.value === wanted)) select.append(option(wanted, wanted));
      select.value = wanted;
      select.parentElement.hidden = select.options.length < 3 && !wanted;
    }
    facetsOf = members;
    mixed.hidden = current.mixed.length === 0;
    mixed.textContent = `These rows differ in ${current.mixed.join(", ")}: a difference between them may come from that and not from the model.`
      + (current.mixed.includes("tasks or decoding") ? " Energy of the run and pass@kWh depend on how many tasks there were; solved/kWh and J/token do not." : "");
    gone.hidden = state.gone === 0;
    gone.textContent = state.gone === 1 ? "A configuration that this address names is not on this board, or no longer."
      : `${state.gone} configurations that this address names are not on this board, or no longer.`;
    grid.value = state.grid;
    pue.value = state.pue;
    price.value = state.price;
    accuracy.value = current.accuracy;
    accuracy.parentElement.hidden = raw.accuracy.filter((key) => current.members.some((r) => r.figures[key])).length < 2;
    sliders();
  }

  function sliders() {
    const b = bounds(), name = raw.measures[current.accuracy]?.[0] || "accuracy", found = passkwh.winners(current);
    budget.disabled = floor.disabled = !b;
    if (!b) return;
    budget.value = state.budget === null ? 1000 : Math.round(1000 * fromBudget(b, state.budget));
    floor.value = state.floor === null ? 0 : Math.round(1000 * (state.floor - b.a0) / (b.a1 - b.a0 || 1));
    budgetText.textContent = state.budget === null ? "no limit" : `at most ${number(state.budget)} Wh`;
    floorText.textContent = state.floor === null ? "no floor" : `${name} of at least ${number(state.floor)}`;
    budget.setAttribute("aria-valuetext", budgetText.textContent);
    floor.setAttribute("aria-valuetext", floorText.textContent);
    tell(budgetWinner, state.budget, found.budget, "Most accurate within it", "Nothing here stays within it.", name);
    tell(floorWinner, state.floor, found.floor, "Cheapest that reaches it", "Nothing here reaches it.", name);
  }

  function tell(place, asked, found, lead, none, name) {
    place.hidden = asked === null;
    if (asked === null) return;
    if (!found) { place.replaceChildren(none); return; }
    place.replaceChildren(`${lead}: `, make("strong", {}, found.row.label), `${number(found.energy)} Wh, ${name} ${number(found.accuracy)}`);
  }

  function visibleColumns() {
    const { members, columns } = current, forced = new Set(state.columns);
    const texts = TEXTS.filter((c) => forced.has(c.key) || (c.key !== "source" && new Set(members.map(c.get)).size > 1));
    return [...columns.filter((c) => members.some((r) => c.figure(r))), ...texts];
  }

  function header(column) {
    const sorted = current.sort === column.key, arrow = sorted ? (state.down ? "▼" : "▲") : "";
    const act = () => set({ sort: column.key, down: sorted ? !state.down : column.better !== "min" && !!column.better });
    const th = make("th", { scope: "col", "data-name": column.name, class: column.figure || column.numeric ? "" : "left", "aria-sort": sorted ? (state.down ? "descending" : "ascending") : "none" },
      make("button", { type: "button", onclick: act, "data-sort": column.key }, make("span", { class: "arrow", "aria-hidden": "true" }, arrow), column.name));
    if (column.unit) th.append(make("span", { class: "unit" }, column.unit));
    if (column.figure) th.append(make("span", { class: "unit" }, column.better === "min" ? "↓ lower is better" : "↑ higher is better"));
    return th;
  }

  function line(row, columns) {
    const pick = make("input", { type: "checkbox", "aria-label": `Compare ${row.label}`, checked: state.chosen.includes(row.id), onchange: () => choose(row.id) });
    const name = make("th", { scope: "row", class: "left wide name" }, row.page ? make("a", { href: `c/${row.id}.html` }, row.label) : row.label);
    const tags = make("span", { class: "tags" });
    if (current.frontier.has(row)) tags.append(make("span", { class: "tag on" }, "frontier"));
    if (row.provenance !== "measured") tags.append(make("span", { class: "tag flag", title: row.provenance === "published" ? row.source : `energy is ${row.provenance}` }, row.provenance));
    if (row.warnings) tags.append(make("span", { class: "tag", title: "see its page" }, `${row.warnings} ${row.warnings === 1 ? "warning" : "warnings"}`));
    if (row.place) tags.append(make("span", { class: "soft" }, row.place));
    name.append(tags);
    const tr = make("tr", { "data-id": row.id, class: state.chosen.includes(row.id) ? "chosen" : "" }, make("td", { class: "pick" }, pick), ranked(row), name);
    for (const column of columns) {
      if (!column.figure) { tr.append(make("td", { class: `${column.numeric ? "" : "left"}${column.wide ? " wide note" : ""}` }, (column.text || ((r) => String(column.get(r))))(row))); continue; }
      const figure = column.figure(row), td = make("td", figure && column.about ? { title: column.about(row) } : {}, figure ? number(figure.value) : "—");
      if (figure && figure.low !== null && figure.high !== null) td.append(make("span", { class: "range" }, `${number(figure.low)} – ${number(figure.high)}`));
      tr.append(td);
    }
    return tr;
  }

  // A rank by pass@kWh comes with the ranks that the uncertainty of all leaves open, while only like is with like.
  function ranked(row) {
    const td = make("td", {}, String(current.ranks.get(row) ?? "—"));
    if (current.sort === "pass_at_kwh" && row.rankRange && !current.mixed.length) td.append(make("span", { class: "range", title: "best and worst rank that the uncertainty of all configurations of this group leaves open (95 %)" }, row.rankRange[0] === row.rankRange[1] ? "certain" : `${row.rankRange[0]} – ${row.rankRange[1]}`));
    return td;
  }

  function drawTable() {
    const columns = visibleColumns(), { shown, members } = current, count = state.all ? shown.length : Math.min(shownRows, shown.length);
    const head = make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "pick" }, make("span", { class: "sr" }, "compare")), make("th", { scope: "col" }, "rank"), header({ key: "model", name: "configuration" }), ...columns.map(header)));
    head.querySelector("th:nth-child(3)").className = "left wide name";
    table.replaceChildren(head, make("tbody", {}, ...shown.slice(0, count).map((row) => line(row, columns))));
    const ranked = current.columns.find((c) => c.key === current.sort);
    said.textContent = `${shown.length} of ${members.length} configurations${ranked ? `, ranked by ${ranked.name}` : ""}. ${same(members)}`;
    more.replaceChildren(...(count < shown.length ? [button(`Show ${Math.min(PAGE, shown.length - count)} more`, () => { shownRows += PAGE; drawTable(); }, { id: "show-more" }), button(`Show all ${shown.length}`, () => set({ all: true }), { class: "quiet", id: "show-all" })] : []));
    columnMenu.replaceChildren(...TEXTS.map((c) => make("label", {}, make("input", { type: "checkbox", id: `column-${c.key}`, checked: columns.includes(c), disabled: columns.includes(c) && !state.columns.includes(c.key), onchange: (e) => set({ columns: e.target.checked ? [...state.columns, c.key] : state.columns.filter((key) => key !== c.key) }) }), make("span", {}, c.name))));
  }

  // What all rows have in common is said once, not in every row.
  function same(members) {
    const common = TEXTS.filter((c) => members.length > 1 && new Set(members.map(c.get)).size === 1 && c.get(members[0]) !== null);
    const source = new Set(members.map((r) => r.source));
    const from = members[0]?.provenance === "published" && source.size === 1 ? ` Source: ${members[0].source}.` : "";
    return common.length ? `The same for all: ${common.map((c) => `${c.name} ${c.text ? c.text(members[0]) : c.get(members[0])}`).join("; ")}.${from}` : from;
  }

  // ---------------------------------------------------------------- taking it away

  // As passkwh/clean.py has it: no part of a text, as some spreadsheets would take it apart, begins a formula.
  const safe = (value) => typeof value === "string" ? value.split(";").map((part) => /^[\s"\ufffd]*[=+\-@]/.test(part.normalize("NFKC")) ? `'${part}` : part).join(";") : value;
  const quoted = (value) => { const text = value === null || value === undefined ? "" : String(safe(value)); return /[",\r\n]/.test(text) ? `"${text.replaceAll("\"", "\"\"")}"` : text; };

  function lines() {
    return current.shown.map((row) => {
      const entry = { id: row.id, rank: current.ranks.get(row) ?? null, configuration: row.label, model: row.model, family: row.family, parameters: row.parameters, tuning: row.tuning, quant: row.quant, exit: row.exit, thinking: row.thinking_mode, engine: row.engine, batch_size: row.batch_size, hardware: row.hardware, benchmark: row.benchmark, provenance: row.provenance, on_frontier: current.frontier.has(row) };
      for (const [key, figure] of Object.entries(row.figures)) Object.assign(entry, { [key]: figure.value, [`${key}_low`]: figure.low, [`${key}_high`]: figure.high });
      for (const key of ["co2e", "cost"]) { const figure = current.columns.find((c) => c.key === key).figure(row); entry[key === "co2e" ? "co2e_g" : "cost"] = figure ? figure.value : null; }
      entry.source = row.source;
      return entry;
    });
  }

  function download(kind) {
    const found = lines(), names = [...new Set(found.flatMap((entry) => Object.keys(entry)))];
    const text = kind === "json" ? JSON.stringify({ view: location.hash, grid: state.grid, pue: state.pue, price_per_kwh: state.price, rows: found }, null, 1)
      : [names.join(","), ...found.map((entry) => names.map((name) => quoted(entry[name])).join(","))].join("\r\n") + "\r\n";
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: kind === "json" ? "application/json" : "text/csv" })), download: `leaderboard.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  passkwh.chart.mount(chart, choose);
  passkwh.fromAddress();
  passkwh.planeView.mount(plane, { make, labelled, option, set, choose });
  window.addEventListener("hashchange", () => { passkwh.fromAddress(); render(); });
  document.getElementById("plain").remove();
  app.hidden = false;
  render();
  passkwh.set = set;
})();
