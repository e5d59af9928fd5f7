// The explorer: what is open, what is chosen, and what keys and buttons do.

import { byId } from "./dom";
import { things, type Heat, type Thing } from "./draw";
import { fileName, save, svgText } from "./export";
import { arrange } from "./layout";
import { pressed } from "./keys";
import { drawLegend } from "./legend";
import { listen } from "./live";
import { Minimap } from "./minimap";
import { Network, type Cost, type Data, type Diagnostic, type Options, type SourceFile } from "./model";
import { grouped, scaled } from "./numbers";
import { Panel, type Choice } from "./panel";
import { Search } from "./search";
import { Stage, type Camera } from "./stage";
import { neighbour } from "./steps";
import { heatScale } from "./theme";
import type { Frame, Part, State, View } from "./view";
import { Views } from "./views";

/** Boxes that a page opens with, about. */
const BUDGET = 110;

export class App {
  private net!: Network;
  private views!: Views;
  private state!: State;
  private view!: View;
  private list: Thing[] = [];
  private parts = new Map<string, Part>();
  private choice: Choice = null;
  /** The part that is chosen, or that stands for it. */
  private current = "";
  heat: Cost | null;
  readonly stage = new Stage();
  private readonly minimap = new Minimap(this.stage);
  private readonly panel = new Panel();
  readonly search = new Search();

  constructor(private readonly options: Options) {
    this.heat = options.heat;
    this.stage.onPick = (id, act, node, twice) => this.pick(id, act, node, twice);
    this.stage.onMove = () => { this.minimap.draw(); byId("zoom").textContent = `${Math.round(this.stage.camera.z * 100)} %`; };
    this.stage.decorate = (id, element) => { if (id === this.current) element.classList.add("current"); };
    this.panel.go = this.search.go = (choice) => this.go(choice);
    this.search.done = () => this.focus();
  }

  load(data: Data, again = false): void {
    const before = again ? this.views.remember(this.state) : null;
    const { choice } = this, chosen = !choice || !again ? null : this.nameOf(choice);
    const camera = { ...this.stage.camera };
    this.net = new Network(data);
    this.views = new Views(this.net);
    this.panel.load(this.net);
    this.search.load(this.net);
    document.title = data.name;
    byId("name").textContent = data.name;
    const { parameters, macs } = data.totals;
    byId("totals").textContent = `${scaled(parameters)} parameters${macs === null ? "" : ` · ${scaled(macs)} MACs`}`;
    this.state = before ? this.views.recall(before, this.begin()) : this.begin();
    this.choice = chosen === null ? null : this.named(chosen);
    this.draw();
    if (before) { this.stage.camera = camera; this.stage.draw(); } else this.stage.home();
    this.choose(this.choice, false);
  }

  private nameOf(choice: Exclude<Choice, null>): string {
    return "node" in choice ? this.net.name(choice.node) : this.net.data.scopes[choice.scope].name;
  }

  private named(name: string): Choice {
    const node = this.net.find(name), scope = this.net.findScope(name);
    return node !== undefined ? { node } : scope !== undefined ? { scope } : null;
  }

  private begin(): State {
    const state = this.views.opened(BUDGET, this.options.depth);
    if (!this.options.fold) {
      this.net.data.scopes.forEach((scope, number) => { for (const [at] of scope.folds) state.unfolded.add(`${number}:${at}`); });
    }
    for (const name of this.options.expand) {
      const scope = this.net.findScope(name);
      if (scope !== undefined) { this.views.uncover(state, -1 - scope); state.open.add(scope); }
    }
    return state;
  }

  // ------------------------------------------------------------------------------------------------------- drawing

  private draw(): void {
    this.view = this.views.build(this.state);
    arrange(this.view, Math.max(0.6, this.stage.width / Math.max(1, this.stage.height)));
    this.parts = new Map<string, Part>([...this.view.frames, ...this.view.boxes].map((part) => [part.id, part]));
    this.paint();
    const boxes = this.view.boxes.filter((box) => box.output === null).length, { layers } = this.net.data.totals;
    const stands = this.view.boxes.some((box) => box.scope >= 0 || box.repeats > 1) || this.view.frames.some((frame) => frame.repeats > 1);
    byId("status").textContent = stands
      ? `${grouped(boxes)} ${boxes === 1 ? "box stands" : "boxes stand"} for ${grouped(layers)} layers`
      : `all ${grouped(layers)} layers are shown`;
    byId("unfold").toggleAttribute("disabled", !stands);
  }

