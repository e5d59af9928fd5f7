// The picture on the screen: panning, zooming, and which of its elements exist just now. Only those in sight do, with as
// much detail as can be seen, so that a picture of thousands of layers moves like one of ten.

import { byId, s } from "./dom";
import type { Detail, Thing } from "./draw";
import type { Part, View } from "./view";

const LEAST = 0.004, MOST = 4;
const CLICK = 4;
/** Below this zoom small print is a blur, and titles are written large over the picture instead. */
const READABLE = 0.36;

export interface Camera { x: number; y: number; z: number }

export class Stage {
  readonly svg = byId<SVGSVGElement>("stage");
  private readonly world = s("g", {});
  private readonly layers = { frame: s("g", {}), wire: s("g", {}), box: s("g", {}) };
  private readonly titles = s("g", { class: "far" });
  private readonly shown = new Map<string, { thing: Thing; element: SVGElement }>();
  private list: Thing[] = [];
  private view: View | null = null;
  private drawn: [number, number, number, number] = [0, 0, 0, 0];
  private detail: Detail = 2;
  private waiting = false;
  private flight = 0;
  /** What the window shows until somebody moves it: so it stays when the window changes. */
  private settled: "start" | "whole" | "" = "";
  camera: Camera = { x: 0, y: 0, z: 1 };
  width = 0;
  height = 0;
  /** Called when a part is clicked, with what was hit; "" for the ground. */
  onPick: (id: string, act: string, node: number, twice: boolean) => void = () => {};
  onMove: () => void = () => {};
  /** Marks elements as they are made. */
  decorate: (id: string, element: SVGElement) => void = () => {};

  constructor() {
    this.world.append(this.layers.frame, this.layers.wire, this.layers.box, this.titles);
    this.svg.append(this.world);
    new ResizeObserver(() => this.measure()).observe(this.svg);
    this.measure();
    this.listen();
  }

  measure(): void {
    const before = `${this.width} ${this.height}`;
    const { width, height } = this.svg.getBoundingClientRect();
    if (before === `${width} ${height}`) return;
    this.width = width;
    this.height = height;
    if (this.settled === "whole") this.camera = this.fitting();
    else if (this.settled === "start") this.home();
    this.draw();
  }

  /** Shows another picture. */
  show(view: View, list: Thing[]): void {
    this.view = view;
    this.list = list;
    for (const { element } of this.shown.values()) element.remove();
    this.shown.clear();
    this.drawn = [0, 0, 0, 0];
    this.draw(true);
  }

  element(id: string): SVGElement | undefined { return this.shown.get(id)?.element; }

  /** The largest zoom at which everything is in sight. */
  fitting(margin = 28): Camera {
    const { w, h } = this.view!.root;
    const z = Math.min(1.15, (this.width - 2 * margin) / Math.max(w, 1), (this.height - 2 * margin) / Math.max(h, 1));
    return this.centered(z);
  }

  private centered(z: number): Camera {
    const { w, h } = this.view!.root;
    return { z, x: (this.width - w * z) / 2, y: Math.max(28, (this.height - h * z) / 2) };
  }

  /** Where to begin: all of it where it can be read so, else its beginning. */
  home(): void {
    const whole = this.fitting(), { w } = this.view!.root;
    const z = Math.min(0.85, Math.max(0.6, (this.width - 56) / w));
    // Of what is wider than the window, the left end, unless the picture begins elsewhere.
    const first = this.view!.boxes[0], begins = first ? (first.left + first.w / 2) * z : 0;
    const x = w * z <= this.width - 40 ? (this.width - w * z) / 2 : begins > 0.9 * this.width ? this.width / 2 - begins : 28;
    this.camera = whole.z >= 0.55 ? whole : { z, x, y: 28 };
    this.settled = "start";
    this.draw();
  }

  /** All of it, however small. */
  whole(smooth = true): void {
    this.to(this.fitting(), smooth);
    this.settled = "whole";
  }

