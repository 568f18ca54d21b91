"use strict";
// Energy against accuracy: points with error bars, the frontier, zoom, hover, selection by mouse, touch and keyboard.
(function () {
  const { number, state, raw } = passkwh;
  const NS = "http://www.w3.org/2000/svg";
  const LEFT = 62, RIGHT = 20, TOP = 52, BOTTOM = 56;
  let WIDTH = 860, HEIGHT = 470;
  const COLOURS = 4;
  const SHAPES = { measured: "circle", estimated: "hollow", mixed: "hollow", simulated: "cross", published: "diamond" };
  let box = null, zoom = null, points = [], cursor = -1, last = null;

  function make(name, attributes = {}, parent = null, text = null) {
    const node = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  // A quantization has the colour of its place among all; those beyond the last colour share one.
  const colour = (quant) => { const place = raw.quants.indexOf(quant); return place < COLOURS ? `q-${place}` : "q-other"; };

  function mark(row, x, y, parent, size = 5.5) {
    const shape = SHAPES[row.provenance], at = { class: shape === "hollow" ? "mark hollow" : "mark" };
    if (shape === "diamond") return make("path", { ...at, d: `M${x},${y - size * 1.25}l${size * 1.15},${size * 1.25}l${-size * 1.15},${size * 1.25}l${-size * 1.15},${-size * 1.25}z` }, parent);
    if (shape === "cross") return make("path", { class: "mark", "stroke-width": 0, d: `M${x - size},${y - 2}h${size - 2}v${2 - size}h4v${size - 2}h${size - 2}v4h${2 - size}v${size - 2}h-4v${2 - size}h${2 - size}z` }, parent);
    return make("circle", { ...at, cx: x, cy: y, r: size }, parent);
  }

  // Round positions between low and high: 1, 2, 5 steps, or decades with 1-2-5 between on a logarithmic axis.
  function ticks(low, high, log, about = 6) {
    const found = [];
    if (log) {
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
        for (const step of high / low > 1000 ? [1] : [1, 2, 5]) { const v = step * 10 ** power; if (v >= low && v <= high) found.push(v); }
      }
      if (found.length >= 3) return found;
      found.length = 0;
    }
    const rough = (high - low) / about, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= rough);
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return found;
  }

  function domain(view) {
    const xs = [], ys = [];
    for (const row of view.shown) {
      const energy = row.figures.energy_kwh, accuracy = row.figures[view.accuracy];
      if (!energy || !accuracy) continue;
      xs.push(energy.value, energy.low ?? energy.value, energy.high ?? energy.value);
      ys.push(accuracy.value, accuracy.low ?? accuracy.value, accuracy.high ?? accuracy.value);
    }
    if (!xs.length) return null;
    const positive = xs.filter((x) => x > 0).map((x) => x * 1000);
    const log = state.log ?? (positive.length === xs.length && Math.max(...positive) / Math.min(...positive) > 15);
    let x0 = Math.min(...xs) * 1000, x1 = Math.max(...xs) * 1000, y0 = Math.min(...ys), y1 = Math.max(...ys);
    if (log && positive.length) { x0 = Math.min(...positive); const pad = Math.max((x1 / x0) ** 0.06, 1.05); x0 /= pad; x1 *= pad; }
    else { const pad = (x1 - x0) * 0.06 || x1 * 0.1 || 1; x0 = Math.max(0, x0 - pad); x1 += pad; }
    const pad = (y1 - y0) * 0.08 || 0.05;
    y0 = Math.max(0, y0 - pad);
    y1 = Math.min(Math.max(1, y1), y1 + pad);
    return { x0, x1, y0, y1: y1 === y0 ? y0 + 0.1 : y1, log: log && x0 > 0 };
  }

  function draw(view) {
    last = view;
    const svg = box.querySelector("svg"), whole = domain(view);
    svg.replaceChildren();
    // One unit is one pixel, so that text is as large on a phone as elsewhere.
    WIDTH = Math.round(Math.min(960, Math.max(320, box.clientWidth - 2)));
    HEIGHT = Math.round(Math.max(360, WIDTH * 0.54));
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    points = [];
    if (!whole) { make("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle", fill: "currentColor" }, svg, "No row here has both an energy and an accuracy."); return; }
    const area = zoom && zoom.log === whole.log ? zoom : whole;
    const across = (v) => area.log ? Math.log(Math.max(v, 1e-12) / area.x0) / Math.log(area.x1 / area.x0) : (v - area.x0) / (area.x1 - area.x0);
    const x = (v) => LEFT + (WIDTH - LEFT - RIGHT) * across(v);
    const y = (v) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (v - area.y0) / (area.y1 - area.y0);
    box.unscale = (px, py) => {
      const fx = (px - LEFT) / (WIDTH - LEFT - RIGHT), fy = (HEIGHT - BOTTOM - py) / (HEIGHT - TOP - BOTTOM);
      return [area.log ? area.x0 * (area.x1 / area.x0) ** fx : area.x0 + fx * (area.x1 - area.x0), area.y0 + fy * (area.y1 - area.y0)];
    };
    box.area = area;

    const clip = make("clipPath", { id: "plot" }, make("defs", {}, svg));
    make("rect", { x: LEFT, y: TOP - 8, width: WIDTH - LEFT - RIGHT + 8, height: HEIGHT - TOP - BOTTOM + 8 }, clip);
    const grid = make("g", { class: "grid" }, svg), axis = make("g", { class: "axis" }, svg);
    for (const v of ticks(area.x0, area.x1, area.log, WIDTH < 560 ? 4 : 6)) {
      make("line", { x1: x(v), x2: x(v), y1: TOP, y2: HEIGHT - BOTTOM }, grid);
      make("text", { x: x(v), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, axis, number(v));
    }
    for (const v of ticks(area.y0, area.y1, false, 5)) {
      make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v) }, grid);
      make("text", { x: LEFT - 9, y: y(v) + 4, "text-anchor": "end" }, axis, number(v));
    }
    make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }, axis);
    const name = passkwh.raw.measures[view.accuracy][0];
    const kinds = [...new Set(view.shown.filter((r) => r.figures.energy_kwh && r.figures[view.accuracy]).map((r) => r.provenance))].sort().join(" or ");
    const title = [`${kinds} energy of the run, Wh${area.log ? ", logarithmic" : ""}`, "← lower is better"], middle = { class: "title", x: (LEFT + WIDTH - RIGHT) / 2, "text-anchor": "middle" };
    if (WIDTH < 560) title.forEach((line, i) => make("text", { ...middle, y: HEIGHT - 20 + 15 * i }, axis, line));
    else make("text", { ...middle, y: HEIGHT - 14 }, axis, title.join(" · "));
    make("text", { class: "title", transform: `translate(18 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, axis, `${name} · higher is better →`);

    const plot = make("g", { "clip-path": "url(#plot)" }, svg);
    const frontier = [...view.frontier].sort((a, b) => a.figures.energy_kwh.value - b.figures.energy_kwh.value);
    // Steps: up to the next point's energy no point of the frontier is more accurate than the last one.
    const corners = frontier.map((r) => [x(r.figures.energy_kwh.value * 1000), y(r.figures[view.accuracy].value)]);
    if (frontier.length > 1) make("path", { class: "front", d: corners.map(([px, py], i) => i ? `H${px}V${py}` : `M${px},${py}`).join("") }, plot);
    if (state.budget !== null) make("line", { class: "limit", x1: x(state.budget), x2: x(state.budget), y1: TOP, y2: HEIGHT - BOTTOM }, plot);
    if (state.floor !== null) make("line", { class: "limit", x1: LEFT, x2: WIDTH - RIGHT, y1: y(state.floor), y2: y(state.floor) }, plot);
    const chosen = new Set(state.chosen), lines = [];
    for (const row of view.shown) {
      const energy = row.figures.energy_kwh, accuracy = row.figures[view.accuracy];
      if (!energy || !accuracy) continue;
      const px = x(energy.value * 1000), py = y(accuracy.value);
      const outside = (state.budget !== null && energy.value * 1000 > state.budget) || (state.floor !== null && accuracy.value < state.floor);
      const group = make("g", { class: `${colour(row.quant)}${outside ? " out" : ""}`, "data-id": row.id, "data-frontier": view.frontier.has(row) ? "1" : "0" }, plot);
      if (energy.low !== null) lines.push([x(energy.low * 1000), py - 1, x(energy.high * 1000), py + 1]);
      if (accuracy.low !== null) lines.push([px - 1, y(accuracy.high), px + 1, y(accuracy.low)]);
      const aside = energy.low !== null && energy.high > energy.low ? `M${x(energy.low * 1000).toFixed(1)},${py.toFixed(1)}H${x(energy.high * 1000).toFixed(1)}` : "";
      const upright = accuracy.low !== null && accuracy.high > accuracy.low ? `M${px.toFixed(1)},${y(accuracy.low).toFixed(1)}V${y(accuracy.high).toFixed(1)}` : "";
      if (aside || upright) make("path", { class: "whisker", d: aside + upright }, group);
      mark(row, px, py, group);
      if (chosen.has(row.id)) make("circle", { class: "halo", cx: px, cy: py, r: 10 }, group);
      const visible = px >= LEFT - 1 && px <= WIDTH - RIGHT + 1 && py >= TOP - 1 && py <= HEIGHT - BOTTOM + 1;
      if (visible) points.push({ row, x: px, y: py, front: view.frontier.has(row), chosen: chosen.has(row.id) });
    }
    points.sort((a, b) => a.x - b.x || a.y - b.y);
    for (let i = 1; i < corners.length; i += 1) {
      const [[ax, ay], [bx, by]] = [corners[i - 1], corners[i]];
      lines.push([ax, ay - 2, bx, ay + 2], [bx - 2, Math.min(ay, by), bx + 2, Math.max(ay, by)]);
    }
    const left = nameThem(make("g", { class: "names" }, svg), lines);
    cursor = Math.min(cursor, points.length - 1);
    legend(view, left);
  }

  // What all labels begin and end with: names in the chart go without it, and the legend says so.
  function shared(labels) {
    if (labels.length < 2) return ["", ""];
    const same = (words) => { let n = 0; while (words.every((w) => n < w.length - 1 && w[n] === words[0][n])) n += 1; return n; };
    const words = labels.map((label) => label.split(/(?<=[-_ /])/)), first = same(words);
    const rest = words.map((w) => w.slice(first).join("").split(/(?= )/).reverse()), end = same(rest);
    // A name that would be left with the beginning of the common end ("batch" of "batch 4") keeps all of it.
    const last = rest.some((w) => end === w.length - 1) ? 0 : end;
    return [words[0].slice(0, first).join(""), rest[0].slice(0, last).reverse().join("")];
  }

  // Names where there is room, over no mark, bar, line or other name. Chosen and frontier points come first and may go
  // further off, with a line to the point, and over bars where there is no other room.
  const NEAR = 10, FURTHER = [NEAR, 24, 40, 58];
  const measure = document.createElement("canvas").getContext("2d");

  function nameThem(layer, lines) {
    const distinct = [...new Set(points.map((p) => p.row.label))], [before, after] = shared(distinct);
    const marks = points.map((p) => [p.x - 7, p.y - 7, p.x + 7, p.y + 7]), named = new Set(), taken = [];
    const { fontSize, fontFamily } = getComputedStyle(layer);
    measure.font = `${fontSize} ${fontFamily}`;
    const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    const inside = (a) => a[0] >= LEFT && a[2] <= WIDTH - 4 && a[1] >= TOP - 14 && a[3] <= HEIGHT - BOTTOM;
    const order = [...points].sort((a, b) => b.chosen - a.chosen || b.front - a.front || a.x - b.x).slice(0, 60);
    for (const point of order) {
      const { label } = point.row, short = label.slice(before.length, label.length - after.length);
      if (named.has(label)) continue;
      const text = short.length > 44 ? `${short.slice(0, 43)}…` : short;
      const w = measure.measureText(text).width + 6, h = 15, { x, y } = point, must = point.chosen || point.front;
      // Straight up or aside a line to the name would lie on the point's own bars.
      const places = (must ? FURTHER : [NEAR]).flatMap((d) => {
        const e = d * 0.8, straight = [[x + d, y - h / 2], [x - w / 2, y - h - e], [x - w / 2, y + e], [x - w - d, y - h / 2]];
        const aslant = [e / 2, e].flatMap((f) => [[x + e, y - h - f], [x + e, y + f], [x - w - e, y - h - f], [x - w - e, y + f]]);
        return [...(d > NEAR ? [] : straight), ...aslant].map(([left, top]) => ({ box: [left, top, left + w, top + h], line: d > NEAR ? [[x, y], [left > x ? left : left + w, top > y ? top : top + h]] : null }));
      });
      // Only what the name could meet is looked at: a board may have thousands of marks and bars.
      const reach = w + FURTHER[FURTHER.length - 1], around = [x - reach, y - 2 * reach / 3, x + reach, y + 2 * reach / 3];
      const [dots, bars] = [marks, lines].map((boxes) => boxes.filter((other) => meets(around, other)));
      const others = dots.filter((m) => m[0] + 7 !== x || m[1] + 7 !== y), covers = (box, boxes) => boxes.some((other) => meets(box, other));
      const clear = ([[ax, ay], [bx, by]]) => Array.from({ length: 12 }, (_, i) => [ax + (bx - ax) * i / 11, ay + (by - ay) * i / 11])
        .every(([px, py]) => { const at = [px, py, px, py]; return !covers(at, others) && !covers(at, taken); });
      const free = ({ box, line }) => inside(box) && !covers(box, dots) && !covers(box, taken) && (!line || clear(line));
      const place = places.find((spot) => free(spot) && !covers(spot.box, bars)) || (must && places.find(free));
      if (!place) continue;
      const { box, line } = place;
      taken.push(box);
      named.add(label);
      if (line) make("line", { x1: x, y1: y, x2: line[1][0], y2: line[1][1] }, layer);
      make("text", { x: box[0] + 3, y: box[3] - 4 }, layer, text);
    }
    return [before, after].map((part) => part.trim()).filter(Boolean);
  }

  function legend(view, left) {
    const list = box.querySelector(".legend");
    list.replaceChildren();
    const entry = (text, paint) => {
      const item = document.createElement("span");
      if (paint) { const icon = make("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }); paint(icon); item.append(icon); }
      item.append(text);
      list.append(item);
    };
    const distinct = (get) => [...new Set(view.shown.map(get))];
    for (const quant of distinct((r) => r.quant)) entry(quant === "none" ? "unquantized" : quant, (icon) => make("circle", { cx: 8, cy: 8, r: 6, class: `mark ${colour(quant)}` }, icon));
    for (const kind of distinct((r) => r.provenance)) entry(`energy ${kind}`, (icon) => mark({ provenance: kind }, 8, 8, icon, 5.5));
    entry("Pareto frontier", (icon) => make("path", { class: "front", d: "M0,12H8V4H16" }, icon));
    if (view.shown.some((r) => r.figures.energy_kwh && r.figures.energy_kwh.low !== null)) entry("interval", (icon) => make("path", { class: "whisker", d: "M8,1V15M1,8H15", "stroke-width": 1.5 }, icon));
    if (left.length) entry(`names without “${left.join("”, “")}”`);
  }

  // ---------------------------------------------------------------- reader's hands

  const nearest = (px, py, reach) => points.reduce((best, p, i) => { const d = Math.hypot(p.x - px, p.y - py); return d < best[1] ? [i, d] : best; }, [-1, reach])[0];

  function place(event) {
    const svg = box.querySelector("svg"), frame = svg.getBoundingClientRect();
    return [(event.clientX - frame.left) * WIDTH / frame.width, (event.clientY - frame.top) * HEIGHT / frame.height];
  }

  function show(index) {
    const tip = box.querySelector(".tip"), svg = box.querySelector("svg");
    svg.querySelector(".cursor")?.remove();
    tip.hidden = index < 0;
    if (index < 0) return;
    const point = points[index], row = point.row, frame = svg.getBoundingClientRect(), scale = frame.width / WIDTH;
    make("circle", { class: "cursor", cx: point.x, cy: point.y, r: 9 }, svg);
    tip.replaceChildren();
    const title = document.createElement("strong");
    title.textContent = row.label;
    const list = document.createElement("dl");
    list.className = "facts";
    for (const column of last.columns) {
      const figure = column.figure(row);
      if (!figure || !["energy_kwh", last.accuracy, "pass_at_kwh", "joules_per_token"].includes(column.key)) continue;
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = column.unit ? `${column.name} (${column.unit})` : column.name;
      dd.textContent = number(figure.value) + (figure.low !== null ? ` [${number(figure.low)}, ${number(figure.high)}]` : "");
      list.append(dt, dd);
    }
    tip.append(title, list, `energy ${row.provenance}${point.front ? ", on the frontier" : ""}${row.page ? "; open its page from the table" : ""}`);
    const right = point.x > WIDTH * 0.6, width = Math.min(tip.offsetWidth || 240, frame.width);
    tip.style.left = `${Math.max(4, Math.min(frame.width - width - 4, point.x * scale + (right ? -width - 14 : 14)))}px`;
    tip.style.top = `${Math.max(4, point.y * scale - 30)}px`;
  }

  function zoomBy(factor) {
    const a = box.area;
    if (!a) return;
    const shrink = (low, high) => { const middle = (low + high) / 2, half = (high - low) / 2 * factor; return [middle - half, middle + half]; };
    const [x0, x1] = a.log ? shrink(Math.log(a.x0), Math.log(a.x1)).map(Math.exp) : shrink(a.x0, a.x1), [y0, y1] = shrink(a.y0, a.y1);
    zoom = { x0: a.log ? x0 : Math.max(0, x0), x1, y0: Math.max(0, y0), y1, log: a.log };
    draw(last);
  }

  function reset() { zoom = null; draw(last); }

  function mount(place_, choose) {
    box = place_;
    const svg = make("svg", { "aria-hidden": "true", focusable: "false" });
    box.querySelector(".stage").append(svg);
    const stage = box.querySelector(".stage"), live = box.querySelector("[aria-live]");
    let start = null, brush = null;
    svg.addEventListener("pointermove", (event) => {
      const [px, py] = place(event);
      if (start && Math.hypot(px - start[0], py - start[1]) > 6) {
        brush = brush || make("rect", { class: "brush" }, svg);
        brush.setAttribute("x", Math.min(px, start[0])); brush.setAttribute("y", Math.min(py, start[1]));
        brush.setAttribute("width", Math.abs(px - start[0])); brush.setAttribute("height", Math.abs(py - start[1]));
        return;
      }
      const found = nearest(px, py, 24);
      svg.style.cursor = found < 0 ? "crosshair" : "pointer";
      show(found);
    });
    svg.addEventListener("pointerleave", () => { if (!start) show(-1); });
    svg.addEventListener("pointerdown", (event) => { if (event.button === 0 && event.pointerType !== "touch") { start = place(event); svg.setPointerCapture(event.pointerId); event.preventDefault(); } });
    svg.addEventListener("pointerup", (event) => {
      const end = place(event), from = start;
      start = null;
      if (brush) {
        brush.remove();
        brush = null;
        const [xa, ya] = box.unscale(...from), [xb, yb] = box.unscale(...end);
        zoom = { x0: Math.min(xa, xb), x1: Math.max(xa, xb), y0: Math.min(ya, yb), y1: Math.max(ya, yb), log: box.area.log };
        draw(last);
      }
    });
    svg.addEventListener("click", (event) => { const found = nearest(...place(event), 20); if (found >= 0) choose(points[found].row.id); });
    svg.addEventListener("dblclick", reset);
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step && points.length) { cursor = (cursor + step + points.length) % points.length; show(cursor); const r = points[cursor].row; live.textContent = `${r.label}: ${number(r.figures.energy_kwh.value * 1000)} Wh, ${passkwh.raw.measures[last.accuracy][0]} ${number(r.figures[last.accuracy].value)}${points[cursor].front ? ", on the frontier" : ""}`; }
      else if ((event.key === "Enter" || event.key === " ") && cursor >= 0) { choose(points[cursor].row.id); show(cursor); }
      else if (event.key === "+" || event.key === "=") zoomBy(0.7);
      else if (event.key === "-") zoomBy(1 / 0.7);
      else if (event.key === "0" || event.key === "Escape") reset();
      else return;
      event.preventDefault();
    });
    let width = 0;
    new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; if (last) draw(last); } }).observe(box);
    stage.addEventListener("blur", () => show(-1));
    box.querySelector("[data-zoom=in]").addEventListener("click", () => zoomBy(0.7));
    box.querySelector("[data-zoom=out]").addEventListener("click", () => zoomBy(1 / 0.7));
    box.querySelector("[data-zoom=reset]").addEventListener("click", reset);
  }

  passkwh.drawing = { make, ticks, mark, colour };
  passkwh.chart = { mount, draw, forget: () => { zoom = null; }, logarithmic: () => Boolean(box.area && box.area.log) };
})();
