// Draws the report's plots from the data in the page. Every number is also in the
// page's tables, so nothing is missing without this script.
"use strict";
(() => {
  const holder = document.getElementById("page-data");
  if (!holder || typeof uPlot === "undefined") return;
  const data = JSON.parse(holder.textContent);
  const root = document.documentElement;

  // ---- numbers as people read them; the same rules as in the page's text

  const NARROW = "\u202f";
  const digits = (v) => {
    const a = Math.abs(v);
    return a >= 100 || a === 0 ? v.toFixed(0) : a >= 10 ? v.toFixed(1) : v.toFixed(2);
  };
  const scaled = (v, base, units) => {
    let at = 0;
    while (at + 1 < units.length && Math.abs(v) >= base * 0.9995) { v /= base; ++at; }
    return digits(v) + NARROW + units[at];
  };
  const grouped = (v) => v.toLocaleString("en-US", { maximumFractionDigits: Math.abs(v) < 10 ? 2 : 0 });
  const units = {
    ns: (v) => v === 0 ? "0" : Math.abs(v) >= 120e9 ? digits(v / 60e9) + NARROW + "min" : scaled(v, 1000, ["ns", "µs", "ms", "s"]),
    bytes: (v) => v === 0 ? "0" : scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]),
    count: grouped,
    per_second: (v) => grouped(v) + "/s",
    cpus: (v) => digits(100 * v) + NARROW + "%",
    "1": grouped, "": grouped,
  };
  const show = (unit, v) => v == null || !Number.isFinite(v) ? "–" : (units[unit] || ((x) => grouped(x) + NARROW + unit))(v);
  const seconds = (s) => s >= 600 ? Math.floor(s / 60) + ":" + String(Math.floor(s % 60)).padStart(2, "0")
                                  : (Math.abs(s) >= 100 || Number.isInteger(s) ? s.toFixed(0) : s.toFixed(1)) + NARROW + "s";

  // "10.0 ms" on an axis is "10 ms".
  const short = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

  // ---- colours, read from the style sheet each time it draws, so that a change of scheme is one redraw

  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const looks = {
    main: { colour: "main", width: 1.75 }, tail: { colour: "tail", width: 1.75 },
    third: { colour: "third", width: 1.25 }, extreme: { colour: "extreme", width: 1 },
  };

  // ---- one zoom for all plots over time

  const timePlots = [], plots = {};
  const whole = { min: 0, max: Math.max(data.end_s, 1e-3) };
  let span = { ...whole };
  const reset = document.getElementById("zoom-reset"), said = document.getElementById("zoom-span");
  function zoom(min, max) {
    const least = (whole.max - whole.min) / 2000;
    min = Math.max(whole.min, Math.min(min, whole.max - least));
    max = Math.min(whole.max, Math.max(max, min + least));
    span = { min, max };
    for (const plot of timePlots) plot.setScale("x", span);
    const all = min <= whole.min && max >= whole.max;
    if (reset) reset.disabled = all;
    if (said) said.textContent = all ? "the whole run, " + seconds(whole.max) : seconds(min) + " to " + seconds(max);
  }
  const unzoom = () => zoom(whole.min, whole.max);
  if (reset) reset.addEventListener("click", unzoom);

  // ---- scales and axes

  const decades = (low, high) => {
    const out = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); ++e) out.push(10 ** e);
    return out.filter((v) => v >= low * 0.999 && v <= high * 1.001);
  };
  const thinned = (splits, most) => {
    const step = Math.ceil(splits.length / most);
    return step > 1 ? splits.filter((_, i) => i % step === 0) : splits;
  };
  const kLinearBelow = 1e4;  // of the signed scale: 10 µs
  const scales = {
    linear: {
      scale: { range: (u, low, high) => [0, high > 0 ? uPlot.rangeNum(0, high, 0.08, true)[1] : 1] },
      axis: {},
    },
    log: {
      scale: { distr: 3, range: (u, low, high) => {
        if (low == null || !(low > 0)) return [1e3, 1e6];
        const a = 10 ** Math.floor(Math.log10(low)), b = 10 ** Math.ceil(Math.log10(high));
        return [a, b > a ? b : a * 10];
      } },
      axis: { splits: (u, i, low, high) => thinned(decades(low, high), 6), filter: (u, splits) => splits },
    },
    signed_log: {
      scale: { distr: 4, asinh: kLinearBelow, range: (u, low, high) => {
        const edge = (v) => 10 ** Math.ceil(Math.log10(Math.max(v, 10 * kLinearBelow)));
        return [low < 0 ? -edge(-low) : 0, high > 0 ? edge(high) : 0];
      } },
      axis: {
        splits: (u, i, low, high) => {
          const above = high > 0 ? decades(10 * kLinearBelow, high) : [];
          const below = low < 0 ? decades(10 * kLinearBelow, -low).map((v) => -v).reverse() : [];
          return [...thinned(below.reverse(), 3).reverse(), 0, ...thinned(above.reverse(), 4).reverse()];
        },
        filter: (u, splits) => splits,
      },
    },
  };
  const font = () => "12px " + getComputedStyle(document.body).fontFamily;
  const line = (extra) => ({
    stroke: () => colour("muted"), font: font(), gap: 6,
    grid: { stroke: () => colour("grid"), width: 1 }, ticks: { show: false }, ...extra,
  });
  const axisY = (unit, extra) => line({
    size: 64, space: 34, values: (u, splits) => splits.map((v) => v == null ? "" : short(show(unit, v))),
    ...(unit === "bytes" ? { incrs: Array.from({ length: 44 }, (_, i) => 2 ** i) } : {}), ...extra,
  });
  const axisTime = () => line({
    size: 26, space: 70, grid: { show: false }, values: (u, splits) => splits.map(seconds),
    incrs: [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400],
  });

  // ---- the slowest replies of a moment, or of a range of latencies

  const slow = (data.slow || []).map((list) => list.replies.map(([ready_s, total_ns, server, client, thread, sender, reader, parts]) => {
    const made_of = [];
    for (let i = 0; i < parts.length; i += 2) made_of.push([data.reply_parts[parts[i]], parts[i + 1]]);
    return { ready_s, sent_s: ready_s + total_ns / 1e9, total_ns, server: list.texts[server], client: list.texts[client],
             thread: list.texts[thread], sender, reader, made_of: made_of.sort((a, b) => b[1] - a[1]) };
  }));
  const hasSlow = slow.some((list) => list.length > 0);
  const nothing = { span: null, moments: [] };
  let picked = nothing, panel = null, pickedFrom = null;
  const kShown = 12;
  /** The parts that make up nine tenths of a reply, as in the table of the slowest replies. */
  function partsInWords(reply) {
    const said = [];
    let told = 0;
    for (const [label, ns] of reply.made_of) {
      if (told * 10 >= reply.total_ns * 9) break;
      told += ns;
      said.push(label + " " + show("ns", ns));
    }
    return said.join("; ");
  }
  const tag = (name, text, className) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  function unpick() {
    if (!panel) return;
    const back = panel.contains(document.activeElement) ? pickedFrom : null;
    panel.remove();
    panel = null;
    picked = nothing;
    for (const plot of timePlots) plot.redraw(false, false);
    if (back) back.focus();
  }
  /** Why there is none: says what was kept of these runs. */
  function whyNone() {
    const limits = data.slow.flatMap((list, r) => {
      const side = data.runs[r].side ? data.runs[r].side + ": " : "";
      if (!slow[r].length) return [side + "this run has none"];
      const least = Math.min(...slow[r].map((reply) => reply.total_ns));
      return slow[r].length < list.most ? [] : [side + "of this run the slowest " + grouped(list.most) + ", all of which took " + show("ns", least) + " and more"];
    });
    return "None was kept here. The " + data.slow_replies_a_tick + " slowest replies of each tick are kept, as the server sees them" +
           (limits.length ? "; " + limits.join("; ") : "") + ".";
  }
  /** `spans`: [from_s, to_s] of each run; null: none of that run. `range`: [above, at most] in ns, or null. */
  function pick(title, spans, range, from, byKey) {
    const found = slow.flatMap((list, r) => list.filter((reply) =>
      spans[r] && reply.sent_s > spans[r][0] && reply.sent_s <= spans[r][1] &&
      (!range || reply.total_ns > range[0] && reply.total_ns <= range[1])).map((reply) => ({ reply, r })))
      .sort((a, b) => b.reply.total_ns - a.reply.total_ns);
    unpick();
    const known = spans.filter(Boolean), from_s = Math.min(...known.map((s) => s[0])), to_s = Math.max(...known.map((s) => s[1]));
    picked = { span: Number.isFinite(from_s) ? [from_s, to_s] : null, moments: found.map((f) => f.reply.sent_s) };
    pickedFrom = from;
    panel = tag("aside", "", "slow-panel");
    panel.setAttribute("aria-label", "Slow replies");
    const head = tag("div", "", "slow-head"), heading = tag("h3", title), close = tag("button", "Close");
    heading.tabIndex = -1;
    close.type = "button";
    close.addEventListener("click", () => { unpick(); from.focus(); });
    panel.addEventListener("keydown", (event) => { if (event.key === "Escape") { unpick(); from.focus(); } });
    head.append(heading, close);
    panel.append(head);
    const note = tag("p", found.length ? "" : whyNone(), "note");
    note.setAttribute("role", "status");
    if (found.length) {
      note.textContent = grouped(found.length) + (found.length === 1 ? " was kept" : " were kept") +
        (found.length > kShown ? "; these are the slowest " + kShown : "") + ". The times are in the server; on the wire a reply takes a little longer.";
      const both = data.runs.length > 1, scroll = tag("div", "", "scroll"), table = tag("table"), headRow = tag("tr"), thead = tag("thead"), body = tag("tbody");
      for (const name of [...(both ? ["Side"] : []), "At", "Took", "Made of", "Server", "Client", "Thread"]) {
        const cell = tag("th", name);
        cell.scope = "col";
        headRow.append(cell);
      }
      thead.append(headRow);
      for (const { reply, r } of found.slice(0, kShown)) {
        const row = tag("tr"), thread = reply.thread + " " + reply.sender + (reply.reader !== reply.sender ? ", read by " + reply.reader : "");
        for (const text of [...(both ? [data.runs[r].side] : []), reply.ready_s.toFixed(2) + NARROW + "s", show("ns", reply.total_ns), partsInWords(reply), reply.server, reply.client || "–", thread])
          row.append(tag("td", text));
        body.append(row);
      }
      table.append(thead, body);
      scroll.append(table);
      scroll.tabIndex = 0;
      panel.append(note, scroll);
    } else {
      panel.append(note);
    }
    document.body.append(panel);
    for (const plot of timePlots) plot.redraw(false, false);
    if (byKey) heading.focus();
  }
  /** For each run, the interval that ends at the point nearest to a moment. */
  const spansAt = (x) => data.runs.map((run) => {
    const times = run.time_s;
    if (!times.length) return null;
    let at = 0;
    for (let i = 1; i < times.length; ++i) if (Math.abs(times[i] - x) < Math.abs(times[at] - x)) at = i;
    return [at ? times[at - 1] : 0, times[at]];
  });
  const spanText = (from, to) => (to - from < 1 ? from.toFixed(2) : seconds(from)) + " to " + (to - from < 1 ? to.toFixed(2) + NARROW + "s" : seconds(to));
  function pickMoment(x, from, byKey) {
    const spans = spansAt(x), known = spans.find(Boolean);
    if (known) pick("Slow replies, " + spanText(known[0], known[1]), spans, null, from, byKey);
  }

  // ---- stages and events on the time axis

  function drawStages(u) {
    const { ctx, bbox } = u;
    ctx.save();
    (data.stages || []).forEach((stage, i) => {
      const a = Math.max(u.valToPos(stage.begin_s, "x", true), bbox.left);
      const b = Math.min(u.valToPos(stage.end_s, "x", true), bbox.left + bbox.width);
      if (b <= a) return;
      if (i % 2 === 0) { ctx.fillStyle = colour("band"); ctx.fillRect(a, bbox.top, b - a, bbox.height); }
      if (u.root.parentElement.dataset.plot !== data.figures[0].id) return;  // named only in the topmost plot
      ctx.fillStyle = colour("muted");
      ctx.font = 11 * uPlot.pxRatio + "px " + getComputedStyle(document.body).fontFamily;
      ctx.textBaseline = "top";
      ctx.save();
      ctx.beginPath(); ctx.rect(a, bbox.top, b - a, bbox.height); ctx.clip();
      ctx.fillText(stage.name, a + 4 * uPlot.pxRatio, bbox.top + 2 * uPlot.pxRatio);
      ctx.restore();
    });
    ctx.restore();
  }
  function drawEvents(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.fillStyle = colour("tail");  // the moments whose slow replies are shown
    if (picked.span) {
      const a = Math.max(u.valToPos(picked.span[0], "x", true), bbox.left);
      const b = Math.min(u.valToPos(picked.span[1], "x", true), bbox.left + bbox.width);
      ctx.globalAlpha = 0.18;
      if (b >= a) ctx.fillRect(a, bbox.top, Math.max(2, b - a), bbox.height);
      ctx.globalAlpha = 1;
    }
    for (const at of picked.moments) {
      const x = u.valToPos(at, "x", true);
      if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x, bbox.top + bbox.height - 7 * uPlot.pxRatio, 1.5 * uPlot.pxRatio, 7 * uPlot.pxRatio);
    }
    ctx.strokeStyle = colour("muted"); ctx.lineWidth = uPlot.pxRatio; ctx.setLineDash([2 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
    for (const event of data.events || []) {
      const x = u.valToPos(event.at_s, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
    }
    ctx.restore();
  }

  // ---- a plot in its place: legend, size, keyboard

  const lightForPrint = { on: false };
  const widthOf = (place) => lightForPrint.on ? 680 : Math.max(240, place.clientWidth);
  const all = [];

  function legendOf(place, entries) {
    const list = document.createElement("ul");
    list.className = "legend";
    const cells = entries.map((entry) => {
      const item = document.createElement("li"), key = document.createElement("i"), value = document.createElement("b");
      key.className = "key " + entry.look + (entry.dashed ? " dashed" : "") + (entry.look === "extreme" ? " thin" : "");
      if (!entry.bare) item.append(key);
      item.append(entry.label + " ", value);
      list.append(item);
      return value;
    });
    place.parentElement.querySelector("figcaption").append(list);
    return cells;
  }

  /** Cursor by arrows; for plots over time + and - zoom around it, Shift moves the view, 0 shows all. */
  function keys(place, plot, overTime) {
    place.tabIndex = 0;
    place.setAttribute("role", "group");
    place.addEventListener("keydown", (event) => {
      const xs = plot.data[0], scale = plot.scales.x;
      const visible = (i) => xs[i] >= scale.min && xs[i] <= scale.max;
      let at = plot.cursor.idx ?? xs.findIndex((_, i) => visible(i));
      const width = span.max - span.min, centre = xs[at] >= span.min && xs[at] <= span.max ? xs[at] : (span.min + span.max) / 2;
      const step = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
      if (step && event.shiftKey && overTime) {
        const by = Math.max(whole.min - span.min, Math.min(step * width / 4, whole.max - span.max));
        zoom(span.min + by, span.max + by);
      } else if (step) {
        const next = plot.cursor.idx == null ? at : at + step;
        if (next >= 0 && next < xs.length && visible(next)) at = next;
        plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: 1 }, true);
      } else if (overTime && (event.key === "+" || event.key === "=")) {
        zoom(centre - width / 4, centre + width / 4);
      } else if (overTime && event.key === "-") {
        zoom(centre - width, centre + width);
      } else if (event.key === "Enter" && plot.pick && plot.cursor.idx != null) {
        plot.pick(plot.cursor.idx, true);
      } else if (event.key === "Escape" && panel) {
        unpick();
      } else if (overTime && (event.key === "0" || event.key === "Escape")) {
        unzoom();
      } else {
        return;
      }
      event.preventDefault();
    });
  }

  const overTime = {
    cursor: {
      sync: { key: "time", filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => { unzoom(); return null; } },
    },
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        zoom(from, to);
      }],
      drawClear: [drawStages], draw: [drawEvents],
    },
  };

  function make(place, name, options, values, isOverTime) {
    const height = options.height;
    const cursor = { y: false, points: { size: 6 }, ...(isOverTime ? overTime.cursor : { drag: { x: false, y: false } }) };
    const hooks = {};
    for (const from of [isOverTime ? overTime.hooks : {}, options.hooks || {}])
      for (const [hook, list] of Object.entries(from)) hooks[hook] = [...(hooks[hook] || []), ...list];
    const plot = new uPlot({
      ...options, width: widthOf(place), legend: { show: false }, padding: [8, 10, 0, 0], cursor, hooks,
    }, values, place);
    if (isOverTime) timePlots.push(plot);
    plots[name] = plot;
    all.push({ plot, place, height });
    keys(place, plot, isOverTime);
    if (hasSlow && options.pick !== null) {
      plot.pick = options.pick || (isOverTime ? (idx, byKey) => pickMoment(plot.data[0][idx], place, byKey) : undefined);
      let down = null;
      plot.over.addEventListener("mousedown", (event) => { down = event.clientX; });
      plot.over.addEventListener("click", (event) => {  // and no drag
        if (plot.pick && down != null && Math.abs(event.clientX - down) < 4 && plot.cursor.idx != null) plot.pick(plot.cursor.idx, false);
      });
    }
    return plot;
  }

  const place = (name) => document.querySelector('.plot[data-plot="' + name + '"]');

  // ---- curves over time

  for (const figure of data.figures) {
    const at = place(figure.id);
    if (!at) continue;
    const tables = data.runs.map((run, r) => [run.time_s, ...figure.lines.filter((l) => l.run === r).map((l) => l.values)])
      .filter((table) => table.length > 1);
    const lines = data.runs.flatMap((run, r) => figure.lines.filter((l) => l.run === r));
    const joined = tables.length > 1 ? uPlot.join(tables, tables.map((t) => t.map(() => 1))) : tables[0];
    const positive = figure.scale === "log" ? joined.map((v, i) => i ? v.map((x) => x === undefined ? x : x > 0 ? x : null) : v) : joined;
    const cells = legendOf(at, lines);
    const scale = scales[figure.scale];
    make(at, figure.id, {
      height: figure.small ? 150 : figure.id === "flows" ? 190 : 168,
      scales: { x: { time: false, range: () => [span.min, span.max] }, y: scale.scale },
      axes: [axisTime(), axisY(figure.unit, scale.axis)],
      series: [{}, ...lines.map((l) => ({
        stroke: () => colour(looks[l.look].colour), width: looks[l.look].width, dash: l.dashed ? [5, 4] : undefined,
        points: { show: positive[0].length < 3 },
      }))],
      hooks: { setCursor: [(u) => cells.forEach((cell, i) => {
        let idx = u.cursor.idx;
        if (idx != null && u.data[i + 1][idx] === undefined) {  // a moment of the other run: take the nearest of this one
          for (let d = 1; d < 40 && u.data[i + 1][idx] === undefined; ++d)
            idx = u.data[i + 1][u.cursor.idx - d] !== undefined ? u.cursor.idx - d : u.cursor.idx + d;
        }
        cell.textContent = idx == null ? "" : show(figure.unit, u.data[i + 1][idx]);
      })] },
    }, positive, true);
  }

  // ---- heat maps: how many samples fell where

  for (const heat of data.heats) {
    const at = place(heat.id);
    if (!at || !heat.columns.length) continue;
    let least = Infinity, most = -Infinity, top = 1;
    const byColumn = heat.columns.map(() => new Map());
    for (let i = 0; i < heat.cells.length; i += 3) {
      const [c, r, n] = [heat.cells[i], heat.cells[i + 1], heat.cells[i + 2]];
      if (r > 0) { least = Math.min(least, r); most = Math.max(most, r); }
      top = Math.max(top, n);
      byColumn[c].set(r, n);
    }
    // A logarithmic scale has no zero, so zeros have a row of their own at the bottom.
    const zeros = least === Infinity || byColumn.some((rows) => rows.has(0));
    if (least === Infinity) least = most = 2;
    const bottom = zeros ? Math.max(0, least - 2) : least;
    const place_of = (r) => r === 0 ? bottom : r;
    const low = 2 ** (bottom / 4), high = 2 ** ((most + 1) / 4);
    const [cell] = legendOf(at, [{ label: "", look: "main", bare: true }]);
    const ofReplies = heat.id.startsWith("heat-reply_latency_ns-"), ofRun = Number(heat.id.slice(heat.id.lastIndexOf("-") + 1));
    const plot = make(at, heat.id, {
      height: 168,
      // The mouse selects a cell, with its time and latencies; the keyboard selects a column.
      pick: ofReplies ? (idx, byKey) => {
        const column = heat.columns[idx], spans = data.runs.map((_, r) => r === ofRun ? column : null);
        const r = byKey || plot.cursor.top < 0 ? null : Math.floor(4 * Math.log2(plot.posToVal(plot.cursor.top, "y")));
        const range = r == null ? null : zeros && r < least ? [-1, 0] : [2 ** (r / 4), 2 ** ((r + 1) / 4)];
        pick("Slow replies, " + spanText(column[0], column[1]) + (range ? ", " + show("ns", Math.max(0, range[0])) + " to " + show("ns", range[1]) : ""), spans, range, at, byKey);
      } : undefined,
      scales: { x: { time: false, range: () => [span.min, span.max] }, y: { distr: 3, range: () => [low, high] } },
      axes: [axisTime(), axisY("ns", { ...scales.log.axis, splits: (u, i, a, b) => scales.log.axis.splits(u, i, 2 ** (least / 4), b) })],
      series: [{}, { stroke: "transparent", paths: () => null, points: { show: false } }],
      hooks: {
        drawAxes: [(u) => {
          const { ctx, bbox } = u;
          ctx.save();
          ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
          ctx.fillStyle = colour("main");
          heat.columns.forEach(([from, to], c) => {
            const x0 = Math.round(u.valToPos(from, "x", true)), x1 = Math.round(u.valToPos(to, "x", true));
            if (x1 < bbox.left || x0 > bbox.left + bbox.width) return;
            for (const [row, n] of byColumn[c]) {
              const r = place_of(row);
              const y0 = Math.round(u.valToPos(2 ** ((r + 1) / 4), "y", true)), y1 = Math.round(u.valToPos(2 ** (r / 4), "y", true));
              ctx.globalAlpha = 0.1 + 0.9 * Math.log1p(n) / Math.log1p(top);
              ctx.fillRect(x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
            }
          });
          ctx.restore();
        }],
        setCursor: [(u) => {
          if (u.cursor.left == null || u.cursor.left < 0) { cell.textContent = ""; return; }
          const x = u.posToVal(u.cursor.left, "x"), r = Math.floor(4 * Math.log2(u.posToVal(u.cursor.top, "y")));
          const c = heat.columns.findIndex(([from, to]) => x >= from && x < to);
          const own = u.cursor.event != null && u.over.matches(":hover");
          const zero = zeros && r < least;
          cell.textContent = c < 0 || !own ? "" : grouped(byColumn[c].get(zero ? 0 : r) || 0) + (zero ? " of 0" :
            " between " + show("ns", 2 ** (r / 4)) + " and " + show("ns", 2 ** ((r + 1) / 4)));
        }],
      },
    }, [heat.columns.map(([from, to]) => (from + to) / 2), heat.columns.map((_, c) => byColumn[c].size ? low : null)], true);
  }

  // ---- when flows were there

  for (const grid of data.lives) {
    const at = place(grid.id);
    if (!at || !grid.rows.length) continue;
    const rows = grid.rows.map((text) => Array.from(text, (c) => "0123456789".indexOf(c) / 9));
    const columns = rows[0].length, width = grid.end_s / columns;
    const [cell] = legendOf(at, [{ label: "", look: "main", bare: true }]);
    make(at, grid.id, {
      height: Math.max(100, Math.min(210, 60 + rows.length * 3)),
      scales: { x: { time: false, range: () => [span.min, span.max] }, y: { dir: -1, range: () => [0, grid.flows] } },
      axes: [axisTime(), axisY("count", {})],
      series: [{}, { stroke: "transparent", paths: () => null, points: { show: false } }],
      hooks: {
        drawAxes: [(u) => {
          const { ctx, bbox } = u;
          ctx.save();
          ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
          let before = 0;
          rows.forEach((row, r) => {
            const y0 = u.valToPos(before, "y", true), y1 = u.valToPos(before += grid.group_sizes[r], "y", true);
            ctx.fillStyle = colour(grid.missed[r] > 0 ? "tail" : "third");
            const gap = grid.group_sizes[r] === 1 && y1 - y0 > 3 * uPlot.pxRatio ? uPlot.pxRatio : 0;
            row.forEach((share, c) => {
              if (share === 0) return;
              const x0 = Math.floor(u.valToPos(c * width, "x", true)), x1 = Math.floor(u.valToPos((c + 1) * width, "x", true));
              ctx.globalAlpha = 0.12 + 0.6 * share;
              ctx.fillRect(x0, Math.floor(y0), x1 - x0, Math.max(1, Math.floor(y1) - Math.floor(y0) - gap));
            });
          });
          ctx.restore();
        }],
        setCursor: [(u) => {
          if (u.cursor.left == null || u.cursor.left < 0) { cell.textContent = ""; return; }
          const c = Math.min(columns - 1, Math.max(0, Math.floor(u.posToVal(u.cursor.left, "x") / width)));
          const there = rows.reduce((sum, row, r) => sum + row[c] * grid.group_sizes[r], 0);
          cell.textContent = "about " + grouped(Math.round(there)) + " of " + grouped(grid.flows);
        }],
      },
    }, [rows[0].map((_, c) => (c + 0.5) * width), rows[0].map(() => 0)], true);
  }

  // ---- latency by percentile: each step to the right is a tenth as many samples

  const kOfReplies = ["reply_latency_ns", "reply_ns"];
  for (const figure of data.percentiles) {
    const at = place(figure.id);
    if (!at || !figure.lines.length) continue;
    const joined = figure.lines.length > 1 ? uPlot.join(figure.lines.map((l) => [l.at, l.values]), figure.lines.map(() => [1, 1]))
                                           : [figure.lines[0].at, figure.lines[0].values];
    const cells = legendOf(at, figure.lines);
    const end = Math.max(1, ...figure.lines.map((l) => l.at[l.at.length - 1]));
    const named = [0, Math.log10(2), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const name = (x) => x === 0 ? "min" : x < 1 ? "p50" : "p" + (x < 3 ? (100 - 10 ** (2 - x)).toFixed(0) : (100 - 10 ** (2 - x)).toFixed(x - 2));
    const plot = make(at, figure.id, {
      height: figure.lines.length > 2 ? 270 : 220,
      // The mouse selects the nearest line; the keyboard selects the first line of replies.
      pick: figure.lines.some((l) => kOfReplies.includes(l.latency)) ? (idx, byKey) => {
        const valueAt = (l, i) => { let v = plot.data[l + 1][i]; for (let d = 1; v == null && d <= i; ++d) v = plot.data[l + 1][i - d]; return v; };
        let best = -1, distance = Infinity;
        figure.lines.forEach((l, i) => {
          const v = valueAt(i, idx), of = kOfReplies.includes(l.latency);
          if (v == null || byKey && !of) return;
          const away = byKey ? i : Math.abs(plot.valToPos(Math.max(v, 1), "y") - plot.cursor.top);
          if (away < distance) { distance = away; best = i; }
        });
        if (best < 0) return;
        const chosen = figure.lines[best];
        if (!kOfReplies.includes(chosen.latency)) return;
        const i = chosen.values.indexOf(valueAt(best, idx)), above = i > 0 ? chosen.values[i - 1] : 0, most = chosen.values[i];
        pick("Slow replies, " + show("ns", above) + " to " + show("ns", most), data.runs.map((_, r) => r === chosen.run ? [-Infinity, Infinity] : null), [above, most], at, byKey);
      } : null,
      scales: { x: { time: false, range: () => [0, end] }, y: scales.log.scale },
      axes: [line({ size: 26, splits: () => named.filter((x) => x <= end), values: (u, splits) => splits.map((x) => x === 0 && u.width < 480 ? "" : name(x)) }), axisY("ns", scales.log.axis)],
      series: [{}, ...figure.lines.map((l) => ({
        stroke: () => colour(looks[l.look].colour), width: looks[l.look].width, dash: l.dashed ? [5, 4] : undefined, points: { show: false },
      }))],
      hooks: { setCursor: [(u) => {
        const idx = u.cursor.idx;
        cells.forEach((cell, i) => {
          let v = idx == null ? null : u.data[i + 1][idx];
          for (let d = 1; idx != null && v === undefined && d < 40; ++d) v = u.data[i + 1][idx - d];
          cell.textContent = v == null ? "" : show("ns", v);
        });
      }] },
    }, joined, false);
  }

  // ---- a metric from run to run

  for (const curve of data.history) {
    const at = place(curve.id);
    if (!at) continue;
    const xs = curve.values.map((_, i) => i);
    const [cell] = legendOf(at, [{ label: "", look: "main", bare: true }]);
    const ends = [...curve.changes.map((c) => c.index), xs.length];
    make(at, curve.id, {
      height: 150,
      scales: { x: { time: false, range: () => [-0.5, xs.length - 0.5] }, y: scales.linear.scale },
      axes: [line({ size: 26, space: 60, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10000], values: (u, splits) => splits.map((v) => Number.isInteger(v) && v >= 0 && v < xs.length ? String(v) : "") }),
             axisY(curve.unit, {})],
      series: [{}, { stroke: () => colour("main"), width: 1, points: { show: true, size: 5, width: 1, stroke: () => colour("main"), fill: () => colour("page") }, spanGaps: true }],
      hooks: {
        draw: [(u) => {
          const { ctx, bbox } = u;
          ctx.save();
          ctx.lineWidth = 2 * uPlot.pxRatio;
          curve.changes.forEach((change, i) => {
            const x = u.valToPos(change.index - 0.5, "x", true), y = u.valToPos(change.after, "y", true);
            ctx.strokeStyle = colour(change.worse ? "bad" : "good");
            ctx.setLineDash([3 * uPlot.pxRatio, 3 * uPlot.pxRatio]);
            ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
            ctx.setLineDash([]);
            ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(u.valToPos(ends[i + 1] - 0.5, "x", true), y); ctx.stroke();
          });
          ctx.restore();
        }],
        setCursor: [(u) => {
          const idx = u.cursor.idx;
          cell.textContent = idx == null ? "" : data.history_runs[idx] + ": " + show(curve.unit, curve.values[idx]);
        }],
      },
    }, [xs, curve.values], false);
  }

  // ---- size, scheme, paper

  const others = [];  // other drawings that depend on width and colours: flame graphs
  const fit = () => { for (const { plot, place: at, height } of all) plot.setSize({ width: widthOf(at), height }); for (const draw of others) draw(); };
  // The print layout does not exist yet when printing is announced: plots take the widths of an A4 page, and the style stretches
  // them to the actual width.
  const fitPaper = () => { for (const { plot, place: at, height } of all) plot.setSize({ width: at.closest(".columns") ? 345 : 718, height }); };
  let pending = false;
  new ResizeObserver(() => {
    if (pending || lightForPrint.on) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; fit(); });
  }).observe(document.querySelector("main"));
  const redraw = () => { for (const { plot } of all) plot.redraw(false, true); for (const draw of others) draw(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // Paper has all findings with their evidence: nobody can unfold them there.
  const unfolded = [];
  const unfold = () => {
    for (const cause of document.querySelectorAll(".causes details:not([open])")) { cause.open = true; unfolded.push(cause); }
  };
  const foldAgain = () => { while (unfolded.length > 0) unfolded.pop().open = false; };
  addEventListener("beforeprint", () => { lightForPrint.on = true; root.dataset.theme = "light"; unfold(); fitPaper(); redraw(); });
  addEventListener("afterprint", () => { lightForPrint.on = false; delete root.dataset.theme; foldAgain(); fit(); redraw(); });
  unzoom();
  const hint = document.querySelector(".toolbar .hint");
  if (hint && hasSlow) hint.textContent += " Click a moment, a cell or a percentile, or press Enter at the cursor, to list the slow replies there.";

  // For flame.js, for tests and for the curious at the console.
  window.topspinPage = {
    data, plots, timePlots, zoom, unzoom, span: () => ({ ...span }),
    show, colour, widthOf, onPaper: () => lightForPrint.on, onLayout: (draw) => others.push(draw),
  };
})();