  to(camera: Camera, smooth = true): void {
    this.settled = "";
    cancelAnimationFrame(this.flight);
    const from = { ...this.camera };
    if (!smooth || matchMedia("(prefers-reduced-motion: reduce)").matches) { this.camera = camera; this.draw(); return; }
    const start = performance.now();
    const step = (now: number): void => {
      const t = Math.min(1, (now - start) / 220), e = 1 - (1 - t) ** 3;
      const z = from.z * (camera.z / from.z) ** e;
      // The point of the picture in the middle moves evenly.
      const cx = this.width / 2, cy = this.height / 2;
      const a = [(cx - from.x) / from.z, (cy - from.y) / from.z], b = [(cx - camera.x) / camera.z, (cy - camera.y) / camera.z];
      this.camera = { z, x: cx - (a[0] + (b[0] - a[0]) * e) * z, y: cy - (a[1] + (b[1] - a[1]) * e) * z };
      this.draw();
      if (t < 1) this.flight = requestAnimationFrame(step);
    };
    this.flight = requestAnimationFrame(step);
  }

  zoom(factor: number, x = this.width / 2, y = this.height / 2): void {
    this.settled = "";
    cancelAnimationFrame(this.flight);
    const z = Math.min(MOST, Math.max(LEAST, this.camera.z * factor)), k = z / this.camera.z;
    this.camera = { z, x: x - (x - this.camera.x) * k, y: y - (y - this.camera.y) * k };
    this.draw();
  }

  pan(dx: number, dy: number): void {
    this.settled = "";
    cancelAnimationFrame(this.flight);
    this.camera = { ...this.camera, x: this.camera.x + dx, y: this.camera.y + dy };
    this.draw();
  }

  /** Moves a part into sight, its beginning where it is larger than the window, and makes it readable. */
  reveal(part: Part, smooth = true, enlarge = true): void {
    const { z, x, y } = this.camera;
    const next = enlarge && z < 0.5 ? 0.9 : z;
    const left = part.left * z + x, top = part.top * z + y;
    const inside = left > 20 && top > 20 && left + part.w * z < this.width - 20 && top + part.h * z < this.height - 30;
    if (inside && next === z) return;
    const wide = this.width - 60 < part.w * next, high = this.height - 60 < part.h * next;
    this.to({
      z: next,
      x: wide ? 28 - part.left * next : this.width / 2 - (part.left + part.w / 2) * next,
      y: high ? 28 - part.top * next : this.height / 2 - (part.top + part.h / 2) * next,
    }, smooth);
  }

