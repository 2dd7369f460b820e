// The page of "minirnn inspect". The numbers are in the element "data"; each network has a section of its own, and the
// place in the text is one for all of them.
"use strict";

const ARRAYS = { i1: Int8Array, u1: Uint8Array, u2: Uint16Array, i4: Int32Array };
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const data = JSON.parse(document.getElementById("data").textContent);
const text = Array.from(unpack(data.text).stored, (number) => data.distinct[number]);
const SURPRISING = data.unit === "word" ? 12 : 6; // nats at which a colour or a bar can rise no more
const views = [];
const RIGHT_TO_LEFT = /^\P{L}*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u.test(text.join("")); // its first letter is
let place = 0; // the token at which we are

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stored = new ARRAYS[packed.type](bytes.buffer);
  return { stored, scale: packed.scale, at: (i) => stored[i] * packed.scale };
}

// --- small helpers ---------------------------------------------------------------------------------

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect", "text"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const isEnd = (token) => token === "\n" || token === "<eos>";
const NAMES = { " ": "space", "\n": "line end", "<eos>": "line end", "\t": "tab" }; // said by a screen reader
const spoken = (token) => (NAMES[token] ? make("span", { role: "img", "aria-label": NAMES[token] }, visible(token)) : token);
const visible = (token) => (isEnd(token) ? "↵" : token === " " ? "␣" : token === "\t" ? "⇥" : token);
const signed = (value, digits = 2) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
const figure = (value) => (value >= 0.01 && value < 1e4 ? String(+value.toPrecision(2)) : value.toExponential(0));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const level = (value) => clamp(Math.round(10 + 10 * value), 0, 20); // of a value in -1 ... 1

function colours() { // of the levels, as they are in light and dark
  const style = getComputedStyle(document.documentElement);
  return Array.from({ length: 21 }, (_, i) => {
    const hex = parseInt(style.getPropertyValue(`--l${i}`).trim().slice(1), 16);
    return [hex >> 16, (hex >> 8) & 255, hex & 255];
  });
}

// --- one network -----------------------------------------------------------------------------------

