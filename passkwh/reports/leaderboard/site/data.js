"use strict";
// The board's rows, the state of the view (kept in the address), and what follows from both.
(function () {
  const raw = JSON.parse(document.getElementById("board").textContent);
  const count = raw.ids.length;
  // Figures are looked up by names from the address: nothing may be found there but figures.
  const rows = raw.ids.map((id, i) => ({ id, index: i, page: raw.pages[i], warnings: raw.warnings[i], rankRange: raw.ranks[i], figures: Object.create(null) }));
  for (const [name, [distinct, where]] of Object.entries(raw.texts)) rows.forEach((row, i) => { row[name] = distinct[where[i]]; });
  for (const [name, values] of Object.entries(raw.numbers)) rows.forEach((row, i) => { row[name] = values[i]; });
  for (const [name, [value, low, high]] of Object.entries(raw.figures)) {
    rows.forEach((row, i) => { if (value[i] !== null) row.figures[name] = { value: value[i], low: low?.[i] ?? null, high: high?.[i] ?? null }; });
  }
  rows.forEach((row) => { row.search = [row.label, row.family, row.quant, row.exit, row.engine, row.hardware, row.benchmark, row.source, row.place].join(" ").toLowerCase(); });
  const byId = new Map(rows.map((row) => [row.id, row]));

  // ---------------------------------------------------------------- figures

  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return "—";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size < 1e-6 || size >= 1e9) return value.toExponential(digits - 1);
    const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Number(size.toPrecision(digits)))));
    return decimals ? Number(value.toFixed(decimals)).toString() : Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 0 });
  }

  const scaled = (figure, by) => figure && { value: figure.value * by, low: figure.low === null ? null : figure.low * by, high: figure.high === null ? null : figure.high * by };

  const SIZES = [["up to 1 B", 0, 1e9], ["1 to 4 B", 1e9, 4e9], ["4 to 10 B", 4e9, 1e10], ["10 B and more", 1e10, Infinity]];
  const sizeClass = (row) => { const found = SIZES.find(([, low, high]) => row.parameters > low && row.parameters <= high); return found ? found[0] : "not known"; };
  const sizeText = (n) => n === null ? "—" : n >= 1e9 ? `${number(n / 1e9)} B` : `${number(n / 1e6)} M`;

  const thinkingOf = (row) => row.thinking_mode || "not stated", engineOf = (row) => row.engine || "not stated";

  // Columns: texts first, then figures. `better` is which way is better.
  const TEXTS = [
    { key: "family", name: "family", get: (r) => r.family },
    { key: "size", name: "size", unit: "weights", get: (r) => r.parameters, text: (r) => sizeText(r.parameters), numeric: true },
    { key: "tuning", name: "tuning", get: (r) => r.tuning },
    { key: "quant", name: "quantization", get: (r) => r.quant },
    { key: "exit", name: "exit rule", get: (r) => r.exit || "full depth" },
    { key: "thinking", name: "thinking", get: thinkingOf },
    { key: "engine", name: "engine", get: engineOf },
    { key: "batch", name: "batch size", get: (r) => r.batch_size, text: (r) => r.batch_size === null ? "—" : String(r.batch_size), numeric: true },
    { key: "concurrency", name: "in flight", unit: "requests", get: (r) => r.concurrency, text: (r) => String(r.concurrency), numeric: true },
    { key: "provenance", name: "energy is", get: (r) => r.provenance },
    { key: "hardware", name: "hardware", get: (r) => r.hardware, wide: true },
    { key: "benchmark", name: "benchmark", get: (r) => r.benchmark, wide: true },
    { key: "saved_against", name: "energy saved against", get: (r) => r.saved_against, text: (r) => r.saved_against || "—", wide: true },
    { key: "making_provenance", name: "energy of making is", get: (r) => r.making_provenance, text: (r) => r.making_provenance || "—", wide: true },
    { key: "source", name: "source", get: (r) => r.place ? `${r.source}, ${r.place}` : r.source, wide: true },
  ];
  const FACETS = [["family", "Family", (r) => r.family], ["size", "Size", sizeClass], ["tuning", "Tuning", (r) => r.tuning], ["quant", "Quantization", (r) => r.quant],
    ["exit", "Exit rule", (r) => r.exit || "full depth"], ["thinking", "Thinking", thinkingOf], ["engine", "Engine", engineOf], ["batch", "Batch size", (r) => r.batch_size === null ? "not stated" : String(r.batch_size)], ["concurrency", "Requests in flight", (r) => String(r.concurrency)],
    ["hardware", "Hardware", (r) => r.hardware], ["benchmark", "Benchmark", (r) => r.benchmark], ["provenance", "Energy is", (r) => r.provenance]];

  const state = { group: "", across: [], q: "", facets: {}, sort: "", down: true, budget: null, floor: null, chosen: [], grid: "NLD", pue: 1, price: 0.25, y: "", log: null, columns: [], all: false, gone: 0, deadline: null, lat: raw.latencies[0]?.[0] ?? "" };

  const byName = new Intl.Collator("en", { numeric: true }).compare;

  const exact = (value) => value === null ? undefined : { value, low: null, high: null };
  const share = (value) => value === null ? undefined : exact(100 * value);

  function figureColumns() {
    const measured = Object.keys(raw.measures).map((key) => {
      const [name, unit, better] = raw.measures[key];
      return key === "energy_kwh" ? { key, name, unit: "Wh", better, figure: (r) => scaled(r.figures[key], 1000) } : { key, name, unit, better, figure: (r) => r.figures[key] };
    });
    const grid = raw.grids.find(([code]) => code === state.grid) || raw.grids[0];
    return [...measured,
      { key: "saved", name: "energy saved", unit: "%", better: "max", about: (r) => `against ${r.saved_against}`, figure: (r) => share(r.saved) },
      { key: "saved_same_weights", name: "energy saved, same weights at full depth", unit: "%", better: "max", figure: (r) => share(r.saved_same_weights) },
      { key: "making", name: "energy of making it, once", unit: "J", better: "min", about: (r) => r.making_provenance, figure: (r) => exact(r.making_j) },
      { key: "pay_back", name: "solved tasks until that is paid back", unit: "", better: "min", about: (r) => `against ${r.saved_against}`, figure: (r) => exact(r.solved_to_pay_back) },
      { key: "co2e", name: "CO₂e", unit: "g", better: "min", figure: (r) => scaled(r.figures.energy_kwh, state.pue * grid[2]) },
      { key: "cost", name: "cost", unit: "of your currency", better: "min", figure: (r) => scaled(r.figures.energy_kwh, state.pue * state.price) },
    ];
  }

  // ---------------------------------------------------------------- what may be ranked together

  const groupKey = (r) => `${r.tasks_key}.${r.hardware_key}.${r.provenance}`;
  const ORDER = ["measured", "mixed", "estimated", "simulated", "published"];
  const groups = [...rows.reduce((found, row) => found.set(groupKey(row), [...(found.get(groupKey(row)) || []), row]), new Map())]
    .map(([key, members]) => ({ key, members, first: members[0] }))
    .sort((a, b) => ORDER.indexOf(a.first.provenance) - ORDER.indexOf(b.first.provenance) || b.members.length - a.members.length);

  const accuracyOf = (members) => raw.accuracy.map((key) => [key, members.filter((r) => r.figures[key]).length]).sort((a, b) => b[1] - a[1])[0]?.[0] || "pass_at_1";

  function inGroup() {
    const group = groups.find((g) => g.key === state.group) || groups[0];
    if (!group) return [];
    const like = group.first, across = new Set(state.across), accuracy = accuracyOf(group.members);
    return rows.filter((r) => {
      if ((r.provenance === "published") !== (like.provenance === "published")) return across.has("published") && r.figures[accuracy] !== undefined;
      return (across.has("tasks") || r.tasks_key === like.tasks_key) && (across.has("hardware") || r.hardware_key === like.hardware_key)
        && (across.has("provenance") || r.provenance === like.provenance);
    });
  }

  function mixtures(members) {
    const kinds = [["tasks or decoding", "tasks_key"], ["machines", "hardware_key"], ["kinds of energy figure", "provenance"]];
    return kinds.filter(([, key]) => new Set(members.map((r) => r[key])).size > 1).map(([name]) => name);
  }

  function view() {
    const members = inGroup();
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const active = FACETS.filter(([key]) => state.facets[key]);
    const matching = members.filter((r) => words.every((word) => r.search.includes(word)) && active.every(([key, , get]) => get(r) === state.facets[key]));
    const columns = figureColumns(), accuracy = state.y && members.some((r) => r.figures[state.y]) ? state.y : accuracyOf(members);
    const sort = state.sort || (members.some((r) => r.figures.pass_at_kwh) ? "pass_at_kwh" : accuracy);
    const column = columns.find((c) => c.key === sort), text = TEXTS.find((c) => c.key === sort);
    const value = column ? (r) => column.figure(r)?.value : text ? text.get : (r) => r.label;
    const sign = state.down ? -1 : 1;
    const gone = (v) => v === undefined || v === null;
    const keyed = matching.map((row) => [value(row), row]);
    keyed.sort(([x, a], [y, b]) => {
      if (gone(x) || gone(y)) return gone(x) - gone(y) || a.index - b.index;
      return (typeof x === "number" ? x - y : byName(String(x), String(y))) * sign || a.index - b.index;
    });
    const shown = keyed.map(([, row]) => row);
    return { members, shown, columns, accuracy, sort, mixed: mixtures(members), frontier: frontier(shown, accuracy), ranks: ranks(shown, column) };
  }

  // Equal figures share a rank; rank 1 is best, whichever way the table is sorted.
  function ranks(shown, column) {
    const found = new Map();
    if (!column) return found;
    const values = shown.filter((r) => column.figure(r)).map((r) => [r, column.figure(r).value]).sort((a, b) => column.better === "max" ? b[1] - a[1] : a[1] - b[1]);
    values.forEach(([row, v], i) => found.set(row, i && values[i - 1][1] === v ? found.get(values[i - 1][0]) : i + 1));
    return found;
  }

  // On the frontier: no other row costs at most as much and is at least as accurate, and better in one of the two.
  function frontier(members, accuracy) {
    const points = members.filter((r) => r.figures.energy_kwh && r.figures[accuracy]).map((r) => [r.figures.energy_kwh.value, r.figures[accuracy].value, r]);
    points.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    const on = new Set();
    let best = -Infinity, bestEnergy = null;
    for (const [energy, value, row] of points) if (value > best || (value === best && energy === bestEnergy)) { on.add(row); best = value; bestEnergy = energy; }
    return on;
  }

  function winners({ shown, accuracy }) {
    const points = shown.filter((r) => r.figures.energy_kwh && r.figures[accuracy]).map((r) => ({ row: r, energy: r.figures.energy_kwh.value * 1000, accuracy: r.figures[accuracy].value }));
    const pick = (list, better) => list.reduce((best, p) => best === null || better(p, best) ? p : best, null);
    return {
      budget: state.budget === null ? null : pick(points.filter((p) => p.energy <= state.budget), (p, b) => p.accuracy > b.accuracy || (p.accuracy === b.accuracy && p.energy < b.energy)),
      floor: state.floor === null ? null : pick(points.filter((p) => p.accuracy >= state.floor), (p, b) => p.energy < b.energy || (p.energy === b.energy && p.accuracy > b.accuracy)),
    };
  }

  // ---------------------------------------------------------------- what a token costs within a deadline

  // As passkwh/analysis/deadline.py has it, for each kind of energy by itself: measured is not compared with estimated.
  function plane({ shown }) {
    const points = shown.filter((r) => r.figures.joules_per_token && r.figures[state.lat])
      .map((r) => ({ row: r, cost: r.figures.joules_per_token.value, latency: r.figures[state.lat].value }));
    const kinds = ORDER.map((kind) => [kind, points.filter((p) => p.row.provenance === kind)]).filter(([, of]) => of.length);
    return { points, kinds: kinds.map(([kind, of]) => ({ kind, each: withinEach(of), fastest: Math.min(...of.map((p) => p.latency)), best: state.deadline === null ? null : cheapestWithin(of, state.deadline) })) };
  }

  const cheapestWithin = (points, deadline) => points.filter((p) => p.latency <= deadline)
    .reduce((best, p) => !best || p.cost < best.cost || (p.cost === best.cost && p.latency < best.latency) ? p : best, null);

  // Cheaper than all that are as fast: sorted by latency, those whose cost is below every cost before.
  function withinEach(points) {
    let least = Infinity;
    return [...points].sort((a, b) => a.latency - b.latency || a.cost - b.cost).filter((p) => { const on = p.cost < least; if (on) least = p.cost; return on; });
  }

  // ---------------------------------------------------------------- the view in the address

  const LISTS = { across: "across", chosen: "with", columns: "columns" };
  const NUMBERS = { budget: "budget", floor: "floor", pue: "pue", price: "price" };
  const WORDS = { group: "group", q: "q", sort: "sort", grid: "grid", y: "y", lat: "lat" };
  const fresh = JSON.parse(JSON.stringify(state));

  // Seconds as people write them, from a microsecond to eleven days; anything else is no deadline.
  const asDeadline = (text) => { const value = /^\d{1,6}(\.\d{1,6})?$/.test(text ?? "") ? Number(text) : 0; return value > 0 ? value : null; };

  function toAddress() {
    const query = new URLSearchParams();
    for (const [key, name] of Object.entries(WORDS)) if (state[key] !== fresh[key]) query.set(name, state[key]);
    for (const [key, name] of Object.entries(NUMBERS)) if (state[key] !== fresh[key] && state[key] !== null) query.set(name, String(state[key]));
    if (state.deadline !== null) query.set("deadline", String(state.deadline));
    for (const [key, name] of Object.entries(LISTS)) if (state[key].length) query.set(name, state[key].join(","));
    for (const [key, value] of Object.entries(state.facets)) if (value) query.set(`f.${key}`, value);
    if (!state.down) query.set("up", "1");
    if (state.all) query.set("all", "1");
    if (state.log !== null) query.set("log", state.log ? "1" : "0");
    const hash = query.toString();
    if (`#${hash}` !== (location.hash || "#")) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function fromAddress() {
    const query = new URLSearchParams(location.hash.slice(1));
    Object.assign(state, JSON.parse(JSON.stringify(fresh)));
    for (const [key, name] of Object.entries(WORDS)) if (query.has(name)) state[key] = query.get(name);
    for (const [key, name] of Object.entries(NUMBERS)) { const value = Number(query.get(name)); if (query.has(name) && Number.isFinite(value) && value >= 0 && value < 1e12) state[key] = value; }
    state.deadline = asDeadline(query.get("deadline"));
    for (const [key, name] of Object.entries(LISTS)) if (query.get(name)) state[key] = query.get(name).split(",").slice(0, 50);
    for (const [key] of FACETS) if (query.get(`f.${key}`)) state.facets[key] = query.get(`f.${key}`);
    state.gone = [...new Set(state.chosen)].filter((id) => /^[0-9a-f]{16}$/.test(id) && !byId.has(id)).length;
    state.chosen = state.chosen.filter((id) => byId.has(id));
    const known = { y: raw.accuracy, lat: raw.latencies.map(([key]) => key), grid: raw.grids.map(([code]) => code), group: groups.map((g) => g.key), sort: ["model", ...[...figureColumns(), ...TEXTS].map((c) => c.key)] };
    for (const [key, values] of Object.entries(known)) if (!values.includes(state[key])) state[key] = fresh[key];
    state.columns = state.columns.filter((key) => TEXTS.some((c) => c.key === key));
    state.down = !query.has("up");
    state.all = query.has("all");
    if (query.has("log")) state.log = query.get("log") === "1";
    state.pue = Math.max(1, state.pue);
  }

  Object.assign(passkwh, { raw, rows, byId, count, state, groups, view, winners, plane, asDeadline, number, byName, TEXTS, FACETS, toAddress, fromAddress, figureColumns });
})();
