// The parts of a frame in order, and which of its wires lead on from part to part.

import { bypasses, ordered, type Edge } from "./dag";
import type { Part } from "./view";

/** A wire within one frame: from a part or, with null, from above; to a part or out below. `key` is the box that sends. */
export interface Local { from: Part | null; to: Part | null; key: string; auxiliary: boolean }

/** Puts the parts into order, and tells wires that lead on from those that lead past parts, or back. */
export function sort(parts: Part[], locals: Local[]): { order: number[]; flows: Local[]; past: Local[] } {
  const numbers = new Map(parts.map((part, number) => [part, number]));
  const inner: { edge: Edge; local: Local }[] = [];
  const first = new Int32Array(parts.length).fill(-1);
  const fed = new Set<Part>();
  for (const local of locals) {
    if (local.to) fed.add(local.to);
    if (local.from && local.to) inner.push({ edge: { from: numbers.get(local.from)!, to: numbers.get(local.to)! }, local });
  }
  // Outputs stand behind what makes them, and what reads nothing stands before what first reads it.
  const rank = parts.map((_, number) => number);
  for (const { edge: { from, to } } of inner) {
    if (isOutput(parts[to])) rank[to] = from + 0.25;
    if (first[from] < 0 || to < first[from]) first[from] = to;
  }
  parts.forEach((part, number) => { if (!fed.has(part) && first[number] >= 0) rank[number] = Math.max(rank[number], first[number] - 0.5); });
  const order = ordered(parts.length, inner.map(({ edge }) => edge), (part) => rank[part]);
  const place = new Int32Array(parts.length);
  order.forEach((part, at) => { place[part] = at; });

  const keys = [...new Set(locals.filter(({ from }) => !from).map(({ key }) => key))];
  const entry = new Map(keys.map((key, at) => [key, at]));
  const edges = new Map<Edge, Local>();
  const past: Local[] = [], flows: Local[] = [];
  for (const local of locals) {
    if (!local.to) continue;
    const to = keys.length + place[numbers.get(local.to)!];
    const from = local.from ? keys.length + place[numbers.get(local.from)!] : entry.get(local.key)!;
    if (from >= to) past.push(local);
    else edges.set({ from, to }, local);
  }
  const shortcuts = bypasses(keys.length + parts.length, [...edges.keys()]);
  for (const [edge, local] of edges) (shortcuts.has(edge) ? past : flows).push(local);
  return { order, flows, past };
}

/** Cuts the order where one tensor, that of the part before, is all that leads on. */
export function cut(parts: Part[], order: number[], flows: Local[], leaving: Set<Part>): number[][] {
  const numbers = new Map(parts.map((part, number) => [part, number]));
  const place = new Map(order.map((part, at) => [part, at]));
  const last = new Int32Array(parts.length).fill(-1);
  for (const { from, to } of flows) {
    if (from && to) {
      const source = place.get(numbers.get(from)!)!;
      last[source] = Math.max(last[source], place.get(numbers.get(to)!)!);
    }
  }
  // Lanes that begin at the top of the frame lie side by side: what the first part reads leads as far as its last reader.
  const begun = new Set(flows.filter(({ from, to }) => !from && to === parts[order[0]]).map(({ key }) => key));
  let furthest = -1;
  for (const { from, to, key } of flows) if (!from && begun.has(key)) furthest = Math.max(furthest, place.get(numbers.get(to!)!)!);
  // Nothing from before `at` may lead behind it.
  const sections: number[][] = [];
  let current: number[] = [], lanes = false;
  order.forEach((part, at) => {
    current.push(part);
    const leadsOn = last[at] > at;
    // Lanes that leave the frame each by itself end side by side.
    if (leadsOn && furthest <= at && !lanes) { sections.push(current); current = []; }
    else lanes ||= leaving.has(parts[part]);
    furthest = Math.max(furthest, last[at]);
  });
  if (current.length) sections.push(current);
  return sections;
}

export function isOutput(part: Part): boolean { return part.type === "box" && part.output !== null; }
