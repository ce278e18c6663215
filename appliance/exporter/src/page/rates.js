// Differences of two looks at the sled: rates of volumes and cores, and the latencies between them.

const OPERATIONS = ["read", "write", "unmap"];

/** Rates between two looks; null if Luge was started again between them, or if no time passed. */
export function between(before, now) {
  const seconds = (now.at_ms - before.at_ms) / 1000;
  if (!before.up || !now.up || before.pid !== now.pid || !(seconds > 0)) return null;
  const earlier = new Map(before.volumes.map((volume) => [volume.name, volume]));
  const volumes = new Map();
  for (const volume of now.volumes) {
    const rates = volumeRates(earlier.get(volume.name), volume, seconds);
    if (rates) volumes.set(volume.name, rates);
  }
  return { seconds, volumes, cores: coreShares(before, now) };
}

function volumeRates(before, now, seconds) {
  if (!before || !OPERATIONS.every((one) => before[one] && now[one])) return null;
  const rates = { iops: 0, depth: 0, failed: Math.max(0, now.failed - before.failed) };
  for (const one of OPERATIONS) {
    const requests = now[one].requests - before[one].requests;
    const bytes = now[one].bytes - before[one].bytes;
    // Somebody has reset the counters.
    if (requests < 0 || bytes < 0) return null;
    rates.iops += requests / seconds;
    rates.depth += Math.max(0, (now[one].seconds ?? 0) - (before[one].seconds ?? 0)) / seconds;
    rates[`${one}_bytes`] = bytes / seconds;
  }
  rates.latencies = { read: newer(before, now, "read"), write: newer(before, now, "write") };
  return rates;
}

/** Latencies of one operation: a map from the upper bound of a bucket to the requests since `before`. */
function newer(before, now, operation) {
  const counts = new Map();
  for (const [volume, sign] of [[now, 1], [before, -1]]) {
    for (const latency of volume.latencies.filter((one) => one.operation === operation)) {
      for (const [upper, count] of latency.buckets) counts.set(upper, (counts.get(upper) ?? 0) + sign * count);
    }
  }
  for (const [upper, count] of counts) if (count <= 0) counts.delete(upper);
  return counts;
}

/** Rates of several volumes together. */
export function sum(all) {
  const total = { iops: 0, depth: 0, failed: 0, read_bytes: 0, write_bytes: 0, unmap_bytes: 0 };
  total.latencies = { read: new Map(), write: new Map() };
  for (const rates of all) {
    for (const key of Object.keys(total)) if (key !== "latencies") total[key] += rates[key];
    for (const one of ["read", "write"]) add(total.latencies[one], rates.latencies[one]);
  }
  return total;
}

/** Adds counts of buckets to others. */
export function add(counts, more) {
  for (const [upper, count] of more) counts.set(upper, (counts.get(upper) ?? 0) + count);
  return counts;
}

/** Upper bound of the bucket that holds a quantile, from 0 to 1; null without requests. */
export function quantile(counts, share) {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const all = sorted.reduce((total, [, count]) => total + count, 0);
  let seen = 0;
  for (const [upper, count] of sorted) {
    seen += count;
    if (seen >= all * share) return upper;
  }
  return null;
}

function coreShares(before, now) {
  const earlier = new Map(before.cores.map((core) => [core.id, core]));
  const shares = new Map();
  for (const core of now.cores) {
    const old = earlier.get(core.id);
    if (!old || core.busy_s == null || core.idle_s == null) continue;
    const busy = core.busy_s - old.busy_s;
    const all = busy + core.idle_s - old.idle_s;
    if (busy >= 0 && all > 0) shares.set(core.id, busy / all);
  }
  return shares;
}
