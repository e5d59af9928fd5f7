// Light and dark: as the system has it, until the person says otherwise. Colours live in variables of the style sheet.

import { byId } from "./dom";
import diagram from "./diagram.css?text";

const VARIABLE = /var\((--[\w-]+)\)/g;

export function startTheme(preset: string, changed: () => void): () => void {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = stored() ?? (preset === "light" || preset === "dark" ? preset : null);
  const apply = (): void => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    byId("theme").setAttribute("aria-pressed", `${root.dataset.theme === "dark"}`);
    changed();
  };
  system.addEventListener("change", apply);
  apply();
  return () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    // A page from the disk may have no storage.
    try { localStorage.setItem("netdsl-theme", chosen); } catch { /* It is asked again next time. */ }
    apply();
  };
}

function stored(): string | null {
  try {
    const found = localStorage.getItem("netdsl-theme");
    return found === "light" || found === "dark" ? found : null;
  } catch { return null; }
}

export function color(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
}

/** The style of the picture with every variable filled in: for programs that know none. */
export function plainStyle(): string { return diagram.replace(VARIABLE, (_, name: string) => color(name)); }

/** The colour of a share of the most that anything costs, 0 to 1. */
export function heatScale(): (share: number) => string {
  const stops: [number, number, number][] = [];
  for (let at = 0; ; at++) {
    const found = color(`--heat-${at}`);
    if (!found) break;
    stops.push([1, 3, 5].map((start) => parseInt(found.slice(start, start + 2), 16)) as [number, number, number]);
  }
  return (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const at = Math.min(Math.floor(place), stops.length - 2), part = place - at;
    const mixed = stops[at].map((value, i) => Math.round(value + (stops[at + 1][i] - value) * part));
    return `rgb(${mixed.join(",")})`;
  };
}
