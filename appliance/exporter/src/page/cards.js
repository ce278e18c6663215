// Cards of VMs, endpoints, volumes and SSDs, and the links between them.

import { bandwidth, bytes, depth, many, perSecond, time } from "./numbers.js";
import { sum } from "./rates.js";

/** Cards of a column that are drawn, those with the most requests first. */
const CARDS_MAX = 60;

/** Draws all cards; returns the links between them. */
export function cards(sled, seen) {
  const rate = (names) => sum(names.map(seen.rates).filter(Boolean));
  const volumesOf = new Map(sled.endpoints.map((endpoint) => [endpoint.name, endpoint.volumes]));
  const ofVm = (vm) => rate([...new Set(vm.endpoints.flatMap((name) => volumesOf.get(name) ?? []))]);
  const ofStore = (store) => {
    const own = sled.volumes.filter((volume) => volume.store === store.name);
    return rate(own.map((volume) => volume.name));
  };
  const drawn = {
    vms: column("vms", sled.vms, ofVm, vmWords),
    endpoints: column("endpoints", sled.endpoints, (endpoint) => rate(endpoint.volumes), endpointWords),
    volumes: column("volumes", sled.volumes, (volume) => rate([volume.name]), (volume) => volumeWords(volume, seen)),
    ssds: column("ssds", sled.ssds, ofStore, ssdWords),
  };
  return [
    ...linksOf(drawn, "vms", "endpoints", sled.vms, (vm) => vm.endpoints, (name) => rate(volumesOf.get(name) ?? [])),
    ...linksOf(drawn, "endpoints", "volumes", sled.endpoints, (endpoint) => endpoint.volumes, (name) => rate([name])),
    ...linksOf(drawn, "volumes", "ssds", sled.volumes, (one) => [one.store], (_, from) => rate([from])),
  ];
}

function vmWords(vm) {
  const size = vm.cpus == null ? vm.kind : `${many(vm.cpus, "CPU")}, ${bytes(vm.memory_mib * 2 ** 20)}`;
  const alarm = vm.state === "crashed" ? "crashed" : null;
  return { kind: [size, vm.state].filter(Boolean).join(", "), alarm, isBad: true, via: vm.endpoints };
}

function endpointWords(endpoint) {
  const kinds = { blk: "vhost-user-blk", scsi: "vhost-user-scsi", nvme: "NVMe over vfio-user" };
  const users = endpoint.front_ends ? many(endpoint.queues ?? 0, "queue") : "no front end";
  const alarm = endpoint.waiting > 0 ? `${many(endpoint.waiting, "front end")} waiting` : null;
  return { kind: `${kinds[endpoint.kind]}, ${users}`, alarm, via: endpoint.volumes };
}

function volumeWords(volume, seen) {
  const failed = seen.rates(volume.name)?.failed;
  return {
    kind: `${bytes(volume.size_bytes)}${volume.base ? `, part of ${volume.base}` : ""}`,
    alarm: failed > 0 ? `${many(failed, "request")} failed` : null,
    isBad: true,
    via: [volume.store],
    more: `p99 ${time(seen.p99(volume.name))}`,
    past: seen.past(volume.name),
    isChosen: seen.chosen === volume.name,
    choose: () => seen.choose(volume.name),
  };
}

function ssdWords(ssd) {
  const alarms = [ssd.state && ssd.state !== "enabled" ? ssd.state : null, ...(ssd.health?.warnings ?? [])];
  if (ssd.unusable_namespaces > 0) alarms.push(`${many(ssd.unusable_namespaces, "namespace")} unusable`);
  const kind = [ssd.address ?? ssd.kind, ...healthWords(ssd.health ?? {})].join(", ");
  return { kind, alarm: alarms.filter(Boolean).join(", ") || null, isBad: true, via: [] };
}

/** Numbers of an SSD's health that are known. */
function healthWords(health) {
  const words = [
    [health.temperature_celsius, "\u00a0°C"],
    [health.used_percent, "\u00a0% used"],
    [health.spare_percent, "\u00a0% spare"],
  ];
  return words.filter(([value]) => value != null).map(([value, word]) => value + word);
}

