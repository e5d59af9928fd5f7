// The side panel: what is chosen, with its figures, its arithmetic, its receptive field and its lines in the source.

import { byId, h } from "./dom";
import { COSTS, type Cost, type Diagnostic, type Figures, type Network } from "./model";
import { costText, grouped, percent } from "./numbers";
import { receptiveField } from "./receptive";
import { linesOf, listing, message, type Mark } from "./source";

/** A layer, a scope by its number, or the network. */
export type Choice = { node: number } | { scope: number } | null;

interface Place { file: number; first: number; last: number }

/** Parts of a scope listed at most. */
const LISTED = 200;
const AROUND = 2;

export class Panel {
  private readonly layer = byId("panel-layer");
  private readonly source = byId("panel-source");
  private net!: Network;
  private choice: Choice = null;
  private file = 0;
  private wrong: Diagnostic[] = [];
  private broken: { name: string; text: string }[] | null = null;
  cost: Cost = "parameters";
  go: (choice: Choice) => void = () => {};

  constructor() {
    for (const tab of ["layer", "source"] as const) byId(`tab-${tab}`).addEventListener("click", () => this.open(tab));
  }

  open(tab: "layer" | "source"): void {
    for (const name of ["layer", "source"] as const) {
      byId(`tab-${name}`).setAttribute("aria-selected", `${name === tab}`);
      byId(`panel-${name}`).hidden = name !== tab;
    }
    if (tab === "source") this.drawSource();
  }

  load(net: Network): void { this.net = net; this.broken = null; this.wrong = []; this.file = Math.min(this.file, net.data.files.length - 1); }

  /** Shows what is wrong with the text as it was saved last, beside the picture of what was right. */
  fail(diagnostics: Diagnostic[], files: { name: string; text: string }[]): void {
    this.wrong = diagnostics;
    this.broken = files;
    const first = files.findIndex(({ name }) => diagnostics.some(({ file }) => file === name));
    this.file = Math.max(0, first);
    this.open("source");
    this.source.querySelector(".note")?.scrollIntoView({ block: "center" });
  }

  show(choice: Choice): void {
    this.choice = choice;
    const children = !choice ? this.overview() : "node" in choice ? this.forNode(choice.node) : this.forScope(choice.scope);
    this.layer.replaceChildren(...children.filter((child): child is HTMLElement => child !== null));
    this.layer.scrollTop = 0;
    const place = this.places()[0];
    if (place && !this.broken) this.file = place.file;
    if (!this.source.hidden) this.drawSource();
  }

  // ------------------------------------------------------------------------------------------------------ overview

  private overview(): (HTMLElement | null)[] {
    const { data, sums } = this.net, { totals } = data;
    const training = totals.with_auxiliary !== totals.parameters ? h("p", { class: "faint" }, `${grouped(totals.with_auxiliary)} parameters with heads that run in training only.`) : null;
    return [
      h("h2", {}, data.name),
      data.doc ? h("p", {}, data.doc) : null,
      h("p", { class: "flow" }, `${data.inputs.map((node) => this.net.text("type", node)).join(", ")} → ${data.outputs.filter(([, , only]) => !only).map(([, node]) => this.net.text("type", node)).join(", ")}`),
      this.tiles({ layers: totals.layers, parameters: totals.parameters, macs: totals.macs, flops: totals.flops, memory: totals.memory }, null),
      training,
      data.unknown ? h("p", { class: "faint" }, data.unknown) : null,
      h("h3", {}, "Where the cost is"),
      this.parts(0, sums[0]),
    ];
  }

  /** Figures, and with `whole` their shares of it. */
  private tiles(figures: Figures, whole: Figures | null): HTMLElement {
    const exact = (cost: Cost): string => cost === "memory" && figures.memory !== null ? `${grouped(figures.memory)} bytes` : grouped(figures[cost]);
    return h("dl", { class: "tiles" }, ...(Object.keys(COSTS) as Cost[]).map((cost) => {
      const all = whole?.[cost], share = all && figures[cost] !== null ? figures[cost]! / all : null;
      const tile = h("div", { "data-cost": cost }, h("dt", {}, COSTS[cost]), h("dd", { title: exact(cost) }, costText(cost, figures[cost])), h("dd", { class: "exact" }, exact(cost)));
      if (share !== null) tile.append(bar(share), h("dd", { class: "share" }, percent(share)));
      return tile;
    }));
  }

