// Searches to explore: filtered, sorted, paged; and the distortion of each pair of classes.
(() => {
  const { h, s, number, count } = Page;
  const root = document.getElementById("searches-explorer");
  if (!root) return;
  const all = Page.about("searches-about");
  const CARDS = 12, MOST_CLASSES = 20;
  const FOUND = 0;
  const state = { model: "", rule: "", status: "found", from: "", to: "", sort: "distortion", descending: false, pictures: all.sheets.count > 0, page: 0 };
  const names = all.names ? all.names.split("\n") : [];
  const models = [...new Set(all.groups.map((g) => g.model))], rules = [...new Set(all.groups.map((g) => g.rule))];
  const datasets = [...new Set(all.groups.map((g) => g.dataset))];
  let columns, rows = [], pictureOf;

  const body = h("div", { class: "explorer-body" }), pairs = h("div", { class: "pairs" });
  const pages = Page.pager((step) => { state.page = Math.max(0, Math.min(pageCount() - 1, state.page + step)); draw(); });
  const chosen = (key) => (value) => { state[key] = value; state.page = 0; if (key === "model" || key === "rule") classChoices(); update(); };
  const any = (values, text) => [["", text], ...values.map((v) => [v, v])];
  const modelChoice = Page.choice("Model", any(models, "all"), chosen("model"));
  const ruleChoice = Page.choice("Targets and grade", any(rules, "all"), chosen("rule"));
  const statusChoice = Page.choice("Ended", [], chosen("status"));
  const fromChoice = Page.choice("Class", [], chosen("from"));
  const toChoice = Page.choice("taken for", [], chosen("to"));
  const sortChoice = Page.choice("Sorted by", [["distortion", "distortion"], ["ratio", "proven over found"], ["linf", "largest change"], ["example", "image"]], chosen("sort"));
  const direction = h("button", { type: "button", class: "plain", onclick: () => { state.descending = !state.descending; state.page = 0; update(); } });
  const pictures = h("input", { type: "checkbox", onchange: () => { state.pictures = pictures.checked; state.page = 0; update(); } });
  const controls = h("div", { class: "controls" }, modelChoice.element, ruleChoice.element, statusChoice.element, fromChoice.element, toChoice.element, sortChoice.element, direction,
    h("label", { class: "field check" }, pictures, h("span", {}, "only those with pictures")));

  const value = (name, row) => Page.scaled(columns[name].values[row], all.ends[name], true);
  const example = (row) => (all.examples ? all.examples[row] : columns.example.values[row]);
  const group = (row) => all.groups[columns.group.values[row]];
  const className = (row, label) => (label < 0 ? "?" : all.classes[group(row).dataset][label]);
  const ratio = (row) => { const bound = value("bound", row), found = value("distortion", row); return bound === null || found === null ? null : bound / found; };
  const sortKey = { distortion: (row) => value("distortion", row), ratio, linf: (row) => value("linf", row), example: (row) => (all.examples ? row : columns.example.values[row]) };

  async function load() {
    columns = await Page.columns(all.data);
    pictureOf = new Map(Array.from(columns.picture.values, (row, i) => [row, i]));
    const present = [...new Set(columns.status.values)].sort((a, b) => a - b).map((code) => all.statuses[code]);
    statusChoice.select.replaceChildren(...any(present, "all").map(([v, text]) => h("option", { value: v }, text)));
    if (!present.includes("found")) state.status = "";
    statusChoice.select.value = state.status;
    classChoices();
    update();
  }

  // The classes of one data set alone can be chosen: those of two need not be the same.
  function dataset() {
    const shown = all.groups.filter((g) => (!state.model || g.model === state.model) && (!state.rule || g.rule === state.rule));
    const found = new Set(shown.map((g) => g.dataset));
    return found.size === 1 ? [...found][0] : datasets.length === 1 ? datasets[0] : null;
  }

  function classChoices() {
    const of = dataset(), classes = of === null ? [] : Object.entries(all.classes[of]);
    for (const [key, choice] of [["from", fromChoice], ["to", toChoice]]) {
      choice.select.replaceChildren(h("option", { value: "" }, "any"), ...classes.map(([label, name]) => h("option", { value: label }, name)));
      if (!classes.some(([label]) => label === state[key])) state[key] = "";
      choice.select.value = state[key];
      choice.select.disabled = !classes.length;
    }
  }

  function inGroups() {
    const accepted = all.groups.map((g) => (!state.model || g.model === state.model) && (!state.rule || g.rule === state.rule));
    const wanted = state.status === "" ? -1 : all.statuses.indexOf(state.status), found = [];
    for (let row = 0; row < all.rows; row++) {
      if (accepted[columns.group.values[row]] && (wanted < 0 || columns.status.values[row] === wanted)) found.push(row);
    }
    return found;
  }

  function update() {
    const inside = inGroups();
    const from = state.from === "" ? null : +state.from, to = state.to === "" ? null : +state.to;
    rows = inside.filter((row) => (from === null || columns.label.values[row] === from) && (to === null || columns.prediction.values[row] === to) && (!state.pictures || pictureOf.has(row)));
    const keys = new Map(rows.map((row) => [row, sortKey[state.sort](row)])), sign = state.descending ? -1 : 1;
    rows.sort((a, b) => (keys.get(a) === null) - (keys.get(b) === null) || sign * (keys.get(a) - keys.get(b)) || a - b);
    drawPairs(inside);
    draw();
  }

  function pageCount() { return Math.max(1, Math.ceil(rows.length / CARDS)); }

  function bracket(row) {
    const bound = value("bound", row), found = value("distortion", row);
    if (bound === null || found === null) return null;
    const share = Math.max(0, Math.min(1, bound / found));
    const label = `proven: no change below ${number(bound)} fools the model; found: ${number(found)}`;
    return h("div", { class: "bracket", role: "img", "aria-label": label, title: label }, h("i", { style: { left: `${100 * share}%` } }), h("span", {}, `${number(bound)} proven`), h("span", {}, `${number(found)} found`));
  }

  function card(row) {
    const at = pictureOf.get(row), label = columns.label.values[row], prediction = columns.prediction.values[row], before = columns.before.values[row];
    const status = columns.status.values[row], own = className(row, label), other = className(row, prediction);
    const scale = at === undefined ? null : all.scales[at];
    const said = [`image ${example(row)}, of class ${own}`, "the change as it is, on grey", scale === null ? "" : `the change, at most ${number(scale, 2)} per pixel, stretched`, `adversarial image, taken for class ${other}`];
    return h("figure", { class: "card" }, at === undefined ? null : h("div", { class: "quadruple" }, said.map((words, i) => Page.thumbnail(all.sheets, 4 * at + i, words, 62))),
      h("figcaption", {}, status === FOUND ? h("span", { class: "flip" }, h("b", {}, own), h("span", { "aria-label": "becomes" }, " → "), h("b", { class: "wrong" }, other)) : h("span", { class: "flip" }, h("b", {}, own), ` ${all.statuses[status]}`),
        before >= 0 && before !== label ? h("span", {}, `before: ${className(row, before)}`) : null,
        value("distortion", row) === null ? null : h("span", {}, `distortion ${number(value("distortion", row))}`),
        value("linf", row) === null ? null : h("span", {}, `change ±${number(value("linf", row), 2)}`),
        h("span", { class: "muted" }, `image ${example(row)} · ${group(row).model}${rules.length > 1 ? ` · ${group(row).rule}` : ""}`)),
      bracket(row));
  }

  function median(values) {
    const sorted = values.sort((a, b) => a - b), middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  // Median distortion by class (row) and the class taken for (column), of the searches that found something.
  function drawPairs(inside) {
    const of = dataset();
    if (of === null || (state.status !== "" && state.status !== "found")) {
      pairs.replaceChildren(h("p", { class: "caption" }, of === null ? "Choose a model of one data set to see the distortion of each pair of classes." : ""));
      return;
    }
    const cells = new Map(), tally = new Map();
    for (const row of inside) {
      if (columns.status.values[row] !== FOUND) continue;
      const from = columns.label.values[row], to = columns.prediction.values[row], key = `${from} ${to}`;
      if (!cells.has(key)) cells.set(key, []);
      cells.get(key).push(value("distortion", row));
      for (const label of [from, to]) tally.set(label, (tally.get(label) || 0) + 1);
    }
    const known = [...tally.keys()], listed = known.sort((a, b) => tally.get(b) - tally.get(a)).slice(0, MOST_CLASSES).sort((a, b) => a - b);
    if (!listed.length) { pairs.replaceChildren(); return; }
    const medians = new Map([...cells].map(([key, values]) => [key, [median(values), values.length]]));
    const most = Math.max(...[...medians.values()].map(([m]) => m));
    const name = (label) => all.classes[of][label];
    const table = h("table", { class: "heat" }, h("caption", {}, "Median distortion: class (row) taken for (column); a darker cell is a smaller change. A click shows the pair."),
      h("thead", {}, h("tr", {}, h("td"), listed.map((to) => h("th", { scope: "col" }, name(to))))),
      h("tbody", {}, listed.map((from) => h("tr", {}, h("th", { scope: "row" }, name(from)), listed.map((to) => {
        const cell = medians.get(`${from} ${to}`);
        if (!cell) return h("td", { class: "empty" }, "–");
        const dark = 1 - cell[0] / (1.05 * most), isChosen = state.from === String(from) && state.to === String(to);
        const pick = () => { [state.from, state.to] = isChosen ? ["", ""] : [String(from), String(to)]; state.page = 0; classChoices(); update(); };
        return h("td", { style: { "--p": dark.toFixed(3) }, class: `cell${dark > 0.55 ? " deep" : ""}${isChosen ? " own" : ""}`, title: `${name(from)} taken for ${name(to)}: median ${number(cell[0])} of ${count(cell[1])}`, onclick: pick }, h("button", { type: "button", class: "bare", "aria-pressed": String(isChosen) }, number(cell[0], 2)));
      })))));
    pairs.replaceChildren(h("details", { open: pairs.querySelector("details[open]") !== null || !pairs.hasChildNodes() }, h("summary", {}, "Which classes are near each other"), h("div", { class: "scroll" }, table),
      known.length > listed.length ? h("p", { class: "caption" }, `The ${listed.length} classes that occur most, of ${count(tally.size)}.`) : null));
  }

  function draw() {
    direction.textContent = state.descending ? "largest first" : "smallest first";
    pictures.checked = state.pictures;
    pictures.parentElement.hidden = !all.sheets.count;
    pages.show(state.page, pageCount(), `page ${state.page + 1} of ${count(pageCount())}, ${count(rows.length)} search${rows.length === 1 ? "" : "es"}`);
    const shown = rows.slice(state.page * CARDS, (state.page + 1) * CARDS);
    body.replaceChildren(shown.length ? h("div", { class: "cards" }, shown.map(card)) : h("p", { class: "caption" }, "No search is like that."));
  }

  modelChoice.element.hidden = models.length < 2;
  ruleChoice.element.hidden = rules.length < 2;
  Page.lazily(root, () => {
    root.replaceChildren(controls, body, pages.element, pairs);
    Page.guarded(root, load());
  });
})();
