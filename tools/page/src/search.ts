// Search: every word has to be in the name, the notation, or the block.

import { byId, h } from "./dom";
import type { Network } from "./model";
import type { Choice } from "./panel";

const MOST = 40;

interface Hit { choice: Exclude<Choice, null>; name: string; about: string }

export class Search {
  private readonly input = byId<HTMLInputElement>("search");
  private readonly list = byId("results");
  private texts: { text: string; hit: Hit }[] = [];
  private hits: Hit[] = [];
  private at = 0;
  go: (choice: Choice) => void = () => {};
  done: () => void = () => {};

  constructor() {
    this.input.addEventListener("input", () => this.look());
    this.input.addEventListener("focus", () => this.look());
    this.input.addEventListener("blur", () => setTimeout(() => this.close(), 120));
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        const step = event.key === "ArrowDown" ? 1 : -1;
        this.mark((this.at + step + this.hits.length) % Math.max(1, this.hits.length));
      } else if (event.key === "Enter" && this.hits[this.at]) this.take(this.at);
      else if (event.key === "Escape") { this.input.value = ""; this.close(); this.input.blur(); this.done(); }
      event.stopPropagation();
    });
  }

  focus(): void { this.input.focus(); this.input.select(); }

  load(net: Network): void {
    const { scopes } = net.data;
    this.texts = [
      ...scopes.map(({ name, block }, scope) => ({ hit: { choice: { scope }, name, about: block || "scope" } })).slice(1),
      ...Array.from({ length: net.count }, (_, node) => ({ hit: { choice: { node }, name: net.name(node), about: net.text("caption", node) } })),
    ].map(({ hit }) => ({ hit, text: `${hit.name} ${hit.about}`.toLowerCase() }));
  }

  private look(): void {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) { this.close(); return; }
    const found = this.texts.filter(({ text }) => words.every((word) => text.includes(word)));
    const score = ({ hit }: { hit: Hit }): number => {
      const name = hit.name.toLowerCase(), [word] = words;
      return name === word ? 0 : name.startsWith(word) ? 1 : name.endsWith(word) ? 2 : name.includes(word) ? 3 : 4;
    };
    this.hits = found.map((each, at) => ({ each, at, score: score(each) })).sort((a, b) => a.score - b.score || a.at - b.at).map(({ each }) => each.hit);
    const shown = this.hits.slice(0, MOST);
    this.list.replaceChildren(...shown.map(({ name, about }, number) => {
      const item = h("li", { role: "option", id: `hit-${number}` }, h("span", { class: "name" }, name), h("span", { class: "faint" }, about));
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); this.take(number); });
      return item;
    }), h("li", { class: "count", role: "presentation" }, !this.hits.length ? "nothing found" : this.hits.length > MOST ? `${this.hits.length.toLocaleString("en-US")} found, ${MOST} shown` : `${this.hits.length} found`));
    this.hits = shown;
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.mark(0);
  }

  private mark(at: number): void {
    this.at = at;
    [...this.list.children].forEach((item, number) => item.setAttribute("aria-selected", `${number === at}`));
    const item = this.list.children[at];
    if (this.hits.length && item) { item.scrollIntoView({ block: "nearest" }); this.input.setAttribute("aria-activedescendant", item.id); }
  }

  private take(at: number): void {
    this.go(this.hits[at].choice);
    this.close();
    this.input.blur();
    this.done();
  }

  private close(): void {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}
