// The view as a file: SVG that needs no style sheet, no script and no font file.

import { h, s } from "./dom";
import type { Thing } from "./draw";
import { color, plainStyle } from "./theme";
import type { View } from "./view";

const MARGIN = 24;

export function svgText(view: View, list: Thing[], name: string): string {
  const { w, h: tall } = view.root;
  const picture = s("svg", {
    xmlns: "http://www.w3.org/2000/svg", class: "diagram", width: Math.ceil(w + 2 * MARGIN), height: Math.ceil(tall + 2 * MARGIN),
    viewBox: `${-MARGIN} ${-MARGIN} ${Math.ceil(w + 2 * MARGIN)} ${Math.ceil(tall + 2 * MARGIN)}`, role: "img",
  }, s("title", {}, name), s("style", {}, plainStyle()),
  s("rect", { x: -MARGIN, y: -MARGIN, width: "100%", height: "100%", fill: color("--paper") }));
  for (const kind of ["frame", "wire", "box"] as const) {
    const group = s("g", {});
    for (const thing of list) if (thing.kind === kind) group.append(thing.make(2));
    picture.append(group);
  }
  for (const element of picture.querySelectorAll("[tabindex],[role],[data-id],[data-act],[data-node]")) {
    for (const attribute of ["tabindex", "role", "aria-expanded", "data-id", "data-act", "data-node"]) element.removeAttribute(attribute);
  }
  // Characters that XML has no way to say.
  return new XMLSerializer().serializeToString(picture).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
}

export function save(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function fileName(name: string): string { return name.replace(/[^\w.-]+/g, "_").slice(0, 100) || "network"; }
