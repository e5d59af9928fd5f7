// What is to be seen: boxes and frames (open scopes), and the wires between boxes, for what is open and folded now.

import type { Figures, Network } from "./model";

export interface Row { node: number; caption: string; name: string }

interface Placed { id: string; parent: Frame; x: number; y: number; w: number; h: number; left: number; top: number }

/** One box: layers that share it, a closed scope, or where a tensor leaves the network. `x`, `y` lie in its frame;
 * `left`, `top` in the picture. */
export interface Box extends Placed {
  type: "box";
  rows: Row[];
  /** The closed scope that it stands for, or -1. */
  scope: number;
  title: string;
  about: string;
  repeats: number;
  /** Where its equal neighbours stand: scope and position of the first part. */
  fold: string;
  figures: Figures | null;
  auxiliary: boolean;
  output: string | null;
}

/** An open scope, or several equal runs of layers of which the first is drawn. */
export interface Frame extends Placed {
  type: "frame";
  /** The scope that opens and closes, and the one whose parts are drawn: an only scope inside a scope opens with it. */
  scope: number;
  title: string;
  about: string;
  repeats: number;
  fold: string;
  parts: Part[];
  level: number;
  /** Wires, and ports by the box that sends, filled in by the layout. */
  wires: Wire[];
  /** How far right its wires lie from where they say. */
  shift: number;
  entries: Map<string, Port>;
  exits: Map<string, Port>;
}

export type Part = Box | Frame;
export interface Port { x: number; y: number }

export interface Wire {
  d: string;
  /** Where its arrow points to and where from: a tip, and the way that it points. */
  tip: Port | null;
  toLeft: boolean;
  kind: "flow" | "skip";
  auxiliary: boolean;
  box: [number, number, number, number];
}

export interface Link { source: Box; target: Box; types: string[]; auxiliary: boolean }

export interface View { root: Frame; boxes: Box[]; frames: Frame[]; links: Link[]; boxOf: Map<number, Part> }

/** What the person has opened. Equal neighbours are unfolded by `scope:position`. */
export interface State { open: Set<number>; unfolded: Set<string> }

const LONGEST = 44;
const DEEPEST = 60;

export function shortened(text: string, longest = LONGEST): string {
  if (text.length <= longest) return text;
  const characters = Array.from(text);
  if (characters.length <= longest) return text;
  const half = Math.floor((longest - 1) / 2);
  return `${characters.slice(0, longest - 1 - half).join("")}…${characters.slice(-half).join("")}`;
}

export class Views {
  /** Scopes whose layers share one box: they have nothing to open. */
  private readonly units = new Map<number, boolean>();

  constructor(readonly net: Network) {}

  /** Whether all that is in a scope is drawn as one box. */
  isUnit(scope: number): boolean {
    let found = this.units.get(scope);
    if (found === undefined) {
      const { parts, folds } = this.net.data.scopes[scope];
      const only = parts.length === 1 && parts[0] < 0 && this.net.inside[scope].length <= 8;
      found = !folds.length && (only
        ? this.isUnit(-1 - parts[0])
        : parts.length <= 6 && parts.every((part, at) => part >= 0 && (at === 0 || this.net.data.nodes.follows[part] === 1)));
      this.units.set(scope, found);
    }
    return found;
  }

  /** The scope whose parts are drawn when this one opens: one that holds nothing but another opens both. */
  inner(scope: number): number {
    for (let depth = 0; depth < DEEPEST; depth++) {
      const { parts } = this.net.data.scopes[scope];
      if (parts.length !== 1 || parts[0] >= 0 || this.isUnit(-1 - parts[0])) return scope;
      scope = -1 - parts[0];
    }
    return scope;
  }

  /** Scopes that can be opened and closed, those inside others behind them. */
  scopes(): number[] {
    const found: number[] = [];
    const queue = [0];
    for (const scope of queue) {
      for (const part of this.net.data.scopes[this.inner(scope)].parts) {
        if (part < 0 && !this.isUnit(-1 - part)) { found.push(-1 - part); queue.push(-1 - part); }
      }
    }
    return found;
  }

  /** Opens level after level while there are at most `budget` boxes; with `depth`, so many levels. */
  opened(budget: number, depth: number | null): State {
    const state: State = { open: new Set(), unfolded: new Set() };
    let level = [0], boxes = this.boxesIn(0);
    for (let deep = 1; depth === null ? deep < DEEPEST : deep < depth; deep++) {
      const next: number[] = [];
      let more = 0;
      for (const scope of level) {
        for (const part of this.drawn(this.inner(scope))) {
          if (part < 0 && !this.isUnit(-1 - part)) { next.push(-1 - part); more += this.boxesIn(-1 - part) - 1; }
        }
      }
      if (!next.length || (depth === null && boxes + more > budget)) break;
      for (const scope of next) state.open.add(scope);
      boxes += more;
      level = next;
    }
    return state;
  }

