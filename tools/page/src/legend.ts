// What the colours mean.

import { byId, h } from "./dom";
import type { Heat } from "./draw";
import { COSTS, type Network } from "./model";
import { costText } from "./numbers";
import { swatch } from "./panel";

export function drawLegend(net: Network, heat: Heat | null): void {
  const legend = byId("legend");
  if (heat) {
    const steps = [0, 0.25, 0.5, 0.75, 1];
    legend.replaceChildren(h("span", { class: "faint" }, COSTS[heat.cost]), h("span", { class: "scale" }, ...steps.map((share) => {
      const mark = h("span", {}, costText(heat.cost, Math.round(heat.most * share * share)));
      mark.style.background = heat.color(share);
      return mark;
    })));
    return;
  }
  const seen = new Set<string>();
  for (let node = 0; node < net.count; node++) seen.add(net.text("category", node));
  const order = ["conv", "dense", "pool", "norm", "activation", "join", "reshape", "regularisation", "fixed"];
  const words: Record<string, string> = { conv: "convolution", pool: "pooling", norm: "normalization", fixed: "fixed weights" };
  legend.replaceChildren(...order.filter((category) => seen.has(category)).map((category) => h("span", {}, swatch(category), words[category] ?? category)));
}
