// Packs the page: its script with the layout library, its style sheet, and the licences of what is inside.
//
//     npm ci && npm run check && npm run build
//
// What it writes is committed, so that nobody who uses or installs netdsl needs any of this.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname, assets = join(here, "../../netdsl/draw/page/assets");

/** Style sheets that a script asks for as text. */
const asText = {
  name: "text",
  setup(plugin) {
    plugin.onResolve({ filter: /\.css\?text$/ }, ({ path }) => ({ path: join(here, "src", path.replace("?text", "")), namespace: "text" }));
    plugin.onLoad({ filter: /.*/, namespace: "text" }, ({ path }) => ({ contents: readFileSync(path, "utf8"), loader: "text" }));
  },
};

const result = await build({
  entryPoints: [join(here, "src/main.ts")], bundle: true, minify: true, format: "iife", target: ["es2021"], charset: "ascii",
  legalComments: "none", write: false, metafile: true, plugins: [asText],
});
const style = await build({ entryPoints: [join(here, "src/page.css")], bundle: true, minify: true, write: false, charset: "ascii" });

const hash = createHash("sha256");
for (const name of readdirSync(join(here, "src")).sort()) hash.update(`${name}\n`).update(readFileSync(join(here, "src", name))).update("\n");
hash.update(readFileSync(join(here, "package-lock.json")));

const script = result.outputFiles[0].text;
if (/<\/script|<!--/i.test(script)) throw new Error("the script holds what would end its element");
writeFileSync(join(assets, "page.js"), script);
writeFileSync(join(assets, "page.css"), style.outputFiles[0].text);
writeFileSync(join(assets, "page.html"), readFileSync(join(here, "src/page.html")));
writeFileSync(join(assets, "sources.sha256"), `${hash.digest("hex")}\n`);

// Every package that gave code to the script, with its licence.
const packages = new Set(Object.keys(result.metafile.inputs).map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean));
const bundled = [...packages, "@dagrejs/graphlib"].filter((name, at, all) => all.indexOf(name) === at).sort();
const licences = bundled.flatMap((name) => {
  const folder = join(here, "node_modules", name);
  let about;
  try { about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")); } catch { return []; }
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return [`${name} ${about.version} (${about.license})\n${"-".repeat(40)}\n${readFileSync(join(folder, file), "utf8").trim()}\n`];
});
writeFileSync(join(assets, "LICENSES.txt"), `page.js holds code of these packages.\n\n${licences.join("\n\n")}`);
console.log(`page.js ${script.length} bytes, page.css ${style.outputFiles[0].text.length} bytes; ${bundled.join(", ")}`);
