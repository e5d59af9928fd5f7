// The layout of one frame, whose parts have their sizes: sections along a trunk, wires, tracks for what leads past.

import { columns } from "./columns";
import type { Edge } from "./dag";
import { TITLE, titleWidth } from "./measure";
import { cut, sort, type Local } from "./order";
import { bounds, wireAlong } from "./paths";
import { GAP, section, type Section, type Spot } from "./section";
import { entryOf, exitOf, type Frame, type Part, type Port, type Wire } from "./view";

const MARGIN = 16;
const TRACK = 11;
const GUTTER = 46;
/** Above the first part of a frame, and below its last. */
const ENTER = 20;

interface Skip { start: Spot; ends: { at: Spot; into: "side" | "top" | "below"; local: Local }[]; low: number; high: number }

export class FrameLayout {
  private readonly parts: Part[];
  private readonly number = new Map<Part, number>();
  private readonly wires: Wire[] = [];
  private readonly places = new Map<Part, Spot>();

  constructor(private readonly frame: Frame, private readonly locals: Local[], private readonly tallest: number) {
    this.parts = frame.parts;
    this.parts.forEach((part, number) => this.number.set(part, number));
  }

  run(): void {
    const { frame, parts } = this;
    const titled = frame.parent !== null;
    if (!parts.length) { frame.w = frame.h = 1; return; }
    const { order, flows, past } = sort(parts, this.locals);
    const sections = cut(parts, order, flows, new Set(this.locals.flatMap(({ from, to }) => (from && !to ? [from] : []))));
    const sectionOf = new Map<Part, number>();
    sections.forEach((members, at) => members.forEach((member) => sectionOf.set(parts[member], at)));

    const top = titled ? (frame.title || frame.repeats > 1 ? TITLE : 12) : 0;
    const skips: Local[] = [...past];
    const straight: Local[] = [];
    for (const local of flows) {
      const enters = !local.from && local.to, late = enters && sectionOf.get(local.to!)! > 0;
      if (late) skips.push(local);
      else straight.push(local);
    }
    const entered = this.locals.some((local) => !local.from);
    const y = top + (titled ? (entered ? ENTER + (skips.some((local) => !local.from) ? 6 : 0) : 10) : 0);
    const layouts = this.stack(sections, straight, skips, sectionOf, y);
    this.connect(straight, layouts, sectionOf, top, skips);
    this.finish(skips, top, titled);
  }

