// The page begins: the network and the options stand in it as JSON.

import { App } from "./app";
import { byId } from "./dom";
import type { Data, Options } from "./model";
import { startTheme } from "./theme";

function read<T>(id: string): T { return JSON.parse(byId(id).textContent!) as T; }

const options = read<Options>("options");
let app: App | null = null;
const toggleTheme = startTheme(options.theme, () => app?.recolor());
byId("theme").addEventListener("click", toggleTheme);
app = new App(options);
app.load(read<Data>("data"));
app.start();
requestAnimationFrame(() => requestAnimationFrame(() => { document.body.dataset.ready = `${Math.round(performance.now())}`; }));

