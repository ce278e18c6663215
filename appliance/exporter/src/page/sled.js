// The sled as columns of things with links: VMs, endpoints, volumes, SSDs.

/** Card for the front ends that are no VM of Luge's. */
const OTHERS = { name: "other front ends", kind: "not run by Luge" };

/** Columns of a look: only volumes that are a base of others and are not served themselves are left out. */
export function sledOf(look) {
  const known = new Map(look.volumes.map((volume) => [volume.name, volume]));
  const bases = new Set(look.volumes.map((volume) => volume.base));
  const served = new Set(look.endpoints.flatMap((endpoint) => endpoint.volumes));
  const volumes = look.volumes
    .filter((volume) => !bases.has(volume.name) || served.has(volume.name))
    .map((volume) => ({ ...volume, store: storeOf(volume, known) }));
  const ofVms = new Set(look.vms.flatMap((vm) => vm.endpoints));
  const others = look.endpoints.filter((endpoint) => endpoint.front_ends > 0 && !ofVms.has(endpoint.name));
  const vms = [...look.vms];
  if (others.length > 0) vms.push({ ...OTHERS, endpoints: others.map((endpoint) => endpoint.name) });
  const endpoints = inOrder(look.endpoints, vms.flatMap((vm) => vm.endpoints));
  const inColumn = inOrder(volumes, endpoints.flatMap((endpoint) => endpoint.volumes));
  return { vms, endpoints, volumes: inColumn, ssds: stores(look, volumes) };
}

/** Things in the order in which the column before names them, so that few links cross; then the others. */
function inOrder(things, names) {
  const place = new Map([...new Set(names)].map((name, at) => [name, at]));
  const of = (thing) => place.get(thing.name) ?? place.size;
  return [...things].sort((a, b) => of(a) - of(b));
}

/** Store of a volume: its SSD, or a word for what else keeps its data or that of the volume it is a part of. */
function storeOf(volume, known) {
  return volume.ssd ?? known.get(volume.base)?.product ?? volume.product ?? "elsewhere";
}

function stores(look, volumes) {
  const others = new Set(volumes.filter((volume) => !volume.ssd).map((volume) => volume.store));
  return [...look.ssds, ...[...others].map((name) => ({ name, kind: "no SSD" }))];
}