  private paint(): void {
    const heat = this.heating();
    this.list = things(this.view, this.net, heat);
    this.current = this.find();
    this.stage.show(this.view, this.list);
    this.minimap.show(this.view);
    drawLegend(this.net, heat);
  }

  private heating(): Heat | null {
    const cost = this.heat;
    if (!cost) return null;
    let most = 0;
    for (const box of this.view.boxes) {
      if (box.figures) most = Math.max(most, box.figures[cost] ?? 0);
      else for (const { node } of box.rows) most = Math.max(most, this.net.figures(node)[cost] ?? 0);
    }
    return { cost, most, color: heatScale() };
  }

  recolor(): void { if (this.net) this.paint(); }

  // ------------------------------------------------------------------------------------------------------ choosing

  /** The part that shows the choice. */
  private find(): string {
    const { choice } = this;
    if (!choice) return "";
    if ("node" in choice) return this.view.boxOf.get(choice.node)?.id ?? "";
    if (this.parts.has(`s${choice.scope}`)) return `s${choice.scope}`;
    // An only scope in another opens with it; a scope whose layers share a box is that box.
    const outer = this.view.frames.find((frame) => frame.scope >= 0 && frame.parent && this.views.inner(frame.scope) === choice.scope);
    return outer?.id ?? this.view.boxOf.get(this.net.inside[choice.scope][0])?.id ?? "";
  }

  choose(choice: Choice, address = true): void {
    this.stage.element(this.current)?.classList.remove("current");
    this.choice = choice;
    this.current = this.find();
    this.stage.element(this.current)?.classList.add("current");
    this.panel.cost = this.heat ?? "parameters";
    this.panel.show(choice);
    if (choice) document.body.classList.add("with-panel");
    this.stage.measure();
    if (!address) return;
    const name = choice ? this.nameOf(choice) : "";
    try { history.replaceState(null, "", name ? `#${encodeURIComponent(name)}` : location.pathname + location.search); } catch { /* Some pages may not. */ }
  }

  /** Chooses something, opens what it lies in, and moves it into sight. */
  go(choice: Choice, smooth = true): void {
    if (choice) {
      const part = "node" in choice ? choice.node : -1 - choice.scope;
      if (this.views.uncover(this.state, part)) this.draw();
    }
    this.choose(choice);
    const part = this.parts.get(this.current);
    if (part) this.stage.reveal(part, smooth);
  }