function view(network, index) {
  const root = document.getElementById("network").content.cloneNode(true).firstElementChild;
  const find = (selector) => root.querySelector(selector);
  const parts = network.parts.map((part) => ({ ...part, values: unpack(part.values) }));
  const known = unpack(network.known.r), surprisal = unpack(network.surprisal), rank = unpack(network.rank);
  const best = { n: network.best.n, ids: unpack(network.best.ids), p: unpack(network.best.p) };
  const decades = unpack(network.reach.decades).stored;
  const spans = [], levels = new Int8Array(text.length).fill(10);
  let part = parts.find((one) => one.first !== null), unit = part.units[0], mode = "unit", list = [];

  root.setAttribute("aria-label", network.name);
  find("h2").textContent = network.name;
  find(".about").textContent = network.about;

  // The values of a part: (units, T), the units in the order of part.units.
  const value = (t, which = part, row = which.units.indexOf(unit)) => which.values.at(row * text.length + t);
  const correlation = (which, number, finding) => known.at((which.first + number) * network.known.F + finding);

  // --- the text

  function write() {
    const box = find(".text"), words = data.unit === "word";
    box.classList.toggle("words", words);
    let block = null, inBlock = 0;
    text.forEach((token, t) => {
      if (!block || (inBlock > 400 && isEnd(text[t - 1])) || inBlock > 1500) {
        box.append((block = make("div", { class: "block" })));
        inBlock = 0;
      }
      const span = make("span", {}, isEnd(token) ? make("span", { class: "end", "aria-hidden": "true" }, "↵") : token);
      span.place = t;
      spans.push(span);
      block.append(span, isEnd(token) ? "\n" : words ? " " : "");
      inBlock += 1;
    });
    box.addEventListener("pointerover", (event) => forecast(placeOf(event) ?? place));
    box.addEventListener("pointerleave", () => forecast(place));
    box.addEventListener("click", (event) => { const t = placeOf(event); if (t !== undefined) moveTo(t); });
    for (const one of [box, find(".strip")]) one.addEventListener("keydown", goThrough);
  }

  function goThrough(event) {
    const right = RIGHT_TO_LEFT ? -1 : 1;
    const steps = { ArrowLeft: -right, ArrowRight: right, Home: -text.length, End: text.length }[event.key];
    const units = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (steps) moveTo(clamp(place + steps, 0, text.length - 1), true);
    if (units) next(units);
    if (steps || units) event.preventDefault();
  }

  const placeOf = (event) => (event.target.closest(".block > span") ?? {}).place;

  function paint() { // every token on the level of its value
    let at;
    const row = part.units.indexOf(unit), size = part.high, { stored, scale } = part.values, from = row * text.length;
    if (mode === "unit") at = (t) => level((stored[from + t] * scale) / size);
    else if (mode === "surprisal") at = (t) => (t ? level(surprisal.at(t - 1) / SURPRISING) : 10);
    else at = reachLevel;
    for (let t = 0; t < text.length; t++) {
      const now = at(t);
      if (now !== levels[t]) spans[t].className = now === 10 ? "" : `l${now}`;
      levels[t] = now;
    }
    const showing = { unit: `${part.name}, unit ${unit}`, surprisal: "Surprisal: how unexpected was each?",
      reach: `What the prediction after “${visible(text[place])}” depends on` }[mode];
    find(".showing").textContent = showing;
    const low = { unit: signed(part.low, part.high > 1 ? 1 : 0), surprisal: "0", reach: "1/10,000 of the most" }[mode];
    const high = { unit: part.high.toFixed(part.high > 1 ? 1 : 0), surprisal: `${SURPRISING} nats or more`, reach: "most" }[mode];
    const ramp = make("span", { class: "ramp" });
    for (let i = mode === "unit" && part.low < 0 ? 0 : 10; i <= 20; i++) ramp.append(make("i", { class: `l${i}` }));
    find(".legend").replaceChildren(low, ramp, high);
  }

  // --- gradient connectivity: decades of the norm of dloss[t]/dx[t - k]; 0 is nothing

  const reachAt = (t, k) => decades[t * network.reach.steps + k];
  const normOf = (decade) => (decade ? 10 ** ((decade - 1) / 20 - 10) : null);

  function reachLevel(s) {
    const k = place - s;
    if (place >= network.reach.positions || k < 0 || k >= network.reach.steps) return 10;
    const below = (reachAt(place, strongest(place, 1)[0]) - reachAt(place, k)) / 20; // decades below the most
    return reachAt(place, k) ? Math.max(10, level(1 - below / 4)) : 10;
  }

  function strongest(t, count = 3) { // the steps back on which the prediction after t depends most
    if (t >= network.reach.positions) return [];
    const back = Array.from({ length: Math.min(t + 1, network.reach.steps) }, (_, k) => k).filter((k) => reachAt(t, k));
    return back.sort((a, b) => reachAt(t, b) - reachAt(t, a)).slice(0, count);
  }

  function medianReach() { // over all places that have so many steps before them
    const { steps, positions } = network.reach;
    return Array.from({ length: steps }, (_, k) => {
      const there = Uint8Array.from({ length: Math.max(0, positions - k) }, (_, i) => reachAt(k + i, k)).sort();
      return normOf(there[there.length >> 1]);
    });
  }

  function drawReach() {
    const box = find(".reach"), { positions, steps } = network.reach, x = Array.from({ length: steps }, (_, k) => k);
    const series = views.map((other) => ({ name: `median, ${other.network.name}`, x, y: other.median,
      colour: other.index, dash: other.index === index ? 1 : 2 }));
    if (place < positions) {
      const y = x.map((k) => (k <= place ? normOf(reachAt(place, k)) : null));
      series.unshift({ name: `after “${visible(text[place])}” at ${place}`, x, y, colour: 4, dash: 0 });
    }
    box.replaceChildren(lines(series, "steps earlier", box.clientWidth));
    if (place >= positions) box.append(make("p", { class: "note" }, place === text.length - 1
      ? "Here the text ends: what was predicted did not come."
      : `Computed for the first ${positions.toLocaleString("en")} places; go there to see one.`));
    else if (steps < 64) box.append(make("p", { class: "note" },
      `A large network is followed for ${steps} steps only; with a shorter text (--length) for up to 64.`));
  }

  // --- the units

  function sortUnits() {
    const by = find(".sort").value, F = network.known.F;
    const state = part.first === null ? null : part;
    const strength = (number) => (by.startsWith("f") ? Math.abs(correlation(state, number, +by.slice(1))) : 0);
    list = by === "similar" ? [...part.order] : by === "number" ? part.units.toSorted((a, b) => a - b) : [...part.units];
    if (state && by.startsWith("f")) list.sort((a, b) => strength(b) - strength(a));
    find(".units").replaceChildren(...list.map((number) => {
      let said = "", r = null;
      if (state && F) {
        let chosen = 0, most = -1;
        for (let f = 0; f < F; f++) {
          const over = Math.abs(correlation(state, number, f)) - network.findings[f].chance;
          if (over > most) [most, chosen] = [over, f];
        }
        if (by.startsWith("f")) [chosen, most] = [+by.slice(1), strength(number) - network.findings[+by.slice(1)].chance];
        if (most > 0) [said, r] = [network.findings[chosen].name, correlation(state, number, chosen)];
      }
      const option = make("div", { class: "unit", role: "option", id: `unit-${index}-${number}` },
        make("b", {}, String(number)), make("span", {}, said), make("i", {}, r === null ? "" : signed(r)));
      option.unit = number;
      return option;
    }));
    const left = part.units.length < part.hidden ? `, the ${part.units.length} best known of ${part.hidden}` : "";
    find(".units-title").textContent = `Units of ${part.name}${left}`;
    if (!part.units.includes(unit)) unit = list[0];
  }

  function choose(number) {
    unit = number;
    if (mode !== "unit") for (const one of views) one.setMode("unit"); // to be compared
    const box = find(".units"), before = box.querySelector("[aria-selected=true]");
    before?.setAttribute("aria-selected", "false");
    const option = [...box.children].find((one) => one.unit === number);
    option.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", option.id);
    if (option.offsetTop < box.offsetTop + box.scrollTop) box.scrollTop = option.offsetTop - box.offsetTop;
    const below = option.offsetTop + option.offsetHeight - box.offsetTop - box.clientHeight;
    if (below > box.scrollTop) box.scrollTop = below;
    paint();
    tellValue(place); // not the forecast, which is the same and would be read aloud again
    later(() => { drawHeat(); drawSpread(); });
  }

  function next(steps) {
    choose(list[clamp(list.indexOf(unit) + steps, 0, list.length - 1)]);
  }

  function setPart(name) {
    part = parts.find((one) => one.name === name);
    find(".part").value = name;
    sortUnits();
    choose(unit);
  }

  function setMode(name) {
    mode = name;
    for (const input of root.querySelectorAll(".modes input")) input.checked = input.value === name;
    paint();
  }

  // --- what comes next

  function forecast(t) {
    const box = find(".forecast"), came = text[t + 1], rows = [];
    for (let i = 0; i < best.n; i++) {
      const token = network.vocabulary[best.ids.stored[t * best.n + i]], p = best.p.at(t * best.n + i);
      const fill = make("i");
      fill.style.width = `${100 * p}%`;
      rows.push(make("dt", token === came ? { class: "came" } : {}, spoken(token)),
        make("dd", { class: "bar", "aria-hidden": "true" }, fill), make("dd", {}, `${(100 * p).toFixed(1)} %`));
    }
    const content = [make("p", {}, "After ", make("kbd", {}, spoken(text[t])), ` (${data.unit} ${t}) the network expects:`),
      make("dl", { class: "bars" }, ...rows)];
    content.push(came === undefined ? make("p", {}, "Here the text ends.")
      : make("p", {}, "There came ", make("kbd", { class: "came" }, spoken(came)),
        `: ${surprisal.at(t).toFixed(2)} nats, its guess number ${rank.stored[t]}.`));
    const back = strongest(t);
    if (back.length) {
      const said = back.flatMap((k) => [make("kbd", {}, spoken(text[t - k])), `\u00a0${k}\u00a0back (${figure(normOf(reachAt(t, k)))}), `]);
      content.push(make("p", { class: "most" }, "This loss depends most (size of the gradient) on ", ...said.slice(0, -1), said.at(-1).replace(/, $/, ".")));
    }
    box.replaceChildren(...content);
    tellValue(t);
  }

  function tellValue(t) {
    find(".value").textContent = `${part.name}, unit ${unit}: ${signed(value(t))}`;
  }

  // --- pictures

  function drawStrip() {
    const canvas = find(".strip"), width = (canvas.width = canvas.clientWidth * devicePixelRatio || 300);
    const height = (canvas.height = 44 * devicePixelRatio), pen = canvas.getContext("2d"), count = surprisal.stored.length;
    const style = getComputedStyle(root);
    pen.fillStyle = style.getPropertyValue("--s1");
    for (let x = 0; x < width && count; x++) { // the most surprising of the tokens at this column
      let most = 0;
      for (let t = Math.floor((x * count) / width); t < Math.max(1, ((x + 1) * count) / width) && t < count; t++) {
        most = Math.max(most, surprisal.at(t));
      }
      const bar = height * Math.min(1, most / SURPRISING);
      pen.fillRect(x, height - bar, 1, bar);
    }
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.fillRect(Math.round((width * place) / Math.max(1, text.length - 1)) - 1, 0, 2 * devicePixelRatio, height);
  }

  function heatWindow() {
    const width = Math.min(text.length, root.clientWidth > 900 ? 150 : 80);
    return { width, from: clamp(place - Math.floor(width / 2), 0, text.length - width) };
  }

  function drawHeat() {
    const canvas = find(".heat"), { width, from } = heatWindow(), ramp = colours(), rows = part.order;
    canvas.width = width;
    canvas.height = rows.length;
    const pen = canvas.getContext("2d"), image = pen.createImageData(width, rows.length);
    rows.forEach((number, y) => {
      const row = part.units.indexOf(number);
      for (let x = 0; x < width; x++) {
        const colour = ramp[level(part.values.at(row * text.length + from + x) / part.high)];
        image.data.set([...colour, 255], 4 * (y * width + x));
      }
    });
    pen.putImageData(image, 0, 0);
    const here = part.units.map((number, row) => [number, value(place, part, row)]);
    const most = here.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 3).map(([number, v]) => `${number} (${signed(v)})`);
    const shown = `${rows.length} units of ${part.name} over the ${data.unit}s ${from} to ${from + width - 1}; ` +
      `at ${place} the strongest ${most.length > 1 ? "are" : "is"} ${most.join(", ")}`;
    canvas.setAttribute("aria-label", shown);
    find(".window").textContent = `Here: ${shown}.`;
    const across = find(".across").style, down = find(".down").style, y = rows.indexOf(unit);
    across.top = `${(100 * y) / rows.length}%`;
    across.height = `max(3px, ${100 / rows.length}%)`;
    down.left = `${(100 * (place - from)) / width}%`;
    down.width = `${100 / width}%`;
  }

  function histogram(counts, low, high) {
    const edge = (i) => signed(low + ((high - low) * i) / counts.length), total = counts.reduce((a, b) => a + b);
    const within = (share) => { // the bin up to which there is such a share of all
      let sum = 0;
      return counts.findIndex((count) => (sum += count) >= share * total);
    };
    const most = Math.max(...counts, 1), top = counts.indexOf(most);
    const said = `most often ${edge(top)} to ${edge(top + 1)}; half of them ${edge(within(0.25))} to ${edge(within(0.75) + 1)}`;
    const picture = make("svg", { class: "small", viewBox: "0 0 128 34", role: "img", "aria-label": said });
    counts.forEach((count, i) => {
      const height = (32 * count) / most;
      picture.append(make("rect", { x: 4 * i, y: 33 - height, width: 3.4, height }));
    });
    picture.append(make("line", { class: "grid", x1: 0, x2: 128, y1: 33.5, y2: 33.5 }));
    return picture;
  }

  function spread(one) { // of the chosen unit in a part: its histogram and its mean
    const row = one.units.indexOf(unit), counts = new Array(32).fill(0);
    if (row < 0) return ["not in this page", ""];
    let sum = 0;
    for (let t = 0; t < text.length; t++) {
      const v = value(t, one, row);
      counts[clamp(Math.floor((32 * (v - one.low)) / (one.high - one.low)), 0, 31)] += 1;
      sum += v;
    }
    return [histogram(counts, one.low, one.high), signed(sum / text.length)];
  }

  function drawHistograms() { // what is of the chosen unit is left to drawSpread, so that a button keeps the focus
    const head = make("tr", {}, ...["part", "all units", "saturated low", "high", "mean", "", "mean"]
      .map((name) => make("th", { scope: "col" }, name)));
    const number = (said) => make("td", { class: "number" }, said);
    const percent = (share) => number(`${(100 * share).toFixed(0)} %`);
    const rows = parts.map((one) => {
      const button = make("button", { type: "button" }, one.name);
      button.addEventListener("click", () => setPart(one.name));
      return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, histogram(one.histogram, one.low, one.high)),
        percent(one.saturated[0]), percent(one.saturated[1]), number(signed(one.mean)), make("td"), number(""));
    });
    find(".histograms").append(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  function drawSpread() {
    const [head, ...rows] = root.querySelectorAll(".histograms tr");
    head.cells[5].textContent = `unit ${unit}`;
    rows.forEach((row, i) => spread(parts[i]).forEach((content, n) => row.cells[5 + n].replaceChildren(content)));
  }

  function drawFindings() {
    const box = find(".findings");
    if (!network.findings.length) {
      box.append(make("p", { class: "note" }, "In a text of less than 200 tokens, or one that never changes, nothing can be found."));
      return;
    }
    box.append(make("p", { class: "note" }, "Correlations on the second half of the text, of the unit that the first half " +
      "chose, and of a linear probe of all units that was fitted there. Chance, the mark, is the most that any unit, or a " +
      "probe, reached on text shifted against the states, a hundred times: that keeps the rhythm of both, which shuffled " +
      "text would lose, and so is harder to beat. Beside it an untrained network of the same shape: what it reaches, too, " +
      "the network did not have to learn."));
    const head = make("tr", {}, ...["property", "unit", "goes with it", "chance", "untrained", "all units together", "chance", "untrained"]
      .map((name) => make("th", { scope: "col" }, name)));
    const bar = (r, chance) => {
      const fill = make("i"), mark = make("u"), figure = make("span", { class: "figure", "aria-hidden": "true" }, fill, mark);
      fill.style.width = `${100 * Math.min(1, Math.abs(r))}%`;
      mark.style.left = `${100 * Math.min(1, chance)}%`;
      return make("td", {}, make("span", {}, signed(r).padStart(5, "\u2007")), figure);
    };
    const cell = (number) => make("td", { class: "number" }, signed(number));
    const rows = network.findings.map((f) => {
      const button = make("button", { type: "button", title: f.part }, `${f.part} ${f.unit}`);
      button.addEventListener("click", () => { setPart(f.part); choose(f.unit); find(".text").scrollIntoView({ block: "nearest" }); });
      const shown = parts.find((one) => one.name === f.part).units.includes(f.unit);
      return make("tr", f.claimed ? {} : { class: "no" }, make("th", { scope: "row" }, f.name),
        make("td", {}, f.claimed && shown ? button : "none"), bar(f.r, f.chance), cell(f.chance), cell(f.untrained),
        bar(f.probe, f.probeChance), cell(f.probeChance), cell(f.untrainedProbe));
    });
    box.append(make("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "What units know" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows))));
  }

  function drawNorms() {
    const norms = network.norms;
    if (!norms) {
      find(".norms").replaceChildren(make("p", { class: "note" }, "Nothing was kept: a model without a training run, or one of an earlier release."));
      return;
    }
    const boxes = ["weights", "gradients"].map(() => make("div"));
    find(".norms").replaceChildren(...boxes); // now they have a width
    ["weights", "gradients"].forEach((key, n) => {
      const series = norms.names.map((name, i) => ({ name, x: norms.steps, y: norms[key][i], colour: i % 7, dash: Math.floor(i / 7) }));
      boxes[n].append(make("p", { class: "note" }, `Norm of the ${key}`), lines(series, "step", boxes[n].clientWidth));
    });
  }

  // --- put together

  let waiting = null;
  function later(draw) { // after the text has its colours: only the newest wish counts
    clearTimeout(waiting);
    waiting = setTimeout(draw, 30);
  }

  function arrive(t, scroll) {
    forecast(t);
    find(".strip").setAttribute("aria-valuenow", t);
    find(".strip").setAttribute("aria-valuetext", `${NAMES[text[t]] ?? text[t]}, ${data.unit} ${t}`);
    if (mode === "reach") paint();
    if (scroll) {
      const box = find(".text"), top = spans[t].offsetTop - box.offsetTop;
      if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 40) box.scrollTop = top - box.clientHeight / 2;
    }
    later(() => { drawStrip(); drawHeat(); drawReach(); drawSpread(); });
  }

  function start() {
    for (const one of parts) find(".part").append(make("option", {}, one.name));
    const sort = find(".sort");
    for (const [key, name] of [["best", "best known first"], ["similar", "by similarity"], ["number", "by number"]]) {
      sort.append(make("option", { value: key }, name));
    }
    network.findings.forEach((f, i) => sort.append(make("option", { value: `f${i}` }, `by “${f.name}”`)));
    find(".part").addEventListener("change", (event) => setPart(event.target.value));
    sort.addEventListener("change", () => { sortUnits(); choose(list[0]); });
    for (const input of root.querySelectorAll(".modes input")) {
      input.name = `mode-${index}`;
      input.addEventListener("change", () => views.forEach((one) => one.setMode(input.value))); // to be compared
    }
    find(".units").addEventListener("click", (event) => {
      const option = event.target.closest(".unit");
      if (option) choose(option.unit);
    });
    find(".units").addEventListener("keydown", (event) => {
      const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -list.length, End: list.length }[event.key];
      if (!steps) return;
      next(steps);
      event.preventDefault();
    });
    find(".heat").addEventListener("click", (event) => {
      const box = event.target.getBoundingClientRect(), { width, from } = heatWindow();
      const row = Math.floor((part.order.length * (event.clientY - box.top)) / box.height);
      choose(part.order[clamp(row, 0, part.order.length - 1)]);
      moveTo(clamp(from + Math.floor((width * (event.clientX - box.left)) / box.width), 0, text.length - 1), true);
    });
    find(".strip").addEventListener("click", (event) => {
      const box = event.target.getBoundingClientRect();
      moveTo(clamp(Math.round(((text.length - 1) * (event.clientX - box.left)) / box.width), 0, text.length - 1), true);
    });
    const all = Array.from(surprisal.stored, (one) => one * surprisal.scale);
    const most = all.reduce((best, nats, t) => (nats > all[best] ? t : best), 0);
    const said = all.length ? `, mean ${(all.reduce((a, b) => a + b) / all.length).toFixed(2)} nats, most ${all[most].toFixed(1)} after ${data.unit} ${most}` : "";
    find(".strip").setAttribute("aria-label", `Place in the text. Surprisal over all of it${said}`);
    find(".strip").setAttribute("aria-valuemax", text.length - 1);
    write();
    drawFindings();
    drawHistograms();
    const first = network.findings.find((f) => f.claimed && f.part === part.name && part.units.includes(f.unit));
    if (first) unit = first.unit;
    setPart(part.name);
  }

  const redraw = () => { drawStrip(); drawHeat(); drawReach(); drawNorms(); };
  return { root, network, index, median: medianReach(), spans, start, arrive, redraw, choose, setMode };
}

