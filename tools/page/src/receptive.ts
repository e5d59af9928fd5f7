// The receptive field of a layer on the input: which of it one position of the output sees.

import { h, s } from "./dom";
import type { Network } from "./model";

const SIZE = 230;

function extents(type: string): (number | null)[] {
  return type === "scalar" ? [] : type.split("x").map((extent) => (extent === "?" ? null : Number(extent)));
}

/** The figure with its caption; null where a layer sees no input. */
export function receptiveField(net: Network, node: number): HTMLElement | null {
  const number = net.data.nodes.reach[node];
  if (number < 0) return null;
  const [input, axes] = net.data.reaches[number];
  const seen = extents(net.text("type", input)).slice(1), own = extents(net.text("type", node)).slice(1);
  const name = net.name(input);
  if (!axes.length) {
    const whole = seen.some((extent) => extent !== null && extent > 1) ? `, ${seen.map((extent) => extent ?? "?").join("x")}` : "";
    return h("p", {}, `Every output sees the whole of ${name}${whole}.`);
  }
  // Of three axes the last two are drawn; one axis is drawn as a strip.
  const flat = axes.length === 1, [down, across] = flat ? [null, 0] : [axes.length - 2, axes.length - 1];
  const field = (axis: number): [number, number, number] => axes[axis];
  const guess = (axis: number): number => seen[axis] ?? Math.ceil(axes[axis][2] * 2.5 + 4);
  const W = guess(across), H = down === null ? Math.max(1, W / 12) : guess(down);
  const places = (axis: number): number => {
    const known = own.length === axes.length ? own[axis] : null;
    return known ?? Math.max(1, Math.floor((guess(axis) - 1) / Math.max(field(axis)[1], 1e-9)) + 1);
  };
  const limits = axes.map((_, axis) => places(axis));
  const at = limits.map((count) => Math.floor(count / 2));
  const margin = 0.04 * Math.max(W, H);
  // Room for what is seen of the padding, as far as it matters for the picture.
  const over = (axis: number, size: number): number => Math.min(size * 0.9, Math.max(0, (axes[axis][2] - size) / 2));
  const mx = margin + over(across, W), my = margin + (down === null ? 0 : over(down, H));
  const vw = W + 2 * mx, vh = H + 2 * my, scale = SIZE / Math.max(vw, vh);
  const line = 1.5 / scale;
  const spot = s("rect", { class: "field", "stroke-width": line });
  const figure = s("svg", {
    class: "reach", width: vw * scale, height: Math.max(24, vh * scale), viewBox: `${-mx} ${-my} ${vw} ${vh}`, preserveAspectRatio: "xMidYMid meet",
    role: "img", tabindex: 0, "aria-label": "receptive field on the input",
  }, s("rect", { class: "input", width: W, height: H, "stroke-width": line }), spot);
  const caption = h("p", { class: "faint" });
  const show = (): void => {
    const [x, w] = [field(across)[0] + at[across] * field(across)[1], field(across)[2]];
    const [y, tall] = down === null ? [0, H] : [field(down)[0] + at[down] * field(down)[1], field(down)[2]];
    // What is very small is drawn as a dot that can be seen.
    const least = 3 / scale;
    const rect = { x: x - Math.max(0, least - w) / 2, y: y - Math.max(0, least - tall) / 2, width: Math.max(w, least), height: Math.max(tall, least) };
    for (const [key, value] of Object.entries(rect)) spot.setAttribute(key, `${value}`);
    const size = axes.map(([, , extent]) => Math.ceil(extent)).join("x");
    const all = seen.map((extent) => extent ?? "?").join("x");
    caption.textContent = `Position ${at.join(", ")} sees ${size} of ${all}, from ${axes.map(([start, stride], axis) => tidy(start + at[axis] * stride)).join(", ")} on; neighbours are ${[...new Set(axes.map(([, stride]) => tidy(stride)))].join(" and ")} apart.`;
  };
  const place = (axis: number, value: number): void => {
    const [start, stride, extent] = field(axis);
    at[axis] = Math.min(limits[axis] - 1, Math.max(0, Math.round((value - start - (extent - 1) / 2) / (stride || 1))));
  };
  figure.addEventListener("pointermove", (event: PointerEvent) => {
    const { left, top, width, height } = figure.getBoundingClientRect();
    place(across, ((event.clientX - left) / width) * vw - mx);
    if (down !== null) place(down, ((event.clientY - top) / height) * vh - my);
    show();
  });
  figure.addEventListener("keydown", (event: KeyboardEvent) => {
    const step: Record<string, [number, number]> = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [down ?? across, -1], ArrowDown: [down ?? across, 1] };
    const move = step[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    at[move[0]] = Math.min(limits[move[0]] - 1, Math.max(0, at[move[0]] + move[1]));
    show();
  });
  show();
  return h("div", {}, figure, caption);
}

function tidy(number: number): string { return `${Math.round(number * 100) / 100}`; }