  everything(): State {
    const unfolded = new Set<string>();
    this.net.data.scopes.forEach((scope, number) => { for (const [at] of scope.folds) unfolded.add(`${number}:${at}`); });
    return { open: new Set(this.scopes()), unfolded };
  }

  private boxesIn(scope: number): number {
    const parts = this.drawn(this.inner(scope));
    return parts.filter((part) => part < 0 || !this.net.data.nodes.follows[part]).length;
  }

  /** The parts of a scope while equal neighbours are folded. */
  private drawn(scope: number): number[] {
    const { parts, folds } = this.net.data.scopes[scope];
    if (!folds.length) return parts;
    const hidden = new Set<number>();
    for (const [at, length, repeats] of folds) for (let i = at + length; i < at + length * repeats; i++) hidden.add(i);
    return parts.filter((_, at) => !hidden.has(at));
  }

  build(state: State): View { return new Builder(this.net, this, state).build(); }
}

class Builder {
  private readonly boxes: Box[] = [];
  private readonly frames: Frame[] = [];
  private readonly boxOf = new Map<number, Part>();
  /** A layer that is not drawn stands for its twin in the first of the equal neighbours. */
  private readonly copies = new Map<number, Map<string, number>>();

  constructor(private readonly net: Network, private readonly views: Views, private readonly state: State) {}

  build(): View {
    const root = this.frame("s0", null as unknown as Frame, 0, -1);
    this.fill(root, 0);
    const links = this.links();
    this.outputs(root, links);
    return { root, boxes: this.boxes, frames: this.frames, links, boxOf: this.boxOf };
  }

  private frame(id: string, parent: Frame, scope: number, level: number): Frame {
    const frame: Frame = {
      type: "frame", id, parent, scope, title: "", about: "", repeats: 1, fold: "", parts: [], level: level + 1,
      x: 0, y: 0, w: 0, h: 0, left: 0, top: 0, wires: [], shift: 0, entries: new Map(), exits: new Map(),
    };
    this.frames.push(frame);
    return frame;
  }

  private box(frame: Frame, id: string, title: string): Box {
    const box: Box = {
      type: "box", id, parent: frame, rows: [], scope: -1, title, about: "", repeats: 1, fold: "", figures: null,
      auxiliary: false, output: null, x: 0, y: 0, w: 0, h: 0, left: 0, top: 0,
    };
    this.boxes.push(box);
    frame.parts.push(box);
    return box;
  }

  private fill(frame: Frame, scope: number): void {
    const { parts, folds } = this.net.data.scopes[scope];
    const folded = new Map(folds.map((fold) => [fold[0], fold]));
    let last: Box | null = null;
    for (let at = 0; at < parts.length; at++) {
      const fold = folded.get(at), key = `${scope}:${at}`;
      if (fold && !this.state.unfolded.has(key)) {
        this.folded(frame, scope, fold, key);
        at += fold[1] * fold[2] - 1;
        last = null;
      } else {
        last = this.part(frame, scope, parts[at], last);
      }
    }
  }

  /** Draws one part; returns the box that the next layer may share. */
  private part(frame: Frame, scope: number, part: number, last: Box | null): Box | null {
    if (part >= 0) {
      if (last && this.net.data.nodes.follows[part]) {
        last.rows.push(this.row(part, scope));
        this.boxOf.set(part, last);
        return last;
      }
      const box = this.box(frame, `n${part}`, "");
      box.rows.push(this.row(part, scope));
      box.auxiliary = this.net.data.nodes.auxiliary[part] === 1;
      this.boxOf.set(part, box);
      return box;
    }
    const inner = -1 - part;
    if (this.views.isUnit(inner)) {
      const nodes = this.net.inside[inner];
      const box = this.box(frame, `n${nodes[0]}`, "");
      box.auxiliary = this.net.data.nodes.auxiliary[nodes[0]] === 1;
      for (const node of nodes) { box.rows.push(this.row(node, scope)); this.boxOf.set(node, box); }
      return null;
    }
    const { name, block } = this.net.data.scopes[inner];
    if (this.state.open.has(inner) && frame.level < DEEPEST) {
      const shown = this.views.inner(inner);
      const open = this.frame(`s${inner}`, frame, inner, frame.level);
      const deep = this.net.data.scopes[shown];
      open.title = this.local(deep.name, scope);
      open.about = deep.block || block;
      frame.parts.push(open);
      this.fill(open, shown);
      return null;
    }
    const box = this.box(frame, `s${inner}`, this.local(name, scope));
    box.scope = inner;
    box.about = block;
    box.figures = this.net.sums[inner];
    const nodes = this.net.inside[inner];
    box.auxiliary = nodes.every((node) => this.net.data.nodes.auxiliary[node] === 1);
    for (const node of nodes) this.boxOf.set(node, box);
    return null;
  }

