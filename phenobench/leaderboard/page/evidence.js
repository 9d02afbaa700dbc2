// What a value rests on, in a panel that opens beside the tables.
const panel = byId("evidence");

function openEvidence(entry) {
  const result = resultOf(entry.result), { column } = entry, table = column.table;
  const title = `${result.model.label}: ${table.task} on ${table.screen}`;
  const body = h("div", { class: "body" });
  panel.replaceChildren(
    h("div", { class: "bar" }, h("h2", { id: "evidence-title", tabindex: -1 }, title),
      h("button", { type: "button", class: "plain", onclick: () => panel.close() }, "Close")), body);
  panel.showModal();
  panel.scrollTop = 0;
  byId("evidence-title").focus();
  fill(body, {}, [headline(entry, result), figuresOf(entry, result, panel.clientWidth), scoresOf(entry, result),
    warningsOf(result), provenanceOf(entry, result), commandOf(entry, result)]);
}

panel.addEventListener("click", (event) => {
  if (event.target === panel) panel.close();
});

function headline(entry, result) {
  const { score, column } = entry;
  const about = [
    ["value", `${digits(score.value)}${score.few ? "*" : ""}`], ["95 % interval", interval(score)],
    ["chance", digits(score.chance)], ["ceiling", digits(score.ceiling)], [score.unit, count(score.n)],
    entry.rank ? ["rank", rankText(entry)] : null,
  ].filter(Boolean);
  return [
    h("p", { class: "quiet" }, `${column.name}${column.higher ? "" : ", lower is better"}; ${column.table.normalization}`),
    h("dl", { class: "headline" }, about.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("p", {}, `${column.table.summary}.`),
    h("p", { class: "quiet" }, `Compared: ${count(result.map.n)} rows, ${result.map.rows}.`),
    ...entry.marks.map(([name, why]) => h("p", { class: "small" }, h("span", { class: "mark alarm" }, name), why)),
  ];
}

function figuresOf(entry, result, wide) {
  const width = Math.min(560, wide - 48);
  const strips = result.strips.filter((strip) => strip.subset === entry.score.subset);
  return [tailFigure(entry, result, width), distribution(strips[0], width), strips.map((one) => ends(one, entry, width)),
    wellsOf(result, entry.column.table.normalization, width)];
}

// The wells before and after, by plate and by complex.
function wellsOf({ wells }, normalization, width) {
  if (!wells) return [];
  const side = Math.min(260, Math.floor((width - 16) / 2));
  const groups = wells.groups.filter((group) => group.names.length);
  const panel = (stage, group) => h("figure", {}, h("figcaption", { class: "quiet" }, `${stage.name}, by ${group.of}`),
    scatter(stage, group, side));
  return [h("h3", {}, `Wells before and after ${normalization}`),
    h("p", { class: "quiet" }, `${count(wells.n)} treated wells on their first two principal components, each on its own `
      + "scale. Plates should mix, and wells of a complex stay together. Grey: other plates, other genes."),
    groups.map((group) => [h("div", { class: "pair" }, wells.stages.map((stage) => panel(stage, group))), legend(group)])];
}

function tailFigure(entry, result, width) {
  const tails = tailPoints(result, entry.score.subset, entry.column.table.protocol.tails);
  return tails.length < 2 ? [] : [h("h3", {}, "Recall against tail width"), tailWidths(tails, width),
    h("p", { class: "quiet" }, "Blue: this model with 95 % intervals. Orange: exact chance.")];
}

// All items of the score; for gene pairs beside all pairs of the map, where the result has their histogram.
function distribution(strip, width) {
  if (!strip?.quantiles.length) return [];
  const words = { gene: "Cosines of annotated pairs" }[strip.of] ?? `Distribution of ${strip.about}`;
  return [h("h3", {}, words), density(strip.quantiles, strip.others, [strip.low, strip.high], width, words),
    strip.others ? h("p", { class: "quiet" }, "Blue: annotated pairs. Grey: all pairs of the map.") : null];
}

// Secondary scores "recall 1 %" and the primary recall in the protocol's own tails.
function tailPoints(result, subset, tails) {
  return result.scores.filter((score) => score.subset === subset)
    .map((score) => ({ score, tail: score.metric === "recall" && tails
      ? 100 * tails[0] : Number(/^recall ([\d.]+) %$/.exec(score.metric)?.[1]) }))
    .filter((point) => point.tail > 0).sort((a, b) => a.tail - b.tail);
}

// The best and the worst rows of a strip. Dots are on the scale of the value only for perturbations.
function ends(strip, entry, width) {
  const axis = [strip.low, strip.high];
  const own = strip.of === "perturbation";
  const narrow = Math.max(80, Math.min(260, width - 240));
  const half = Math.ceil(strip.rows.length / 2);
  const chance = own && entry.score.metric !== "consistent share" && !entry.score.metric.includes("@")
    ? entry.score.chance : null;
  const line = (row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", { class: "number" }, digits(row.value)),
    h("td", {}, dotLine(row.dots, own ? row.value : null, axis, chance, narrow)));
  const group = (name, rows) => (rows.length
    ? h("tbody", {}, h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: 3 }, name)), rows.map(line)) : null);
  const title = strip.n > strip.rows.length ? `Best and worst of ${count(strip.n)} ${plural(strip.of)}` : `All ${plural(strip.of)}`;
  return [h("h3", {}, title),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
      h("table", { class: "strips", "aria-label": title },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, strip.of),
          h("th", { scope: "col", class: "number" }, strip.value === strip.about ? "value" : strip.value.split(" ")[0]),
          h("th", { scope: "col" }, `${strip.about}, ${minus(`${strip.low}`)} to ${strip.high}`))),
        group("best", strip.rows.slice(0, half)), group("worst", strip.rows.slice(half))))];
}

