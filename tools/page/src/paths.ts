// The forms of wires.

import type { Spot } from "./section";
import type { Wire } from "./view";

const n = (value: number): string => `${Math.round(value * 10) / 10}`;

/** A smooth way down through points, upright at each. */
export function smooth(points: Spot[]): string {
  let d = `M${n(points[0].x)} ${n(points[0].y)}`;
  for (let at = 1; at < points.length; at++) {
    const a = points[at - 1], b = points[at];
    if (Math.abs(a.x - b.x) < 0.5) d += `V${n(b.y)}`;
    else {
      const bow = Math.max(12, Math.abs(b.y - a.y) * 0.5);
      d += `C${n(a.x)} ${n(a.y + bow)} ${n(b.x)} ${n(b.y - bow)} ${n(b.x)} ${n(b.y)}`;
    }
  }
  return d;
}

/** Straight pieces with round corners. */
export function angular(points: Spot[], radius = 8): string {
  let d = `M${n(points[0].x)} ${n(points[0].y)}`;
  for (let at = 1; at < points.length - 1; at++) {
    const a = points[at - 1], b = points[at], c = points[at + 1];
    const before = Math.hypot(b.x - a.x, b.y - a.y), after = Math.hypot(c.x - b.x, c.y - b.y);
    const r = Math.min(radius, before / 2, after / 2);
    if (r < 0.5) { d += `L${n(b.x)} ${n(b.y)}`; continue; }
    const from = { x: b.x + ((a.x - b.x) * r) / before, y: b.y + ((a.y - b.y) * r) / before };
    const to = { x: b.x + ((c.x - b.x) * r) / after, y: b.y + ((c.y - b.y) * r) / after };
    d += `L${n(from.x)} ${n(from.y)}Q${n(b.x)} ${n(b.y)} ${n(to.x)} ${n(to.y)}`;
  }
  const end = points[points.length - 1];
  return `${d}L${n(end.x)} ${n(end.y)}`;
}

export function bounds(points: Spot[]): [number, number, number, number] {
  let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of points) {
    x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
  }
  return [x0, y0, x1, y1];
}

/** The wire along these points, upright at each of them or with angles, and with an arrow at its end. */
export function wireAlong(points: Spot[], kind: "flow" | "skip", arrow: "down" | "left" | "", auxiliary: boolean, angles: boolean): Wire {
  const end = points[points.length - 1];
  // The line ends where the arrow begins to be narrow.
  const line = arrow === "" ? points : [...points.slice(0, -1), arrow === "down" ? { x: end.x, y: end.y - 4 } : { x: end.x + 4, y: end.y }];
  return { d: angles ? angular(line) : smooth(line), tip: arrow ? end : null, toLeft: arrow === "left", kind, auxiliary, box: bounds(points) };
}