  private folded(frame: Frame, scope: number, [at, length, repeats]: [number, number, number], key: string): void {
    const { parts } = this.net.data.scopes[scope];
    const all = parts.slice(at, at + length * repeats);
    let into = frame;
    if (length > 1) {
      into = this.frame(`r${key}`, frame, -1, frame.level);
      frame.parts.push(into);
    }
    let last: Box | null = null;
    for (const part of parts.slice(at, at + length)) last = this.part(into, scope, part, length > 1 ? last : null);
    const drawn = length > 1 ? into : into.parts[into.parts.length - 1];
    drawn.repeats = repeats;
    drawn.fold = key;
    if (drawn.type === "box") {
      drawn.figures = this.net.sumOf(all);
      const end = this.local(this.partName(all[all.length - 1]), scope);
      if (drawn.scope >= 0) drawn.title = `${drawn.title}…${end}`;
      else if (drawn.rows.length === 1) drawn.rows[0].name = `${drawn.rows[0].name}…${end}`;
    } else if (length === 1) {
      drawn.title = `${drawn.title}…${this.local(this.partName(all[all.length - 1]), scope)}`;
    }
    const first = this.nodesOfAll(all.slice(0, length));
    for (let turn = 0; turn < repeats; turn++) {
      const nodes = turn === 0 ? first : this.nodesOfAll(all.slice(turn * length, (turn + 1) * length));
      nodes.forEach((node, position) => {
        const twin = first[position];
        this.boxOf.set(node, this.boxOf.get(twin)!);
        this.copies.set(node, new Map(this.copies.get(twin)).set(key, turn));
      });
    }
  }

  private nodesOfAll(parts: number[]): number[] {
    return parts.length === 1 ? this.net.nodesOf(parts[0]) : parts.flatMap((part) => this.net.nodesOf(part)).sort((a, b) => a - b);
  }

  private partName(part: number): string { return part >= 0 ? this.net.name(part) : this.net.data.scopes[-1 - part].name; }

  private local(name: string, scope: number): string {
    const prefix = this.net.data.scopes[scope].name;
    return shortened(prefix && name.startsWith(`${prefix}.`) ? name.slice(prefix.length + 1) : name);
  }

  private row(node: number, scope: number): Row {
    return { node, caption: shortened(this.net.text("caption", node), 60), name: this.local(this.net.name(node), scope) };
  }

  /** The tensors that go from box to box. */
  private links(): Link[] {
    const found = new Map<string, Link>();
    const { inputs, auxiliary } = this.net.data.nodes;
    for (let node = 0; node < this.net.count; node++) {
      const target = this.boxOf.get(node) as Box;
      for (const source of inputs[node]) {
        const start = this.boxOf.get(source) as Box;
        if (start === target || this.apart(source, node)) continue;
        this.link(found, start, target, this.net.text("type", source), auxiliary[node] === 1);
      }
    }
    return [...found.values()];
  }

  private link(found: Map<string, Link>, source: Box, target: Box, type: string, auxiliary: boolean): void {
    const key = `${source.id} ${target.id}`;
    const link = found.get(key);
    if (!link) { found.set(key, { source, target, types: [type], auxiliary }); return; }
    link.auxiliary &&= auxiliary;
    if (!link.types.includes(type)) link.types.push(type);
  }

  private outputs(root: Frame, links: Link[]): void {
    this.net.data.outputs.forEach(([name, node, training], number) => {
      const box = this.box(root, `o${number}`, shortened(name));
      box.output = name;
      box.about = training ? "training only" : name === "output" ? "" : "output";
      box.auxiliary = training;
      links.push({ source: this.boxOf.get(node) as Box, target: box, types: [this.net.text("type", node)], auxiliary: training });
    });
  }

  /** Whether two layers lie in different ones of the same equal neighbours, of which only the first is drawn. */
  private apart(source: number, target: number): boolean {
    const copies = this.copies.get(target), others = this.copies.get(source);
    if (!copies || !others) return false;
    for (const [fold, turn] of others) if ((copies.get(fold) ?? turn) !== turn) return true;
    return false;
  }
}
