// What papers print: tables of their own, never beside measured values.
function paperSection(paper) {
  return [h("h3", {}, paper.title), h("p", { class: "quiet" },
    `${paper.version}; read: ${paper.read}. `, h("a", { href: paper.address, rel: "noreferrer" }, paper.address)),
  paper.tables.map(paperTable)];
}

function paperTable(table) {
  const numbers = [...Object.values(table.rows), ...Object.values(table.spread)].flat().filter((one) => one !== "");
  const decimals = Math.max(...numbers.map((one) => (String(one).split(".")[1] ?? "").length));
  const text = (number) => minus(number.toFixed(decimals));
  const cell = (name, i) => {
    const value = table.rows[name][i], spread = table.spread[name]?.[i] ?? "";
    return h("td", { class: "number" }, value === "" ? "–" : `${text(value)}${spread === "" ? "" : ` ± ${text(spread)}`}`);
  };
  const name = `${table.where}: ${table.screen}, ${table.metric}${table.unit === "percent" ? " in %" : ""}`;
  const nearest = table.variant ? `${table.task} (${table.variant})` : table.task;
  return [
    h("h4", {}, name),
    h("p", { class: "quiet" }, `Asks what ${nearest} asks. Map: ${table.map}. ${table.protocol}. Read: ${table.grade}.`,
      table.comparable ? ` Beside measured values: ${table.comparable}.` : null),
    h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `${name}, published` },
      h("table", { class: "main", "aria-label": `${name}, published` },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Model"),
          table.subsets.map((subset) => h("th", { scope: "col", class: "number" }, subset)))),
        h("tbody", {}, Object.keys(table.rows).map((model) => h("tr", {}, h("th", { scope: "row" }, model),
          table.subsets.map((_, i) => cell(model, i)))))))];
}

function showPublished() {
  if (!published.length) return;
  byId("published").hidden = false;
  fill(byId("published"), {}, [h("h2", {}, "Published numbers"),
    h("p", { class: "quiet" }, "As papers print them, each with its own protocol and map. They are not ranked here."),
    published.map(paperSection)]);
}