  /** The parts of a scope with what each costs. */
  private parts(scope: number, whole: Figures): HTMLElement {
    const { parts, name } = this.net.data.scopes[scope], { cost } = this;
    const figuresOf = (part: number): Figures => (part >= 0 ? this.net.figures(part) : this.net.sums[-1 - part]);
    const list = h("ul", { class: "parts" });
    for (const part of parts.slice(0, LISTED)) {
      const full = part >= 0 ? this.net.name(part) : this.net.data.scopes[-1 - part].name;
      const figures = figuresOf(part), share = whole[cost] ? (figures[cost] ?? 0) / whole[cost]! : 0;
      const button = h("button", { type: "button" },
        h("span", { class: "name" }, name ? full.slice(name.length + 1) : full),
        h("span", { class: "faint" }, part >= 0 ? this.net.text("caption", part) : this.net.data.scopes[-1 - part].block),
        h("span", { class: "value" }, figures[cost] ? costText(cost, figures[cost]) : ""), bar(share));
      button.addEventListener("click", () => this.go(part >= 0 ? { node: part } : { scope: -1 - part }));
      list.append(h("li", {}, button));
    }
    const more = parts.length - LISTED;
    return h("div", {}, h("p", { class: "faint" }, `Shares of the ${COSTS[cost]}`), list, more > 0 ? h("p", { class: "faint" }, `and ${grouped(more)} more`) : null);
  }

  // --------------------------------------------------------------------------------------------------------- layer

  private forNode(node: number): (HTMLElement | null)[] {
    const { net } = this, { nodes, boards, texts, weights } = net.data;
    const kept = weights[nodes.weights[node]], address = net.text("address", node), name = net.name(node);
    const steps = boards[nodes.board[node]].map(([title, lines]) => ({ title: texts[title], lines: lines.map((line) => texts[line]) }));
    const field = steps.find(({ title }) => title === "Receptive field");
    const quiet = new Set(["none", "0"]);
    const shown = steps.filter(({ title, lines }) => title !== "Receptive field" && !(lines.length === 1 && quiet.has(lines[0])));
    const figure = receptiveField(net, node);
    return [
      this.crumbs(node),
      heading(name),
      h("p", { class: "operation" }, swatch(net.text("category", node)), net.text("caption", node), nodes.auxiliary[node] ? h("span", { class: "tag" }, "training only") : null),
      h("p", { class: "about" }, net.text("about", node)),
      h("p", { class: "flow" }, `${nodes.inputs[node].length ? `${nodes.inputs[node].slice(0, 6).map((source) => net.text("type", source)).join(", ")}${nodes.inputs[node].length > 6 ? ", …" : ""} → ` : ""}${net.text("type", node)}`),
      this.tiles(net.figures(node), net.sums[0]),
      h("h3", {}, "Arithmetic"),
      h("dl", { class: "board" }, ...shown.flatMap(({ title, lines }) => [h("dt", {}, title), h("dd", {}, ...lines.map((line) => h("div", {}, line)))])),
      figure || field ? h("h3", {}, "Receptive field") : null,
      figure,
      field && nodes.reach[node] >= 0 && net.data.reaches[nodes.reach[node]][1].length ? h("div", { class: "board lines" }, ...field.lines.map((line) => h("div", {}, line))) : null,
      h("h3", {}, "Wires"),
      this.wires("reads", nodes.inputs[node]),
      this.wires("read by", net.readers[node]),
      kept.length ? h("h3", {}, "Weights") : null,
      kept.length ? h("table", { class: "weights" }, h("tbody", {}, ...kept.map(([own, shape, size, role]) => h("tr", {},
        h("td", {}, own ? `${address}.${own}` : address), h("td", {}, shape), h("td", {}, grouped(size)), h("td", { class: "faint" }, role === "buffer" ? "buffer" : ""))))) : null,
      address !== name && kept.length ? h("p", { class: "faint" }, `shared with ${address}`) : null,
      ...this.excerpts(),
    ];
  }