const plural = (word) => (word === "complex" ? "complexes" : `${word}s`);

function scoresOf(entry, result) {
  const own = result.scores.filter((score) => score.subset === entry.score.subset);
  const others = result.scores.filter((score) => score.subset !== entry.score.subset);
  const skipped = Object.entries(result.skipped).map(([subset, why]) => h("li", {}, `${subset}: ${why}`));
  return [h("h3", {}, "Scores"), scoreTable(own, "scores"),
    others.length ? h("details", {}, h("summary", {}, `${others.length} other scores of this result`),
      scoreTable(others, "other scores")) : null,
    skipped.length ? [h("p", { class: "quiet" }, "Not scored:"), h("ul", { class: "small" }, skipped)] : null];
}

function scoreTable(scores, name) {
  const heads = ["value", "95 % interval", "chance", "ceiling", "n"];
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, h("table", { "aria-label": name },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "score"),
      heads.map((head) => h("th", { scope: "col", class: "number" }, head)))),
    h("tbody", {}, scores.map((score) => h("tr", {}, h("th", { scope: "row" }, scoreName(score)),
      [`${digits(score.value)}${score.few ? "*" : ""}`, interval(score), digits(score.chance), digits(score.ceiling),
        count(score.n)].map((text) => h("td", { class: "number" }, text)))))));
}

function warningsOf(result) {
  if (!result.warnings.length) return [];
  return [h("h3", {}, "Warnings"), h("ul", { class: "warnings" }, result.warnings.map((line) => h("li", {}, line)))];
}

const words = (values) => Object.entries(values).filter(([, value]) => value !== undefined)
  .map(([name, value]) => `${name} ${value}`).join(", ");

function provenanceOf(entry, result) {
  const { model } = result, { table } = entry.column;
  const facts = [
    ["model", `${model.id}, revision ${model.revision}, ${count(model.features)} features${model.precision ? `, ${model.precision}` : ""}`],
    ["weights", `${model.kind}, sha256 ${model.sha256}`],
    ["training", model.training && words(model.training)],
    ["screen", `${table.screen}, revision ${table.revision}, sha256 ${table.sha256}`],
    ["wells", `${count(table.wells)} on ${count(table.plates)} plates, ${count(table.perturbations)} perturbations`],
    ["left out", words(result.dropped) || "none"],
    ["task", `${table.task} (${table.variant}), version ${table.version}`],
    ["protocol", words({ ...table.protocol, summary: undefined })],
    ["normalization", result.steps.length
      ? h("ol", {}, result.steps.map((step) => h("li", {}, stepText(step)))) : "none"],
    ["annotations", Object.keys(result.annotations).length ? h("ul", {}, Object.entries(result.annotations)
      .map(([name, about]) => h("li", {}, `${name}: ${words(about)}`))) : null],
    ["licences", h("ul", {}, Object.entries(result.licence).map(([name, licence]) => h("li", {}, `${name}: ${licence}`)))],
    ["versions", `${words(result.environment)}, phenobench ${words(result.phenobench)}`],
    ["seed", `${result.seed}`],
    ["provenance", result.provenance],
  ];
  return [h("h3", {}, "Provenance"), h("dl", { class: "facts" }, facts.filter(([, value]) => value)
    .flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))];
}

function stepText({ step, fitted_on: fitted, by, ...rest }) {
  return `${step}, fitted on ${fitted ?? "nothing"}${by ? ` by ${by}` : ""}${Object.keys(rest).length ? ` (${words(rest)})` : ""}`;
}

function commandOf(entry, result) {
  const { table } = entry.column;
  const command = [result.start, result.model.options, table.options, result.options].join(" ");
  const copied = h("span", { class: "quiet", role: "status" });
  const copy = async () => {
    await navigator.clipboard.writeText(command);
    copied.textContent = "copied";
  };
  return [h("h3", {}, "The command that makes it"),
    h("div", { class: "command" }, h("pre", { tabindex: 0 }, command),
      navigator.clipboard ? h("button", { type: "button", class: "plain", onclick: copy }, "Copy") : null, copied),
    command.includes(" FILE") ? h("p", { class: "quiet" }, "FILE is yours: the one with the hash above.") : null];
}
