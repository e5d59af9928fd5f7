// Small graphs of the parts of a frame: an order in which wires lead downward, and wires that another way makes needless.

export interface Edge { from: number; to: number }

/** An order of `count` parts in which edges lead forward, as near as it can be to the order they are given in. Edges that
 * close a circle lead backward. */
export function ordered(count: number, edges: Edge[], rank: (part: number) => number): number[] {
  const waits = new Int32Array(count), next: number[][] = Array.from({ length: count }, () => []);
  for (const { from, to } of edges) { waits[to]++; next[from].push(to); }
  const given = Array.from({ length: count }, (_, part) => part).sort((a, b) => rank(a) - rank(b) || a - b);
  const place = new Int32Array(count);
  given.forEach((part, at) => { place[part] = at; });
  const ready = new Heap(given.filter((part) => waits[part] === 0).map((part) => place[part]));
  const done = new Uint8Array(count), order: number[] = [];
  let unseen = 0;
  while (order.length < count) {
    let at = ready.pop();
    if (at === undefined) {
      while (done[given[unseen]]) unseen++;
      at = unseen;
    }
    const part = given[at];
    if (done[part]) continue;
    done[part] = 1;
    order.push(part);
    for (const follower of next[part]) if (--waits[follower] === 0 && !done[follower]) ready.push(place[follower]);
  }
  return order;
}

/** Of edges that lead forward, those beside which a longer way leads from the one end to the other. Vertices are numbered
 * in an order in which all edges lead forward. */
export function bypasses(count: number, edges: Edge[]): Set<Edge> {
  const found = new Set<Edge>();
  const next: Edge[][] = Array.from({ length: count }, () => []);
  for (const edge of edges) next[edge.from].push(edge);
  if (next.every((out) => out.length < 2)) return found;
  const words = (count + 31) >> 5;
  const reach: (Uint32Array | null)[] = new Array(count).fill(null);
  const waiting = new Int32Array(count);
  for (const { to } of edges) waiting[to]++;
  for (let from = count - 1; from >= 0; from--) {
    const mine = new Uint32Array(words);
    // Nearer ends first: what a nearer one reaches needs no wire of its own.
    for (const edge of next[from].sort((a, b) => a.to - b.to)) {
      const { to } = edge;
      if (mine[to >> 5] & (1 << (to & 31))) { found.add(edge); continue; }
      const theirs = reach[to]!;
      for (let word = to >> 5; word < words; word++) mine[word] |= theirs[word];
      mine[to >> 5] |= 1 << (to & 31);
    }
    reach[from] = mine;
    for (const { to } of next[from]) if (--waiting[to] === 0) reach[to] = null;
  }
  return found;
}

class Heap {
  private readonly items: number[] = [];
  constructor(items: number[]) { for (const item of items) this.push(item); }
  push(item: number): void {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (items[above] <= items[at]) break;
      [items[above], items[at]] = [items[at], items[above]];
      at = above;
    }
  }
  pop(): number | undefined {
    const { items } = this;
    const top = items[0], last = items.pop();
    if (items.length && last !== undefined) {
      items[0] = last;
      for (let at = 0; ;) {
        let least = at;
        for (const below of [2 * at + 1, 2 * at + 2]) if (below < items.length && items[below] < items[least]) least = below;
        if (least === at) break;
        [items[least], items[at]] = [items[at], items[least]];
        at = least;
      }
    }
    return top;
  }
}