  /** Draws in the next frame. */
  draw(now = false): void {
    if (!this.view) return;
    if (now) { this.paint(); return; }
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  private paint(): void {
    const { x, y, z } = this.camera;
    this.world.setAttribute("transform", `translate(${x} ${y}) scale(${z})`);
    const detail: Detail = z >= READABLE ? 2 : z >= 0.12 ? 1 : 0;
    const view: [number, number, number, number] = [-x / z, -y / z, (this.width - x) / z, (this.height - y) / z];
    const [x0, y0, x1, y1] = this.drawn;
    if (detail !== this.detail) {
      for (const { element } of this.shown.values()) element.remove();
      this.shown.clear();
      this.detail = detail;
    } else if (view[0] >= x0 && view[1] >= y0 && view[2] <= x1 && view[3] <= y1 && (view[2] - view[0]) * 4 > x1 - x0) {
      this.onMove();
      return;
    }
    const mx = (view[2] - view[0]) * 0.25, my = (view[3] - view[1]) * 0.25;
    this.drawn = [view[0] - mx, view[1] - my, view[2] + mx, view[3] + my];
    this.exchange();
    this.far();
    this.onMove();
  }

  /** Makes the elements that came into sight and drops those that left it. */
  private exchange(): void {
    const [x0, y0, x1, y1] = this.drawn;
    const gone = new Set(this.shown.keys());
    for (const thing of this.list) {
      const { box } = thing;
      if (box[2] < x0 || box[0] > x1 || box[3] < y0 || box[1] > y1) continue;
      if (gone.delete(thing.id)) continue;
      const element = thing.make(this.detail);
      this.decorate(thing.id, element);
      this.shown.set(thing.id, { thing, element });
      this.layers[thing.kind].append(element);
    }
    for (const id of gone) {
      this.shown.get(id)!.element.remove();
      this.shown.delete(id);
    }
  }

  /** From afar, titles at a size that can be read, the outermost first, none over another. */
  private far(): void {
    this.titles.replaceChildren();
    const { z } = this.camera;
    if (z >= READABLE || !this.view) return;
    const size = 12.5 / z, [x0, y0, x1, y1] = this.drawn;
    const taken: [number, number, number, number][] = [];
    for (const part of [...this.view.frames, ...this.view.boxes]) {
      const title = part.type === "frame" || part.scope >= 0 ? part.title : "";
      if (!title || !part.parent || part.left > x1 || part.left + part.w < x0 || part.top > y1 || part.top + part.h < y0) continue;
      const wide = title.length * size * 0.62 + size * 0.6;
      if (part.h * z < (part.type === "frame" ? 100 : 20) || part.w < wide) continue;
      const x = part.left + size * 0.3, y = part.top + size * 1.1;
      const room: [number, number, number, number] = [x, y - size, x + wide, y + size * 0.3];
      if (taken.some((other) => room[0] < other[2] && room[2] > other[0] && room[1] < other[3] && room[3] > other[1])) continue;
      taken.push(room);
      const text = s("text", { x, y }, title);
      text.style.fontSize = `${size}px`;
      text.style.strokeWidth = `${size / 4}px`;
      this.titles.append(text);
      if (taken.length > 400) return;
    }
  }

  private listen(): void {
    const { svg } = this;
    const held = new Map<number, { x: number; y: number }>();
    let moved = 0, last = { id: "", time: 0 };
    svg.addEventListener("pointerdown", (event) => {
      if (event.button > 1) return;
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (held.size === 1) moved = 0;
      cancelAnimationFrame(this.flight);
    });
    svg.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const dx = event.clientX - before.x, dy = event.clientY - before.y;
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved < CLICK) return;
      if (!svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
      if (held.size === 2) {
        const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const old = Math.hypot(before.x - other.x, before.y - other.y), fresh = Math.hypot(event.clientX - other.x, event.clientY - other.y);
        const { left, top } = svg.getBoundingClientRect();
        if (old > 0) this.zoom(fresh / old, (event.clientX + other.x) / 2 - left, (event.clientY + other.y) / 2 - top);
        this.pan(dx / 2, dy / 2);
      } else this.pan(dx, dy);
      held.set(event.pointerId, { x: event.clientX, y: event.clientY });
      svg.classList.add("held");
    });
    const end = (event: PointerEvent): void => {
      if (!held.delete(event.pointerId)) return;
      svg.classList.remove("held");
      if (event.type !== "pointerup" || moved >= CLICK) return;
      const target = event.target as Element;
      const id = target.closest("[data-id]")?.getAttribute("data-id") ?? "";
      const act = target.closest("[data-act]")?.getAttribute("data-act") ?? "";
      const node = target.closest("[data-node]")?.getAttribute("data-node");
      const twice = id !== "" && id === last.id && event.timeStamp - last.time < 350;
      last = { id: act ? "" : id, time: event.timeStamp };
      this.onPick(id, act, node ? Number(node) : -1, twice);
    };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const { left, top } = svg.getBoundingClientRect();
      const unit = event.deltaMode === 1 ? 24 : event.deltaMode === 2 ? this.height : 1;
      // A pinch on a touch pad comes as a wheel with the control key; shift goes sideways.
      if (event.shiftKey && !event.ctrlKey) this.pan(-(event.deltaY || event.deltaX) * unit, 0);
      else if (!event.ctrlKey && event.deltaX && Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(-event.deltaX * unit, 0);
      else this.zoom(Math.exp(-event.deltaY * unit * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX - left, event.clientY - top);
    }, { passive: false });
  }
}
