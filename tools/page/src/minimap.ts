// The whole picture in small, and what of it is in sight.

import { byId } from "./dom";
import type { Stage } from "./stage";
import { color } from "./theme";
import type { View } from "./view";

const WIDE = 170, HIGH = 130;

export class Minimap {
  private readonly canvas = byId<HTMLCanvasElement>("minimap");
  private readonly whole = document.createElement("canvas");
  private view: View | null = null;
  private scale = 1;

  constructor(private readonly stage: Stage) {
    const go = (event: PointerEvent): void => {
      const { left, top } = this.canvas.getBoundingClientRect(), { z } = stage.camera;
      const x = (event.clientX - left) / this.scale, y = (event.clientY - top) / this.scale;
      stage.to({ z, x: stage.width / 2 - x * z, y: stage.height / 2 - y * z }, false);
    };
    this.canvas.addEventListener("pointerdown", (event) => { this.canvas.setPointerCapture(event.pointerId); go(event); });
    this.canvas.addEventListener("pointermove", (event) => { if (this.canvas.hasPointerCapture(event.pointerId)) go(event); });
  }

  show(view: View): void {
    this.view = view;
    const { root } = view, ratio = devicePixelRatio || 1;
    this.scale = Math.min(WIDE / root.w, HIGH / root.h);
    const w = Math.max(8, root.w * this.scale), h = Math.max(8, root.h * this.scale);
    for (const canvas of [this.canvas, this.whole]) { canvas.width = Math.ceil(w * ratio); canvas.height = Math.ceil(h * ratio); }
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    const pen = this.whole.getContext("2d")!, k = this.scale * ratio;
    pen.clearRect(0, 0, this.whole.width, this.whole.height);
    for (const frame of view.frames) {
      if (!frame.parent) continue;
      pen.fillStyle = color(`--ground-${Math.min(3, frame.level)}`);
      pen.fillRect(frame.left * k, frame.top * k, frame.w * k, frame.h * k);
    }
    pen.fillStyle = color("--faint");
    pen.globalAlpha = 0.55;
    for (const box of view.boxes) pen.fillRect(box.left * k, box.top * k, Math.max(1, box.w * k), Math.max(1, box.h * k - 0.5));
    pen.globalAlpha = 1;
    this.draw();
  }

  draw(): void {
    if (!this.view) return;
    const { x, y, z } = this.stage.camera, { root } = this.view;
    const all = x >= -1 && y >= -1 && x + root.w * z <= this.stage.width + 1 && y + root.h * z <= this.stage.height + 1;
    this.canvas.hidden = all;
    if (all) return;
    const pen = this.canvas.getContext("2d")!, k = this.scale * (devicePixelRatio || 1);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.whole, 0, 0);
    pen.strokeStyle = color("--accent");
    pen.lineWidth = 2;
    pen.strokeRect((-x / z) * k, (-y / z) * k, (this.stage.width / z) * k, (this.stage.height / z) * k);
  }
}
