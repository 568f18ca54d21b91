"use strict";
// Paired tests of two configurations on their common tasks: the formulas of passkwh.analysis (matched, effects,
// equivalence), in the reader's browser. The tests of this project hold the two implementations to each other.
const passkwh = window.passkwh = window.passkwh || {};

(function () {
  const LANCZOS = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
    -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];

  function logGamma(x) {
    if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
    x -= 1;
    let sum = LANCZOS[0];
    for (let i = 1; i < 9; i += 1) sum += LANCZOS[i] / (x + i);
    const t = x + 7.5;
    return 0.5 * Math.log(2 * Math.PI) + (x + 0.5) * Math.log(t) - t + Math.log(sum);
  }

  // Lower tail of the incomplete beta function, by continued fraction.
  function beta(x, a, b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
    let f = 1, c = 1, d = 0;
    for (let i = 0; i < 500; i += 1) {
      const m = i >> 1;
      const term = i === 0 ? 1 : i % 2 === 0 ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 / (1 + term * d);
      c = 1 + term / c;
      f *= c * d;
      if (Math.abs(1 - c * d) < 1e-15) break;
    }
    return front * (f - 1);
  }

  // Upper tail of Student's t.
  function tTail(t, df) {
    const tail = 0.5 * beta(df / (df + t * t), df / 2, 0.5);
    return t >= 0 ? tail : 1 - tail;
  }

  function bisect(f, low, high) {
    for (let i = 0; i < 200; i += 1) {
      const middle = (low + high) / 2;
      if (f(middle) > 0) low = middle; else high = middle;
    }
    return (low + high) / 2;
  }

  const tQuantile = (upper, df) => bisect((t) => tTail(t, df) - upper, 0, 1e4);

  // Upper tail of the normal distribution: series near 0, continued fraction beyond.
  function normalTail(z) {
    if (z < 0) return 1 - normalTail(-z);
    const density = Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
    if (z < 2.5) {
      let term = z, sum = z;
      for (let n = 1; n < 200; n += 1) { term *= z * z / (2 * n + 1); sum += term; }
      return 0.5 - density * sum;
    }
    let f = 0;
    for (let n = 200; n > 0; n -= 1) f = n / (z + f);
    return density / (z + f);
  }

  const normalQuantile = (upper) => bisect((z) => normalTail(z) - upper, -10, 10);

  // McNemar's test, mid-p of the exact binomial test on discordant tasks.
  function mcnemar(a, b) {
    let onlyA = 0, onlyB = 0;
    a.forEach((pass, i) => { if (pass && !b[i]) onlyA += 1; if (b[i] && !pass) onlyB += 1; });
    const n = onlyA + onlyB, fewer = Math.min(onlyA, onlyB);
    const mass = (k) => Math.exp(logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1) - n * Math.LN2);
    let below = 0;
    for (let k = 0; k <= fewer; k += 1) below += mass(k);
    const p = onlyA === onlyB ? 1 : Math.min(1, 2 * below) - mass(fewer);
    return { name: "McNemar", p, onlyA, onlyB, n: a.length };
  }

  // Wilcoxon's signed-rank test: exact up to 50 pairs without ties (13 with), else the normal approximation.
  function wilcoxon(a, b) {
    const d = a.map((value, i) => value - b[i]).filter((value) => value !== 0);
    const n = d.length;
    if (n === 0) return { name: "Wilcoxon signed-rank", p: null, n: a.length, reason: "all pairs are equal" };
    const order = d.map((_, i) => i).sort((i, j) => Math.abs(d[i]) - Math.abs(d[j]));
    const doubled = new Array(n);
    let ties = 0;
    for (let i = 0; i < n;) {
      let j = i;
      while (j + 1 < n && Math.abs(d[order[j + 1]]) === Math.abs(d[order[i]])) j += 1;
      const size = j - i + 1;
      ties += size ** 3 - size;
      for (let k = i; k <= j; k += 1) doubled[order[k]] = i + j + 2;  // twice the mean rank
      i = j + 1;
    }
    let plus = 0;
    d.forEach((value, i) => { if (value > 0) plus += doubled[i]; });
    let p;
    if (n <= 50 && (ties === 0 || n <= 13)) {
      const total = doubled.reduce((sum, r) => sum + r, 0);
      let ways = new Float64Array(total + 1);
      ways[0] = 1;
      for (const r of doubled) for (let s = total; s >= r; s -= 1) ways[s] += ways[s - r];
      let low = 0, high = 0;
      ways.forEach((count, s) => { if (s <= plus) low += count; if (s >= plus) high += count; });
      p = Math.min(1, 2 * Math.min(low, high) / 2 ** n);
    } else {
      const spread = Math.sqrt((n * (n + 1) * (2 * n + 1) - ties / 2) / 24);
      p = 2 * normalTail(Math.abs(plus / 2 - n * (n + 1) / 4) / spread);
    }
    return { name: "Wilcoxon signed-rank", p, n: a.length };
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  function spreadOf(values) {
    const centre = mean(values);
    return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
  }

  // exp of the mean of log(a / b) with a paired t interval.
  function energyRatio(a, b, level) {
    if (!a.length || a.some((value, i) => !(value > 0 && b[i] > 0))) return null;
    const logs = a.map((value, i) => Math.log(value / b[i]));
    const centre = mean(logs);
    if (logs.length < 2) return { value: Math.exp(centre), low: null, high: null };
    const half = tQuantile((1 - level) / 2, logs.length - 1) * spreadOf(logs) / Math.sqrt(logs.length);
    return { value: Math.exp(centre), low: Math.exp(centre - half), high: Math.exp(centre + half) };
  }

  function tangoZ(onlyA, onlyB, n, delta) {
    const linear = -onlyA - onlyB + (2 * n - onlyA + onlyB) * delta;
    const q = (Math.sqrt(Math.max(linear ** 2 + 8 * n * onlyB * delta * (1 - delta), 0)) - linear) / (4 * n);
    const variance = n * (2 * q + delta * (1 - delta));
    const distance = onlyA - onlyB - n * delta;
    if (variance <= 0) return distance === 0 ? 0 : Math.sign(distance) * Infinity;
    return distance / Math.sqrt(variance);
  }

  // Difference of pass rates with its score interval (Tango 1998) at the level.
  function passDifference(a, b, level) {
    const { onlyA, onlyB, n } = mcnemar(a, b);
    const value = (onlyA - onlyB) / n, bound = normalQuantile((1 - level) / 2);
    const edge = (far, target) => {
      let inside = value, outside = far;
      for (let i = 0; i < 60; i += 1) {
        const middle = (inside + outside) / 2;
        if ((tangoZ(onlyA, onlyB, n, middle) - target) * Math.sign(target) < 0) inside = middle; else outside = middle;
      }
      return (inside + outside) / 2;
    };
    return { value, low: edge(-1, bound), high: edge(1, -bound), method: "Tango's score interval" };
  }

  function rateDifference(a, b, level) {
    const d = a.map((value, i) => value - b[i]), value = mean(d), spread = spreadOf(d);
    if (d.length < 2 || spread === 0) return { value, low: null, high: null, method: "paired t" };
    const half = tQuantile((1 - level) / 2, d.length - 1) * spread / Math.sqrt(d.length);
    return { value, low: value - half, high: value + half, method: "paired t interval" };
  }

  // Holm's adjustment; missing p-values stay missing and do not count.
  function holm(values) {
    const known = values.map((p, i) => [p, i]).filter(([p]) => p !== null).sort((x, y) => x[0] - y[0]);
    const result = values.map(() => null);
    let running = 0;
    known.forEach(([p, i], k) => { running = Math.max(running, p * (known.length - k)); result[i] = Math.min(1, running); });
    return result;
  }

  // Two configurations on the tasks that both have: data as the scripts in data/ hold it.
  function pair(a, b, level = 0.95) {
    const where = new Map(b.tasks.map((task, i) => [task, i]));
    const common = a.tasks.map((task, i) => [i, where.get(task)]).filter(([, j]) => j !== undefined);
    if (!common.length) return { tasks: 0 };
    const take = (one, name, side) => common.map((ij) => one[name][ij[side]]);
    const energyA = take(a, "energy_j", 0), energyB = take(b, "energy_j", 1);
    const metered = !energyA.includes(null) && !energyB.includes(null);
    const counts = [take(a, "evaluated", 0), take(b, "evaluated", 1)];
    const judged = counts.every((side) => side.every((n) => n > 0));
    const single = counts.every((side) => side.every((n) => n === 1));
    const rate = (one, side) => take(one, "passed", side).map((c, i) => c / counts[side][i]);
    const rates = judged ? [rate(a, 0), rate(b, 1)] : null;
    return {
      tasks: common.length,
      energy: metered ? wilcoxon(energyA, energyB) : null,
      ratio: metered ? energyRatio(energyA, energyB, level) : null,
      passing: !judged ? null : single ? mcnemar(...rates) : wilcoxon(...rates),
      difference: !judged ? null : single ? passDifference(...rates, level) : rateDifference(...rates, level),
    };
  }

  passkwh.stats = { pair, holm, mcnemar, wilcoxon, energyRatio, passDifference, normalTail, tTail, tQuantile };
})();