  fromAddress(smooth: boolean): void {
    let name: string;
    try { name = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    if (!name) return;
    const choice = this.named(name);
    if (choice) this.go(choice, smooth);
  }

  private choiceOf(part: Part, node = -1): Choice {
    if (part.type === "frame") return part.scope > 0 ? { scope: part.scope } : null;
    if (part.scope >= 0) return { scope: part.scope };
    if (part.output !== null) return { node: this.net.data.outputs[Number(part.id.slice(1))][1] };
    return { node: node >= 0 ? node : part.rows[0].node };
  }

  private pick(id: string, act: string, node: number, twice: boolean): void {
    const part = this.parts.get(id);
    if (!part || !part.parent) { this.choose(null); return; }
    if (act === "unfold") { this.unfold(part); return; }
    if (act === "toggle" || (twice && (part.type === "frame" || part.scope >= 0))) { this.toggle(part); return; }
    this.choose(this.choiceOf(part, node));
    this.focus();
  }

  // ------------------------------------------------------------------------------------------- opening and folding

  /** Draws anew with something in the picture staying where it is on the screen. */
  private around(id: string, change: () => void, after = id): void {
    const before = this.parts.get(id), { camera } = this.stage;
    const at = before && { x: (before.left + before.w / 2) * camera.z + camera.x, y: before.top * camera.z + camera.y };
    change();
    this.draw();
    const now = this.parts.get(after) ?? this.parts.get(this.current);
    if (at && now) {
      const next: Camera = { z: camera.z, x: at.x - (now.left + now.w / 2) * camera.z, y: at.y - now.top * camera.z };
      this.stage.camera = next;
      this.stage.draw(true);
    }
    this.choose(this.choice, false);
  }

  toggle(part: Part): void {
    const scope = part.type === "frame" || part.scope >= 0 ? part.scope : -1;
    if (scope <= 0) return;
    this.choice = { scope };
    this.around(part.id, () => { if (!this.state.open.delete(scope)) this.state.open.add(scope); });
    this.choose(this.choice);
    const shown = this.parts.get(`s${scope}`);
    if (shown) this.stage.reveal(shown, true, false);
    this.focus();
  }

  unfold(part: Part): void {
    if (part.repeats < 2) return;
    this.around(part.id, () => this.state.unfolded.add(part.fold));
    this.focus();
  }

  all(open: boolean): void {
    this.state = open ? this.views.everything() : this.begin();
    this.draw();
    if (open) this.stage.whole(false);
    else this.stage.home();
    this.choose(this.choice, false);
  }

  setHeat(cost: Cost | null): void {
    this.heat = cost;
    byId<HTMLSelectElement>("heat").value = cost ?? "";
    this.paint();
    this.choose(this.choice, false);
  }

  // ---------------------------------------------------------------------------------------------------- keys, tools

  private focus(): void {
    const element = this.stage.element(this.current);
    (element ?? this.stage.svg).focus({ preventScroll: true });
  }

  /** The layer next in the same box, where there is one. */
  private within(step: number): boolean {
    const here = this.parts.get(this.current), { choice } = this;
    if (!choice || !("node" in choice) || here?.type !== "box" || here.output !== null) return false;
    const next = here.rows[here.rows.findIndex(({ node }) => node === choice.node) + step];
    if (!next) return false;
    this.choose({ node: next.node });
    return true;
  }

  move(key: string): void {
    if (key === "ArrowDown" && this.within(1)) return;
    if (key === "ArrowUp" && this.within(-1)) return;
    const part = neighbour(this.view, this.parts.get(this.current), key);
    if (!part) return;
    const rows = part.type === "box" ? part.rows : [];
    this.choose(this.choiceOf(part, key === "ArrowUp" && rows.length ? rows[rows.length - 1].node : -1));
    // An output stands for the layer that makes it; the eye follows the keys all the same.
    if (part.id !== this.current) {
      this.stage.element(this.current)?.classList.remove("current");
      this.current = part.id;
      this.stage.element(part.id)?.classList.add("current");
    }
    this.stage.reveal(part, false);
    this.stage.draw(true);
    this.focus();
  }

  /** What is chosen, where it is drawn. */
  get chosen(): Part | undefined { return this.parts.get(this.current); }

  /** Closes the scope around what is chosen, or folds it with its equal neighbours. */
  closeAround(): void {
    const part = this.parts.get(this.current);
    if (!part) return;
    const frame: Frame | null = part.type === "frame" && part.scope > 0 ? part : part.parent;
    for (let outer: Frame | null = frame; outer?.parent; outer = outer.parent) {
      if (outer.scope > 0) { this.toggle(outer); return; }
    }
  }

  start(): void {
    const on = (id: string, action: () => void): void => byId(id).addEventListener("click", action);
    on("fit", () => this.stage.whole());
    on("larger", () => this.stage.zoom(1.3));
    on("smaller", () => this.stage.zoom(1 / 1.3));
    on("unfold", () => this.all(true));
    on("fold", () => this.all(false));
    on("export", () => save(svgText(this.view, this.list, this.net.data.name), `${fileName(this.net.data.name)}.svg`));
    on("help", () => byId<HTMLDialogElement>("sheet").showModal());
    on("title", () => { this.choose(null); this.stage.home(); });
    on("panel-toggle", () => { document.body.classList.toggle("with-panel"); });
    const heat = byId<HTMLSelectElement>("heat");
    heat.addEventListener("change", () => this.setHeat((heat.value || null) as Cost | null));
    heat.value = this.heat ?? "";
    document.addEventListener("keydown", (event) => {
      if (event.key === "t" && !(event.target as Element).closest("input,select") && !event.ctrlKey && !event.metaKey) { byId("theme").click(); return; }
      pressed(this, event);
    });
    addEventListener("hashchange", () => this.fromAddress(true));
    this.fromAddress(false);
    if (this.options.live !== null) {
      listen(this.options.live, (data) => this.load(data, true), (diagnostics: Diagnostic[], files: SourceFile[]) => {
        document.body.classList.add("with-panel");
        this.panel.fail(diagnostics, files);
      });
    }
  }
}
