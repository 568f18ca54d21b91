"use strict";
// Two or more configurations side by side, and paired tests on their common tasks.
(function () {
  const { byId, number, state } = passkwh;
  const details = new Map(), waiting = new Map();
  const MOST = 6;

  passkwh.loaded = (id, data) => { details.set(id, data); (waiting.get(id) || []).forEach((done) => done()); waiting.delete(id); };

  function load(id) {
    if (details.has(id)) return Promise.resolve();
    return new Promise((done, failed) => {
      if (waiting.has(id)) { waiting.get(id).push(done); return; }
      waiting.set(id, [done]);
      const script = document.createElement("script");
      script.src = `data/${id}.js`;
      script.addEventListener("error", () => { waiting.delete(id); failed(new Error(id)); });
      document.head.append(script);
    });
  }

  const node = (name, text, className) => { const made = document.createElement(name); if (text !== undefined) made.textContent = text; if (className) made.className = className; return made; };
  const cell = (row, name, text, className) => { const made = node(name, text, className); row.append(made); return made; };
  const range = (f, digits = 3) => f && f.low !== null && f.low !== undefined ? ` [${number(f.low, digits)}, ${number(f.high, digits)}]` : "";
  const pText = (p) => p === null || p === undefined ? "—" : p < 0.001 ? "p < 0.001" : `p = ${number(p, 3)}`;

  function sideBySide(rows, columns) {
    const table = node("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    table.append(node("caption", "Figures side by side, with their intervals; the best of each line is marked"));
    Object.assign(cell(head, "th", "measure", "left"), { scope: "col" });
    for (const row of rows) Object.assign(cell(head, "th", row.label, "wide"), { scope: "col" });
    for (const column of columns) {
      const figures = rows.map((row) => column.figure(row));
      if (figures.every((f) => !f)) continue;
      const values = figures.filter(Boolean).map((f) => f.value), best = column.better === "max" ? Math.max(...values) : Math.min(...values);
      const line = body.insertRow(), name = cell(line, "th", column.name, "left");
      name.scope = "row";
      name.append(node("span", `${column.unit} ${column.better === "max" ? "↑" : "↓"}`, "range"));
      for (const figure of figures) {
        const made = cell(line, "td", figure ? number(figure.value) : "—", figure && figure.value === best && new Set(values).size > 1 ? "best" : "");
        if (figure && figure.low !== null) made.append(node("span", `${number(figure.low)} – ${number(figure.high)}`, "range"));
      }
    }
    return table;
  }

  // Tasks are what was measured only where each was generated alone, in one run. Energies of a batch are shares of one
  // measurement, and repeats are measurements of the same tasks: what is measured are batches and runs, which a board lacks.
  const measuredTogether = (row) => [
    row.batch_size === 1 ? "" : `batches of ${row.batch_size ?? "an unknown size"}`,
    row.concurrency === 1 ? "" : `${row.concurrency ?? "an unknown number of"} requests at once`,
    row.runs === 1 ? "" : `${row.runs} runs`,
  ].filter(Boolean);

  function pairedTests(a, b) {
    const tests = passkwh.stats.pair(details.get(a.id), details.get(b.id));
    const together = [...new Set([...measuredTogether(a), ...measuredTogether(b)])];
    if (!together.length) return tests;
    const ratio = tests.ratio && { value: tests.ratio.value, low: null, high: null };
    return { ...tests, ratio, energy: { p: null, name: `not tested here (${together.join(", ")})`, elsewhere: true } };
  }

  async function tests(rows, place) {
    const paired = rows.filter((row) => row.page);
    if (paired.length < 2) { place.replaceChildren(node("p", "No paired test: published rows come without their tasks.", "note")); return; }
    try { await Promise.all(paired.map((row) => load(row.id))); } catch (error) { place.replaceChildren(node("p", "The per-task data could not be loaded: keep the folder data/ beside this page.", "callout")); return; }
    const pairs = [];
    paired.forEach((a, i) => paired.slice(i + 1).forEach((b) => { if (a.tasks_key === b.tasks_key) pairs.push({ a, b, ...pairedTests(a, b) }); }));
    const made = pairs.filter((pair) => pair.tasks);
    if (!made.length) { place.replaceChildren(node("p", "No paired test: these configurations did not run the same tasks with the same decoding.", "note")); return; }
    const energy = passkwh.stats.holm(made.map((p) => p.energy?.p ?? null)), passing = passkwh.stats.holm(made.map((p) => p.passing?.p ?? null));
    const table = node("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    table.append(node("caption", "Paired over the tasks that both ran; p-values adjusted over all pairs shown (Holm)"));
    for (const [text, className] of [["pair", "left wide"], ["tasks", ""], ["energy, first over second", ""], ["do energies differ?", ""], ["pass@1, first less second", ""], ["do they pass different tasks?", ""]]) Object.assign(cell(head, "th", text, className), { scope: "col" });
    made.forEach((pair, i) => {
      const line = body.insertRow();
      Object.assign(cell(line, "th", `${pair.a.label} against ${pair.b.label}`, "left wide"), { scope: "row" });
      cell(line, "td", String(pair.tasks));
      cell(line, "td", pair.ratio ? `× ${number(pair.ratio.value)}` : "—").append(node("span", pair.ratio ? range(pair.ratio).trim() : "", "range"));
      cell(line, "td", pText(energy[i])).append(node("span", pair.energy?.name || "", "range"));
      const d = pair.difference;
      cell(line, "td", d ? `${d.value > 0 ? "+" : ""}${number(d.value)}` : "—").append(node("span", d ? range(d).trim() : "", "range"));
      cell(line, "td", pText(passing[i])).append(node("span", pair.passing?.name || "", "range"));
      line.dataset.pair = `${pair.a.id},${pair.b.id}`;
      line.dataset.result = JSON.stringify({ tasks: pair.tasks, energy_p: pair.energy?.p ?? null, passing_p: pair.passing?.p ?? null, ratio: pair.ratio, difference: d, energy_p_holm: energy[i], passing_p_holm: passing[i] });
    });
    const box = node("div", undefined, "scroll");
    Object.assign(box, { tabIndex: 0 });
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Paired tests");
    box.append(table);
    const elsewhere = made.some((pair) => pair.energy?.elsewhere) ? " Where tasks shared a batch, or a configuration has several runs, single tasks are no measurements of their own, and this page has nothing else: with the run folders, bench compare A B (A and B each a folder with all runs of one configuration) tests by batches and runs, and gives the interval." : "";
    const machines = new Set(paired.map((r) => r.hardware_key)).size > 1 ? " The machines differ: a difference in energy may be theirs." : "";
    place.replaceChildren(box, node("p", `Computed in your browser from every task's verdict and energy, by the formulas of the analysis: the ratio of geometric means for energy and, between single runs in which every task was generated alone, Wilcoxon's signed-rank test (of these runs: bench compare adds the errors of meter, idle power and repeats); McNemar's mid-p test (Wilcoxon where a task has several samples) and a 95 % interval of the difference for passing.${elsewhere}${machines}`, "note"));
  }

  function draw(place, columns, drop) {
    const rows = state.chosen.map((id) => byId.get(id)).filter(Boolean).slice(0, MOST);
    place.hidden = rows.length === 0;
    const bar = place.querySelector(".picked"), sheet = place.querySelector(".sheet"), test = place.querySelector(".tests");
    bar.replaceChildren();
    for (const row of rows) {
      const button = node("button", `${row.label} ×`);
      button.type = "button";
      button.setAttribute("aria-label", `Take ${row.label} out of the comparison`);
      button.addEventListener("click", () => drop(row.id));
      bar.append(button);
    }
    if (rows.length < 2) { sheet.replaceChildren(node("p", rows.length ? "Choose another configuration in the table or the chart to compare." : "", "note")); test.replaceChildren(); return; }
    const box = node("div", undefined, "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Figures side by side");
    box.append(sideBySide(rows, columns));
    sheet.replaceChildren(box);
    tests(rows, test);
  }

  passkwh.compare = { draw, MOST };
})();
