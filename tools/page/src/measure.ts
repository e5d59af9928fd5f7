// Sizes of boxes, from the widths of their text.

import { costText, scaled } from "./numbers";
import type { Box, Frame } from "./view";

export const FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif";
export const ROW = 23;
export const PAD = 10;
export const TITLE = 26;
const NAME_GAP = 16;
const HEAT_VALUE = 54;

const context = document.createElement("canvas").getContext("2d")!;
const known = new Map<string, number>();

export type Letter = "plain" | "bold" | "small";
const LETTERS: Record<Letter, string> = { plain: `12px ${FONT}`, bold: `600 12px ${FONT}`, small: `10.5px ${FONT}` };

export function width(text: string, letter: Letter): number {
  const key = letter[0] + text;
  let found = known.get(key);
  if (found === undefined) {
    context.font = LETTERS[letter];
    found = Math.ceil(context.measureText(text).width);
    known.set(key, found);
  }
  return found;
}

export function factsOf(box: Box): string {
  const { layers, parameters, macs } = box.figures!;
  const facts = [`${layers.toLocaleString("en-US")} layer${layers === 1 ? "" : "s"}`];
  if (parameters) facts.push(scaled(parameters));
  if (macs) facts.push(`${costText("macs", macs)} MACs`);
  return facts.join(" · ");
}

export function times(repeats: number): string { return `×${repeats.toLocaleString("en-US")}`; }

export function sizeBox(box: Box): void {
  if (box.output !== null) {
    box.w = Math.max(72, width(box.title, "bold") + (box.about ? width(box.about, "small") + 8 : 0) + 2 * PAD + 8);
    box.h = 26;
  } else if (box.scope >= 0) {
    const title = 18 + width(box.title, "bold") + (box.about ? 8 + width(box.about, "small") : 0)
      + (box.repeats > 1 ? 12 + width(times(box.repeats), "bold") : 0);
    box.w = Math.max(120, Math.max(title, 18 + width(factsOf(box), "small")) + 2 * PAD);
    box.h = 42;
  } else {
    const rows = box.rows.map((row, at) => width(row.caption, at === 0 ? "bold" : "plain") + NAME_GAP
      + Math.max(HEAT_VALUE, width(row.name, "small")) + (box.repeats > 1 ? 12 + width(times(box.repeats), "bold") : 0));
    box.w = Math.max(110, Math.max(...rows) + 2 * PAD);
    box.h = box.rows.length * ROW + (box.rows.length > 1 ? 2 : 3);
  }
}

export function titleWidth(frame: Frame): number {
  return 20 + width(frame.title, "bold") + (frame.about ? 8 + width(frame.about, "small") : 0)
    + (frame.repeats > 1 ? 14 + width(times(frame.repeats), "bold") : 0) + 2 * PAD;
}
