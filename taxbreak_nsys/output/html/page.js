"use strict";
// Draws the page's charts from its embedded data. Text from the report is always set as text, never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const BINS = 400; // number of time bins: with too many intervals to show each, bins are drawn with their shares
const $ = (selector, root = document) => root.querySelector(selector);
const narrow = () => window.innerWidth < 640;
const PLOT = {displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};

function time(ns) {
  if (ns === null || ns === undefined) return "not measured";
  const size = Math.abs(ns);
  if (size < 1e3) return `${ns} ns`;
  const [sign, factor] = size < 1e6 ? ["us", 1e3] : size < 1e10 ? ["ms", 1e6] : ["s", 1e9];
  const digits = size < 10 * factor ? 3 : 1;
  return `${(ns / factor).toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits})} ${sign}`;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "-");
// plotly interprets some markup in texts, so names from the report are escaped
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
// wraps long names and sentences, at spaces if possible
const wrapped = (text, width = 60) =>
  (text.match(new RegExp(`.{1,${width}}(?=\\s|$)|.{1,${width}}`, "gsu")) || []).map((part) => plain(part.trim())).join("<br>");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {ink: get("--ink"), faint: get("--faint"), line: get("--line"), paper: get("--paper"), accent: get("--accent")};
}

function layout(extra) {
  const t = theme();
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: t.ink, size: 12, family: getComputedStyle(document.body).fontFamily},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: t.faint, activecolor: t.ink},
    margin: {l: 8, r: 8, t: 8, b: 40}, barmode: "overlay", bargap: 0, hovermode: "closest",
    hoverlabel: {align: "left", bgcolor: t.paper, bordercolor: t.faint, font: {color: t.ink, size: 12}},
    showlegend: false, ...extra,
  };
}

const axis = (extra) => ({gridcolor: theme().line, zerolinecolor: theme().line, linecolor: theme().line, ...extra});

// ---- layers of every phase -------------------------------------------------------------------------------

function layerRows() {
  const first = new Map();
  DATA.stacks.forEach((stack, i) => first.has(stack.title) || first.set(stack.title, i));
  // the same phase of several reports side by side
  return [...DATA.stacks].sort((a, b) => first.get(a.title) - first.get(b.title) || a.report - b.report);
}

function drawLayers() {
  const perStep = $("input[name=unit]:checked").value === "step";
  const rows = layerRows(), traces = new Map(), notes = [], t = theme();
  const scale = (stack, ns) => (perStep ? ns / stack.instances / 1e6 : (100 * ns) / stack.wall);
  function bar(key, sort, y, height, from, length, colour, pattern, hover) {
    const id = `${key} ${sort}`;
    if (!traces.has(id)) {
      traces.set(id, {
        type: "bar", orientation: "h", name: id, y: [], x: [], base: [], width: [], hovertext: [], hoverinfo: "text",
        marker: {color: colour, line: {color: t.paper, width: 1}, pattern},
      });
    }
    const trace = traces.get(id);
    trace.y.push(y); trace.base.push(from); trace.x.push(length); trace.width.push(height); trace.hovertext.push(hover);
  }
  rows.forEach((stack, y) => {
    const name = DATA.reports.length > 1 ? `${stack.title} · ${DATA.reports[stack.report]}` : stack.title;
    const known = stack.busy !== null;
    notes.push({
      x: 0, y: y - 0.36, xref: "x", yref: "y", xanchor: "left", yanchor: "middle", showarrow: false, align: "left",
      text: `<b>${plain(name)}</b>  ${time(stack.wall / stack.instances)} per step` +
        (stack.instances > 1 ? ` × ${stack.instances.toLocaleString("en")}` : ""),
    });
    let from = 0;
    const put = (sort, ns, key, pattern, total, exposed) => {
      if (!ns) return;
      const length = scale(stack, ns);
      const hover = `<b>${plain(DATA.titles[key])}</b><br>${time(total / stack.instances)} per step, ` +
        `${percent(total, stack.wall)} of the wall time<br>` +
        (known && exposed !== null ? `exposed ${time(exposed / stack.instances)}, hidden ` +
          `${time((total - exposed) / stack.instances)}` : "exposed time: not measured");
      bar(key, sort, y, 0.42, from, length, DATA.colours[key], pattern, hover);
      from += length;
    };
    const hatch = {shape: "/", fillmode: "overlay", size: 7, solidity: 0.45, fgcolor: t.paper, fgopacity: 0.85};
    const dots = {shape: ".", fillmode: "overlay", size: 6, solidity: 0.3, fgcolor: t.paper};
    for (const [key, ns, exposed] of stack.parts) {
      if (!known || exposed === null) put("unknown", ns, key, dots, ns, null);
      else put("exposed", exposed, key, undefined, ns, exposed);
    }
    if (known) {
      for (const [key, ns, exposed] of stack.parts) if (exposed !== null) put("hidden", ns - exposed, key, hatch, ns, exposed);
      const idle = stack.wall - stack.busy;
      bar("device", "busy", y + 0.31, 0.13, scale(stack, idle), scale(stack, stack.busy), DATA.colours.device, undefined,
        `<b>device busy</b> (with copies and sets)<br>${time(stack.busy / stack.instances)} per step, ${percent(stack.busy, stack.wall)} of the wall time`);
    } else {
      notes.push({
        x: 0, y: y + 0.36, xref: "x", yref: "y", xanchor: "left", yanchor: "middle", showarrow: false,
        font: {size: 11, color: t.faint}, align: "left",
        text: wrapped(`device not measured: ${stack.reason}`, Math.floor(document.body.clientWidth / 8)),
      });
    }
  });
  const height = 62 + rows.length * 74;
  $("#layers-chart").style.height = `${height}px`;
  Plotly.react("layers-chart", [...traces.values()], layout({
    height, annotations: notes, dragmode: false,
    xaxis: axis({title: {text: perStep ? "ms per step" : "% of the wall time"}, rangemode: "tozero", fixedrange: true}),
    yaxis: axis({range: [rows.length - 0.45, -0.55], visible: false, fixedrange: true}),
  }), {...PLOT, displayModeBar: false});
}

