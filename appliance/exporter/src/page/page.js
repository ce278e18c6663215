// The page: asks for the sled each second, and draws it.

import { cards, wireHighlights } from "./cards.js";
import { COLUMNS, HeatMap, column } from "./heat.js";
import { drawLinks } from "./links.js";
import { bandwidth, depth, many, percent, perSecond, time } from "./numbers.js";
import { add, between, quantile, sum } from "./rates.js";
import { sledOf } from "./sled.js";

const INTERVAL_MS = 1000;

/** Looks over which quantiles are computed. */
const RECENT = 5;

/** Choice of all volumes together. */
const ALL = "";

const element = (id) => document.getElementById(id);

const view = { look: null, sled: null, rates: null, chosen: ALL, histories: new Map(), lastUp: null };

/** Latencies and rates of one volume, or of all, of the last two minutes. */
function history(name) {
  if (!view.histories.has(name)) view.histories.set(name, { iops: [], read: [], write: [], recent: [] });
  return view.histories.get(name);
}

function remember(name, rates) {
  const past = history(name);
  past.iops.push(rates.iops);
  past.recent.push(rates.latencies);
  for (const one of ["read", "write"]) past[one].push(column(rates.latencies[one]));
  for (const list of [past.iops, past.read, past.write]) if (list.length > COLUMNS) list.shift();
  if (past.recent.length > RECENT) past.recent.shift();
}

/** Takes a look: rates since the last one, and their histories. */
function take(look) {
  if (view.look?.at_ms === look.at_ms) return;
  const restarted = view.look && (look.pid !== view.look.pid || look.at_ms < view.look.at_ms);
  if (restarted) view.histories.clear();
  view.rates = view.look && !restarted ? between(view.look, look) : null;
  view.look = look;
  view.sled = sledOf(look);
  view.lastUp = Date.now();
  if (view.rates) {
    for (const [name, rates] of view.rates.volumes) remember(name, rates);
    remember(ALL, sum(view.rates.volumes.values()));
  }
  const names = new Set(look.volumes.map((volume) => volume.name));
  for (const name of view.histories.keys()) if (name !== ALL && !names.has(name)) view.histories.delete(name);
}

/** Quantile of the latencies of some operations, over the last looks. */
function recentQuantile(name, operations, share) {
  const counts = new Map();
  for (const latencies of history(name).recent) for (const one of operations) add(counts, latencies[one]);
  return quantile(counts, share);
}

function drawTotals() {
  const total = view.rates && sum(view.rates.volumes.values());
  element("total-iops").textContent = perSecond(total?.iops);
  element("total-read").textContent = bandwidth(total?.read_bytes);
  element("total-write").textContent = bandwidth(total?.write_bytes);
  element("total-depth").textContent = depth(total?.depth);
  element("total-p99").textContent = time(recentQuantile(ALL, ["read", "write"], 0.99));
}

function drawPicture() {
  const seen = {
    rates: (name) => view.rates?.volumes.get(name),
    past: (name) => history(name).iops,
    p99: (name) => recentQuantile(name, ["read", "write"], 0.99),
    chosen: view.chosen,
    choose,
  };
  drawLinks(element("links"), cards(view.sled, seen));
}

function choose(name) {
  view.chosen = view.chosen === name ? ALL : name;
  draw();
}

function drawChoice() {
  const select = element("chosen");
  const names = [ALL, ...view.sled.volumes.map((volume) => volume.name)];
  if (!names.includes(view.chosen)) view.chosen = ALL;
  const old = [...select.options].map((option) => option.value);
  if (old.join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((name) => new Option(name === ALL ? "all volumes" : name, name)));
  }
  select.value = view.chosen;
}

const maps = {
  read: new HeatMap(element("read-heat"), say),
  write: new HeatMap(element("write-heat"), say),
};

function say(words) {
  const missing = view.look?.missing?.includes("luge_get_latency");
  const idle = missing ? "This Luge does not measure latencies." : "Point at a field to read it.";
  element("heat-note").textContent = words ?? idle;
}

function drawLatencies() {
  const past = history(view.chosen);
  for (const one of ["read", "write"]) {
    maps[one].draw(past[one]);
    const of = (share) => time(recentQuantile(view.chosen, [one], share));
    element(`${one}-quantiles`).textContent = `p50 ${of(0.5)}   p99 ${of(0.99)}   p99.9 ${of(0.999)}`;
  }
}

function drawCores() {
  const rows = view.look.cores.map((core) => {
    const share = view.rates?.cores.get(core.id);
    const row = Object.assign(document.createElement("div"), { className: "core" });
    const words = Object.assign(document.createElement("div"), { className: "words" });
    const busy = share == null ? "" : `${percent(share)} busy, `;
    const turn = core.longest_turn_us == null ? "" : `, longest turn ${time(core.longest_turn_us * 1000)}`;
    words.append(`Core ${core.id}`);
    words.append(Object.assign(document.createElement("span"), {
      textContent: `${busy}${many(core.rings ?? 0, "ring")}${turn}${core.asleep ? ", asleep" : ""}`,
    }));
    row.append(words, Object.assign(document.createElement("meter"), { max: 1, value: share ?? 0 }));
    return row;
  });
  element("cores").replaceChildren(...rows);
}

function draw() {
  if (!view.look) return;
  element("version").textContent = (view.look.version ?? "").replace(/^Luge /, "");
  drawTotals();
  drawChoice();
  drawPicture();
  drawLatencies();
  drawCores();
}

/** Shows whether the sled answers, and since when it does not. */
function state(kind, words) {
  const last = view.lastUp && kind === "away" ? ` Last seen ${Math.round((Date.now() - view.lastUp) / 1000)} s ago.` : "";
  element("state").dataset.state = kind;
  element("state").textContent = words + last;
  document.body.classList.toggle("away", kind === "away");
}

async function ask() {
  try {
    const answer = await fetch("api/sled.json", { signal: AbortSignal.timeout(20000) });
    const look = await answer.json();
    if (look.up) {
      take(look);
      draw();
      state("up", "live");
    } else {
      state("away", look.why);
    }
  } catch {
    state("away", "The exporter does not answer.");
  }
  setTimeout(ask, INTERVAL_MS);
}

element("chosen").addEventListener("change", (event) => {
  view.chosen = event.target.value;
  draw();
});
new ResizeObserver(draw).observe(element("picture"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
wireHighlights(element("picture"), element("links"));
ask();
