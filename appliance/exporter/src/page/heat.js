// Heat maps of latencies: a column for each look, a row for half an octave, darker for more requests.

import { many, time } from "./numbers.js";

/** Columns of a map: two minutes, at one look a second. */
export const COLUMNS = 120;

// Half octaves from 1 us (2^10 ns) to 1 s (2^30 ns).
const FIRST = 20;
const ROWS = 40;
const LEFT = 52;
const BOTTOM = 18;

/** Row of a latency. */
function row(upperNs) {
  const at = Math.ceil(Math.log2(upperNs) * 2) - 1 - FIRST;
  return Math.min(ROWS - 1, Math.max(0, at));
}

/** Requests by rows. */
export function column(counts) {
  const rows = new Map();
  for (const [upper, count] of counts) rows.set(row(upper), (rows.get(row(upper)) ?? 0) + count);
  return rows;
}

/** Bounds of a row in words. */
function bounds(at) {
  const ns = (half) => 2 ** ((half + FIRST) / 2);
  return `${time(ns(at))} to ${time(ns(at + 1))}`;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const parse = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return {
    ramp: ["--heat-low", "--heat-mid", "--heat-high"].map((name) => parse(of(name))),
    ground: of("--heat-0"),
    text: of("--second"),
    line: of("--line"),
  };
}

function mixed(ramp, share) {
  const at = Math.min(share, 0.9999) * (ramp.length - 1);
  const low = ramp[Math.floor(at)];
  const high = ramp[Math.floor(at) + 1];
  const part = (index) => Math.round(low[index] + (high[index] - low[index]) * (at % 1));
  return `rgb(${part(0)} ${part(1)} ${part(2)})`;
}

/** Rows that are drawn: those with requests, and some around them. */
function shown(columns) {
  const used = columns.flatMap((rows) => [...rows.keys()]);
  if (used.length === 0) return { low: 4, high: 24 };
  const low = Math.max(0, Math.min(...used) - 2);
  return { low, high: Math.min(ROWS, Math.max(Math.max(...used) + 3, low + 12)) };
}

/** Heat map on a canvas. */
export class HeatMap {
  constructor(canvas, say) {
    this.canvas = canvas;
    this.columns = [];
    canvas.addEventListener("pointermove", (event) => say(this.read(event)));
    canvas.addEventListener("pointerleave", () => say(null));
  }

  /** Draws columns, the newest last. */
  draw(columns) {
    this.columns = columns;
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const look = colours();
    this.field = { ...shown(columns), width: width - LEFT, height: height - BOTTOM };
    this.drawAxes(pen, look);
    this.drawFields(pen, look);
  }

  drawAxes(pen, look) {
    const { low, high, width, height } = this.field;
    pen.fillStyle = look.ground;
    pen.fillRect(LEFT, 0, width, height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (let us = 1; us <= 1e6; us *= 10) {
      const y = height - ((Math.log2(us * 1000) * 2 - FIRST - low) / (high - low)) * height;
      if (y < 6 || y > height - 4) continue;
      pen.fillStyle = look.line;
      pen.fillRect(LEFT, Math.round(y), width, 1);
      pen.fillStyle = look.text;
      pen.fillText(time(us * 1000), LEFT - 6, y);
    }
    pen.fillStyle = look.text;
    pen.textBaseline = "bottom";
    for (const [text, share, align] of [["2 min ago", 0, "left"], ["1 min", 0.5, "center"], ["now", 1, "right"]]) {
      pen.textAlign = align;
      pen.fillText(text, LEFT + share * width, height + BOTTOM - 1);
    }
  }

  drawFields(pen, look) {
    const { low, high, width, height } = this.field;
    const most = Math.max(1, ...this.columns.flatMap((rows) => [...rows.values()]));
    const step = width / COLUMNS;
    const tall = height / (high - low);
    this.columns.forEach((rows, index) => {
      const x = LEFT + (COLUMNS - this.columns.length + index) * step;
      for (const [at, count] of rows) {
        pen.fillStyle = mixed(look.ramp, Math.log(1 + count) / Math.log(1 + most));
        pen.fillRect(x, height - (at - low + 1) * tall, Math.max(1, step - 0.5), Math.max(1, tall - 0.5));
      }
    });
  }

  /** Words for the field under the pointer; null where there is none. */
  read(event) {
    if (!this.field) return null;
    const { low, high, width, height } = this.field;
    const place = Math.floor(((event.offsetX - LEFT) / width) * COLUMNS);
    const at = low + Math.floor(((height - event.offsetY) / height) * (high - low));
    const rows = this.columns[place - (COLUMNS - this.columns.length)];
    if (!rows || place < 0 || at < low) return null;
    return `${COLUMNS - place} s ago, ${bounds(at)}: ${many(rows.get(at) ?? 0, "request")}`;
  }
}
