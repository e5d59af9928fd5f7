// What is to be seen: boxes and frames (open scopes), and the wires between boxes, for what is open and folded now.

import type { Figures } from "./model";

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
/** Open scopes inside each other; deeper ones stay closed. */
export const DEEPEST = 60;

export function shortened(text: string, longest = LONGEST): string {
  if (text.length <= longest) return text;
  const characters = Array.from(text);
  if (characters.length <= longest) return text;
  const half = Math.floor((longest - 1) / 2);
  return `${characters.slice(0, longest - 1 - half).join("")}…${characters.slice(-half).join("")}`;
}

/** Where a wire of this box enters a part, and where it leaves it: x within the part. */
export function entryOf(part: Part, key: string): number { return part.type === "frame" ? part.entries.get(key)?.x ?? part.w / 2 : part.w / 2; }
export function exitOf(part: Part, key: string): number { return part.type === "frame" ? part.exits.get(key)?.x ?? part.w / 2 : part.w / 2; }
