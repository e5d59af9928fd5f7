// Boxes, frames and wires as elements of SVG. The page draws those in sight; an export draws all.

import { s } from "./dom";
import { PAD, ROW, factsOf, times, width } from "./measure";
import { COSTS, type Cost, type Network } from "./model";
import { costText, grouped } from "./numbers";
import type { Box, Frame, Part, View } from "./view";

/** 0: shapes alone, 1: without small print, 2: everything. */
export type Detail = 0 | 1 | 2;

export interface Thing {
  id: string;
  kind: "frame" | "wire" | "box";
  box: [number, number, number, number];
  make: (detail: Detail) => SVGElement;
}

export interface Heat { cost: Cost; most: number; color: (share: number) => string }

const r = (value: number): number => Math.round(value * 10) / 10;

export function things(view: View, net: Network, heat: Heat | null): Thing[] {
  const shapes = new Map<Box, string[]>();
  for (const { source, types } of view.links) {
    const found = shapes.get(source) ?? [];
    for (const type of types) if (!found.includes(type)) found.push(type);
    shapes.set(source, found);
  }
  const found: Thing[] = [];
  for (const frame of view.frames) {
    if (frame.parent) {
      found.push({ id: frame.id, kind: "frame", box: [frame.left, frame.top, frame.left + frame.w, frame.top + frame.h], make: (detail) => drawFrame(frame, detail) });
    }
  }
  for (const frame of view.frames) {
    const dx = frame.left + frame.shift, dy = frame.top;
    frame.wires.forEach((wire, at) => {
      const [x0, y0, x1, y1] = wire.box;
      found.push({
        id: `${frame.id}-${at}`, kind: "wire", box: [x0 + dx - 8, y0 + dy - 4, x1 + dx + 8, y1 + dy + 4],
        make: (detail) => {
          const look = `wire ${wire.kind}${wire.auxiliary ? " training" : ""}`;
          const line = s("path", { class: look, d: wire.d, transform: `translate(${r(dx)} ${r(dy)})` });
          if (!wire.tip || detail === 0) return line;
          const { x, y } = wire.tip;
          const arrow = wire.toLeft ? `M${r(x)} ${r(y)}l7 -3.6v7.2z` : `M${r(x)} ${r(y)}l-3.6 -7h7.2z`;
          return s("g", { transform: `translate(${r(dx)} ${r(dy)})` }, s("path", { class: look, d: wire.d }), s("path", { class: `tip ${wire.kind}`, d: arrow }));
        },
      });
    });
  }
  for (const box of view.boxes) {
    const label = shapes.get(box)?.slice(0, 2).join(", ") ?? "";
    const wide = label ? Math.max(box.w, box.w / 2 + 8 + width(label, "small")) : box.w;
    found.push({
      id: box.id, kind: "box", box: [box.left - 6, box.top - 6, box.left + wide + 6, box.top + box.h + 20],
      make: (detail) => drawBox(box, net, label, heat, detail),
    });
  }
  return found;
}

function drawFrame(frame: Frame, detail: Detail): SVGElement {
  const group = s("g", { class: `frame level${(frame.level - 1) % 4}`, "data-id": frame.id, transform: `translate(${r(frame.left)} ${r(frame.top)})`, role: "group", "aria-label": `${frame.title} ${frame.about}, open`, tabindex: -1 });
  group.append(s("rect", { class: "ground", width: r(frame.w), height: r(frame.h), rx: 9 }));
  if (detail < 2) return group;
  let x = PAD;
  if (frame.title) {
    const title = s("g", { class: "toggle", "data-act": "toggle" });
    title.append(s("rect", { class: "hit", x: 2, y: 2, width: 24 + width(frame.title, "bold") + (frame.about ? 8 + width(frame.about, "small") : 0), height: 22, rx: 6 }));
    title.append(s("path", { class: "chevron", d: `M${x} 11l4 4.5l4 -4.5` }));
    x += 16;
    title.append(s("text", { class: "title", x, y: 17 }, frame.title));
    x += width(frame.title, "bold") + 8;
    if (frame.about) {
      title.append(s("text", { class: "small", x, y: 17 }, frame.about));
      x += width(frame.about, "small") + 8;
    }
    group.append(title);
  }
  if (frame.repeats > 1) group.append(badge(frame, x, 3.5));
  return group;
}

/** How many equal neighbours a part stands for; a click shows them all. */
function badge(part: Part, x: number, y: number): SVGElement {
  const text = times(part.repeats), wide = width(text, "bold") + 10;
  const group = s("g", { class: "badge", "data-act": "unfold" });
  group.append(s("rect", { x, y, width: wide, height: 18, rx: 9 }), s("text", { x: x + wide / 2, y: y + 13, "text-anchor": "middle" }, text));
  group.append(s("title", {}, `${grouped(part.repeats)} equal ones: show each`));
  return group;
}