// --- a chart of lines, on a logarithmic scale ----------------------------------------------------------

function ends(x, y) { // a line in words: where it begins, its middle, where it ends
  const there = x.map((_, i) => i).filter((i) => y[i] !== null && y[i] > 0), n = there.length - 1;
  return [...new Set([there[0], there[n >> 1], there[n]])].map((i) => (n < 0 ? "nothing" : `${figure(y[i])} at ${x[i]}`)).join(", ");
}

function lines(series, xLabel, width) {
  const W = Math.max(280, width), H = 240, left = 46, bottom = 34, top = 8;
  const said = series.map(({ name, x, y }) => `${name}: ${ends(x, y)}`).join("; ");
  const picture = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `By ${xLabel}. ${said}` });
  const fits = (y) => y !== null && y > 0;
  const ys = series.flatMap((s) => s.y.filter(fits)).map(Math.log10), xs = series.flatMap((s) => s.x);
  if (!ys.length) return make("p", { class: "note" }, "There is nothing to draw.");
  let low = Math.floor(Math.min(...ys)), high = Math.ceil(Math.max(...ys));
  if (low === high) high += 1;
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
  const px = (x) => left + ((W - left - 8) * (x - x0)) / (x1 - x0);
  const py = (y) => top + ((H - bottom - top) * (high - Math.log10(y))) / (high - low);
  const every = Math.ceil((high - low) / 6);
  for (let d = low; d <= high; d += every) {
    const y = py(10 ** d);
    picture.append(make("line", { class: "grid", x1: left, x2: W - 8, y1: y, y2: y }),
      make("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, d >= -2 && d <= 3 ? String(+(10 ** d).toFixed(2)) : `1e${d}`));
  }
  for (let i = 0; i <= 4; i++) {
    const x = Math.round(x0 + ((x1 - x0) * i) / 4);
    picture.append(make("text", { x: px(x), y: H - 18, "text-anchor": i === 4 ? "end" : "middle" }, x.toLocaleString("en")));
  }
  picture.append(make("text", { x: (W + left) / 2, y: H - 2, "text-anchor": "middle" }, xLabel));
  const keys = make("ul", { class: "keys" });
  for (const s of series) {
    let path = "", pen = "M";
    s.x.forEach((x, i) => {
      if (!fits(s.y[i])) { pen = "M"; return; }
      path += `${pen}${px(x).toFixed(1)} ${py(s.y[i]).toFixed(1)}`;
      pen = "L";
    });
    const look = { style: `stroke: var(--s${s.colour})`, "stroke-dasharray": DASHES[s.dash] ?? "" };
    picture.append(make("path", { d: path || "M0 0", ...look }));
    keys.append(make("li", {}, make("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, make("path", { d: "M0 5L26 5", ...look })), ` ${s.name}`));
  }
  return make("div", {}, picture, keys);
}

// --- all networks ------------------------------------------------------------------------------------

function moveTo(t, scroll = false) {
  for (const one of views) {
    one.spans[place].removeAttribute("data-here");
    one.spans[t].setAttribute("data-here", "");
  }
  place = t;
  for (const one of views) one.arrive(t, scroll);
}

document.getElementById("source").textContent = data.source;
const main = document.getElementById("networks");
main.classList.toggle("two", data.networks.length > 1);
data.networks.forEach((network, index) => views.push(view(network, index)));
for (const one of views) main.append(one.root);
for (const one of views) one.start();
const again = () => views.forEach((one) => one.redraw());
moveTo(Math.min(text.length - 1, 60));
again();
addEventListener("resize", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
