// Units to explore: two columns, single units and the directions beside them, ranked and drawn by one rule.
(() => {
  const { h, s, number, count } = Page;
  const root = document.getElementById("units-explorer");
  if (!root) return;
  const all = Page.about("units-about");
  const LINES = 8, TRIAL = 5, LARGE = 104, SMALLEST = 24, SMALL = 44, BESIDE = 53, GAP = 3.6;
  const state = { layer: 0, sort: "number", descending: true, page: 0, whole: true, guessing: null, right: 0, guesses: 0, opened: new Set(), size: SMALL };

  let layer, sheets, data, sides;
  const body = h("div", { class: "explorer-body" });
  const pages = Page.pager((step) => { state.page = clamp(state.page + step); draw(); });
  const layerChoice = Page.choice("Layer", all.layers.map((l, i) => [i, l.name]), (value) => { state.layer = +value; state.page = 0; load(); });
  const sortChoice = Page.choice("Ranked by", [], (value) => { state.sort = value; state.page = 0; draw(); });
  const direction = h("button", { type: "button", class: "plain", onclick: () => { state.descending = !state.descending; state.page = 0; draw(); } });
  const find = h("input", { type: "number", min: "0", step: "1", placeholder: "number", "aria-label": "Find a unit by its number", onkeydown: (event) => { if (event.key === "Enter") jump(); } });
  const cropButton = h("button", { type: "button", class: "plain", onclick: () => { state.whole = !state.whole; draw(); } });
  const blindButton = h("button", { type: "button", class: "plain", onclick: () => { state.guessing = state.guessing ? null : trial(); draw(); } });
  const controls = h("div", { class: "controls" }, layerChoice.element, sortChoice.element, direction,
    h("span", { class: "field" }, h("span", {}, "Find"), h("span", { class: "joined" }, find, h("button", { type: "button", onclick: jump }, "go"))), cropButton, blindButton);

  // Single directions of one basis, with what is shown of each.
  function side(about, number_) {
    const get = (name) => data[`${number_}.${name}`];
    const images = get("image"), [, signs, k] = images.shape;
    const of = (column, i, sign, rank) => column.values[(i * signs + sign) * k + rank];
    const missing = images.values instanceof Uint16Array ? 65535 : -1;
    const scores = {};
    for (const [name, ends] of Object.entries(about.scores)) {
      scores[name] = Array.from(get(`score.${name}`).values, (code) => Page.scaled(code, ends));
    }
    const flagged = new Uint8Array(about.count);
    for (const name of Object.keys(about.flags)) get(`flag.${name}`).values.forEach((value, i) => { flagged[i] |= value; });
    if (about.n) get("zeros").values.forEach((zeros, i) => { if (zeros >= about.n) flagged[i] = 1; });
    const z = {};
    for (const { name, spread } of layer.scores) {
      if (spread && spread[1] > 0 && scores[name]) z[name] = scores[name].map((v) => (v === null ? 0 : (v - spread[0]) / spread[1]));
    }
    const special = Array.from({ length: about.count }, (_, i) => Math.max(0, ...Object.values(z).map((each) => Math.abs(each[i]))));
    return {
      ...about, flagged, scores, special,
      image: (i, sign, rank) => { const at = of(images, i, sign, rank); return at === missing ? -1 : at; },
      value: (i, sign, rank) => { const [low, high] = [0, 1].map((e) => get("range").values[2 * i + e]); return low + (of(get("value"), i, sign, rank) / 65534) * (high - low); },
      box(i, sign, rank) {
        if (!about.placed) return null;
        const at = of(get("place"), i, sign, rank), [top, bottom, left, right] = data.boxes.values.subarray(4 * at, 4 * at + 4);
        const [height, width] = sheets.size || [1, 1];
        return { top: Math.max(0, top / height), bottom: Math.min(1, bottom / height), left: Math.max(0, left / width), right: Math.min(1, right / width) };
      },
      ties: (i, sign) => (get("ties") ? get("ties").values[i * signs + sign] : 0),
      spread: (i) => about.n ? { counts: get("counts").values.subarray(i * get("counts").shape[1], (i + 1) * get("counts").shape[1]), ends: [get("ends").values[2 * i], get("ends").values[2 * i + 1]], zeros: get("zeros").values[i], n: about.n } : null,
      k, signCount: signs,
    };
  }

  async function load() {
    layer = all.layers[state.layer];
    sheets = all.images[layer.dataset];
    data = await Page.columns(layer.data);
    sides = layer.sides.map(side);
    state.guessing = null;
    state.opened.clear();
    const options = [["number", "number"], ["special", "what makes it special"], ...layer.scores.map(({ name }) => [`score.${name}`, name])];
    sortChoice.select.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    if (!options.some(([value]) => value === state.sort)) state.sort = "number";
    sortChoice.select.value = state.sort;
    draw();
  }

  function order(of) {
    const indices = Array.from({ length: of.count }, (_, i) => i);
    const key = state.sort === "special" ? of.special : of.scores[state.sort.slice(6)];
    if (state.sort === "number" || !key) return indices;
    const sign = state.descending ? -1 : 1;
    // Those without a score stand last, whichever way the others are ranked.
    return indices.sort((a, b) => (key[a] === null) - (key[b] === null) || sign * (key[a] - key[b]) || a - b);
  }

  function pageCount() { return Math.max(1, Math.ceil(Math.max(...sides.map((one) => one.count)) / LINES)); }
  function clamp(page) { return Math.max(0, Math.min(pageCount() - 1, page)); }

  function jump() {
    const wanted = parseInt(find.value, 10), of = sides[0];
    if (!(wanted >= 0 && wanted < of.count)) { find.setCustomValidity(`0 to ${of.count - 1}`); find.reportValidity(); return; }
    find.setCustomValidity("");
    state.page = Math.floor(order(of).indexOf(wanted) / LINES);
    state.guessing = null;
    state.opened.add(`0/${wanted}`);
    draw();
    const line = body.querySelector(`[data-line="0/${wanted}"]`);
    if (line) { line.scrollIntoView({ block: "nearest" }); line.querySelector("button").focus(); }
  }

  function words(of, i, sign, rank) {
    const at = of.image(i, sign, rank);
    const label = sheets.labels[at], kind = label >= 0 ? ` of class ${sheets.classes[label]}` : "";
    const named = at < sheets.ids.length ? `image ${sheets.ids[at]}${kind}` : "an image whose number is left out here";
    return `${of.noun} ${i}, rank ${rank + 1}${of.signs[sign] < 0 ? " of the smallest" : ""}: ${named}, value ${number(of.value(i, sign, rank))}`;
  }

  function tiles(of, i, sign, size, secret) {
    const found = [];
    for (let rank = 0; rank < of.k; rank++) {
      const at = of.image(i, sign, rank);
      if (at < 0) continue;
      const box = of.box(i, sign, rank), text = secret ? `rank ${rank + 1}` : words(of, i, sign, rank);
      found.push(Page.thumbnail(sheets, at, text, size, state.whole ? null : box, state.whole ? box : null));
    }
    return h("div", { class: "strip" }, found);
  }

  // Which classes the listed images are of, the commonest first.
  function classes(of, i, sign) {
    const tally = new Map();
    for (let rank = 0; rank < of.k; rank++) {
      const at = of.image(i, sign, rank);
      if (at >= 0 && sheets.labels[at] >= 0) tally.set(sheets.labels[at], (tally.get(sheets.labels[at]) || 0) + 1);
    }
    return [...tally].sort((a, b) => b[1] - a[1]).map(([label, n]) => `${sheets.classes[label]} × ${n}`).join(", ");
  }

  function histogram(of, i) {
    const spread = of.spread(i);
    if (!spread) return h("p", { class: "caption" }, "The run has no histograms: it was made before they were kept.");
    const listed = [];
    for (let sign = 0; sign < of.signCount; sign++) {
      for (let rank = 0; rank < of.k; rank++) if (of.image(i, sign, rank) >= 0) listed.push([of.signs[sign], of.value(i, sign, rank)]);
    }
    const low = Math.min(spread.ends[0], ...listed.map(([, v]) => v)), high = Math.max(spread.ends[1], ...listed.map(([, v]) => v));
    const W = 300, H = 74, x = (v) => (high > low ? ((v - low) / (high - low)) * W : W / 2);
    const most = Math.sqrt(Math.max(1, ...spread.counts)), bins = spread.counts.length;
    const at = (b) => spread.ends[0] + (b / bins) * (spread.ends[1] - spread.ends[0]);
    const bars = Array.from(spread.counts, (n, b) => s("rect", { x: x(at(b)), width: Math.max(0.6, x(at(b + 1)) - x(at(b)) - 0.4), y: H - (H * Math.sqrt(n)) / most, height: (H * Math.sqrt(n)) / most, class: "bar" }, s("title", {}, `${count(n)} of ${count(spread.n)} inputs from ${number(at(b))} to ${number(at(b + 1))}`)));
    const marks = listed.map(([sign, v]) => s("line", { x1: x(v), x2: x(v), y1: H + 1, y2: H + 9, class: sign > 0 ? "most" : "least" }));
    const label = `Histogram of ${of.noun} ${i}: ${count(spread.n)} inputs from ${number(spread.ends[0])} to ${number(spread.ends[1])}; heights are square roots of counts; the images listed are marked below.`;
    return h("figure", { class: "histogram" }, s("svg", { viewBox: `0 0 ${W} ${H + 24}`, role: "img", "aria-label": label }, bars, s("line", { x1: 0, x2: W, y1: H + 0.5, y2: H + 0.5, class: "axis" }), marks,
      s("text", { x: 0, y: H + 21 }, number(low)), s("text", { x: W, y: H + 21, "text-anchor": "end" }, number(high))),
      h("figcaption", {}, `${count(spread.n)} inputs, of which ${count(spread.zeros)} give exactly 0; heights are square roots of counts.`));
  }

  // A score beside the band of the random directions, on one axis per score.
  function scoreLine(of, i, about) {
    const values = sides.flatMap((one) => (one.scores[about.name] || []).filter((v) => v !== null));
    const value = of.scores[about.name] ? of.scores[about.name][i] : null;
    if (!values.length) return null;
    const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const W = 120, x = (v) => 4 + ((Math.max(low, Math.min(high, v)) - low) / (high - low || 1)) * (W - 8), parts = [];
    if (about.band) parts.push(s("rect", { x: x(about.band[0]), y: 3, width: Math.max(1, x(about.band[1]) - x(about.band[0])), height: 12, class: "band" }));
    if (about.mean !== undefined && about.mean !== null) parts.push(s("line", { x1: x(about.mean), x2: x(about.mean), y1: 2, y2: 16, class: "null" }));
    if (value !== null) parts.push(s("circle", { cx: x(value), cy: 9, r: 3.6, class: of.basis === "natural" ? "natural" : "random" }));
    const inside = !about.band || value === null ? "" : value < about.band[0] ? "below the band" : value > about.band[1] ? "above the band" : "in the band";
    return h("tr", {}, h("th", { scope: "row" }, about.name), h("td", { class: "num" }, number(value)),
      h("td", {}, s("svg", { viewBox: `0 0 ${W} 18`, class: "scale", role: "img", "aria-label": `${about.name} ${number(value)}, ${inside}; the scale goes from ${number(low)} to ${number(high)}` }, parts)), h("td", { class: "muted" }, inside));
  }

  function details(of, i) {
    const parts = [];
    for (let sign = 0; sign < of.signCount; sign++) {
      const ties = of.ties(i, sign);
      parts.push(h("h5", {}, of.signs[sign] > 0 ? "Largest values" : "Smallest values"), tiles(of, i, sign, LARGE, false),
        h("p", { class: "caption" }, `Classes: ${classes(of, i, sign) || "not known"}.`, ties > of.k ? ` ${count(ties)} inputs share the value of the last rank that was kept, so what is shown may be partly arbitrary.` : ""));
    }
    if (of.signCount === 1) parts.push(h("p", { class: "caption" }, "The smallest values were not kept: signs = \"both\" in [units] keeps them."));
    parts.push(h("h5", {}, "How its values are spread"), histogram(of, i));
    const rows = layer.scores.map((about) => scoreLine(of, i, about)).filter(Boolean);
    if (rows.length) parts.push(h("h5", {}, "Scores"), h("table", { class: "narrow scores" }, h("tbody", {}, rows)));
    return h("div", { class: "more" }, parts);
  }

  function line(of, number_, i) {
    const name = `${number_}/${i}`, open = state.opened.has(name);
    const button = h("button", { type: "button", class: "index", "aria-expanded": String(open), title: `${of.noun} ${i}: more`, onclick: () => { open ? state.opened.delete(name) : state.opened.add(name); draw(); body.querySelector(`[data-line="${name}"] button`).focus(); } }, String(i));
    const key = state.sort.startsWith("score.") ? of.scores[state.sort.slice(6)] : null;
    const shown = state.sort === "special" ? `${number(of.special[i], 2)} sd` : key ? number(key[i]) : null;
    return h("div", { class: open ? "line open" : "line", "data-line": name }, h("div", { class: "brief" }, h("div", { class: "who" }, button, shown === null ? null : h("span", { class: "score" }, shown)), tiles(of, i, 0, state.size, false), of.flagged[i] ? h("span", { class: "chip" }, "dead or saturated") : null), open ? details(of, i) : null);
  }

  function column(of, number_) {
    const indices = order(of).slice(state.page * LINES, (state.page + 1) * LINES);
    const flags = Object.entries(of.flags).map(([name, n]) => `${count(n)} ${name}`);
    if (!flags.length && of.silent) flags.push(`${count(of.silent)} that give 0 for every input counted`);
    return h("div", { class: number_ ? "side random" : "side natural" }, h("h4", {}, h("i", { "aria-hidden": "true" }), of.title, of.basis === "natural" || of.basis === "pca" ? null : h("span", { class: "muted" }, `(${of.basis})`)),
      h("div", { class: "grid" }, indices.map((i) => line(of, number_, i))),
      h("p", { class: "caption" }, `${count(of.count)} ${of.noun}s${flags.length ? `; ${flags.join(", ")}` : ""}.`));
  }

  // Blind: some live directions of each column, drawn at random, in an order drawn at random.
  function trial() {
    const draws = sides.slice(0, 2).map((of) => {
      const live = Array.from({ length: of.count }, (_, i) => i).filter((i) => !of.flagged[i]);
      for (let i = live.length - 1; i > 0; i--) { const j = Math.floor(Math.random() * (i + 1)); [live[i], live[j]] = [live[j], live[i]]; }
      return live.slice(0, TRIAL);
    });
    return { draws, swapped: Math.random() < 0.5, answer: null };
  }

  function guess(at) {
    const isRight = (at === 0) !== state.guessing.swapped;
    state.guessing.answer = isRight;
    state.guesses += 1;
    state.right += isRight;
    draw();
  }

  // P(as many right or more) if one only guessed.
  function byChance(right, guesses) {
    let total = 0, term = Math.pow(0.5, guesses);
    for (let i = 0; i <= guesses; i++) { if (i >= right) total += term; term *= (guesses - i) / (i + 1); }
    return Math.min(1, total);
  }

  function blind() {
    const { draws, swapped, answer } = state.guessing, shownSides = swapped ? [1, 0] : [0, 1];
    const told = state.guesses ? `${state.right} of ${count(state.guesses)} guesses were right; who only guesses does so well or better with probability ${number(byChance(state.right, state.guesses), 2)}.` : "No guess yet.";
    const columns = shownSides.map((number_, at) => {
      const of = sides[number_];
      const title = answer === null ? `Column ${"AB"[at]}` : `Column ${"AB"[at]}: ${of.title}`;
      return h("div", { class: answer === null ? "side" : number_ ? "side random" : "side natural" }, h("h4", {}, answer === null ? null : h("i", { "aria-hidden": "true" }), title),
        h("div", { class: "grid" }, draws[number_].map((i) => h("div", { class: "line" }, h("div", { class: "brief" }, h("span", { class: "index" }, answer === null ? "?" : String(i)), tiles(of, i, 0, state.size, answer === null))))),
        answer === null ? h("button", { type: "button", "data-guess": at, onclick: () => guess(at) }, `Column ${"AB"[at]} shows the units`) : null);
    });
    return [h("p", { class: "note", role: "status" }, answer === null ? `Which column shows single units? Both were drawn at random from this layer, dead and saturated ones left out. ${told}` : `${answer ? "Right." : "Wrong."} ${told} `,
      answer === null ? null : h("button", { type: "button", "data-again": true, onclick: () => { state.guessing = trial(); draw(); } }, "Again")), h("div", { class: "sides" }, columns)];
  }

  function draw(fitting = true) {
    const blinded = state.guessing !== null;
    direction.textContent = state.descending ? "largest first" : "smallest first";
    direction.hidden = blinded || state.sort === "number";
    cropButton.textContent = state.whole ? "show crops alone" : "show whole images";
    cropButton.hidden = !sides.some((of) => of.placed);
    blindButton.textContent = blinded ? "back to all units" : "which is which?";
    blindButton.hidden = sides.length < 2 || !sheets.count;
    pages.element.hidden = blinded;
    state.page = clamp(state.page);
    pages.show(state.page, pageCount(), `page ${state.page + 1} of ${pageCount()}`);
    body.replaceChildren(...(blinded ? blind() : [h("div", { class: "sides" }, sides.map(column))]));
    if (fitting) fit();
  }

  // All images of a direction stand in one line: they are as large as a column has room for.
  function fit() {
    const shown = body.querySelector(".side"), most = Math.max(...sides.map((of) => of.k));
    const size = Math.max(SMALLEST, Math.min(SMALL, Math.floor((shown.clientWidth - BESIDE - (most - 1) * GAP) / most)));
    if (size === state.size) return;
    state.size = size;
    draw(false);
  }

  layerChoice.element.hidden = all.layers.length < 2;
  window.addEventListener("resize", () => { if (sides) fit(); });
  Page.lazily(root, () => {
    root.replaceChildren(controls, body, pages.element);
    Page.guarded(root, load());
  });
})();
