// Confusion matrices: a table of few classes, a picture of many.

const kClassesOfTable = 20;

function shares(matrix) {
  return matrix.map((row) => {
    const sum = row.reduce((left, right) => left + right, 0);
    return row.map((count) => (sum === 0 ? 0 : count / sum));
  });
}

function confusionTable(matrix, names, title) {
  const rows = shares(matrix).map((row, i) => el("tr", {},
    el("th", { scope: "row" }, names[i] ?? String(i)),
    row.map((share, j) => el("td", { class: i === j ? "diagonal" : null,
      title: `${names[i]} taken for ${names[j]}: ${matrix[i][j]}`,
      style: { "--heat": `${(100 * Math.sqrt(share)).toFixed(0)}%` } },
    matrix[i][j] === 0 ? "" : el("span", { class: share > 0.3 ? "strong" : null },
      (100 * share).toFixed(0))))));
  return scrolling(el("table", { class: "confusion" },
    el("caption", {}, `${title}, % of the true class`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "true \\ predicted"),
      names.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, rows)), title);
}

function confusionPicture(matrix, names, title) {
  const cells = shares(matrix);
  const size = Math.max(1, Math.floor(330 / names.length)) * names.length;
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { width: size * ratio, height: size * ratio, role: "img",
    "aria-label": `${title}: rows are true classes, columns predictions`,
    style: { width: `${size}px`, height: `${size}px` } });
  const readout = el("p", { class: "note readout" }, "Point at a cell to read it.");
  const draw = () => {
    const context = canvas.getContext("2d");
    const cell = size * ratio / names.length;
    context.fillStyle = resolvedColour("--paper");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = resolvedColour("--heat-colour");
    cells.forEach((row, i) => row.forEach((share, j) => {
      if (share === 0) return;
      context.globalAlpha = Math.sqrt(share);
      context.fillRect(j * cell, i * cell, cell, cell);
    }));
    context.globalAlpha = 1;
  };
  canvas.addEventListener("mousemove", (event) => {
    const [i, j] = [event.offsetY, event.offsetX].map((at) =>
      Math.min(names.length - 1, Math.max(0, Math.floor(at / size * names.length))));
    readout.textContent = `${names[i]} taken for ${names[j]}: ${matrix[i][j]} ` +
      `(${(100 * cells[i][j]).toFixed(1)}\u202f%)`;
  });
  draw();
  redrawn.push(draw);
  return el("figure", {}, el("figcaption", {}, `${title} (rows true, columns predicted)`), canvas,
    readout);
}

function frequentConfusions(matrix, names, title) {
  const pairs = [];
  shares(matrix).forEach((row, i) => row.forEach((share, j) => {
    if (i !== j && share > 0) pairs.push([share, i, j]);
  }));
  pairs.sort((left, right) => right[0] - left[0]);
  return lazyDetails("Most frequent confusions", () => dataTable(`Most frequent confusions of ${title}`,
    [{ name: "True" }, { name: "Predicted" }, { name: "samples", class: "number" },
      { name: "% of the true class", class: "number" }],
    pairs.slice(0, 15).map(([share, i, j]) =>
      [names[i], names[j], String(matrix[i][j]), (100 * share).toFixed(1)]), { class: "dense" }));
}

function confusionSection(report) {
  const methods = report.methods.filter((method) => method.confusion);
  if (methods.length === 0) return;
  const panels = el("div", { class: "panels matrices" });
  const choose = (index) => {
    const { fused, alone } = methods[index].confusion;
    const parts = [...(fused ? [["fused model", fused]] : []),
      ...Object.entries(alone ?? {}).map(([name, matrix]) => [`${name} alone`, matrix])];
    const classes = parts[0][1].length;
    const width = classes <= kClassesOfTable ? 1.6 * classes + 5 : 21;
    panels.style.setProperty("--least", `${width}rem`);
    panels.replaceChildren(...parts.map(([title, matrix]) => {
      const names = matrix.map((row, i) => report.classes[i] ?? String(i));
      const picture = names.length <= kClassesOfTable ? confusionTable : confusionPicture;
      return el("div", {}, picture(matrix, names, title), frequentConfusions(matrix, names, title));
    }));
  };
  const omitted = report.methods.length - methods.length;
  section("confusion", "Confusion matrices",
    el("p", { class: "note" }, "Which class is taken for which on test, summed over the seeds." +
      (omitted > 0 ? ` ${plural(omitted, "method has", "methods have")} none here.` : "")),
    choice("Method", methods.map((method) => method.label), choose), panels);
  const preferred = methods.findIndex((method) => method.label === report.reference);
  const select = document.querySelector("#confusion select");
  select.selectedIndex = Math.max(0, preferred);
  choose(select.selectedIndex);
}