  private forScope(scope: number): (HTMLElement | null)[] {
    const { net } = this, { name, block, made } = net.data.scopes[scope], figures = net.sums[scope];
    const nodes = net.inside[scope], inner = new Set(nodes);
    const into = [...new Set(nodes.flatMap((node) => net.data.nodes.inputs[node]).filter((source) => !inner.has(source)))];
    return [
      this.crumbs(-1 - scope),
      heading(name),
      h("p", { class: "operation" }, swatch("scope"), block ? `block ${block}` : "scope", `, ${grouped(figures.layers)} layers`),
      h("p", { class: "flow" }, `${into.slice(0, 4).map((node) => net.text("type", node)).join(", ")} → ${made >= 0 ? net.text("type", made) : net.text("type", nodes[nodes.length - 1])}`),
      this.tiles(figures, net.sums[0]),
      h("h3", {}, "Inside"),
      this.parts(scope, figures),
      ...this.excerpts(),
    ];
  }

  private crumbs(part: number): HTMLElement {
    const home = h("button", { type: "button" }, this.net.data.name);
    home.addEventListener("click", () => this.go(null));
    const nav = h("nav", { class: "crumbs", "aria-label": "scopes" }, home);
    let outer = "";
    for (const scope of this.net.around(part).reverse().slice(0, 20)) {
      const { name } = this.net.data.scopes[scope];
      const button = h("button", { type: "button" }, outer ? name.slice(outer.length + 1) : name);
      button.addEventListener("click", () => this.go({ scope }));
      nav.append(h("span", { "aria-hidden": "true" }, "›"), button);
      outer = name;
    }
    return nav;
  }

  private wires(title: string, nodes: number[]): HTMLElement {
    const row = h("p", { class: "wires" }, h("span", { class: "faint" }, title));
    if (!nodes.length) row.append(h("span", { class: "faint" }, "nothing"));
    for (const node of nodes.slice(0, 12)) {
      const button = h("button", { type: "button", title: net(this.net, node) }, this.net.name(node));
      button.addEventListener("click", () => this.go({ node }));
      row.append(button);
    }
    if (nodes.length > 12) row.append(h("span", { class: "faint" }, `and ${grouped(nodes.length - 12)} more`));
    return row;
  }

  // -------------------------------------------------------------------------------------------------------- source

  /** Where the choice stands in the source: its own lines first, then the calls that led there, innermost first. */
  private places(): Place[] {
    if (!this.choice || this.choice === null) return [];
    const { nodes, spans, chains, scopes } = this.net.data;
    const place = (span: number): Place[] => (span < 0 ? [] : [{ file: spans[span][0], first: spans[span][1], last: spans[span][3] }]);
    if ("node" in this.choice) {
      const { node } = this.choice;
      return [...place(nodes.span[node]), ...chains[nodes.chain[node]].map(([, , span]) => span).reverse().flatMap(place)];
    }
    const { scope } = this.choice, inside = this.net.inside[scope];
    for (const node of inside) {
      const chain = chains[nodes.chain[node]], at = chain.findIndex(([, called]) => called === scopes[scope].name);
      if (at >= 0) return chain.slice(0, at + 1).reverse().flatMap(([, , span]) => place(span));
    }
    // A scope that no block was called for: from its first line to its last.
    const own = inside.flatMap((node) => {
      const chain = chains[nodes.chain[node]], depth = chain.findIndex(([, called]) => called.startsWith(`${scopes[scope].name}.`));
      return place(depth >= 0 ? chain[depth][2] : nodes.span[node]);
    });
    const [start] = own;
    if (!start) return [];
    const same = own.filter(({ file }) => file === start.file);
    return [{ file: start.file, first: Math.min(...same.map(({ first }) => first)), last: Math.max(...same.map(({ last }) => last)) }];
  }