function drawBox(box: Box, net: Network, label: string, heat: Heat | null, detail: Detail): SVGElement {
  const group = s("g", { class: `box${box.auxiliary ? " training" : ""}`, "data-id": box.id, transform: `translate(${r(box.left)} ${r(box.top)})`, role: "button", tabindex: -1, "aria-label": spoken(box, net, label) });
  if (box.scope >= 0) group.setAttribute("aria-expanded", "false");
  if (box.repeats > 1 && detail > 0) group.append(s("rect", { class: "behind", x: 4, y: 4, width: r(box.w), height: r(box.h), rx: 6 }));
  if (box.output !== null) terminal(group, box, box.title, box.about, detail);
  else if (box.scope >= 0) closed(group, box, heat, detail);
  else if (net.text("category", box.rows[0].node) === "input") terminal(group, box, box.rows[0].name, "input", detail);
  else layers(group, box, net, heat, detail);
  if (label && detail > 1) group.append(s("text", { class: "shape", x: r(box.w / 2 + 6), y: r(box.h + 13) }, label));
  return group;
}

function terminal(group: SVGElement, box: Box, title: string, role: string, detail: Detail): void {
  group.append(s("rect", { class: "edge terminal", width: r(box.w), height: r(box.h), rx: 13 }));
  if (detail < 2) return;
  const about = role === title ? "" : role;
  const start = (box.w - width(title, "bold") - (about ? 8 + width(about, "small") : 0)) / 2;
  group.append(s("text", { class: "title", x: r(start), y: box.h / 2 + 4 }, title));
  if (about) group.append(s("text", { class: "small", x: r(start + width(title, "bold") + 8), y: box.h / 2 + 4 }, about));
}

function closed(group: SVGElement, box: Box, heat: Heat | null, detail: Detail): void {
  const back = s("rect", { class: "edge scope", width: r(box.w), height: r(box.h), rx: 7 });
  warm(back, heat, heat && box.figures![heat.cost]);
  group.append(back);
  if (detail < 2) return;
  const toggle = s("g", { class: "toggle", "data-act": "toggle" });
  toggle.append(s("rect", { class: "hit", x: 3, y: 3, width: 21, height: box.h - 6, rx: 5 }), s("path", { class: "chevron", d: "M11 10l4.5 4l-4.5 4" }));
  group.append(toggle);
  let x = PAD + 16;
  group.append(s("text", { class: "title", x, y: 18 }, box.title));
  x += width(box.title, "bold") + 8;
  if (box.about) {
    group.append(s("text", { class: "small", x, y: 18 }, box.about));
    x += width(box.about, "small") + 8;
  }
  if (box.repeats > 1) group.append(badge(box, box.w - width(times(box.repeats), "bold") - 15, 4));
  const facts = heat ? `${costText(heat.cost, box.figures![heat.cost])} ${COSTS[heat.cost]}` : factsOf(box);
  group.append(s("text", { class: "small", x: PAD + 16, y: 33 }, facts));
}

function layers(group: SVGElement, box: Box, net: Network, heat: Heat | null, detail: Detail): void {
  const { rows, w, h } = box, count = rows.length;
  rows.forEach(({ node, caption, name }, at) => {
    const top = at === 0 ? 0 : 1 + at * ROW, bottom = at === count - 1 ? h : 1 + (at + 1) * ROW;
    const a = at === 0 ? 6 : 0, b = at === count - 1 ? 6 : 0;
    const d = `M${a} ${top}H${r(w - a)}${a ? `a${a} ${a} 0 0 1 ${a} ${a}` : ""}V${bottom - b}${b ? `a${b} ${b} 0 0 1 ${-b} ${b}` : ""}H${b}${b ? `a${b} ${b} 0 0 1 ${-b} ${-b}` : ""}V${top + a}${a ? `a${a} ${a} 0 0 1 ${a} ${-a}` : ""}z`;
    const category = net.text("category", node);
    const row = s("path", { class: `row ${category}`, d, "data-node": node });
    const value = heat && (box.repeats > 1 ? box.figures![heat.cost] : net.figures(node)[heat.cost]);
    warm(row, heat, value);
    group.append(row);
    if (detail < 2) return;
    const y = (at === 0 ? 0.5 : 1) + at * ROW + 16;
    group.append(s("text", { class: at === 0 ? "title" : "line", x: PAD, y, "data-node": node }, caption));
    const shift = box.repeats > 1 ? width(times(box.repeats), "bold") + 18 : 0;
    const beside = heat ? (value ? costText(heat.cost, value) : "") : name;
    if (beside) group.append(s("text", { class: "small", x: r(w - PAD - shift), y, "text-anchor": "end", "data-node": node }, beside));
  });
  group.append(s("rect", { class: `edge ${heat ? "" : net.text("category", rows[0].node)}`, width: r(w), height: r(h), rx: 6 }));
  if (box.repeats > 1 && detail > 1) group.append(badge(box, w - width(times(box.repeats), "bold") - 15, 4));
}

function warm(element: SVGElement, heat: Heat | null, value: number | null): void {
  if (heat) element.style.fill = heat.color(heat.most && value ? Math.sqrt(value / heat.most) : 0);
}

function spoken(box: Box, net: Network, label: string): string {
  const shape = label ? `, ${label}` : "";
  if (box.output !== null) return `output ${box.title}`;
  if (box.scope >= 0) return `${box.title} ${box.about}${box.repeats > 1 ? `, ${box.repeats} equal ones` : ""}, ${factsOf(box)}${shape}, closed`;
  return `${box.rows.map(({ name, caption }) => `${name}: ${caption}`).join(", ")}${shape}${net.data.nodes.auxiliary[box.rows[0].node] ? ", training only" : ""}`;
}
