"use strict";
// What every explorer of the page uses: elements, data that is decoded when it is asked for, thumbnails, pages.
const Page = (() => {
  const given = new Map();      // the data of the folder form, by name, as its files give them
  const decoded = new Map();

  // An element with attributes and children; text is always set as text, never as HTML.
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "style") for (const [key, part] of Object.entries(value)) key.startsWith("--") ? element.style.setProperty(key, part) : element.style[key] = part;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  function s(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.flat(Infinity));
    return element;
  }

  function about(id) {
    return JSON.parse(document.getElementById(id).textContent);
  }

  function bytes(base64) {
    const text = atob(base64.trim());
    const array = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) array[i] = text.charCodeAt(i);
    return array;
  }

  async function raw(name) {
    const element = document.getElementById(`data-${name}`);
    if (element) return bytes(element.textContent);
    if (!given.has(name)) {
      await new Promise((resolve, reject) => {
        const script = h("script", { src: `data/${name}.js`, onload: resolve, onerror: () => reject(new Error(`data/${name}.js cannot be read`)) });
        document.head.append(script);
      });
    }
    const content = bytes(given.get(name));
    given.delete(name);
    return content;
  }

  const ARRAYS = { u1: Uint8Array, u2: Uint16Array, i2: Int16Array, i4: Int32Array, f4: Float32Array };

  async function unpack(name) {
    const stream = new Blob([await raw(name)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const start = 4 + new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, start - 4)));
    const columns = {};
    for (const [column, kind, shape, offset] of header) {
      const count = shape.reduce((a, b) => a * b, 1);
      columns[column] = { shape, values: new ARRAYS[kind](buffer, start + offset, count) };
    }
    return columns;
  }

  // The columns of an attachment; decoded once.
  function columns(name) {
    if (!decoded.has(name)) decoded.set(name, unpack(name));
    return decoded.get(name);
  }

  const urls = new Map();
  // Where a sheet of thumbnails lies.
  function sheet(name) {
    if (!urls.has(name)) {
      const element = document.getElementById(`data-${name}`);
      urls.set(name, element ? URL.createObjectURL(new Blob([bytes(element.textContent)], { type: "image/webp" })) : `data/${name}.webp`);
    }
    return urls.get(name);
  }

  // A thumbnail: number `index` of `sheets`, as an element of `width` pixels that shows `part` (in [0, 1]) of it.
  function thumbnail(sheets, index, words, width, part = null, box = null) {
    if (index < 0 || index >= sheets.count) {
      return h("span", { class: "tile gone", role: "img", "aria-label": words, title: words, style: { width: `${width}px`, height: `${width}px` } }, "–");
    }
    const place = index % sheets.per, across = sheets.columns;
    const shown = part || { left: 0, right: 1, top: 0, bottom: 1 };
    const spanX = shown.right - shown.left, spanY = shown.bottom - shown.top;
    // One scale for both axes: the part fills the width, or the height where it is taller than wide.
    const scale = Math.min(width / (spanX * sheets.width), width / (spanY * sheets.height) * 1.0);
    const w = sheets.width * scale, t = sheets.height * scale;
    const lines = Math.ceil(Math.min(sheets.per, sheets.count - Math.floor(index / sheets.per) * sheets.per) / across);
    const tile = h("span", {
      class: "tile", role: "img", "aria-label": words, title: words,
      style: {
        width: `${spanX * w}px`, height: `${spanY * t}px`,
        backgroundImage: `url("${sheet(sheets.names[Math.floor(index / sheets.per)])}")`,
        backgroundSize: `${across * w}px ${lines * t}px`,
        backgroundPosition: `${-((place % across) * w + shown.left * w)}px ${-(Math.floor(place / across) * t + shown.top * t)}px`,
        imageRendering: scale >= 1.5 && Math.max(sheets.width, sheets.height) <= 48 ? "pixelated" : "auto",
      },
    });
    if (box) {
      tile.append(h("i", { class: "box", style: { left: `${100 * box.left}%`, top: `${100 * box.top}%`, width: `${100 * (box.right - box.left)}%`, height: `${100 * (box.bottom - box.top)}%` } }));
    }
    return tile;
  }

  // A number with three significant digits, as the rest of the page writes them.
  function number(value, digits = 3) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    const places = digits - 1 - Math.floor(Math.log10(Math.abs(value)));
    const text = places >= 0 && places <= 6 ? value.toFixed(places) : places < 0 && places > -7 ? Math.round(value).toString() : value.toPrecision(digits);
    return text.replace("-", "−");
  }

  function count(value) {
    return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  }

  // A code of a column that Python's Scaled made, as a number; null where it stands for none.
  function scaled(code, ends, logarithmic = false) {
    if (code === 65535) return null;
    const value = ends[0] + (code / 65534) * (ends[1] - ends[0]);
    return logarithmic ? Math.exp(value) : value;
  }

  // A labelled <select> of [value, text] pairs.
  function choice(label, options, onchange) {
    const select = h("select", { onchange: () => onchange(select.value) }, options.map(([value, text]) => h("option", { value }, text)));
    return { element: h("label", { class: "field" }, h("span", {}, label), select), select };
  }

  // Buttons that turn pages, also by the arrow keys while one of them has the focus.
  function pager(turn) {
    const where = h("span", { class: "where", "aria-live": "polite" });
    const button = (text, step, name) => h("button", { type: "button", "aria-label": name, onclick: () => turn(step) }, text);
    const first = button("«", -Infinity, "First page"), back = button("‹", -1, "Page before");
    const next = button("›", 1, "Next page"), last = button("»", Infinity, "Last page");
    const element = h("div", {
      class: "pager", role: "group", "aria-label": "Pages",
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
        if (step !== undefined) { event.preventDefault(); turn(step); }
      },
    }, first, back, where, next, last);
    return {
      element,
      show(page, pages, text) {
        where.textContent = text;
        for (const b of [first, back]) b.disabled = page <= 0;
        for (const b of [next, last]) b.disabled = page >= pages - 1;
      },
    };
  }

  // Calls `draw` when the element comes near the window, once; at once for printing.
  function lazily(element, draw) {
    let done = false;
    const once = () => { if (!done) { done = true; draw(); } };
    if (!("IntersectionObserver" in window)) { once(); return; }
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); once(); }
    }, { rootMargin: "600px" });
    observer.observe(element);
    window.addEventListener("beforeprint", once);
  }

  // Says in an explorer's place what went wrong, rather than leave it empty.
  function guarded(element, promise) {
    return promise.catch((error) => { element.replaceChildren(h("p", { class: "note" }, `This part cannot be drawn: ${error.message}`)); });
  }

  return { h, s, about, columns, sheet, thumbnail, number, count, scaled, choice, pager, lazily, guarded, give: (name, text) => given.set(name, text) };
})();
