// Links between cards of neighbouring columns, as curves: wide where much data passes.

/** Draws links: pairs of elements with bytes per second. */
export function drawLinks(svg, links) {
  const origin = svg.getBoundingClientRect();
  const old = new Map([...svg.children].map((path) => [path.dataset.key, path]));
  for (const link of links) {
    const path = old.get(link.key) ?? svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    old.delete(link.key);
    path.dataset.key = link.key;
    path.dataset.ends = link.ends.join("\n");
    const [from, to] = [link.from.getBoundingClientRect(), link.to.getBoundingClientRect()];
    const [x1, y1] = [from.right - origin.left, from.top + from.height / 2 - origin.top];
    const [x2, y2] = [to.left - origin.left, to.top + to.height / 2 - origin.top];
    const middle = (x1 + x2) / 2;
    path.setAttribute("d", `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
    path.setAttribute("stroke-width", width(link.bytes));
    path.classList.toggle("busy", link.bytes > 0);
  }
  for (const path of old.values()) path.remove();
}

/** Width of a link: 1.5 without data, a pixel more for each factor of ten from 10 KB/s on. */
function width(bytes) {
  return bytes > 0 ? (1.5 + Math.max(0, Math.log10(bytes) - 4)).toFixed(1) : "1.5";
}
