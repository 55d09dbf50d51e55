// Keeps the page live: panels come rendered from the service, charts are drawn here.
"use strict";

const charts = new Charts();
const CUT_AFTER_MS = 4000;
let heardAt = Date.now();

const source = new EventSource("/events?view=page");
const on = (name, work) => source.addEventListener(name, (e) => { heardAt = Date.now(); work(JSON.parse(e.data)); });
on("panels", (panels) => { for (const [name, html] of Object.entries(panels)) swap(document.getElementById("panel-" + name), html); });
on("trail", (rows) => charts.setTrail(rows));
on("point", (row) => charts.addPoint(row));
on("plan", (plan) => charts.setPlan(plan));
on("beat", () => {});

const shown = new Map();
function swap(place, html) {
  if (shown.get(place) === html) return;
  shown.set(place, html);
  place.innerHTML = html; // rendered and escaped by the service
}

const cut = document.getElementById("cut");
setInterval(() => {
  const silent = Date.now() - heardAt;
  cut.hidden = silent < CUT_AFTER_MS;
  if (!cut.hidden) cut.textContent = `■ This page has heard nothing for ${Math.round(silent / 1000)} s: the office is down or unreachable. Nothing here is the present. Control does not need it.`;
}, 500);

const form = document.getElementById("order"), answer = document.getElementById("order-answer");
function fit() { for (const label of form.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== form.kind.value; }
form.kind.addEventListener("change", fit);
fit();
form.addEventListener("submit", async (e) => {
  e.preventDefault();
  const body = { kind: form.kind.value, asset: form.asset.value, by: form.by.value, why: form.why.value };
  if (body.kind === "mode") body.mode = form.mode.value;
  if (body.kind === "override") { body.kw = Number(form.kw.value); body.for_minutes = Number(form.for_minutes.value); }
  answer.textContent = "sending…";
  try {
    const reply = await fetch("/api/orders", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const said = await reply.json();
    answer.textContent = (reply.ok ? "● " : "▲ ") + (said.text ?? said.error ?? said.detail?.map((d) => d.msg).join("; "));
  } catch (error) {
    answer.textContent = "▲ not sent: " + error.message;
  }
});
