// node build.js NODE_MODULES OUT_FOLDER: makes one page of the template, the style sheets, the scripts
// and uPlot, and writes it as report_page.h, in two constants between which the data belongs.
"use strict";
const fs = require("fs");
const path = require("path");

const [modules, out] = process.argv.slice(2);
const read = (...parts) => fs.readFileSync(path.join(...parts), "utf8");
const uplot = path.join(modules, "uplot");
const scripts = ["format", "dom", "marks", "chart", "gaps", "comparison", "curves", "confusion",
                 "settings", "page"];

const version = JSON.parse(read(uplot, "package.json")).version;
const parts = {
  STYLE: read(uplot, "dist", "uPlot.min.css") + read(__dirname, "style.css"),
  UPLOT: `/* uPlot ${version}; its licence is at the end of the page. */\n` +
    read(uplot, "dist", "uPlot.iife.min.js"),
  SCRIPT: '(() => {\n"use strict";\n' +
    scripts.map((name) => read(__dirname, "src", `${name}.js`)).join("\n") + "})();\n",
  LICENCE: `uPlot ${version}\n\n` + read(uplot, "LICENSE").replace(/&/g, "&amp;")
    .replace(/</g, "&lt;"),
};
for (const [name, text] of Object.entries(parts)) {
  if (/<\/(script|style)|<!--/i.test(text)) {
    throw new Error(`${name} would end its element in the page`);
  }
}
const page = read(__dirname, "page.html").replace(/\{\{([A-Z]+)\}\}/g, (mark, name) =>
  name in parts ? parts[name] : mark);
const halves = page.split("{{DATA}}");
if (halves.length !== 2 || page.includes(')page"') || page.includes("\r")) {
  throw new Error("expected a page with one {{DATA}} that fits into a raw string of C++");
}
const constant = (name, text) =>
  `inline constexpr std::string_view ${name} = R"page(${text})page";\n`;
fs.writeFileSync(path.join(out, "report_page.h"),
  "#pragma once\n\n#include <string_view>\n\nnamespace unbraid {\n" +
  constant("kReportPageBefore", halves[0]) + constant("kReportPageAfter", halves[1]) +
  "}  // namespace unbraid\n");
fs.writeFileSync(path.join(out, "report_page.html"), page);
