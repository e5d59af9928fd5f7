// What can be opened, what a page begins with, and what is seen then.

import { Builder } from "./builder";
import type { Network } from "./model";
import { DEEPEST, type State, type View } from "./view";

export interface Memory { open: Set<string>; shut: Set<string>; unfolded: Set<string> }

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

  /** Opens the scopes around a part, and unfolds the equal neighbours that it lies among. Returns whether it had to. */
  uncover(state: State, part: number): boolean {
    let changed = false;
    const chain = [part, ...this.net.around(part).map((scope) => -1 - scope)];
    chain.forEach((inner, at) => {
      const scope = inner >= 0 ? this.net.scopeOf[inner] : this.net.outer[-1 - inner];
      if (scope < 0) return;
      const place = this.net.data.scopes[scope].parts.indexOf(inner);
      for (const [start, length, repeats] of this.net.data.scopes[scope].folds) {
        const key = `${scope}:${start}`;
        if (place >= start + length && place < start + length * repeats && !state.unfolded.has(key)) { state.unfolded.add(key); changed = true; }
      }
      if (at > 0 && !state.open.has(-1 - inner) && !this.isUnit(-1 - inner)) { state.open.add(-1 - inner); changed = true; }
    });
    return changed;
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

  /** What is open, by name, so that it can be opened again in a network that has changed. */
  remember(state: State): Memory {
    const { scopes } = this.net.data;
    const open = new Set<string>(), shut = new Set<string>();
    for (const scope of this.scopes()) (state.open.has(scope) ? open : shut).add(scopes[scope].name);
    const unfolded = new Set([...state.unfolded].map((key) => { const [scope, at] = key.split(":"); return `${scopes[Number(scope)].name}:${at}`; }));
    return { open, shut, unfolded };
  }

  /** The same in this network; scopes that are new are open where they are in `fresh`. */
  recall(before: Memory, fresh: State): State {
    const state: State = { open: new Set(), unfolded: new Set() };
    for (const scope of this.scopes()) {
      const { name } = this.net.data.scopes[scope];
      if (before.open.has(name) || (!before.shut.has(name) && fresh.open.has(scope))) state.open.add(scope);
    }
    this.net.data.scopes.forEach(({ name, folds }, number) => {
      for (const [at] of folds) if (before.unfolded.has(`${name}:${at}`)) state.unfolded.add(`${number}:${at}`);
    });
    return state;
  }
}