  /** Lays out the sections and puts one below the other, in columns where that becomes too tall. */
  private stack(sections: number[][], straight: Local[], skips: Local[], sectionOf: Map<Part, number>, y: number): Section[] {
    const { parts, places } = this;
    const inner: Edge[] = [], edgeOf = new Map<Local, Edge>();
    const entering = new Map<number, Local[]>();
    for (const local of straight) {
      if (!local.to) continue;
      const at = sectionOf.get(local.to)!;
      if (local.from && sectionOf.get(local.from) === at) {
        const edge = { from: this.number.get(local.from)!, to: this.number.get(local.to)! };
        inner.push(edge);
        edgeOf.set(local, edge);
      } else entering.set(at, [...(entering.get(at) ?? []), local]);
    }
    this.edgeOf = edgeOf;
    const layouts = sections.map((members, at): Section => {
      const into = entering.get(at) ?? [];
      if (members.length > 1) return section(members, parts, inner, [...new Set(into.map(({ to }) => this.number.get(to!)!))],
        at === sections.length - 1 ? members.filter((member) => this.locals.some(({ from, to }) => from === parts[member] && !to)) : []);
      const part = parts[members[0]];
      const x = into.length ? entryOf(part, into[0].key) : part.w / 2;
      const leaves = straight.find(({ from }) => from === part) ?? this.locals.find(({ from, to }) => from === part && !to);
      return {
        spots: new Map([[members[0], { x: -x, y: 0 }]]), height: part.h, bends: new Map(), ways: new Map(), outs: new Map(), free: new Map(),
        out: (leaves ? exitOf(part, leaves.key) : part.w / 2) - x,
      };
    });
    const leaving = this.locals.filter(({ from, to }) => from && !to && sectionOf.get(from)! < sections.length - 1);
    const spans = [...skips, ...leaving].map(({ from, to }): [number, number] => [from ? sectionOf.get(from)! : 0, to ? sectionOf.get(to)! : sections.length - 1]);
    const held = columns(layouts.map(({ height }) => height + GAP), spans, this.tallest);
    let x = 0, left = 0, low = Infinity, right = -Infinity, at = 0;
    this.columnOf = [];
    held.forEach((count, column) => {
      let down = y;
      const extent = [Infinity, -Infinity];
      const begun: { section: Section; x: number; y: number; at: number }[] = [];
      x = 0;
      for (let i = 0; i < count; i++, at++) {
        const layout = layouts[at];
        begun.push({ section: layout, x, y: down, at });
        for (const [member, spot] of layout.spots) {
          extent[0] = Math.min(extent[0], x + spot.x);
          extent[1] = Math.max(extent[1], x + spot.x + parts[member].w);
        }
        for (const bends of layout.bends.values()) for (const bend of bends) {
          extent[0] = Math.min(extent[0], x + bend.x);
          extent[1] = Math.max(extent[1], x + bend.x);
        }
        down += layout.height + GAP;
        x += layout.out;
      }
      const beside = skips.filter(({ from, to }) => [from, to].some((part) => part && at - count <= sectionOf.get(part)! && sectionOf.get(part)! < at));
      const shift = column === 0 ? 0 : left - extent[0];
      for (const { section: layout, x: sx, y: sy, at: number } of begun) {
        this.columnOf[number] = column;
        this.origins[number] = { x: sx + shift, y: sy };
        for (const [member, spot] of layout.spots) {
          places.set(parts[member], { x: sx + shift + spot.x, y: sy + spot.y });
          this.column.set(parts[member], column);
        }
      }
      low = Math.min(low, extent[0] + shift);
      right = extent[1] + shift;
      this.ends.push(right);
      this.bottom = Math.max(this.bottom, down - GAP);
      left = right + GUTTER + Math.min(6, beside.length) * TRACK;
    });
    return layouts;
  }

  private edgeOf = new Map<Local, Edge>();
  private columnOf: number[] = [];
  private origins: Spot[] = [];
  private ends: number[] = [];
  private readonly column = new Map<Part, number>();
  private bottom = 0;
  /** Where wires that leave below bend on their way, by the box that sends. */
  private readonly leaving = new Map<string, Spot[]>();

  /** Draws the wires that lead on, and gives this frame its ports. */
  private connect(straight: Local[], layouts: Section[], sectionOf: Map<Part, number>, top: number, skips: Local[]): void {
    const { frame, places } = this;
    frame.entries.clear();
    frame.exits.clear();
    for (const local of straight) {
      const { from, to, key } = local;
      if (!to) continue;
      const end = this.into(to, key);
      if (!from) {
        let port = frame.entries.get(key);
        if (!port) {
          const same = straight.filter((other) => !other.from && other.key === key).map((other) => this.into(other.to!, key).x);
          // One reader: straight down. Several: from where they all are seen from, the trunk.
          port = { x: same.length === 1 ? end.x : this.origins[0].x, y: 0 };
          frame.entries.set(key, port);
        }
        this.wire([{ x: port.x, y: 0 }, { x: port.x, y: top }, ...this.down(layouts, to, sectionOf, end), end], local, "flow", "down");
        continue;
      }
      const start = this.outOf(from, key), a = sectionOf.get(from)!, b = sectionOf.get(to)!;
      if (this.columnOf[a] !== this.columnOf[b]) {
        const x = this.ends[this.columnOf[a]] + GUTTER / 2 + 4, above = end.y - 16, below = start.y + 16;
        this.wire([start, { x: start.x, y: below }, { x, y: below }, { x, y: above }, { x: end.x, y: above }, end], local, "flow", "down", true);
        continue;
      }
      const edge = this.edgeOf.get(local);
      const bends = (edge && layouts[a].bends.get(edge)) ?? [];
      const origin = this.origins[a];
      const room = layouts[a].free.get(this.number.get(from)!), below = room && room.below + origin.y;
      this.wire([
        start, ...(below !== undefined && below > start.y ? [{ x: start.x, y: below }] : []),
        ...(a === b ? bends.map(({ x, y }) => ({ x: x + origin.x, y: y + origin.y })) : []), ...this.down(layouts, to, sectionOf, end, a !== b), end,
      ], local, "flow", "down");
    }
    // Out below, where nothing stands in the way.
    for (const local of this.locals) {
      if (local.to || !local.from) continue;
      const start = this.outOf(local.from, local.key);
      const end = layouts.length - 1, member = this.number.get(local.from)!, origin = this.origins[end];
      const way = layouts[end].outs.get(member)?.map(({ x, y }) => ({ x: x + origin.x, y: y + origin.y }));
      const blocked = !way && [...places].some(([part, spot]) => part !== local.from && spot.y + part.h > start.y + 1 && spot.x - 6 < start.x && start.x < spot.x + part.w + 6);
      if (blocked) { skips.push(local); continue; }
      const room = layouts[end].free.get(member), below = room && sectionOf.get(local.from) === end ? room.below + origin.y : 0;
      const path = [...(below > start.y ? [{ x: start.x, y: below }] : []), ...(way ?? [])];
      this.leaving.set(local.key, path);
      frame.exits.set(local.key, { x: path[path.length - 1]?.x ?? start.x, y: Infinity });
    }
  }

