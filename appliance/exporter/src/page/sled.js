// The sled as columns of things with links: VMs, endpoints, volumes, SSDs.

/** Card for the front ends that are no VM of Luge's. */
const OTHERS = { name: "other front ends", kind: "not run by Luge" };

/** Columns of a look: only volumes that are a base of others and are not served themselves are left out. */
export function sledOf(look) {
  const bases = new Set(look.volumes.map((volume) => volume.base));
  const served = new Set(look.endpoints.flatMap((endpoint) => endpoint.volumes));
  const volumes = look.volumes.filter((volume) => !bases.has(volume.name) || served.has(volume.name));
  const ofVms = new Set(look.vms.flatMap((vm) => vm.endpoints));
  const others = look.endpoints.filter((endpoint) => endpoint.front_ends > 0 && !ofVms.has(endpoint.name));
  const vms = [...look.vms];
  if (others.length > 0) vms.push({ ...OTHERS, endpoints: others.map((endpoint) => endpoint.name) });
  return { vms, endpoints: look.endpoints, volumes, ssds: stores(look, volumes) };
}

/** Store of a volume: its SSD, or a word for what else keeps its data. */
export function storeOf(volume) {
  return volume.ssd ?? volume.product ?? "elsewhere";
}

function stores(look, volumes) {
  const others = new Set(volumes.filter((volume) => !volume.ssd).map(storeOf));
  return [...look.ssds, ...[...others].map((name) => ({ name, kind: "no SSD" }))];
}
