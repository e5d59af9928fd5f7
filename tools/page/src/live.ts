// `netdsl view`: the page hears from its server when the spec was saved.

import { byId } from "./dom";
import type { Data, Diagnostic, SourceFile } from "./model";

interface News { version: number; data?: Data; diagnostics?: Diagnostic[]; files?: SourceFile[] }

/** `version` is what the page shows already. */
export function listen(version: number, good: (data: Data) => void, bad: (diagnostics: Diagnostic[], files: SourceFile[]) => void): void {
  const sign = byId("live");
  const say = (state: string, text: string): void => { sign.dataset.state = state; sign.textContent = text; };
  sign.hidden = false;
  say("wait", "connecting");
  const events = new EventSource("/events");
  events.addEventListener("message", (event) => {
    const news = JSON.parse(event.data as string) as News;
    const known = news.version === version;
    version = news.version;
    if (news.diagnostics) {
      const errors = news.diagnostics.length;
      say("bad", `${errors} ${errors === 1 ? "error" : "errors"}: the picture shows what was saved before`);
      if (!known) bad(news.diagnostics, news.files ?? []);
    } else {
      say("good", "live");
      if (!known && news.data) good(news.data);
    }
  });
  // The browser asks again by itself until the server is back.
  events.addEventListener("error", () => say("wait", "netdsl view is not running"));
}
