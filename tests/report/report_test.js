// node report_test.js PROGRAM NODE_MODULES CHROMIUM: opens reports of made-up runs in headless Chromium.
"use strict";
const assert = require("assert");
const { execFileSync } = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");
const { test, before, after } = require("node:test");
const { writeComparison, writeRun, kLevels } = require("./fixtures.js");

const [program, modules, executablePath] = process.argv.slice(2);
const { chromium } = require(path.join(modules, "playwright-core"));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "unbraid-report-"));
const kArguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update",
                    "--disable-sync"];
const kSections = ["verdict", "gaps", "comparison", "curves", "gradients", "confusion", "cost",
                   "settings"];
const kHostile = "<img src=x onerror=alert(1)></script>&amp;";
let browser;

function report(name, ...runs) {
  const file = path.join(folder, `${name}.html`);
  execFileSync(program, ["report", ...runs, "-o", file]);
  return file;
}

/** Opens a report; whatever it complains of, or asks the network for, fails the test. */
async function open(file, { colorScheme = "light", width = 1200 } = {}) {
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`dialog ${dialog.message()}`));
  page.on("request", (request) => {
    if (request.url() !== `file://${file}`) complaints.push(`request of ${request.url()}`);
  });
  await page.goto(`file://${file}`);
  await page.addStyleTag({ content: "html { scroll-behavior: auto !important; }" })
    .catch(() => {});
  return { page, close: async () => {
    await context.close();
    assert.deepStrictEqual(complaints, []);
  } };
}

/** The colours that each canvas under `selector` has drawn, "#rrggbb", with how many pixels of each. */
function coloursOf(page, selector) {
  return page.$$eval(`${selector} canvas`, (canvases) => canvases.map((canvas) => {
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    const colours = {};
    for (let i = 0; i < data.length; i += 4) {
      const colour = "#" + [0, 1, 2].map((part) =>
        data[i + part].toString(16).padStart(2, "0")).join("");
      if (data[i + 3] > 200) colours[colour] = (colours[colour] ?? 0) + 1;
    }
    return colours;
  }));
}

const sizeOf = (colours) => Object.keys(colours).length;

/** How many pixels of the first canvas of the learning curves have a colour, once it is drawn. */
async function pixelsOf(page, colour) {
  await page.evaluate(() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(done))));
  return (await coloursOf(page, "#curves"))[0][colour] ?? 0;
}

const kBlue = "#0072b2";  // of the first method that is not the reference, in light

let few;
before(async () => {
  browser = await chromium.launch({ executablePath, args: kArguments });
  const runs = path.join(folder, "few");
  writeComparison(runs, { seeds: 3 });
  writeRun(path.join(runs, "lost-seed0"), "dgl", 7);
  fs.rmSync(path.join(runs, "lost-seed0", "summary.json"));
  few = report("few", runs);
});
after(async () => {
  await browser.close();
  fs.rmSync(folder, { recursive: true });
});

test("every plot is drawn and nothing is asked of the network", async () => {
  const { page, close } = await open(few);
  for (const id of kSections) assert.ok(await page.isVisible(`#${id}`), id);
  const [curves, gradients] = [await coloursOf(page, "#curves"), await coloursOf(page, "#gradients")];
  assert.strictEqual(curves.length, 3);
  assert.strictEqual(gradients.length, 2);
  for (const colours of [...curves, ...gradients]) assert.ok(sizeOf(colours) > 20);
  const bars = await page.$$eval("#gaps .bar.lost", (all) => all.map((bar) =>
    bar.getBoundingClientRect().width));
  assert.ok(bars.some((width) => width > 200), String(bars));
  assert.ok((await page.$$eval("#confusion td", (all) => all.length)) >= 300);
  const text = await page.textContent("#verdict");
  assert.match(text, /audio is under-optimised by [\d.]+\s±\s[\d.]+ points in joint/);
  assert.match(text, /1 run is missing: dgl, seed 7 \(not finished\)/);
  await close();
});

test("other quantities and matrices can be chosen", async () => {
  const { page, close } = await open(few);
  for (const id of ["curves", "gradients"]) {
    const options = await page.$$eval(`#${id} select option`, (all) => all.map((one) => one.label));
    for (const label of options) {
      await page.selectOption(`#${id} select`, { label });
      for (const colours of await coloursOf(page, `#${id}`)) assert.ok(sizeOf(colours) > 10, label);
    }
    assert.ok(options.length >= 4, String(options));
  }
  await page.selectOption("#confusion select", { label: "audio alone" });
  assert.strictEqual(await page.locator("#confusion table.confusion").count(), 1);
  await close();
});

