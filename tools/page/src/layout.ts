// Where everything stands. Each frame is laid out by itself, from the inside out: its parts lie in sections along a trunk,
// one below the other; wires that lead past parts run on tracks at its right; a frame that would be very tall goes on in
// another column.

import { FrameLayout } from "./frame";
import { sizeBox } from "./measure";
import type { Local } from "./order";
import { GAP } from "./section";
import type { Frame, Link, Part, View } from "./view";

export function arrange(view: View, aspect: number): void {
  for (const box of view.boxes) sizeBox(box);
  const locals = spread(view);
  lay(view, locals, Infinity);
  const { root } = view;
  if (root.h > 1500 && root.h > 1.3 * (root.w / aspect)) {
    // So tall that the columns fill a screen of this shape.
    let area = 0;
    for (const box of view.boxes) area += (box.w + 70) * (box.h + GAP + 12);
    lay(view, locals, Math.max(1000, Math.sqrt((1.25 * area) / aspect)));
  }
  for (const frame of view.frames) {
    const { parent } = frame;
    frame.left = frame.x + (parent?.left ?? 0);
    frame.top = frame.y + (parent?.top ?? 0);
    for (const part of frame.parts) if (part.type === "box") { part.left = part.x + frame.left; part.top = part.y + frame.top; }
  }
}

/** Which wires each frame holds: a tensor that crosses borders has a piece in every frame on its way. */
function spread(view: View): Map<Frame, Local[]> {
  const found = new Map<Frame, Map<string, Local>>();
  const put = (frame: Frame, from: Part | null, to: Part | null, link: Link): void => {
    let locals = found.get(frame);
    if (!locals) found.set(frame, (locals = new Map()));
    const key = `${from?.id} ${to?.id} ${link.source.id}`, local = locals.get(key);
    if (local) local.auxiliary &&= link.auxiliary;
    else locals.set(key, { from, to, key: link.source.id, auxiliary: link.auxiliary });
  };
  for (const link of view.links) {
    let source: Part = link.source, target: Part = link.target;
    while (source.parent !== target.parent) {
      if (source.parent.level >= target.parent.level) {
        put(source.parent, source, null, link);
        source = source.parent;
      } else {
        put(target.parent, null, target, link);
        target = target.parent;
      }
    }
    put(source.parent, source, target, link);
  }
  return new Map(view.frames.map((frame) => [frame, [...(found.get(frame)?.values() ?? [])]]));
}

function lay(view: View, locals: Map<Frame, Local[]>, tallest: number): void {
  // Frames come before those inside them.
  for (let at = view.frames.length - 1; at >= 0; at--) {
    const frame = view.frames[at];
    new FrameLayout(frame, locals.get(frame)!, tallest - 70 * frame.level).run();
  }
}
