// What keys do.

import type { App } from "./app";
import { byId } from "./dom";
import type { Cost } from "./model";

export function pressed(app: App, event: KeyboardEvent): void {
  const target = event.target as Element;
  if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input,select,textarea,dialog")) return;
  const { key } = event, onButton = target.closest("button,#panel") !== null;
  const part = app.chosen;
  if (key === "/") app.search.focus();
  else if (key.startsWith("Arrow") && !onButton) app.move(key);
  else if ((key === "Enter" || key === " ") && !onButton) {
    if (!part) return;
    if (event.shiftKey && part.repeats > 1) app.unfold(part);
    else app.toggle(part);
  } else if ((key === "Backspace" || key === "c") && !onButton) app.closeAround();
  else if (key === "Escape") { if (byId("sheet").hasAttribute("open")) return; app.choose(null); app.stage.svg.focus(); }
  else if (key === "+" || key === "=") app.stage.zoom(1.3);
  else if (key === "-") app.stage.zoom(1 / 1.3);
  else if (key === "0") app.stage.whole();
  else if (key === "1") app.stage.home();
  else if (key === "u") app.all(true);
  else if (key === "f") app.all(false);
  else if (key === "h") { const order: (Cost | null)[] = [null, "parameters", "macs", "flops", "memory"]; app.setHeat(order[(order.indexOf(app.heat) + 1) % order.length]); }
  else if (key === "?") byId<HTMLDialogElement>("sheet").showModal();
  else return;
  event.preventDefault();
}