test("hovering shows the values of an epoch", async () => {
  const { page, close } = await open(few);
  const plot = page.locator("#curves .plot").first();
  await plot.scrollIntoViewIfNeeded();
  await plot.hover({ position: { x: 200, y: 100 } });
  const tooltip = page.locator("#curves .tooltip:not([hidden])");
  assert.strictEqual(await tooltip.count(), 1);
  assert.match(await tooltip.textContent(), /Epoch \d+.*dgl[\d.]+ % \([\d.]+ to [\d.]+\)/);
  await page.mouse.move(5, 5);
  assert.strictEqual(await tooltip.count(), 0);
  await close();
});

test("the legend hides and shows a method, by mouse and by keyboard", async () => {
  const { page, close } = await open(few);
  const button = page.locator("#curves .legend button", { hasText: "auxiliary" });
  const drawn = await pixelsOf(page, kBlue);
  assert.ok(drawn > 100, String(drawn));
  await button.click();
  assert.strictEqual(await button.getAttribute("aria-pressed"), "false");
  assert.strictEqual(await pixelsOf(page, kBlue), 0);
  await button.focus();
  await page.keyboard.press("Enter");
  assert.strictEqual(await button.getAttribute("aria-pressed"), "true");
  assert.strictEqual(await pixelsOf(page, kBlue), drawn);
  await close();
});

test("keys walk through the page and along a curve", async () => {
  const { page, close } = await open(few);
  await page.keyboard.press("Tab");
  assert.strictEqual(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.strictEqual(await page.evaluate(() => document.activeElement.id), "main");
  const reached = new Set();
  for (let i = 0; i < 60; ++i) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement.tagName + "." +
      document.activeElement.className));
  }
  for (const kind of ["BUTTON.", "SELECT.", "DIV.plot", "DIV.scroll", "SUMMARY."]) {
    assert.ok(reached.has(kind), `${kind} among ${[...reached]}`);
  }
  await page.locator("#curves .plot").nth(1).focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  const read = await page.locator("#curves figure").nth(1).locator("[aria-live]").textContent();
  assert.match(read, /^Epoch 24: .*joint [\d.]+ %/);
  assert.ok(await page.isVisible("#curves .tooltip:not([hidden])"));
  await page.keyboard.press("Escape");
  assert.strictEqual(await page.locator("#curves .tooltip:not([hidden])").count(), 0);
  await close();
});

test("every plot has a text alternative and a table", async () => {
  const { page, close } = await open(few);
  for (const label of await page.$$eval(".plot", (all) => all.map((one) => one.ariaLabel))) {
    assert.match(label, /over epochs\. At epoch 25: /);
  }
  await page.click("#curves figure:first-child summary");
  await page.waitForSelector("#curves figure:first-child tbody");
  assert.strictEqual(await page.locator("#curves figure:first-child tbody tr").count(), 25);
  const faults = await page.evaluate(() => [
    ...[...document.querySelectorAll("table")].filter((one) => !one.caption?.textContent),
    ...[...document.querySelectorAll("th")].filter((one) => !one.scope),
    ...[...document.querySelectorAll("button, select, summary")].filter((one) =>
      !(one.textContent || one.ariaLabel)),
    ...[...document.querySelectorAll("section")].filter((one) =>
      !document.getElementById(one.getAttribute("aria-labelledby"))),
  ].map((one) => one.outerHTML.slice(0, 100)));
  assert.deepStrictEqual(faults, []);
  assert.strictEqual(await page.locator("h1").count(), 1);
  await close();
});

