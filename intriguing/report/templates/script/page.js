// The page itself: words explained where they stand, tables reordered, figures that say what is under the pointer.
(() => {
  const { h } = Page;
  const main = document.getElementById("main");

  // Titles of tiles and marks, and what cells have to tell, are shown at once, also by keyboard and touch.
  const tip = h("div", { class: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  function place(x, y) {
    const width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = `${Math.max(6, Math.min(x + 14, document.documentElement.clientWidth - width - 6))}px`;
    tip.style.top = `${y + 20 + height > window.innerHeight ? Math.max(6, y - height - 12) : y + 18}px`;
  }
  function say(text, x, y) {
    tip.textContent = text;
    tip.hidden = !text;
    if (text) place(x, y);
  }
  function told(target) {
    const element = target.closest && target.closest("[title], [data-tip], :has(> .tell)");
    if (!element || !main.contains(element)) return "";
    if (element.hasAttribute("title")) {
      element.setAttribute("data-tip", element.getAttribute("title"));
      if (!element.hasAttribute("aria-label")) element.setAttribute("aria-description", element.getAttribute("title"));
      element.removeAttribute("title");
    }
    const tell = element.querySelector(":scope > .tell");
    return tell ? (getComputedStyle(tell).position === "static" ? "" : tell.textContent) : element.getAttribute("data-tip");
  }
  let focused = null;
  main.addEventListener("pointermove", (event) => { focused = null; say(told(event.target), event.clientX, event.clientY); });
  main.addEventListener("pointerleave", () => say("", 0, 0));
  function sayFocused(anywhere) {
    const at = focused.getBoundingClientRect(), seen = anywhere || (at.bottom > 0 && at.top < window.innerHeight);
    say(seen ? told(focused) : "", at.left, at.bottom - 10);
  }
  main.addEventListener("focusin", (event) => { focused = event.target; sayFocused(true); });
  // A tip follows what has the focus; under a pointer nothing is known of what has moved there.
  window.addEventListener("scroll", () => { if (focused && focused.isConnected) sayFocused(false); else say("", 0, 0); }, { passive: true });
  main.addEventListener("focusout", () => { focused = null; say("", 0, 0); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") say("", 0, 0); });

  // The first time that a section names a word of the glossary, the word explains itself.
  const words = new Map();
  for (const entry of document.querySelectorAll(".glossary > div")) {
    const [name, ...forms] = [entry.querySelector("dt").textContent, ...JSON.parse(entry.dataset.forms || "[]")];
    for (const form of [name, ...forms]) words.set(form, [entry.id, entry.querySelector("dd").textContent]);
  }
  const escaped = [...words.keys()].sort((a, b) => b.length - a.length).map((w) => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\w[-])(?:${escaped.join("|")})(?![\\w-])`, "g");
  function explain(section) {
    const seen = new Set();
    for (const element of section.querySelectorAll("p, li, figcaption, dd, thead th, tbody th, summary")) {
      if (element.closest(".explorer, pre, code, dl.legend")) continue;
      for (const node of [...element.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE)) {
        const parts = [];
        let end = 0;
        for (const match of node.data.matchAll(pattern)) {
          const [id, sentence] = words.get(match[0]);
          if (seen.has(id)) continue;
          seen.add(id);
          parts.push(node.data.slice(end, match.index), h("a", { class: "word", href: `#${id}`, title: sentence }, match[0]));
          end = match.index + match[0].length;
        }
        if (parts.length) node.replaceWith(...parts, node.data.slice(end));
      }
    }
  }
  for (const section of main.querySelectorAll(":scope > section:not(#glossary)")) Page.lazily(section, () => explain(section));

  // A matrix of models in two orders: that of the spec, and that in which alike ones stand together.
  for (const table of document.querySelectorAll("table[data-orders]")) {
    const orders = JSON.parse(table.dataset.orders), columns = table.querySelectorAll("thead th[data-at]").length;
    const { element } = Page.choice("Models in", [["spec", "the order of the spec"], ["alike", "an order with alike ones together"]], (name) => {
      const order = orders[name];
      for (const row of table.querySelectorAll("tr")) {
        const cells = [...row.querySelectorAll(":scope > [data-at]")].sort((a, b) => a.dataset.at - b.dataset.at);
        if (cells.length === columns) for (let i = 0; i < columns; i++) (i ? row.querySelectorAll(":scope > [data-at]")[i - 1] : row.querySelector(":scope > :first-child")).after(cells[order[i]]);
      }
      for (const body of table.querySelectorAll("tbody")) {
        const rows = [...body.querySelectorAll("tr[data-row]")].sort((a, b) => a.dataset.row - b.dataset.row);
        if (rows.length !== columns) continue;
        const mark = rows[0].parentElement.querySelector("tr[data-row]").previousElementSibling;
        const ordered = order.map((i) => rows[i]);
        if (mark) mark.after(...ordered); else body.prepend(...ordered);
      }
    });
    table.closest(".scroll").previousElementSibling.prepend(element);
  }

  // Figures with values under the pointer: per panel its place in the figure, the axis, and texts at each x.
  for (const data of document.querySelectorAll("script[data-hover]")) {
    const svg = data.previousElementSibling, panels = JSON.parse(data.textContent);
    if (!svg || svg.tagName.toLowerCase() !== "svg") continue;
    svg.setAttribute("tabindex", "0");
    let at = [0, -1];
    const show = (panel, index, x, y) => { at = [panel, index]; say(panels[panel].texts[index], x, y); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), fx = (event.clientX - box.left) / box.width, fy = (event.clientY - box.top) / box.height;
      const panel = panels.findIndex(({ left, right, top, bottom }) => fx >= left && fx <= right && fy >= top && fy <= bottom);
      if (panel < 0) { say("", 0, 0); return; }
      const { left, right, places } = panels[panel], inside = (fx - left) / (right - left);
      let nearest = 0;
      places.forEach((place, i) => { if (Math.abs(place - inside) < Math.abs(places[nearest] - inside)) nearest = i; });
      show(panel, nearest, event.clientX, event.clientY);
      event.stopPropagation();
    });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      let [panel, index] = [at[0], at[1] + step];
      if (index >= panels[panel].places.length) [panel, index] = [Math.min(panel + 1, panels.length - 1), panel + 1 < panels.length ? 0 : panels[panel].places.length - 1];
      if (index < 0) { panel = Math.max(0, panel - 1); index = at[0] > 0 ? panels[panel].places.length - 1 : 0; }
      const box = svg.getBoundingClientRect(), { left, right, top, places } = panels[panel];
      show(panel, index, box.left + box.width * (left + places[index] * (right - left)), box.top + box.height * top);
    });
  }

  // What is wider or higher than its place takes the focus, so that the arrow keys move it in every browser.
  function whose(element) {
    const before = [...element.closest("section").querySelectorAll("h2, h3, h4")].filter((title) => title.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
    const title = element.querySelector("caption") || element.closest("details")?.querySelector("summary") || before.pop();
    return title ? title.textContent.trim() : "Table";
  }
  const scrolled = new ResizeObserver((entries) => {
    for (const element of new Set(entries.map(({ target }) => target.closest(".scroll, pre, figure")))) {
      const moves = element.scrollWidth > element.clientWidth + 1 || (element.tagName === "PRE" && element.scrollHeight > element.clientHeight + 1);
      const attributes = element.tagName === "FIGURE" ? { tabindex: "0" } : { tabindex: "0", role: "group", "aria-label": `${whose(element)}: the arrow keys move it` };
      for (const [name, value] of Object.entries(attributes)) moves ? element.setAttribute(name, value) : element.removeAttribute(name);
    }
  });
  for (const element of main.querySelectorAll(".scroll, .scroll > table, pre, figure")) scrolled.observe(element);

  // On paper nothing can be scrolled or unfolded: wide tables are made smaller, and what would have refuted an answer is open.
  const paper = 690, changed = [];
  window.addEventListener("beforeprint", () => {
    for (const table of main.querySelectorAll(".scroll > table")) {
      const { width, minWidth } = table.style;
      Object.assign(table.style, { width: "min-content", minWidth: "0" });
      const zoom = Math.min(1, paper / table.offsetWidth);
      Object.assign(table.style, { width, minWidth, zoom: zoom > 0 && zoom < 1 ? `${zoom}` : "" });
      changed.push(() => { table.style.zoom = ""; });
    }
    for (const details of main.querySelectorAll(".answers details:not([open])")) {
      details.open = true;
      changed.push(() => { details.open = false; });
    }
  });
  window.addEventListener("afterprint", () => { for (const back of changed.splice(0)) back(); });
})();