  /** How a wire from above the section of a part gets there: past what is in between, then straight down beside taller
   * parts. */
  private down(layouts: Section[], part: Part, sectionOf: Map<Part, number>, end: Spot, outside = true): Spot[] {
    const at = sectionOf.get(part)!, { ways, free } = layouts[at], member = this.number.get(part)!, origin = this.origins[at];
    const way = outside ? ways.get(member) ?? [] : [], room = free.get(member), y = room && room.above + origin.y;
    return [
      ...way.map((bend) => ({ x: bend.x + origin.x, y: bend.y + origin.y })),
      ...(y !== undefined && y < end.y - 1 ? [{ x: end.x, y }] : []),
    ];
  }

  /** Runs the remaining wires beside the parts, and closes the frame around everything. */
  private finish(skips: Local[], top: number, titled: boolean): void {
    const { frame, places, wires } = this;
    let bottom = this.bottom;
    const leaving = this.locals.some(({ to }) => !to);
    const close = bottom + (titled ? (leaving ? 18 : 12) : 0);
    this.tracks(skips, top, close);

    let [x0, , x1, y1] = bounds([...places].flatMap(([part, { x, y }]) => [{ x, y }, { x: x + part.w, y: y + part.h }]));
    for (const wire of wires) { x0 = Math.min(x0, wire.box[0]); x1 = Math.max(x1, wire.box[2]); }
    for (const port of [...frame.entries.values(), ...frame.exits.values()]) { x0 = Math.min(x0, port.x - 4); x1 = Math.max(x1, port.x + 4); }
    bottom = Math.max(y1, close);
    const margin = titled ? MARGIN : 0;
    let dx = margin - x0, w = x1 - x0 + 2 * margin;
    const wanted = titled && (frame.title || frame.repeats > 1) ? titleWidth(frame) : 0;
    if (w < wanted) { dx += (wanted - w) / 2; w = wanted; }
    // What comes in passes beside the title, not through it.
    const nearest = Math.min(...[...frame.entries.values()].map(({ x }) => x + dx));
    if (nearest < wanted) { w += wanted - nearest; dx += wanted - nearest; }
    frame.w = w;
    frame.h = bottom;
    for (const [part, { x, y }] of places) { part.x = x + dx; part.y = y; }
    for (const port of frame.entries.values()) port.x += dx;
    for (const [key, port] of frame.exits) {
      const from = this.locals.find((local) => !local.to && local.key === key)!;
      if (port.y === Infinity) {
        const start = this.outOf(from.from!, key);
        this.wire([start, ...(this.leaving.get(key) ?? []), { x: port.x, y: bottom }], from, "flow", "");
      }
      port.x += dx;
      port.y = bottom;
    }
    frame.wires = wires;
    frame.shift = dx;
  }