test("dark mode has its own colours, paper the light ones", async () => {
  const light = await open(few);
  const dark = await open(few, { colorScheme: "dark" });
  const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.strictEqual(await background(light.page), "rgb(255, 255, 255)");
  assert.notStrictEqual(await background(dark.page), "rgb(255, 255, 255)");
  assert.ok(await pixelsOf(light.page, kBlue) > 100);
  assert.strictEqual(await pixelsOf(dark.page, kBlue), 0);
  await dark.page.emulateMedia({ media: "print" });
  await dark.page.waitForFunction(() => document.documentElement.dataset.theme === "light");
  assert.strictEqual(await background(dark.page), "rgb(255, 255, 255)");
  assert.ok(await pixelsOf(dark.page, kBlue) > 100);
  assert.ok(!(await dark.page.isVisible("nav")));
  assert.ok((await dark.page.pdf()).length > 10000);
  await dark.page.emulateMedia({ media: "screen" });
  await dark.page.emulateMedia({ colorScheme: "light" });
  assert.ok(await pixelsOf(dark.page, kBlue) > 100);
  await light.close();
  await dark.close();
});

test("a narrow window scrolls inside tables alone", async () => {
  const { page, close } = await open(few, { width: 360 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360);
  await close();
});

test("names are text, whatever they hold", async () => {
  const runs = path.join(folder, "hostile");
  for (let seed = 0; seed < 2; ++seed) {
    writeRun(path.join(runs, `joint-seed${seed}`), "joint", seed, { epochs: 2,
      classes: [kHostile, "dog"], levels: { fused: 0.8, [kHostile]: 0.5, visual: 0.6 } });
    writeRun(path.join(runs, `alone-seed${seed}`), `alone-${kHostile}`, seed, { epochs: 2,
      classes: [kHostile, "dog"], levels: { [kHostile]: 0.9 } });
  }
  const file = report("hostile", runs);
  assert.ok(!fs.readFileSync(file, "utf8").includes("<img"));
  const { page, close } = await open(file);
  assert.strictEqual(await page.locator("img").count(), 0);
  assert.ok((await page.textContent("#verdict")).includes(kHostile));
  assert.ok((await page.textContent("#confusion")).includes(kHostile));
  await close();
});

test("one run without gaps, probes or matrices has a report", async () => {
  const run = path.join(folder, "one");
  writeRun(run, "dgl", 0, { epochs: 1, probes: false });
  const summary = JSON.parse(fs.readFileSync(path.join(run, "summary.json"), "utf8"));
  delete summary.confusion;
  fs.writeFileSync(path.join(run, "summary.json"), JSON.stringify(summary));
  const { page, close } = await open(report("one", run));
  assert.match(await page.textContent("#verdict"), /There is no verdict/);
  assert.strictEqual(await page.locator("#gaps, #confusion").count(), 0);
  for (const colours of await coloursOf(page, "#curves")) assert.ok(sizeOf(colours) > 5);
  await close();
});

test("a matrix of many classes is a picture", async () => {
  const run = path.join(folder, "many");
  writeRun(run, "joint", 0, { epochs: 2, classes: 100 });
  const { page, close } = await open(report("many", run));
  const matrices = await coloursOf(page, "#confusion");
  assert.strictEqual(matrices.length, 3);
  for (const colours of matrices) assert.ok(sizeOf(colours) > 5);
  await page.locator("#confusion canvas").first().hover({ position: { x: 1, y: 1 } });
  assert.match(await page.textContent("#confusion .readout"), /^0 taken for 0: \d+/);
  await close();
});

test("200 runs of 100 epochs stay below 5 MB", async () => {
  const runs = path.join(folder, "large");
  for (let method = 0; method < 18; ++method) {
    const kind = method === 0 ? "joint" : `method-${method}`;
    for (let seed = 0; seed < 10; ++seed) {
      writeRun(path.join(runs, `${kind}-seed${seed}`), kind, seed, { epochs: 100,
        levels: { fused: 0.8 + method / 200, audio: 0.5 + method / 60, visual: 0.5 + method / 70 } });
    }
  }
  writeComparison(runs, { seeds: 10, kinds: Object.keys(kLevels).slice(0, 2), epochs: 100 });
  const start = Date.now();
  const file = report("large", runs);
  console.log(`written in ${Date.now() - start} ms, ${fs.statSync(file).size} bytes`);
  assert.ok(fs.statSync(file).size < 5e6, `${fs.statSync(file).size} bytes`);
  const opened = Date.now();
  const { page, close } = await open(file);
  console.log(`opened in ${Date.now() - opened} ms`);
  assert.match(await page.textContent("#subtitle"), /^200 runs/);
  for (const colours of await coloursOf(page, "#curves")) assert.ok(sizeOf(colours) > 20);
  await close();
});
