// The layout of one section of a frame: parts between two places where a single tensor passes. Dagre lays out what
// branches (layered drawing: Gansner et al. 1993, Brandes and Koepf 2002); parts side by side in plain lanes, of which
// there may be a thousand, are set next to each other.

import { Graph, layout } from "@dagrejs/dagre";

import type { Edge } from "./dag";
import type { Part } from "./view";

export const GAP = 34;
const BESIDE = 24;
/** From so many parts on, plain lanes are not worth a search for fewer crossings. */
const MANY = 40;

export interface Spot { x: number; y: number }

/** Where parts stand (their upper left corners), seen from the middle of the top, where the wire comes in; where wires
 * bend on their way from part to part, from above to a part, and from a part out below; how far down and up a wire of a part goes straight, past taller ones beside it; and x of the wire
 * that goes on. */
export interface Section {
  spots: Map<number, Spot>; height: number; bends: Map<Edge, Spot[]>; ways: Map<number, Spot[]>; outs: Map<number, Spot[]>; free: Map<number, { above: number; below: number }>; out: number;
}

/** `members` are numbers of parts in order; `edges` those among them, and `entering` the parts that are read from above,
 * `leaving` those that are read from below. */
export function section(members: number[], parts: Part[], edges: Edge[], entering: number[], leaving: number[]): Section {
  const inside = new Set(members);
  const own = edges.filter(({ from, to }) => inside.has(from) && inside.has(to));
  return (members.length > MANY && lanes(members, parts, own)) || layered(members, parts, own, entering, leaving);
}

function layered(members: number[], parts: Part[], edges: Edge[], entering: number[], leaving: number[]): Section {
  const graph = new Graph({ directed: true, multigraph: true });
  graph.setGraph({
    rankdir: "TB", nodesep: BESIDE, edgesep: 16, ranksep: GAP,
    // The best ranks take time that grows with the square of what there is.
    ranker: members.length > 300 ? "longest-path" : "network-simplex",
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const member of members) graph.setNode(`${member}`, { width: parts[member].w, height: parts[member].h });
  graph.setNode("in", { width: 1, height: 1 });
  for (const member of entering) graph.setEdge("in", `${member}`, { weight: 1 });
  edges.forEach(({ from, to }) => graph.setEdge(`${from}`, `${to}`, { weight: 1 }));
  // What only wires from the side lead to stands below the line where the others come in.
  if (entering.length) {
    const fed = new Set([...entering, ...edges.map(({ to }) => to)]);
    for (const member of members) if (!fed.has(member)) graph.setEdge("in", `${member}`, { weight: 0 });
  }
  if (leaving.length) graph.setNode("out", { width: 1, height: 1 });
  for (const member of leaving) graph.setEdge(`${member}`, "out", { weight: 1 });
  layout(graph);

  const top = entering.length ? graph.node("in").y + GAP + 0.5 : 0;
  const last = members[members.length - 1];
  const ends = new Set(members);
  for (const { from } of edges) ends.delete(from);
  const bottom = graph.node(`${last}`);
  // What comes in and what all lanes end in stand on one line.
  const one = ends.size === 1 && alone(members, graph, bottom.y);
  // Where more than one end is left, the trunk leads straight on to the last part.
  const middle = one && entering.length ? (graph.node("in").x + bottom.x) / 2 : entering.length && leaving.length > 1 ? graph.node("in").x : bottom.x;
  // Dagre does not care which lane is left; who wrote the lanes does.
  const side = leaning(members, graph) < 0 ? -1 : 1;
  const spots = new Map<number, Spot>();
  const ranks = new Map<number, number>();
  let height = 0;
  for (const member of members) {
    const { x, y } = graph.node(`${member}`), { w, h } = parts[member];
    const center = one && member === last ? 0 : side * (x - middle);
    spots.set(member, { x: center - w / 2, y: y - h / 2 - top });
    height = Math.max(height, y + h / 2 - top);
    ranks.set(Math.round(y), Math.max(ranks.get(Math.round(y)) ?? 0, h));
  }
  // A wire passes straight through the ranks on its way, so that it meets no box of theirs.
  const through = (from: string, to: string): Spot[] => {
    const { points } = graph.edge(from, to) as { points: Spot[] };
    return points.slice(1, -1).filter(({ y }) => ranks.has(Math.round(y))).flatMap(({ x, y }) => {
      const half = ranks.get(Math.round(y))! / 2, across = side * (x - middle);
      return [{ x: across, y: y - half - top }, { x: across, y: y + half - top }];
    });
  };
  const bends = new Map(edges.map((edge) => [edge, through(`${edge.from}`, `${edge.to}`)]));
  const ways = new Map(entering.map((member) => [member, through("in", `${member}`)]));
  const outs = new Map(leaving.map((member) => [member, through(`${member}`, "out")]));
  const free = new Map(members.map((member) => {
    const { y } = graph.node(`${member}`), half = ranks.get(Math.round(y))! / 2;
    return [member, { above: y - half - top, below: y + half - top }];
  }));
  return { spots, height, bends, ways, outs, free, out: 0 };
}

/** Above 0 where parts that come first stand left of those behind them, below where they stand right. */
function leaning(members: number[], graph: Graph): number {
  const lanes = members.slice(0, -1), mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const xs = lanes.map((member) => graph.node(`${member}`).x), x = mean(xs), place = (lanes.length - 1) / 2;
  return xs.reduce((sum, value, at) => sum + (value - x) * (at - place), 0);
}

/** Whether nothing else stands in the rank at `y`. */
function alone(members: number[], graph: Graph, y: number): boolean {
  return members.filter((member) => Math.abs(graph.node(`${member}`).y - y) < 1).length === 1;
}

/** Plain lanes that end in the last part, next to each other; null where lanes meet or part. */
function lanes(members: number[], parts: Part[], edges: Edge[]): Section | null {
  const last = members[members.length - 1];
  const next = new Map<number, number>(), fed = new Set<number>();
  for (const { from, to } of edges) {
    if (next.has(from) || (to !== last && fed.has(to))) return null;
    next.set(from, to);
    fed.add(to);
  }
  const spots = new Map<number, Spot>();
  let x = 0, depth = 0;
  const ends: number[] = [];
  for (const first of members) {
    if (fed.has(first) || first === last) continue;
    let y = 0, broad = 0;
    const lane: number[] = [];
    for (let member: number | undefined = first; member !== undefined && member !== last; member = next.get(member)) {
      lane.push(member);
      broad = Math.max(broad, parts[member].w);
    }
    for (const member of lane) {
      spots.set(member, { x: x + (broad - parts[member].w) / 2, y });
      y += parts[member].h + GAP;
    }
    ends.push(lane[lane.length - 1]);
    x += broad + BESIDE;
    depth = Math.max(depth, y);
  }
  const shift = (x - BESIDE) / 2;
  for (const spot of spots.values()) spot.x -= shift;
  // Wires of many lanes need room to come together.
  const fan = Math.min(160, 8 + x / 60);
  for (const spot of spots.values()) spot.y += fan;
  const free = new Map(ends.map((member) => [member, { above: fan, below: depth - GAP + fan }]));
  spots.set(last, { x: -parts[last].w / 2, y: depth + 2 * fan });
  return { spots, height: depth + 2 * fan + parts[last].h, bends: new Map(), ways: new Map(), outs: new Map(), free, out: 0 };
}