  /** Wires beside the parts: one track for each box that sends, as near as those between let it. */
  private tracks(skips: Local[], top: number, close: number): void {
    const { frame, places } = this;
    const groups = new Map<string, Skip>();
    for (const local of skips) {
      const { from, to, key } = local;
      const id = `${from?.id}|${key}`;
      let group = groups.get(id);
      if (!group) {
        const port = from ? null : frame.entries.get(key);
        const start = from ? this.beside(from, key) : { x: port?.x ?? NaN, y: port ? top + 7 : 0 };
        groups.set(id, (group = { start, ends: [], low: start.y, high: start.y }));
      }
      const into = !to ? "below" : to.type === "frame" ? "top" : "side";
      const place = to && places.get(to)!;
      const at = !to ? { x: NaN, y: close } : to.type === "frame"
        ? this.into(to, key)
        : { x: place!.x + to.w, y: place!.y + to.h - 16 };
      group.ends.push({ at, into, local });
      const y = into === "top" ? at.y - 12 : at.y;
      group.low = Math.min(group.low, y);
      group.high = Math.max(group.high, y);
    }
    const solid = [...places].map(([part, { x, y }]) => ({ low: y, high: y + part.h, right: x + part.w, column: this.column.get(part)! }));
    const laid: { low: number; high: number; right: number; column: number }[] = [];
    for (const group of [...groups.values()].sort((a, b) => (a.high - a.low) - (b.high - b.low))) {
      const { from, to } = group.ends[0].local, own = this.column.get((from ?? to)!)!;
      let x = group.start.x || 0;
      for (const { low, high, right, column } of solid) if (column === own && high > group.low && low < group.high) x = Math.max(x, right + 8);
      for (const { low, high, right, column } of laid) if (column === own && high + 4 > group.low && low - 4 < group.high) x = Math.max(x, right);
      x += TRACK;
      laid.push({ low: group.low, high: group.high, right: x, column: own });
      const local = group.ends[0].local;
      if (!local.from && Number.isNaN(group.start.x)) {
        group.start = { x, y: 0 };
        frame.entries.set(local.key, { x, y: 0 });
      }
      const source = local.from;
      const lead: Spot[] = source && source.type === "frame"
        ? [{ x: group.start.x, y: group.start.y }, { x: group.start.x, y: group.start.y + 10 }, { x, y: group.start.y + 10 }]
        : group.start.x === x ? [group.start] : [group.start, { x, y: group.start.y }];
      for (const { at, into, local: each } of group.ends) {
        if (into === "below") {
          frame.exits.set(each.key, { x, y: close });
          this.wire([...lead, { x, y: close }], each, "skip", "", true);
        } else if (into === "top") this.wire([...lead, { x, y: at.y - 12 }, { x: at.x, y: at.y - 12 }, at], each, "skip", "down", true);
        else this.wire([...lead, { x, y: at.y }, at], each, "skip", "left", true);
      }
    }
  }

  private wire(points: Spot[], local: Local, kind: "flow" | "skip", arrow: "down" | "left" | "", angles = false): void {
    this.wires.push(wireAlong(points, kind, local.to?.type === "frame" && arrow === "down" ? "" : arrow, local.auxiliary, angles));
  }

  private into(part: Part, key: string): Port {
    const place = this.places.get(part)!;
    return { x: place.x + entryOf(part, key), y: place.y };
  }

  private outOf(part: Part, key: string): Port {
    const place = this.places.get(part)!;
    return { x: place.x + exitOf(part, key), y: place.y + part.h };
  }

  /** Where a wire leaves that leads past other parts. */
  private beside(part: Part, key: string): Port {
    const place = this.places.get(part)!;
    if (part.type === "frame") return this.outOf(part, key);
    return { x: place.x + part.w, y: place.y + part.h - 7 };
  }
}
