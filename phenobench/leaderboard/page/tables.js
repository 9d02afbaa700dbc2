// The tables: an overview of a screen (a column a task), or a task in full (a table a score).
const OVERVIEW = "";
const KINDS = { official: "official", trained: "trained", precomputed: "precomputed", demo: "demonstration",
  random: "random", control: "controls" };
const kindOf = (model) => (model.status === "control" ? "control" : model.kind);
const kindOfLabel = new Map(models.map((model) => [model.label, kindOf(model)]));
const taskName = (table) => `${table.task} (${table.variant})`;

const asked = new URLSearchParams(location.hash.slice(1));
const filters = {
  screen: filter("Screen", distinct(tables.map((table) => table.screen)), "all screens"),
  task: filter("Task", distinct(tables.map(taskName)), "all, in short"),
  normalization: filter("Normalization", distinct(tables.map((table) => table.normalization)), "all normalizations"),
  weights: filter("Weights", Object.keys(KINDS).filter((kind) => [...kindOfLabel.values()].includes(kind)),
    "all kinds", (kind) => KINDS[kind]),
};

function filter(name, values, all, label = (value) => value) {
  const select = h("select", { name: name.toLowerCase(), onchange: show },
    h("option", { value: "" }, all), values.map((value) => h("option", { value }, label(value))));
  const wanted = asked.get(name.toLowerCase());
  if (values.includes(wanted)) select.value = wanted;
  byId("filters").append(h("label", {}, name, select));
  return select;
}

function show() {
  const wanted = Object.entries(filters).filter(([, select]) => select.value);
  history.replaceState(null, "", `#${new URLSearchParams(wanted.map(([name, select]) => [name, select.value]))}`);
  const chosen = tables.filter((table) =>
    matches("screen", table.screen) && matches("task", taskName(table)) && matches("normalization", table.normalization));
  byId("tables").replaceChildren(...(filters.task.value === OVERVIEW ? overviews(chosen) : inFull(chosen)));
  const shown = new Set(chosen.flatMap((table) => table.columns.flatMap((column) => column.entries))
    .filter((entry) => kept(entry.model.label)).map((entry) => entry.result));
  byId("status").textContent = `${count(shown.size)} of ${count(results.length)} results`;
}

const matches = (name, value) => filters[name].value === "" || filters[name].value === value;
const kept = (label) => matches("weights", kindOfLabel.get(label));

function overviews(chosen) {
  const keys = distinct(chosen.map((table) => JSON.stringify([table.screen, table.sha256, table.normalization])));
  return keys.map((key) => {
    const own = chosen.filter((t) => JSON.stringify([t.screen, t.sha256, t.normalization]) === key);
    const first = own[0];
    const columns = own.map((table) => ({
      head: table.task, column: table.columns[0],
      note: [table.columns[0].name, table.columns[0].higher ? "" : ", lower is better"].join(""),
      more: table.columns.length - 1, table,
    }));
    return h("section", {},
      h("h2", {}, `${first.screen}, ${first.normalization}`),
      h("p", { class: "quiet" }, `${count(first.wells)} wells, ${count(first.plates)} plates, `
        + `${count(first.perturbations)} perturbations; revision ${first.revision}`),
      board(`${first.screen}, ${first.normalization}`, columns.map(valueColumn), columns.map((one) => one.column)));
  });
}

function inFull(chosen) {
  return chosen.map((table) => h("section", {},
    h("h2", {}, `${table.task} on ${table.screen}, ${table.normalization}`),
    h("p", { class: "quiet" }, `${table.variant}, version ${table.version}: ${table.summary}.`),
    ...table.columns.map((column) => {
      const lower = column.higher ? "" : "lower is better; ";
      return [h("h3", {}, column.name, h("span", { class: "quiet" }, ` ${lower}map of ${count(column.map_n)} ${column.map_rows}`)),
        board(`${column.name}, ${table.screen}, ${table.normalization}`, fullColumns(column), [column])];
    })));
}

// A column of a table: how it is headed, what a cell shows, and by what it sorts (numbers ascend, null goes last).
function valueColumn({ head, note, more, table, column }) {
  const axis = axisOf(column.entries.map((entry) => entry.score));
  const better = column.higher ? -1 : 1;
  return {
    head, note, of: column, more: more ? () => openTask(table) : null,
    moreText: more ? `${more} more score${more > 1 ? "s" : ""} of ${head}` : "",
    sort: (entry) => entry && better * entry.score.value,
    cell: (entry) => opener(entry, axis),
  };
}

