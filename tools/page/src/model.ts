// What netdsl/draw/page/data.py writes: layers in columns, scopes, and what many of them have in common by number.

export interface Data {
  format: number;
  name: string;
  doc: string;
  totals: {
    layers: number; parameters: number; trainable: number; macs: number | null; flops: number | null;
    memory: number | null; with_auxiliary: number;
  };
  unknown: string | null;
  inputs: number[];
  outputs: [string, number, boolean][];
  nodes: {
    name: string[]; kind: number[]; category: number[]; caption: number[]; about: number[]; type: number[];
    inputs: number[][]; follows: number[]; auxiliary: number[];
    parameters: number[]; macs: (number | null)[]; flops: (number | null)[]; memory: (number | null)[];
    board: number[]; weights: number[]; address: number[]; reach: number[]; span: number[]; chain: number[];
  };
  scopes: { name: string; block: string; parts: number[]; folds: [number, number, number][]; made: number }[];
  texts: string[];
  boards: [number, number[]][][];
  weights: [string, string, number, string][][];
  reaches: [number, [number, number, number][]][];
  spans: [number, number, number, number, number][];
  chains: [string, string, number][][];
  files: SourceFile[];
}

export interface SourceFile { name: string; text: string }

export interface Diagnostic {
  code: string; severity: string; message: string; help: string | null; notes: string[];
  trace: { block: string; file: string; line: number }[];
  file?: string; line?: number; column?: number; end_line?: number; end_column?: number;
}

export interface Options { fold: boolean; depth: number | null; heat: Cost | null; expand: string[]; theme: string; live: number | null }

export type Cost = "parameters" | "macs" | "flops" | "memory";

export const COSTS: Record<Cost, string> = {
  parameters: "parameters", macs: "MACs", flops: "FLOPs", memory: "activations",
};

// Costs of a scope: sums over its layers. A sum with an unknown term is unknown.
export type Figures = Record<Cost, number | null> & { layers: number };

/** The data with what can be worked out from it: who reads whom, which scope a layer lies in, sums. */
export class Network {
  readonly count: number;
  readonly readers: number[][];
  /** The scope that a layer, or a scope, lies in; -1 for the outermost scope. */
  readonly scopeOf: Int32Array;
  readonly outer: Int32Array;
  /** Layers of each scope in execution order. */
  readonly inside: number[][];
  readonly sums: Figures[];
  private readonly byName = new Map<string, number>();
  private readonly scopeByName = new Map<string, number>();

  constructor(readonly data: Data) {
    const { nodes, scopes } = data;
    this.count = nodes.name?.length ?? 0;
    this.readers = Array.from({ length: this.count }, () => []);
    this.scopeOf = new Int32Array(this.count);
    this.outer = new Int32Array(scopes.length).fill(-1);
    for (let node = 0; node < this.count; node++) {
      this.byName.set(nodes.name[node], node);
      for (const source of nodes.inputs[node]) this.readers[source].push(node);
    }
    scopes.forEach((scope, number) => {
      this.scopeByName.set(scope.name, number);
      for (const part of scope.parts) {
        if (part >= 0) this.scopeOf[part] = number;
        else this.outer[-1 - part] = number;
      }
    });
    this.inside = scopes.map(() => []);
    this.sums = scopes.map(() => ({ layers: 0, parameters: 0, macs: 0, flops: 0, memory: 0 }));
    for (let node = 0; node < this.count; node++) {
      const figures = this.figures(node);
      for (let scope = this.scopeOf[node]; scope >= 0; scope = this.outer[scope]) {
        this.inside[scope].push(node);
        add(this.sums[scope], figures);
      }
    }
  }

  figures(node: number): Figures {
    const { parameters, macs, flops, memory } = this.data.nodes;
    return { layers: 1, parameters: parameters[node], macs: macs[node], flops: flops[node], memory: memory[node] };
  }

  /** Sums over the parts of a scope from `from` on, `length` of them. */
  sumOf(parts: number[]): Figures {
    const sum: Figures = { layers: 0, parameters: 0, macs: 0, flops: 0, memory: 0 };
    for (const part of parts) add(sum, part >= 0 ? this.figures(part) : this.sums[-1 - part]);
    return sum;
  }

  /** The layers in a part of a scope, in execution order. */
  nodesOf(part: number): number[] { return part >= 0 ? [part] : this.inside[-1 - part]; }
  text(column: "kind" | "category" | "caption" | "about" | "type" | "address", node: number): string {
    return this.data.texts[this.data.nodes[column][node]];
  }
  name(node: number): string { return this.data.nodes.name[node]; }
  find(name: string): number | undefined { return this.byName.get(name); }
  findScope(name: string): number | undefined { return name === "" ? undefined : this.scopeByName.get(name); }
  /** The scopes around a part, innermost first; the outermost scope is not among them. */
  around(part: number): number[] {
    const found: number[] = [];
    for (let scope = part >= 0 ? this.scopeOf[part] : this.outer[-1 - part]; scope > 0; scope = this.outer[scope]) found.push(scope);
    return found;
  }
}

function add(sum: Figures, more: Figures): void {
  sum.layers += more.layers;
  for (const cost of Object.keys(COSTS) as Cost[]) {
    const before = sum[cost], next = more[cost];
    sum[cost] = before === null || next === null ? null : before + next;
  }
}
