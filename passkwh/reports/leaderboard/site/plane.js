"use strict";
// What a token costs against how long an answer takes, and the cheapest configuration within a deadline.
(function () {
  const { state, raw, number } = passkwh, drawing = passkwh.drawing;
  const LEFT = 62, RIGHT = 24, TOP = 24, BOTTOM = 56;
  const OF = { latency_p90_s: "nine of ten answers", ttft_p90_s: "the first token of nine of ten answers", tpot_p90_s: "each further token of nine of ten answers" };
  let box = null, tools = null, last = null, stale = true, asked = false;
  let shown = null; // the deadline that the field was last set to; undefined once somebody typed another

  const label = () => raw.latencies.find(([key]) => key === state.lat)?.[1] ?? "";

  function mount(place, given) {
    [box, tools] = [place, given];
    const { make, labelled, option, set } = given;
    box.latency = make("select", { id: "plane-latency", onchange: (e) => set({ lat: e.target.value }) }, ...raw.latencies.map(([key, name]) => option(key, name)));
    box.deadline = make("input", { type: "text", inputmode: "decimal", id: "deadline", autocomplete: "off", placeholder: "none", "aria-describedby": "deadline-note",
      onchange: (e) => { shown = undefined; set({ deadline: passkwh.asDeadline(e.target.value.trim().replace(",", ".")) }); } });
    box.note = make("p", { class: "note", id: "deadline-note" });
    box.winners = make("div", { id: "deadline-winners", "aria-live": "polite" });
    box.stage = make("div", { class: "chart" });
    box.table = make("table", { id: "plane-table" });
    box.append(make("summary", {}, make("h2", {}, "Energy of a token and latency")),
      make("div", { class: "split" }, box.stage, make("div", { class: "panel" }, make("h3", {}, "What is cheapest in time?"),
        labelled("Deadline, s", box.deadline), labelled("of", box.latency), box.note, box.winners)),
      make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The cheapest within each deadline", style: "margin-top: .8rem" }, box.table));
    box.addEventListener("toggle", () => { asked = true; if (box.open && stale && last) draw(last); });
    let width = 0;
    new ResizeObserver(() => { if (box.stage.clientWidth !== width) { width = box.stage.clientWidth; if (last && box.open) picture(passkwh.plane(last)); } }).observe(box.stage);
  }

  // Thousands of marks cost time: nothing is drawn while the section is closed. It is open where latency is the question.
  function draw(view) {
    last = view;
    const found = passkwh.plane(view);
    box.hidden = !raw.latencies.length || !view.members.some((r) => r.figures.joules_per_token && r.figures[state.lat]);
    if (state.deadline !== null || (!asked && view.members.some((r) => r.concurrency > 1))) box.open = true;
    stale = !box.open;
    if (stale || box.hidden) return;
    box.latency.value = state.lat;
    if (shown !== state.deadline) { box.deadline.value = state.deadline === null ? "" : String(state.deadline); shown = state.deadline; }
    box.note.textContent = `In time is ${OF[state.lat]} (${label()}).`;
    winners(found);
    frontiers(found);
    picture(found);
  }

  function winners({ kinds }) {
    const { make } = tools;
    box.winners.replaceChildren(...(state.deadline === null ? [] : kinds.map(({ kind, best, fastest }) => best
      ? make("p", { class: "winner", "data-kind": kind, "data-id": best.row.id }, `Cheapest ${kind}: `, make("strong", {}, best.row.label), `${number(best.cost)} J/token, ${number(best.latency)} s`)
      : make("p", { class: "winner", "data-kind": kind }, `Nothing ${kind} is in time; the fastest takes ${number(fastest)} s.`))));
  }

  const numbered = ({ kinds }) => kinds.flatMap(({ kind, each }) => each.map((p) => ({ ...p, kind }))).map((p, i) => ({ ...p, number: i + 1 }));

  // The same in words and figures: who cannot see the picture misses nothing.
  function frontiers(found) {
    const { make } = tools, head = [["no.", ""], ["deadline, s", ""], ["J/token", ""], ["cheapest within it", "left wide"], ["energy is", "left"]];
    const name = (row) => row.page ? make("a", { href: `c/${row.id}.html` }, row.label) : row.label;
    box.table.replaceChildren(make("caption", {}, "Cheapest within each deadline, for each kind of energy figure"),
      make("thead", {}, make("tr", {}, ...head.map(([text, kind]) => make("th", { scope: "col", class: kind }, text)))),
      make("tbody", {}, ...numbered(found).map((p) => make("tr", { "data-id": p.row.id, class: state.chosen.includes(p.row.id) ? "chosen" : "" },
        make("td", {}, String(p.number)), make("td", {}, number(p.latency)), make("td", {}, number(p.cost)), make("th", { scope: "row", class: "left wide" }, name(p.row)), make("td", { class: "left" }, p.kind)))));
  }

  // An axis of given values: logarithmic where they span more than a decade and a half.
  function scale(values, from, to) {
    let low = Math.min(...values), high = Math.max(...values);
    const log = low > 0 && high / low > 15;
    if (log) { const pad = Math.max((high / low) ** 0.06, 1.05); low /= pad; high *= pad; }
    else { const pad = (high - low) * 0.08 || high * 0.1 || 1; low = Math.max(0, low - pad); high += pad; }
    const share = (v) => log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    return { low, high, log, at: (v) => from + (to - from) * share(v) };
  }

  function picture(found) {
    const { make, ticks, mark, colour } = drawing, { points, kinds } = found;
    box.stage.replaceChildren();
    if (!points.length) { box.stage.append(tools.make("p", { class: "note pad" }, "No row here has both.")); return; }
    // One unit is one pixel, as in the chart above.
    const width = Math.round(Math.min(960, Math.max(300, box.stage.clientWidth - 2))), height = Math.round(Math.max(320, width * 0.46));
    const costs = kinds.length === 1 ? `${kinds[0].kind} J/token` : "J/token";
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label()} against J/token of ${points.length} configurations; the table below has those that are the cheapest within some deadline` }, box.stage);
    const x = scale(points.map((p) => p.cost), LEFT, width - RIGHT), y = scale(points.map((p) => p.latency), height - BOTTOM, TOP);
    const grid = make("g", { class: "grid" }, svg), axis = make("g", { class: "axis" }, svg);
    for (const v of ticks(x.low, x.high, x.log, width < 560 ? 4 : 6)) {
      make("line", { x1: x.at(v), x2: x.at(v), y1: TOP, y2: height - BOTTOM }, grid);
      make("text", { x: x.at(v), y: height - BOTTOM + 18, "text-anchor": "middle" }, axis, number(v));
    }
    for (const v of ticks(y.low, y.high, y.log, 5)) {
      make("line", { x1: LEFT, x2: width - RIGHT, y1: y.at(v), y2: y.at(v) }, grid);
      make("text", { x: LEFT - 9, y: y.at(v) + 4, "text-anchor": "end" }, axis, number(v));
    }
    make("text", { class: "title", x: (LEFT + width - RIGHT) / 2, y: height - 14, "text-anchor": "middle" }, axis, `${costs} · ← lower is better`);
    make("text", { class: "title", transform: `translate(18 ${(TOP + height - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, axis, `← lower is better · ${label()}, s`);
    for (const { each } of kinds) {
      const corners = each.map((p) => [x.at(p.cost), y.at(p.latency)]).sort((a, b) => a[0] - b[0]);
      if (corners.length > 1) make("path", { class: "front", d: corners.map(([px, py], i) => i ? `H${px}V${py}` : `M${px},${py}`).join("") }, svg);
    }
    if (state.deadline !== null && state.deadline >= y.low && state.deadline <= y.high) make("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y.at(state.deadline), y2: y.at(state.deadline) }, svg);
    const best = new Set(kinds.map((one) => one.best?.row.id));
    for (const { row, cost, latency } of points) {
      const late = state.deadline !== null && latency > state.deadline, group = make("g", { class: `${colour(row.quant)}${late ? " out" : ""}`, "data-id": row.id }, svg);
      const one = mark(row, x.at(cost), y.at(latency), group);
      make("title", {}, one, `${row.label}: ${number(cost)} J/token, ${number(latency)} s, energy ${row.provenance}`);
      if (best.has(row.id)) make("circle", { class: "halo", cx: x.at(cost), cy: y.at(latency), r: 10 }, group);
      group.addEventListener("click", () => tools.choose(row.id));
    }
    const names = make("g", { class: "names" }, svg);
    for (const p of numbered(found)) make("text", { x: x.at(p.cost) + 9, y: y.at(p.latency) - 8 }, names, String(p.number));
    const legend = tools.make("div", { class: "legend" });
    const entry = (text, paint) => { const icon = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }); paint(icon); legend.append(tools.make("span", {}, icon, text)); };
    for (const quant of new Set(points.map((p) => p.row.quant))) entry(quant === "none" ? "unquantized" : quant, (icon) => make("circle", { cx: 8, cy: 8, r: 6, class: `mark ${colour(quant)}` }, icon));
    for (const { kind } of kinds) entry(`energy ${kind}`, (icon) => mark({ provenance: kind }, 8, 8, icon));
    entry("cheapest within some deadline, by number", (icon) => make("path", { class: "front", d: "M0,4H8V12H16" }, icon));
    box.stage.append(legend);
  }

  passkwh.planeView = { mount, draw };
})();
