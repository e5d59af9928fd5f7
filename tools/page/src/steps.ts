// Where the arrow keys lead.

import type { Part, View } from "./view";

/** The next part in a direction: along wires up and down, else what lies nearest. */
export function neighbour(view: View, here: Part | undefined, key: string): Part | null {
  const every: Part[] = [...view.boxes, ...view.frames.filter((frame) => frame.parent && frame.title)];
  if (!here) return view.boxes[0] ?? null;
  if (here.type === "box" && (key === "ArrowDown" || key === "ArrowUp")) {
    const down = key === "ArrowDown";
    const ends = view.links.filter((link) => (down ? link.source : link.target) === here).map((link) => (down ? link.target : link.source))
      .filter((box) => (down ? box.top > here.top : box.top < here.top));
    if (ends.length) return ends.sort((a, b) => Math.abs(a.top - here.top) - Math.abs(b.top - here.top))[0];
  }
  const middle = (part: Part): [number, number] => [part.left + part.w / 2, part.top + (part.type === "frame" ? 12 : part.h / 2)];
  const [x, y] = middle(here);
  let best: Part | null = null, least = Infinity;
  for (const part of every) {
    if (part === here) continue;
    const [px, py] = middle(part), dx = px - x, dy = py - y;
    const along = key === "ArrowDown" ? dy : key === "ArrowUp" ? -dy : key === "ArrowRight" ? dx : -dx;
    const aside = Math.abs(key === "ArrowDown" || key === "ArrowUp" ? dx : dy);
    if (along < 4) continue;
    const far = along + 2.5 * aside;
    if (far < least) { least = far; best = part; }
  }
  return best;
}
