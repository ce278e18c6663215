// Numbers as a person reads them.

const DASH = "–";

function scaled(value, step, units) {
  let at = 0;
  while (value >= step * 0.9995 && at < units.length - 1) {
    value /= step;
    at += 1;
  }
  const digits = value >= 100 || (at === 0 && Number.isInteger(value)) ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)}${units[at]}`;
}

/** Requests per second: 950, 12.3 k, 4.56 M. */
export function perSecond(value) {
  if (value == null) return DASH;
  return scaled(value < 10 ? Math.round(value * 10) / 10 : Math.round(value), 1000, ["", " k", " M", " G"]);
}

/** Bytes per second. */
export function bandwidth(value) {
  return value == null ? DASH : `${bytes(Math.round(value))}/s`;
}

/** Bytes. */
export function bytes(value) {
  return value == null ? DASH : scaled(value, 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]);
}

/** Nanoseconds. */
export function time(ns) {
  return ns == null ? DASH : scaled(ns / 1000, 1000, [" µs", " ms", " s"]);
}

/** Average number of requests in flight. */
export function depth(value) {
  return value == null ? DASH : value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

/** Share, from 0 to 1. */
export function percent(value) {
  return value == null ? DASH : `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
}

/** Number of things: 1 queue, 2 queues. */
export function many(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}
