// Makes the boxes and frames of a view, and finds the wires between them.

import type { Network } from "./model";
import { DEEPEST, shortened, type Box, type Frame, type Link, type Part, type Row, type State, type View } from "./view";

/** What the builder asks of `Views`. */
interface Openable {
  isUnit(scope: number): boolean;
  inner(scope: number): number;
}

export class Builder {
  private readonly boxes: Box[] = [];
  private readonly frames: Frame[] = [];
  private readonly boxOf = new Map<number, Part>();
  /** A layer that is not drawn stands for its twin in the first of the equal neighbours. */
  private readonly copies = new Map<number, Map<string, number>>();

  constructor(private readonly net: Network, private readonly views: Openable, private readonly state: State) {}

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
