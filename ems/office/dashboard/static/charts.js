// The three charts. Rows come ready from the service: times in epoch seconds, null where nothing is known.
"use strict";

const PAST_S = 30 * 60, AHEAD_S = 90 * 60, HEIGHT = 154;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const zone = document.body.dataset.zone;
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const kw = (v) => (v == null ? "" : whole.format(v) + " kW");
const stored = (v) => (v == null ? "" : Math.abs(v) < 0.5 ? "idle" : (v > 0 ? "charge " : "discharge ") + kw(Math.abs(v)));
const percent = (v) => (v == null ? "" : v.toFixed(1) + " %");
const money = (v) => (v == null ? "" : v.toFixed(3) + " " + document.body.dataset.currency + "/kWh");
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en-GB", { timeZone: zone, weekday: "short" });
const steps = () => uPlot.paths.stepped({ align: 1 });

class Charts {
  constructor() {
    this.trail = []; this.plan = null; this.plots = {}; this.keys = {};
    addEventListener("resize", () => this.redraw(true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw(true));
  }
  setTrail(rows) { this.trail = rows; this.redraw(); }
  addPoint(row) {
    const last = this.trail.at(-1);
    if (last && row[0] <= last[0]) return;
    this.trail.push(row);
    while (this.trail[0][0] < row[0] - PAST_S) this.trail.shift();
    this.drawImport();
  }
  setPlan(plan) { this.plan = plan; this.redraw(); }
  get now() { return this.trail.length ? this.trail.at(-1)[0] : this.plan ? this.plan.t[0] : 0; }
  redraw(anew = false) {
    if (anew) { for (const name of Object.keys(this.plots)) { this.plots[name].destroy(); delete this.plots[name]; } }
    this.drawImport(); this.drawAhead(); this.drawStore();
  }
  drawImport() {
    if (!this.trail.length) return empty("chart-import", "No cycle yet.");
    const now = this.now, plan = this.plan, rows = this.trail.map(([t, power, limit]) => [t, power, limit, null, null]);
    const limit = this.trail.at(-1)[2], until = now + AHEAD_S;
    if (plan) {
      let k = plan.t.findLastIndex((t) => t <= now);
      const planned = (i) => [plan.import_kw[i], plan.peak_kw];
      if (k >= 0 && k < plan.t.length - 1) rows[rows.length - 1] = [...rows.at(-1).slice(0, 3), ...planned(k)];
      for (k += 1; k > 0 && k < plan.t.length && plan.t[k] < until; k++) rows.push([plan.t[k], null, limit, ...planned(k)]);
      if (k > 0) rows.push([until, null, limit, ...planned(Math.min(k, plan.t.length) - 1)]);
    }
    if (rows.at(-1)[0] < until) rows.push([until, null, limit, null, null]);
    this.draw("chart-import", transpose(rows), {
      scales: { x: { range: () => [this.now - PAST_S, this.now + AHEAD_S] }, y: { range: around } },
      axes: [timeAxis(), axis("kW", (v) => whole.format(v))],
      series: [{}, line("import", "import", kw, { width: 2 }), line("limit", "limit", kw, { width: 2, dash: [8, 4], paths: steps() }),
        line("planned import", "plan", kw, { width: 2, dash: [3, 3], paths: steps() }), line("peak the plan defends", "muted", kw, { dash: [1, 4] })],
      hooks: { draw: [(u) => mark(u, this.now)] },
    });
  }
  drawAhead() {
    const p = this.plan;
    if (!p) return empty("chart-ahead", "No plan yet.");
    const low = p.load_q10 ?? p.load_q50;
    document.getElementById("ahead-note").textContent = "demand of the halls with its " + (p.load_q10 ? "q10–q90" : "q50–q90") + " fan, import and price";
    const limit = this.trail.length ? this.trail.at(-1)[2] : null;
    const edge = { stroke: "transparent", swatch: css("fan"), paths: steps(), points: { show: false }, value: (u, v) => kw(v) };
    this.draw("chart-ahead", [p.t, low, p.load_q90, p.load_q50, p.import_kw, p.t.map(() => limit), p.price], {
      scales: { y: { range: (u, a, b) => [0, Math.max(b, limit ?? 0) * 1.06 || 1] }, price: { range: (u, a, b) => [Math.min(0, a), Math.max(b * 1.15, 0.01)] } },
      axes: [timeAxis(), axis("kW", (v) => whole.format(v)), axis(document.body.dataset.currency + "/kWh", (v) => v.toFixed(3), { side: 1, scale: "price", size: 50, stroke: css("price"), grid: { show: false } })],
      series: [{}, { ...edge, label: "demand q10", ...(p.load_q10 ? {} : { class: "unlisted" }) }, { ...edge, label: "demand q90" },
        line("demand q50", "demand", kw, { paths: steps() }), line("planned import", "import", kw, { width: 2, paths: steps() }),
        line("limit", "limit", kw, { dash: [8, 4] }), line("price", "price", money, { scale: "price", dash: [2, 2], paths: steps() })],
      bands: [{ series: [2, 1], fill: css("fan") }],
      hooks: { draw: [(u) => mark(u, this.now)] },
    });
  }
  drawStore() {
    const p = this.plan;
    if (!p || !p.stores.length) return empty("chart-store", p ? "The plan holds no storage." : "No plan yet.");
    const data = [p.t], series = [{}], colours = ["store", "store2"];
    p.stores.forEach((s, i) => {
      const colour = colours[i % 2];
      if (s.power_kw?.some((v) => Math.abs(v) > 0.5)) { data.push(s.power_kw); series.push(line(s.id, colour, stored, { width: 1, paths: steps(), fill: css(colour) + "30" })); }
      data.push(s.soc); series.push(line(s.id + " charge", colour, percent, { scale: "soc", width: 2 }));
      data.push(p.t.map(() => s.floor)); series.push(line(s.id + (s.is_reserve ? " reserve" : " lowest"), colour, percent, { scale: "soc", dash: [2, 4] }));
    });
    const most = Math.max(50, ...p.stores.flatMap((s) => (s.power_kw ?? []).map(Math.abs)));
    this.draw("chart-store", data, {
      scales: { y: { range: [-most * 1.1, most * 1.1] }, soc: { range: [0, 105] } },
      axes: [timeAxis(), axis("← out · kW · in →", (v) => whole.format(Math.abs(v)), { space: 22 }), axis("% charged", (v) => v, { side: 1, scale: "soc", grid: { show: false } })],
      series, hooks: { draw: [(u) => mark(u, this.now)] },
    });
  }
  draw(id, data, options) {
    const place = document.getElementById(id), key = id + options.series.map((s) => s.label).join();
    const old = this.plots[id];
    if (old && this.keys[id] === key) { old.setData(data); this.showNow(old); return; }
    if (old) old.destroy();
    place.replaceChildren();
    const size = { width: place.clientWidth, height: HEIGHT };
    this.plots[id] = new uPlot({ ...size, tzDate: (t) => uPlot.tzDate(new Date(t * 1000), zone), cursor: { y: false, drag: { x: false, y: false } },
      legend: { live: true, markers: { fill: (u, i) => u.series[i].swatch ?? null } }, ...options }, data, place);
    this.keys[id] = key;
    this.plots[id].over.addEventListener("mouseleave", () => this.showNow(this.plots[id], true));
    this.showNow(this.plots[id]);
  }
  // The legend tells the values of now, or those under the pointer.
  showNow(u, hasLeft = false) {
    if (!hasLeft && u.cursor.left >= 0) return;
    requestAnimationFrame(() => {
      const idx = u.data[0].findLastIndex((t) => t <= this.now);
      if (idx >= 0) u.setLegend({ idx });
    });
  }
}

// A scale around what is drawn, on whole hundreds: what matters is the distance to the limit, not to zero.
function around(u, low, high) {
  if (low == null) return [0, 100];
  const room = Math.max(50, (high - low) * 0.12);
  return [Math.max(0, Math.floor((low - room) / 100) * 100), Math.ceil((high + room) / 100) * 100];
}
function line(label, colour, words, more = {}) {
  return { label, stroke: css(colour), width: 1.5, points: { show: false }, value: (u, v) => words(v), ...more };
}
function axis(label, words, more = {}) {
  return { stroke: css("muted"), label, labelSize: 16, labelFont: "11px system-ui", font: "11px system-ui", size: 44, gap: 3, grid: { stroke: css("line"), width: 1 }, ticks: { show: false },
    values: (u, values) => values.map((v) => (v == null ? "" : words(v))), ...more };
}
function timeAxis() {
  const text = (t, i, all) => { const d = new Date(t * 1000), c = clock.format(d); return c === "00:00" || (i === 0 && all.at(-1) - all[0] > 86400) ? c + "\n" + day.format(d) : c; };
  return { stroke: css("muted"), font: "11px system-ui", size: 32, gap: 3, grid: { stroke: css("line"), width: 1 }, ticks: { show: false }, values: (u, all) => all.map(text) };
}
function mark(u, now) {
  const x = Math.round(u.valToPos(now, "x", true)), { top, height, left, width } = u.bbox;
  if (x < left || x > left + width) return;
  u.ctx.save();
  u.ctx.strokeStyle = css("ink"); u.ctx.fillStyle = css("ink"); u.ctx.lineWidth = devicePixelRatio;
  u.ctx.beginPath(); u.ctx.moveTo(x, top); u.ctx.lineTo(x, top + height); u.ctx.stroke();
  u.ctx.font = `${11 * devicePixelRatio}px system-ui`; u.ctx.textAlign = x > left + width - 40 * devicePixelRatio ? "right" : "left"; u.ctx.textBaseline = "bottom";
  u.ctx.fillText("now", x + (u.ctx.textAlign === "left" ? 4 : -4) * devicePixelRatio, top + height - 3 * devicePixelRatio);
  u.ctx.restore();
}
function transpose(rows) { return rows[0].map((_, i) => rows.map((row) => row[i])); }
function empty(id, text) { const p = document.createElement("p"); p.className = "empty"; p.textContent = text; document.getElementById(id).replaceChildren(p); }