// ---- steps of a phase ------------------------------------------------------------------------------------

const hasLine = (group, step) => group.timelines.includes(step);
const findLine = (group, step) => DATA.timelines.find((line) => line.group === group.id && line.step === step);
const groupTitle = (group) => (DATA.reports.length > 1 ? `${DATA.reports[group.report]}: ${group.title}` : group.title);

class Panel {
  constructor(root, group, step) {
    this.root = root;
    this.phase = $(".phase", root);
    this.step = $(".step", root);
    DATA.groups.forEach((g) => this.phase.append(make("option", {value: g.id}, groupTitle(g))));
    this.phase.addEventListener("change", () => this.choose(Number(this.phase.value), null));
    this.step.addEventListener("change", () => this.choose(this.group.id, Number(this.step.value)));
    $(".previous", root).addEventListener("click", () => this.move(-1));
    $(".next", root).addEventListener("click", () => this.move(1));
    for (const button of root.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    }
    $(".gap", root).addEventListener("click", () => this.nextGap());
    this.chart = $(".timeline-chart", root);
    this.chart.addEventListener("keydown", (event) => {
      const what = {ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", Home: "all", Escape: "all"}[event.key];
      if (what) { event.preventDefault(); this.zoom(what); }
    });
    this.choose(group, step);
  }

  choose(id, step) {
    this.group = DATA.groups.find((g) => g.id === id);
    const usual = this.group.timelines.length ? DATA.timelines.find((line) => line.group === id).step : this.group.step[0];
    this.at = step === null ? usual : step;
    this.phase.value = String(id);
    this.step.replaceChildren(...this.group.step.map((number, i) => {
      const out = this.group.out.includes(i) ? ", stands out" : "";
      const none = hasLine(this.group, number) ? "" : " (no timeline)";
      return make("option", {value: number}, `${number}: ${time(this.group.wall[i])}${out}${none}`);
    }));
    this.step.value = String(this.at);
    this.line = findLine(this.group, this.at);
    this.range = this.line ? [0, this.line.span] : [0, 1];
    this.mark = this.gap = null;
    $(".gap-note", this.root).textContent = "";
    this.drawSteps();
    this.drawLine();
    this.fill();
  }

  move(by) {
    const index = this.group.step.indexOf(this.at) + by;
    if (index >= 0 && index < this.group.step.length) this.choose(this.group.id, this.group.step[index]);
  }

  drawSteps() {
    const g = this.group, t = theme(), out = new Set(g.out), chart = $(".steps-chart", this.root);
    const note = $(".steps-note", this.root);
    chart.hidden = g.count < 2;
    note.textContent = g.count < 2 ? "The phase has one step."
      : `${g.count.toLocaleString("en")} steps, median ${time(g.median)}; ` +
        (g.count < 5 ? "too few to say which stand out." :
          g.outOf ? `${g.outOf.toLocaleString("en")} stand out (beyond Tukey's fences and 5 % from the median).` : "none lies beyond Tukey's fences.") +
        " Click a step to see its timeline.";
    if (chart.hidden) return;
    const colour = g.step.map((s, i) => (out.has(i) ? DATA.colours.launch_path : DATA.colours.framework));
    const hover = g.step.map((s, i) => `step ${s}: ${time(g.wall[i])}` + (out.has(i) ? ", stands out" : "") +
      `<br>HDBI ${g.hdbi[i] === null ? "not measured" : g.hdbi[i].toFixed(3)}, ${g.kernels[i].toLocaleString("en")} kernels` +
      `<br>device active ${time(g.active[i])}`);
    const points = {
      type: "scatter", mode: "markers", x: g.step, y: g.wall.map((w) => w / 1e6), hovertext: hover, hoverinfo: "text", name: "steps",
      marker: {
        color: colour, symbol: g.step.map((s, i) => (out.has(i) ? "diamond" : "circle")),
        size: g.step.map((s, i) => (s === this.at ? 14 : out.has(i) ? 10 : 7)),
        line: {color: t.ink, width: g.step.map((s) => (s === this.at ? 2 : 0))},
      },
    };
    const spread = {type: "box", y: points.y, xaxis: "x2", name: "", boxpoints: false, hoverinfo: "y",
      line: {color: t.faint, width: 1}, fillcolor: "rgba(128,128,128,0.2)"};
    Plotly.react(chart, [points, spread], layout({
      height: 210, dragmode: "zoom", margin: {l: 52, r: 8, t: 8, b: 40},
      xaxis: axis({title: {text: "step"}, domain: [0, 0.9], tickformat: ",d", ...(g.count <= 20 ? {dtick: 1} : {})}),
      xaxis2: axis({domain: [0.92, 1], showticklabels: false, fixedrange: true}),
      yaxis: axis({title: {text: "wall, ms"}, rangemode: "tozero"}),
      shapes: [{type: "line", xref: "x domain", x0: 0, x1: 1, y0: g.median / 1e6, y1: g.median / 1e6,
        line: {color: t.faint, width: 1, dash: "dash"}}],
    }), {...PLOT, displayModeBar: false});
    chart.removeAllListeners("plotly_click");
    chart.on("plotly_click", (event) => {
      const point = event.points[0];
      if (point.curveNumber === 0) this.choose(g.id, g.step[point.pointNumber]);
    });
  }

  fill() {
    const i = this.group.step.indexOf(this.at), g = this.group;
    const rows = DATA.states.map((state, s) => [state, g.states[i][s]]).filter((row) => row[1] > 0);
    $(".states tbody", this.root).replaceChildren(...rows.map(([state, ns]) => {
      const swatch = make("span", {class: "swatch"});
      swatch.style.background = DATA.stateColours[state];
      return make("tr", {"data-state": state, "data-ns": ns}, make("td", {}, swatch, state.replace("_", " ")),
        make("td", {}, time(ns)), make("td", {}, percent(ns, g.wall[i])));
    }));
    const hdbi = g.hdbi[i];
    $(".step-note", this.root).textContent = `Step ${this.at} of ${groupTitle(g)}: wall ${time(g.wall[i])}, device active ` +
      `${time(g.active[i])}, HDBI ${hdbi === null ? "not measured" : hdbi.toFixed(3)}, ${g.kernels[i].toLocaleString("en")} kernels.`;
  }

  zoom(what) {
    if (!this.line) return;
    let [a, b] = this.range;
    const width = b - a, middle = (a + b) / 2, span = this.line.span;
    if (what === "all") [a, b] = [0, span];
    if (what === "in") [a, b] = [middle - width / 4, middle + width / 4];
    if (what === "out") [a, b] = [middle - width, middle + width];
    if (what === "left") [a, b] = [a - width / 4, b - width / 4];
    if (what === "right") [a, b] = [a + width / 4, b + width / 4];
    if (b - a >= span) [a, b] = [0, span];
    else if (a < 0) [a, b] = [0, b - a];
    else if (b > span) [a, b] = [a - (b - span), span];
    this.range = [a, b];
    this.drawLine();
  }

  // Shows a part of the step with a frame around it.
  show(from, to, margin, note) {
    const span = this.line.span, wide = Math.max((to - from) * (1 + 2 * margin), Math.min(2000, span)), middle = (from + to) / 2;
    const a = Math.min(Math.max(middle - wide / 2, 0), Math.max(span - wide, 0));
    this.range = [a, Math.min(a + wide, span)];
    this.mark = [from, to];
    $(".gap-note", this.root).textContent = note;
    this.drawLine();
  }

  nextGap() {
    if (!this.line) return;
    const gaps = idleGaps(this.line);
    if (!gaps.length) { $(".gap-note", this.root).textContent = "The device has no idle gap in this step."; return; }
    const after = this.gap === null ? this.range[0] - 1 : this.gap;
    const index = Math.max(gaps.findIndex(([from]) => from > after), 0);
    const [from, to] = gaps[index];
    this.gap = from;
    const host = expand(this.line.host), states = new Map();
    for (let i = between(host, from, to)[0]; i < host.start.length && host.start[i] < to; i++) {
      const part = Math.min(host.start[i] + host.length[i], to) - Math.max(host.start[i], from);
      if (part > 0) states.set(host.kind[i], (states.get(host.kind[i]) || 0) + part);
    }
    const most = [...states].sort((p, q) => q[1] - p[1])[0];
    const doing = most ? `; the host is in ${DATA.states[most[0]].replace("_", " ")} for ${percent(most[1], to - from)} of it` : "";
    const ended = opAt(this.line, to);
    this.show(from, to, 1, `Gap ${index + 1} of ${gaps.length}: ${time(Math.round(to - from))} at ${time(Math.round(from))}${doing}` +
      (ended ? `; ended by ${ended}.` : "."));
  }

  drawLine() {
    const line = this.line, note = $(".line-note", this.root);
    this.chart.hidden = !line;
    if (!line) {
      note.textContent = "This step's timeline is not in the file, to keep it small. It is with " +
        "taxbreak-nsys html --events, or with --start and --end around the step.";
      return;
    }
    const [a, b] = this.range, t = theme(), rows = line.device.length;
    const most = Math.max(100, this.chart.clientWidth / 2); // a bar narrower than two pixels would lie about its width
    const host = expand(line.host), shown = between(host, a, b);
    const traces = [];
    const single = draw(traces, host, shown, most, a, b, "y", (k) => DATA.stateColours[DATA.states[k]], (i) => hostText(host, i),
      (k) => DATA.states[k].replace("_", " "));
    // from the top, in pixels: the host's label and band, then a label and a band for each device row
    const BAND = 110, LABEL = 20, ROW = 34, LEVEL = 18, levels = line.ranges.length;
    const marks = levels ? LABEL + levels * LEVEL : 0, TOP = LABEL + BAND + marks;
    const plot = TOP + Math.max(rows, 1) * (LABEL + ROW);
    const height = plot + 44, at = (pixels) => 1 - pixels / plot;
    const axes = {}, notes = [label("host thread", at(LABEL))];
    let singles = single;
    if (levels) notes.push(label("NVTX ranges", at(LABEL + BAND + LABEL)));
    line.ranges.forEach((row, r) => {
      const high = LABEL + BAND + LABEL + r * LEVEL;
      axes[`yaxis${rows + r + 2}`] = axis({domain: [at(high + LEVEL - 1), at(high)], range: [0, 1], visible: false, fixedrange: true});
      const marked = expand(row);
      singles = draw(traces, marked, between(marked, a, b), most, a, b, `y${rows + r + 2}`, () => DATA.rangeColours[r % DATA.rangeColours.length],
        (i) => rangeText(marked, i), () => "range", (i) => (marked.name[i] >= 0 ? DATA.names[marked.name[i]] : "")) && singles;
    });
    line.device.forEach((row, r) => {
      const high = TOP + LABEL + r * (LABEL + ROW);
      axes[`yaxis${r + 2}`] = axis({domain: [Math.max(at(high + ROW), 0), at(high)], range: [0, 1], visible: false, fixedrange: true});
      const ops = expand(row);
      singles = draw(traces, ops, between(ops, a, b), most, a, b, `y${r + 2}`,
        (k) => (DATA.kinds[k] === "kernel" || DATA.kinds[k] === "graph" ? DATA.colours.device : DATA.colours.memop),
        (i) => opText(ops, i), (k) => DATA.kinds[k], (i) => opName(ops, i)) && singles;
      notes.push(label(row.title, at(high)));
    });
    const below = at(TOP + 8);
    if (line.reason) {
      notes.push({xref: "paper", yref: "paper", x: 0, y: below, xanchor: "left", yanchor: "top", showarrow: false, align: "left",
        text: wrapped(`device not measured: ${line.reason}`, narrow() ? 40 : 80), font: {color: t.ink}});
    } else if (!rows) {
      notes.push({xref: "paper", yref: "paper", x: 0, y: below, xanchor: "left", yanchor: "top", showarrow: false,
        text: "no device operation in this step", font: {color: t.faint}});
    }
    this.chart.style.height = `${height}px`;
    const redraw = (this.drawn = (this.drawn || 0) + 1);
    const options = layout({
      height, dragmode: "zoom", annotations: notes, uniformtext: {minsize: 9, mode: "hide"},
      shapes: this.mark ? [{type: "rect", xref: "x", yref: "paper", x0: this.mark[0] / 1e6, x1: this.mark[1] / 1e6, y0: 0, y1: at(LABEL),
        line: {color: t.accent, width: 2}, fillcolor: t.accent, opacity: 0.18, layer: "below"}] : [], margin: {l: 8, r: 8, t: 0, b: 44},
      xaxis: axis({range: [a / 1e6, b / 1e6], title: {text: "ms from the start of the step"}, anchor: "free", position: 0, exponentformat: "none"}),
      yaxis: axis({domain: [at(LABEL + BAND), at(LABEL)], range: [0, 1], visible: false, fixedrange: true}), ...axes,
    });
    Plotly.react(this.chart, traces, options, {...PLOT, displayModeBar: !narrow()}).then(() => {
      if (this.listening) return;
      this.listening = true;
      this.chart.on("plotly_relayout", (change) => {
        let [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
        if (change["xaxis.range"]) [from, to] = change["xaxis.range"];
        if (change["xaxis.autorange"]) [from, to] = [0, this.line.span / 1e6];
        if (from === undefined) return;
        const next = [Math.max(from * 1e6, 0), Math.min(to * 1e6, this.line.span)];
        if (next[1] - next[0] < 10 || (next[0] === this.range[0] && next[1] === this.range[1])) return;
        this.range = next;
        this.drawLine();
      });
    });
    const what = singles ? "Every interval is drawn." :
      `Drawn as shares of ${time((b - a) / BINS)}: the height of a colour is its part of that stretch. Zoom in to see single intervals.`;
    const thinned = line.width ? ` Neighbours shorter than ${time(line.width)} are drawn together.` : "";
    const hidden = line.hidden ? ` ${line.hidden} more device streams are left out.` : "";
    note.textContent = what + thinned + hidden;
    this.chart.setAttribute("aria-label", `Timeline of step ${this.at} of ${groupTitle(this.group)} from ${time(Math.round(a))} to ` +
      `${time(Math.round(b))}: host states above, device streams below. The table of states follows.`);
    this.chart.dataset.drawn = redraw;
    this.chart.dataset.single = singles;
  }
}

const label = (text, y) => ({xref: "paper", yref: "paper", x: 0, y, xanchor: "left", yanchor: "bottom", showarrow: false,
  text: plain(text), font: {size: 11, color: theme().faint}});

function column(sparse, length) {
  if (Array.isArray(sparse)) return sparse;
  if (sparse.all) return sparse.all;
  const full = new Array(length).fill(sparse.usual);
  let place = 0;
  sparse.skip.forEach((skip, i) => { place += skip; full[place] = sparse.value[i]; });
  return full;
}

function expand(row) {
  if (row.full) return row.full;
  const count = row.d.length, gap = column(row.g, count);
  const start = new Array(count);
  let now = 0;
  for (let i = 0; i < count; i++) { now += gap[i]; start[i] = now; now += row.d[i]; }
  const full = {start, length: row.d, kind: [...row.s].map(Number), name: column(row.n, count), count: column(row.c, count)};
  if (row.k) full.kernel = column(row.k, count);
  if (row.l) full.lead = row.l;
  Object.defineProperty(row, "full", {value: full});
  return full;
}

function between(full, a, b) {
  const find = (moment) => {
    let low = 0, high = full.start.length;
    while (low < high) { const mid = (low + high) >> 1; if (full.start[mid] < moment) low = mid + 1; else high = mid; }
    return low;
  };
  return [Math.max(find(a) - 1, 0), find(b)];
}

// Adds bars to `traces`: single intervals if there are few, otherwise shares in equal time bins.
function draw(traces, full, [low, high], most, a, b, yaxis, colour, text, title, word = null) {
  const single = high - low <= most, byKind = new Map();
  const trace = (kind) => {
    if (!byKind.has(kind)) {
      byKind.set(kind, {type: "bar", x: [], y: [], base: [], width: [], hovertext: [], hoverinfo: "text", yaxis, name: title(kind),
        marker: {color: colour(kind), line: {width: word ? 0.5 : 0, color: theme().paper}},
        ...(word ? {text: [], textposition: "inside", insidetextanchor: "middle", textangle: 0, constraintext: "inside",
          insidetextfont: {size: 11, color: "#ffffff"}, cliponaxis: true} : {})});
    }
    return byKind.get(kind);
  };
  const put = (kind, from, length, base, height, hover, shown = "") => {
    const to = trace(kind);
    to.x.push((from + length / 2) / 1e6); to.width.push(length / 1e6); to.base.push(base); to.y.push(height); to.hovertext.push(hover);
    if (word) to.text.push(shown);
  };
  if (single) {
    for (let i = low; i < high; i++) {
      if (full.start[i] + full.length[i] <= a) continue;
      // a name is drawn if its bar has room for a few letters
      const room = word && (full.length[i] * most * 2) / (b - a) > 34 ? Math.floor((full.length[i] * most * 2) / (b - a) / 6.5) : 0;
      const name = room ? word(i) : "";
      put(full.kind[i], full.start[i], full.length[i], 0, 1, text(i), plain(name.length > room ? `${name.slice(0, Math.max(room - 1, 1))}…` : name));
    }
  } else {
    const width = (b - a) / BINS, sums = Array.from({length: BINS}, () => new Map());
    for (let i = low; i < high; i++) {
      let from = Math.max(full.start[i], a);
      const end = Math.min(full.start[i] + full.length[i], b);
      while (from < end) {
        const bin = Math.min(Math.floor((from - a) / width), BINS - 1);
        const until = bin === BINS - 1 ? end : Math.min(end, Math.max(a + (bin + 1) * width, from + 1e-6));
        sums[bin].set(full.kind[i], (sums[bin].get(full.kind[i]) || 0) + until - from);
        from = until;
      }
    }
    sums.forEach((sum, bin) => {
      const parts = [...sum].sort((p, q) => p[0] - q[0]);
      const hover = parts.map(([kind, ns]) => `${title(kind)} ${percent(ns, width)}`).join("<br>");
      let base = 0;
      for (const [kind, ns] of parts) { put(kind, a + bin * width, width, base, ns / width, hover); base += ns / width; }
    });
  }
  traces.push(...byKind.values());
  return single;
}

function hostText(host, i) {
  const state = DATA.states[host.kind[i]].replace("_", " ");
  if (host.count[i] > 1) return `<b>${state}</b> ${time(host.length[i])}<br>${host.count[i]} intervals drawn as one`;
  const name = host.name[i] >= 0 ? `<br>${wrapped(DATA.names[host.name[i]])}` : "";
  const kernel = host.kernel[i] >= 0 ? `<br>kernel: ${wrapped(DATA.names[host.kernel[i]])}` : "";
  return `<b>${state}</b> ${time(host.length[i])}${name}${kernel}<br>at ${time(host.start[i])}`;
}

const opName = (ops, i) => (ops.name[i] < 0 ? "" : DATA.shorts[ops.name[i]] || DATA.names[ops.name[i]]);

function rangeText(ranges, i) {
  if (ranges.count[i] > 1) return `<b>${ranges.count[i]} ranges</b> drawn as one, ${time(ranges.length[i])}`;
  return `<b>${ranges.name[i] >= 0 ? wrapped(DATA.names[ranges.name[i]]) : "range"}</b><br>${time(ranges.length[i])} at ${time(ranges.start[i])}`;
}

// The idle gaps of the step, in which no device row is busy: [from, to] in order of time.
function idleGaps(line) {
  if (line.gaps) return line.gaps;
  const busy = line.device.flatMap((row) => { const ops = expand(row); return ops.start.map((from, i) => [from, from + ops.length[i]]); });
  busy.sort((p, q) => p[0] - q[0]);
  const gaps = [];
  let reached = 0;
  for (const [from, to] of busy) { if (from > reached) gaps.push([reached, from]); reached = Math.max(reached, to); }
  if (line.span > reached) gaps.push([reached, line.span]);
  const found = line.reason ? [] : gaps;
  Object.defineProperty(line, "gaps", {value: found});
  return found;
}

function opAt(line, moment) {
  for (const row of line.device) {
    const ops = expand(row), i = ops.start.indexOf(moment);
    if (i >= 0) return opName(ops, i) || DATA.kinds[ops.kind[i]];
  }
  return "";
}

// The intervals [from, to] in a step's timeline with the kernel or range that a table's row names.
function places(line, text) {
  const found = [], same = (code) => code >= 0 && (DATA.shorts[code] === text || DATA.names[code] === text || DATA.names[code].replace(/…$/, "") === text.slice(0, DATA.names[code].length - 1));
  for (const row of [...line.ranges, ...line.device]) {
    const full = expand(row);
    full.start.forEach((from, i) => { if (same(full.name[i])) found.push([from, from + full.length[i]]); });
  }
  return found.sort((p, q) => p[0] - q[0]);
}

function findRow(row) {
  const {find, phase, report} = row.dataset, panel = panels[0];
  const lines = DATA.timelines.filter((line) => {
    const group = DATA.groups[line.group];
    return group.phase === phase && String(group.report) === report;
  });
  lines.sort((p, q) => (q === panel.line) - (p === panel.line));
  for (const line of lines) {
    const found = places(line, find);
    if (!found.length) continue;
    if (line !== panel.line) panel.choose(line.group, line.step);
    const again = panel.found && panel.found.find === find && panel.found.line === line;
    const index = again ? (panel.found.index + 1) % found.length : 0;
    panel.found = {find, line, index};
    panel.show(...found[index], 8, `${find}: ${index + 1} of ${found.length} in step ${line.step}. Click the row again for the next.`);
    panel.root.scrollIntoView({block: "start"});
    return;
  }
  $(".gap-note", panel.root).textContent = `${find} is in no timeline of this file.`;
  panel.root.scrollIntoView({block: "start"});
}

// ---- calls -----------------------------------------------------------------------------------------------

function drawFlame() {
  const select = $("#flame"), flame = DATA.flames[Number(select.value)], exposed = $("#flame-exposed").checked;
  const values = exposed ? flame.exposed : flame.ns, ids = flame.label.map((_, i) => String(i));
  const whole = flame.parent.reduce((sum, parent, i) => sum + (parent < 0 ? values[i] : 0), 0);
  const title = flame.title, keep = ids.map((_, i) => values[i] > 0);
  const pick = (list) => list.filter((_, i) => keep[i]);
  Plotly.react("flame-chart", [{
    type: "icicle", branchvalues: "total", sort: false, tiling: {orientation: "v"}, maxdepth: 24, root: {color: "rgba(0,0,0,0)"},
    ids: ["all", ...pick(ids)], labels: [plain(title), ...pick(flame.label.map(plain))],
    parents: ["", ...pick(flame.parent.map((parent) => (parent < 0 ? "all" : String(parent))))],
    values: [whole, ...pick(values)], marker: {colors: [theme().line, ...pick(flame.colour)], line: {width: 1, color: theme().paper}},
    hovertext: ["", ...pick(flame.label.map((name, i) => `<b>${wrapped(name)}</b><br>${plain(flame.module[i])}<br>${time(flame.ns[i])}, ` +
      `${percent(flame.ns[i], flame.ns.reduce((sum, ns, k) => sum + (flame.parent[k] < 0 ? ns : 0), 0))} of the samples' time` +
      (flame.measured ? `<br>exposed ${time(flame.exposed[i])}` : "")))],
    hoverinfo: "text", textfont: {size: 11}, pathbar: {visible: true, side: "top"},
  }], layout({height: 520, margin: {l: 0, r: 0, t: 24, b: 0}, uniformtext: {minsize: 9, mode: "hide"}}), {...PLOT, displayModeBar: false});
  $("#flame-note").textContent = "Callers that only pass one call on are left out." + (flame.left_out ? ` ${flame.left_out.toLocaleString("en")} frames with little time are not drawn either.` : "");
}

function opText(ops, i) {
  const kind = DATA.kinds[ops.kind[i]];
  if (ops.count[i] > 1) return `<b>${kind}</b> ${time(ops.length[i])}<br>${ops.count[i]} operations drawn as one`;
  const name = ops.name[i] >= 0 ? `<br>${wrapped(DATA.names[ops.name[i]])}` : "";
  const lead = ops.lead[i] >= 0 ? `<br>launched ${time(ops.lead[i])} before it began` : "";
  return `<b>${kind}</b> ${time(ops.length[i])}${name}<br>at ${time(ops.start[i])}${lead}`;
}

// ---- tables ----------------------------------------------------------------------------------------------

function sortable(table) {
  const body = table.tBodies[0], count = $(".count", table.closest(".table"));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = $("button", head);
    button.addEventListener("click", () => {
      const number = head.classList.contains("number");
      const down = head.getAttribute("aria-sort") === (number ? "descending" : "ascending") ? number : !number;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      const falling = number ? !down : down;
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[index];
        return number ? (cell.dataset.v === undefined ? null : Number(cell.dataset.v)) : cell.textContent.trim();
      };
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null); // values that are not measured come last
        return (number ? a - b : a.localeCompare(b, "en", {numeric: true})) * (falling ? -1 : 1);
      });
      body.append(...rows.map((row) => row[1]));
    });
  });
  const search = $("input[type=search]", table.closest(".table"));
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${body.rows.length} rows`;
  };
  search.addEventListener("input", filter);
  filter();
  for (const row of body.rows) {
    if (!row.dataset.find) continue;
    row.addEventListener("click", () => findRow(row));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") findRow(row); });
  }
}

// The page contains plotly compressed; the Content-Security-Policy allows its script by hash.
async function unpack() {
  const bytes = Uint8Array.from(atob($("#plotly").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.body.append(script);
}

// ---- start -----------------------------------------------------------------------------------------------

const panels = [];
function drawAll() {
  drawLayers();
  for (const panel of panels) { panel.drawSteps(); panel.drawLine(); }
  if (DATA.flames.length) drawFlame();
}

function start() {
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("input[name=unit]").forEach((input) => input.addEventListener("change", drawLayers));
  drawLayers();
  if (DATA.flames.length) {
    DATA.flames.forEach((flame, i) => $("#flame").append(make("option", {value: i},
      DATA.reports.length > 1 ? `${DATA.reports[flame.report]}: ${flame.title}` : flame.title)));
    $("#flame").value = String(DATA.flames.reduce((best, flame, i) => (sum(flame.ns) > sum(DATA.flames[best].ns) ? i : best), 0));
    for (const input of ["#flame", "#flame-exposed"]) $(input).addEventListener("change", drawFlame);
    drawFlame();
  }
  // open with the longest phase that launches kernels
  const longest = (report) => DATA.groups.filter((g) => g.report === report)
    .sort((a, b) => (sum(b.kernels) > 0) - (sum(a.kernels) > 0) || sum(b.wall) - sum(a.wall))[0];
  const template = $("#panel");
  const add = (group) => {
    const root = template.content.firstElementChild.cloneNode(true);
    $("#panels").append(root);
    panels.push(new Panel(root, group.id, null));
  };
  DATA.reports.forEach((_, report) => { if (report < 2 && longest(report)) add(longest(report)); });
  const second = $("#second");
  const show = () => { second.textContent = panels.length > 1 ? "Close the second timeline" : "Compare with another step"; };
  second.addEventListener("click", () => {
    if (panels.length > 1) { panels.pop().root.remove(); }
    else {
      const g = panels[0].group;
      add(g);
      const slowest = g.timelines.reduce((a, b) => (g.wall[g.step.indexOf(b)] > g.wall[g.step.indexOf(a)] ? b : a), g.timelines[0]);
      panels[1].choose(g.id, slowest);
    }
    show();
  });
  show();
  const dark = window.matchMedia("(prefers-color-scheme: dark)"), button = $("#theme");
  const current = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const name = () => { button.textContent = current() === "dark" ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = current() === "dark" ? "light" : "dark";
    name();
    drawAll();
  });
  dark.addEventListener("change", () => { name(); drawAll(); });
  name();
  document.documentElement.dataset.ready = "yes";
}
unpack().then(start, (error) => {
  document.documentElement.dataset.ready = "failed";
  $("#layers").prepend(make("p", {class: "warn"}, `The charts need a browser of 2023 or later (${error.message}). The numbers and tables do not.`));
});
