// Elements. Text reaches the page as text nodes alone, whatever it holds.

function fill(node, attributes, children) {
  for (const [name, given] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, handler] of Object.entries(given)) node.addEventListener(event, handler);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(given)) node.style.setProperty(property, text);
    } else if (given !== null && given !== false) {
      node.setAttribute(name, given === true ? "" : given);
    }
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** A part of the page with its entry in the contents, by the title's first words up to a colon. */
function section(id, title, ...children) {
  document.getElementById("contents").append(
    el("li", {}, el("a", { href: `#${id}` }, title.split(":")[0])));
  const node = el("section", { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title), ...children);
  document.getElementById("main").append(node);
  return node;
}

/** A table that scrolls by itself where it is too wide, also by keyboard. */
function scrolling(table, label) {
  return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
}

/** Columns are {name, class}; the first cell of a row heads it; a cell is text or an element. */
function dataTable(caption, columns, rows, attributes = {}, hideCaption = false) {
  const head = columns.map((column) =>
    el("th", { scope: "col", class: column.class ?? null }, column.name));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, i) => {
    const attributes = { class: columns[i].class ?? null };
    if (i === 0) attributes.scope = "row";
    return el(i === 0 ? "th" : "td", attributes, cell);
  })));
  return scrolling(el("table", attributes,
    el("caption", { class: hideCaption ? "hidden" : null }, caption),
    el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)), caption);
}

/** Details whose content is made when they are opened, or printed, for the first time. */
function lazyDetails(summary, make) {
  const details = el("details", {}, el("summary", {}, summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(make());
  });
  return details;
}

function choice(label, names, choose) {
  const select = el("select", { on: { change: () => choose(select.selectedIndex) } },
    names.map((name) => el("option", {}, name)));
  return el("label", { class: "choice" }, el("span", {}, label), select);
}