function fullColumns(column) {
  return [
    { head: "Rank", of: column, className: "number", sort: (entry) => entry?.rank && entry.rank[0] * 1000 + entry.rank[1],
      cell: (entry) => (entry.rank ? [rankText(entry), h("small", { class: "quiet" }, ` ${entry.group}`)] : "") },
    valueColumn({ head: "Value", note: "95 % interval", column }),
    { head: "Above chance", of: column, className: "number",
      sort: (entry) => entry && (column.higher ? -1 : 1) * (entry.score.value - entry.score.chance),
      cell: (entry) => digits(entry.score.value - entry.score.chance) },
    { head: "Chance", of: column, className: "number", sort: (entry) => entry?.score.chance,
      cell: (entry) => digits(entry.score.chance) },
    { head: "n", note: column.entries[0]?.score.unit, of: column, className: "number", sort: (entry) => entry && -entry.score.n,
      cell: (entry) => count(entry.score.n) },
    { head: "Notes", of: column, sort: (entry) => entry && -entry.marks.length, cell: notes },
  ];
}

// None is measurably better, and some are worse; where none can be told apart, nobody leads.
const leads = ({ rank, column, model }) => rank?.[0] === 1
  && column.entries.some((other) => other.model.section === model.section && other.rank[0] > 1);
const rankText = ({ rank: [best, worst] }) => (best === worst ? `${best}` : `${best}–${worst}`);
const notes = (entry) => [
  entry.marks.map(([name, why]) => h("span", { class: `mark ${name === "leakage" ? "alarm" : ""}`, title: why }, name)),
  h("span", { class: "mark", title: "licence of the model" }, entry.model.licence),
];

function opener(entry, axis) {
  const { score, column } = entry;
  const said = `${entry.model.label}, ${column.table.task} ${column.name}: `;
  return h("button", { type: "button", class: `value ${leads(entry) ? "top" : ""}`, "aria-haspopup": "dialog",
    "data-model": entry.model.label, onclick: () => openEvidence(entry) },
  h("span", {}, h("span", { class: "hidden" }, said), h("b", {}, digits(score.value), score.few ? "*" : ""),
    h("small", {}, `${digits(score.low)}–${digits(score.high)}`),
    h("span", { class: "hidden" }, `, chance ${digits(score.chance)}, show evidence`)),
  forest(score, axis, entry.model.section));
}

function openTask(table) {
  filters.task.value = taskName(table);
  show();
  filters.task.focus();
}

// A table with models as rows in groups that are kept apart; `columns` of the board say who is in it.
function board(name, shown, columns) {
  const labels = distinct(columns.flatMap((column) => [...column.entries.map((entry) => entry.model.label),
    ...column.missing.map((one) => one.label)])).filter(kept);
  const sectionOf = new Map(columns.flatMap((c) => c.entries.map((entry) => [entry.model.label, entry.model.section])));
  const rows = labels.map((label) => ({
    label, section: sectionOf.get(label) ?? (kindOfLabel.get(label) === "demo" ? "demonstration" : "models"),
    entries: new Map(columns.map((column) => [column, column.entries.find((entry) => entry.model.label === label)])),
    missing: new Map(columns.map((column) => [column, column.missing.find((one) => one.label === label)])),
  }));
  const all = [{ head: "Model", sort: (_, row) => row.label }, ...shown];
  const heads = all.map((column) => h("th", { scope: "col", class: column.className },
    h("button", { type: "button", onclick: () => sortBy(column, true) }, column.head),
    column.note ? h("small", {}, column.note) : null,
    column.more ? h("small", {}, h("button", { type: "button", class: "more", "aria-label": column.moreText,
      onclick: column.more }, `+ ${column.moreText.split(" of ")[0]}`)) : null));
  const table = h("table", { class: "main", "aria-label": name }, h("thead", {}, h("tr", {}, heads)));
  let sorted = null, ascending = true;

  function sortBy(column, byHand) {
    ascending = sorted === column ? !ascending : true;
    sorted = column;
    heads.forEach((head, i) => {
      if (all[i] === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    const key = (row) => column.sort(row.entries.get(column.of), row) ?? null;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      // Stable: what is equal stays in the board's order, the best first.
      if (x === null || y === null) return (x === null) - (y === null);
      return (ascending ? 1 : -1) * (x < y ? -1 : x > y ? 1 : 0);
    };
    table.querySelectorAll("tbody").forEach((body) => body.remove());
    for (const [section, about] of sections) {
      const own = rows.filter((row) => row.section === section).sort(order);
      if (own.length) table.append(group(about, own, shown));
    }
    if (byHand) byId("status").textContent = `${name}: sorted by ${column.head}`;
  }
  sortBy(shown[0], false);
  return h("div", { class: "scroll", role: "region", "aria-label": name, tabindex: 0 }, table);
}

// A long name goes on in the next line with its weights.
const named = (label) => label.split(/(?=@)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));

function group(about, rows, shown) {
  return h("tbody", {},
    h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: shown.length + 1 }, h("span", {}, about))),
    rows.map((row) => h("tr", {}, h("th", { scope: "row" }, named(row.label)), shown.map((column) => {
      const entry = row.entries.get(column.of);
      if (entry) return h("td", { class: column.className }, column.cell(entry));
      const reason = row.missing.get(column.of)?.reason ?? "no result";
      return h("td", { class: `none ${column.className ?? ""}`, title: reason },
        "–", h("span", { class: "hidden" }, ` ${reason}`));
    }))));
}
