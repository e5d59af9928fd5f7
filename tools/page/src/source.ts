// The text of the spec with line numbers: lines of the layer that is chosen, and what is wrong with a line, if anything.

import { h } from "./dom";
import type { Diagnostic, SourceFile } from "./model";

const TOKEN = /(#.*$)|("(?:[^"\\]|\\.)*")|\b(\d[\w.]*%?)|\b(network|block|variant|input|output|auxiliary|recipe|phase|from|import|const|fn|let|for|in|if|else|repeat|as|expect|residual|preprocess|and|or|not|true|false|none)\b/gm;
/** Longest line that is coloured, in characters. */
const LONGEST = 2000;

export interface Mark { first: number; last: number; look: "here" | "call" }

export function codeLine(text: string): DocumentFragment {
  const line = document.createDocumentFragment();
  if (text.length > LONGEST) { line.append(text); return line; }
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    const kind = match[1] ? "comment" : match[2] ? "string" : match[3] ? "number" : "word";
    line.append(text.slice(at, match.index), h("span", { class: kind }, match[0]));
    at = match.index + match[0].length;
  }
  line.append(text.slice(at));
  return line;
}

export function linesOf(file: SourceFile): string[] { return file.text.split(/\r\n?|\n/); }

/** Lines of a file, from `from` to `to` (counted from 1), as a list; `pick` is called with the number of a line. */
export function listing(
  file: SourceFile, from: number, to: number, marks: Mark[], wrong: Diagnostic[], pick: ((line: number) => void) | null,
): HTMLElement {
  const lines = linesOf(file), list = h("ol", { class: "code", start: from });
  list.style.setProperty("--digits", `${`${to}`.length}ch`);
  for (let number = from; number <= Math.min(to, lines.length); number++) {
    const mark = marks.find(({ first, last }) => first <= number && number <= last);
    const found = wrong.filter((diagnostic) => diagnostic.file === file.name && diagnostic.line === number);
    const item = h("li", { class: [mark?.look, found.length ? `has-${found[0].severity}` : ""].filter(Boolean).join(" ") || null, "data-line": number },
      h("span", { class: "no" }, `${number}`), h("code", {}, codeLine(lines[number - 1])));
    if (pick) item.addEventListener("click", () => pick(number));
    for (const diagnostic of found) item.append(note(diagnostic));
    list.append(item);
  }
  return list;
}

/** A diagnostic under its line, with a caret at its column. */
function note(diagnostic: Diagnostic): HTMLElement {
  const { column = 1, line, end_line, end_column = column + 1 } = diagnostic;
  const wide = end_line === line ? Math.max(1, Math.min(200, end_column - column)) : 1;
  return h("div", { class: `note ${diagnostic.severity}`, role: "alert" },
    h("div", { class: "caret", "aria-hidden": "true" }, `${" ".repeat(Math.min(400, column - 1))}${"^".repeat(wide)}`), message(diagnostic));
}

export function message(diagnostic: Diagnostic): HTMLElement {
  return h("div", { class: "message" },
    h("b", {}, diagnostic.code), ` ${diagnostic.message}`,
    ...diagnostic.notes.map((text) => h("div", {}, text)),
    diagnostic.help ? h("div", { class: "help" }, diagnostic.help) : null);
}