/** Draws a column; returns its cards by name. Cards stay, so that a click or a focus is not lost. */
function column(id, things, rateOf, wordsOf) {
  const place = document.querySelector(`#${id} .cards`);
  const old = new Map([...place.querySelectorAll(".card")].map((card) => [card.dataset.name, card]));
  const rated = things.map((thing) => ({ thing, rates: rateOf(thing) }));
  const shown = rated.length > CARDS_MAX
    ? [...rated].sort((a, b) => b.rates.iops - a.rates.iops).slice(0, CARDS_MAX)
    : rated;
  const drawn = shown.map(({ thing, rates }) => {
    const words = wordsOf(thing);
    const card = old.get(thing.name) ?? make(thing.name, words);
    fill(card, words, rates);
    return card;
  });
  const left = rated.length - shown.length;
  const note = left > 0 ? `and ${left} more` : things.length === 0 ? "none" : null;
  const extra = note ? [Object.assign(document.createElement("p"), { className: "empty", textContent: note })] : [];
  if ([...place.children].some((child, at) => child !== drawn[at]) || place.children.length !== drawn.length + extra.length) {
    place.replaceChildren(...drawn, ...extra);
  }
  return new Map(drawn.map((card) => [card.dataset.name, card]));
}

function make(name, words) {
  const card = document.createElement(words.choose ? "button" : "div");
  card.className = "card";
  card.dataset.name = name;
  for (const part of ["name", "kind", "rate", "alarm", "via"]) {
    card.append(Object.assign(document.createElement("div"), { className: part }));
  }
  card.querySelector(".name").textContent = name;
  if (words.choose) {
    card.type = "button";
    card.title = "Show the latencies of this volume";
    card.append(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    card.addEventListener("click", () => card.choose());
  }
  return card;
}

function fill(card, words, rates) {
  const part = (name) => card.querySelector(`.${name}`);
  part("kind").textContent = words.kind;
  part("alarm").textContent = words.alarm ?? "";
  part("alarm").classList.toggle("bad", words.isBad === true);
  part("via").textContent = words.via.length > 0 ? `→ ${words.via.join(", ")}` : "";
  const isIdle = rates.iops === 0;
  part("rate").classList.toggle("idle", isIdle);
  const texts = isIdle
    ? ["idle"]
    : [`${perSecond(rates.iops)} IOPS`, bandwidth(rates.read_bytes + rates.write_bytes), words.more ?? `depth ${depth(rates.depth)}`];
  part("rate").replaceChildren(...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  if (words.choose) {
    card.choose = words.choose;
    card.setAttribute("aria-pressed", words.isChosen);
    sparkline(card.querySelector("svg"), words.past);
  }
}

/** Draws the requests per second of the last two minutes as a line. */
function sparkline(svg, past) {
  const most = Math.max(...past, 1);
  svg.classList.toggle("still", past.length < 2 || past.every((value) => value === 0));
  svg.setAttribute("viewBox", "0 0 119 20");
  svg.setAttribute("preserveAspectRatio", "none");
  const line = svg.firstChild ?? svg.appendChild(document.createElementNS(svg.namespaceURI, "polyline"));
  const x = (at) => 120 - past.length + at;
  line.setAttribute("points", past.map((value, at) => `${x(at)},${(19 - (value / most) * 18).toFixed(1)}`).join(" "));
}

function linksOf(drawn, left, right, things, namesOf, rateOf) {
  return things.flatMap((thing) => [...new Set(namesOf(thing))].flatMap((name) => {
    const [from, to] = [drawn[left].get(thing.name), drawn[right].get(name)];
    if (!from || !to) return [];
    const rates = rateOf(name, thing.name);
    const ends = [`${left} ${thing.name}`, `${right} ${name}`];
    return [{ key: ends.join(" to "), ends, from, to, bytes: rates.read_bytes + rates.write_bytes }];
  }));
}

/** Lights up all that is linked with the card under the pointer. */
export function wireHighlights(picture, links) {
  const keyOf = (card) => `${card.closest(".column").id} ${card.dataset.name}`;
  picture.addEventListener("pointerover", (event) => {
    const card = event.target.closest(".card");
    picture.classList.toggle("dim", card !== null);
    if (!card) return;
    const paths = [...links.children].map((path) => ({ path, ends: path.dataset.ends.split("\n") }));
    const lit = new Set([...reached(keyOf(card), paths, 0, 1), ...reached(keyOf(card), paths, 1, 0)]);
    for (const one of picture.querySelectorAll(".card")) one.classList.toggle("lit", lit.has(keyOf(one)));
    for (const { path, ends } of paths) path.classList.toggle("lit", ends.every((end) => lit.has(end)));
  });
  picture.addEventListener("pointerleave", () => picture.classList.remove("dim"));
}

/** Keys that are reached from a card by links, in one direction. */
function reached(key, paths, from, to) {
  const found = new Set([key]);
  for (const one of found) {
    for (const { ends } of paths) if (ends[from] === one) found.add(ends[to]);
  }
  return found;
}