  private excerpts(): HTMLElement[] {
    const places = this.places();
    if (!places.length) return [];
    const found: HTMLElement[] = [h("h3", {}, "Source")];
    const seen = new Set<string>();
    places.slice(0, 4).forEach((place, at) => {
      const key = `${place.file}:${place.first}`, file = this.net.data.files[place.file];
      if (seen.has(key)) return;
      seen.add(key);
      const around = at === 0 ? AROUND : 0, last = Math.min(place.last, place.first + 12, linesOf(file).length);
      const open = h("button", { type: "button", class: "link" }, `${file.name}:${place.first}`);
      open.addEventListener("click", () => { this.file = place.file; this.open("source"); });
      const mark: Mark = { first: place.first, last: place.last, look: at === 0 ? "here" : "call" };
      found.push(h("p", { class: "where" }, at === 0 ? "" : "called at ", open), listing(file, Math.max(1, place.first - around), last + around, [mark], [], null));
    });
    return found;
  }

  private drawSource(): void {
    const files = this.broken ?? this.net.data.files, file = files[this.file] ?? files[0];
    const nowhere = this.wrong.filter((diagnostic) => !files.some(({ name }) => name === diagnostic.file));
    const children: HTMLElement[] = nowhere.map((diagnostic) => h("div", { class: `note ${diagnostic.severity}`, role: "alert" }, message(diagnostic)));
    if (!file) { this.source.replaceChildren(...children, h("p", { class: "faint" }, "The source is not at hand.")); return; }
    if (files.length > 1) {
      children.push(h("div", { class: "files", role: "tablist" }, ...files.map(({ name }, number) => {
        const button = h("button", { type: "button", role: "tab", "aria-selected": `${number === this.file}` }, name.split("/").pop()!);
        button.title = name;
        button.addEventListener("click", () => { this.file = number; this.drawSource(); });
        return button;
      })));
    } else children.push(h("p", { class: "where faint" }, file.name));
    const places = this.broken ? [] : this.places().filter((place) => files[place.file] === file);
    const own = this.places()[0];
    const marks = places.map(({ file: number, first, last }): Mark => ({ first, last, look: own && number === own.file && first === own.first ? "here" : "call" }));
    const list = listing(file, 1, linesOf(file).length, marks, this.wrong, this.broken ? null : (line) => this.pickLine(line));
    list.classList.add("whole");
    this.source.replaceChildren(...children, list);
    this.source.querySelector(".here")?.scrollIntoView({ block: "center" });
  }

  /** Chooses the first layer that a line of the source makes; the next one when it is clicked again. */
  private pickLine(line: number): void {
    const { nodes, spans } = this.net.data, found: number[] = [];
    for (let node = 0; node < this.net.count; node++) {
      const span = spans[nodes.span[node]];
      if (span && span[0] === this.file && span[1] <= line && line <= span[3]) found.push(node);
    }
    if (!found.length) return;
    const now = this.choice && "node" in this.choice ? found.indexOf(this.choice.node) : -1;
    this.go({ node: found[(now + 1) % found.length] });
  }
}

function net(network: Network, node: number): string { return `${network.text("caption", node)}, ${network.text("type", node)}`; }

/** A name that breaks behind its dots. */
function heading(name: string): HTMLElement {
  return h("h2", {}, ...name.split(".").flatMap((part, at) => (at ? [".", h("wbr"), part] : [part])));
}

function bar(share: number): HTMLElement {
  const fill = h("span", {});
  fill.style.width = `${Math.min(100, share * 100)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

export function swatch(category: string): HTMLElement {
  const mark = h("span", { class: "swatch", "aria-hidden": "true" });
  mark.style.background = `var(--${category}-fill, var(--reshape-fill))`;
  mark.style.borderColor = `var(--${category}-line, var(--reshape-line))`;
  return mark;
}

