// Draws flame graphs of one run, or of B against A. The data and a table of functions for each graph
// are already in the page. Runs after page.js.
"use strict";
(() => {
  const page = window.topspinPage;
  if (!page) return;
  const { data, show, colour, onLayout } = page;
  const ROW = 19, LEAST_PX = 0.6, LEAST_TEXT_PX = 30;
  const percent = (share) => (share >= 0.0995 ? (100 * share).toFixed(1) : (100 * share).toFixed(2)) + "\u202f%";
  const points = (share) => (share < 0 ? "\u2212" : "+") + Math.abs(100 * share).toFixed(2) + " points";
  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };
  const button = (text) => { const made = element("button", "", text); made.type = "button"; return made; };

  /** The tree: each frame comes after its caller. */
  function unfold(flame) {
    const per = 2 + 2 * flame.sides, frames = [];
    for (let i = 0; i * per < flame.frames.length; ++i) {
      const [parent, name, ...numbers] = flame.frames.slice(i * per, (i + 1) * per);
      const frame = { index: i, parent: i ? frames[parent] : null, name: flame.names[name], weight: [], self: [], calls: [] };
      for (let side = 0; side < flame.sides; ++side) { frame.weight.push(numbers[2 * side]); frame.self.push(numbers[2 * side + 1]); }
      frame.depth = i ? frame.parent.depth + 1 : 0;
      if (i) frame.parent.calls.push(frame);
      frames.push(frame);
    }
    for (const frame of frames) frame.share = frame.weight.map((w, side) => frames[0].weight[side] > 0 ? w / frames[0].weight[side] : 0);
    return frames;
  }

  /** How a frame's share changed: -1 (half or less) to 1 (twice or more); 0 if it may be chance. */
  function change(flame, frames, frame) {
    const [a, b] = frame.share;
    if (flame.sleep) {
      if (Math.abs(b - a) < 0.1 * Math.max(a, b)) return 0;
    } else {
      const [n, m] = frames[0].weight;
      if (Math.abs(b - a) < 2 * Math.sqrt(a * (1 - a) / n + b * (1 - b) / m)) return 0;
    }
    return a === 0 ? 1 : b === 0 ? -1 : Math.max(-1, Math.min(1, Math.log2(b / a)));
  }

  function shade(name) {  // the same function has the same shade everywhere
    let hash = 0;
    for (let i = 0; i < name.length; ++i) hash = (hash * 31 + name.charCodeAt(i)) % 997;
    return hash / 997;
  }

  function build(flame) {
    const place = document.querySelector('.plot[data-plot="' + flame.id + '"]');
    if (!place || !flame.frames.length) return;
    const frames = unfold(flame), both = flame.sides === 2;
    let zoomed = frames[0], current = null, wide = flame.sides - 1, wanted = "", rows = [], pointed = null;
    for (const frame of frames) frame.change = both ? change(flame, frames, frame) : 0;

    // ---- around the graph: title, buttons, search

    const bar = element("div", "flame-bar"), all = button("Show all"), search = element("input"), found = element("span");
    search.type = "search";
    search.placeholder = "Search functions";
    search.setAttribute("aria-label", "Search functions");
    found.setAttribute("role", "status");
    bar.append(all, search, found);
    const widths = [];
    if (both) {
      const group = element("span", "flame-sides", "Width by ");
      for (const side of [0, 1]) {
        const made = button("AB"[side]);
        made.addEventListener("click", () => { wide = side; draw(); });
        widths[side] = made;
        group.append(made);
      }
      bar.append(group);
    }
    const legend = element("ul", "legend flame-legend");
    const key = (className, text) => {
      const item = element("li", "", ""), box = element("i", "swatch " + className);
      item.append(box, text);
      legend.append(item);
    };
    if (both) {
      key("less", "a smaller share in B"); key("none", flame.sleep ? "within a tenth" : "no more than chance"); key("more", "a larger share in B (deepest: twice)");
    } else {
      key("main", "program"); key("third", "kernel"); key("none", "thread" + (flame.sleep ? ", reason" : ""));
    }
    place.parentElement.querySelector("figcaption").append(legend);
    const box = element("div", "flame-box"), canvas = element("canvas"), tip = element("div", "flame-tip"), said = element("p", "flame-said");
    box.tabIndex = 0;
    box.setAttribute("role", "application");
    box.setAttribute("aria-label", "Flame graph. Arrows move between functions, Enter zooms, Escape shows all.");
    said.setAttribute("role", "status");
    tip.hidden = true;
    box.append(canvas);
    place.classList.add("flame");
    place.before(bar);
    place.append(box, tip, said);
    const hint = "Click a box to zoom. By keyboard: arrows move, Enter zooms, Escape shows all, / searches.";

    // ---- words

    const amount = (weight) => flame.sleep ? show("ns", weight) : show("count", weight) + (weight === 1 ? " sample" : " samples");
    function words(frame) {
      if (!both) {
        const own = frame.self[0] > 0 && frame.calls.length ? ", itself " + percent(frame.self[0] / frames[0].weight[0]) : "";
        return [frame.name, percent(frame.share[0]) + " (" + amount(frame.weight[0]) + ")" + own];
      }
      const [a, b] = frame.share;
      const times = a > 0 && b > 0 ? ", " + (b / a).toFixed(2) + " times" : a > 0 ? ", gone in B" : b > 0 ? ", new in B" : "";
      return [frame.name, "B " + percent(b) + ", A " + percent(a) + ": " + points(b - a) + times +
              (frame.change === 0 && frame.index ? (flame.sleep ? " (within a tenth)" : " (no more than chance)") : "")];
    }

    // ---- the graph

    const matches = (frame) => wanted !== "" && frame.name.toLowerCase().includes(wanted);
    function fill(frame) {
      if (matches(frame)) return ["open", 0.5];
      if (both) return frame.change === 0 ? ["extreme", 0.28] : [frame.change > 0 ? "tail" : "main", 0.18 + 0.38 * Math.abs(frame.change)];
      const reason = flame.sleep && !frame.calls.length && /^\[.*\]$/.test(frame.name);
      if (frame.depth < 2 || reason) return ["extreme", 0.28];  // all, a thread, what it slept for
      return [frame.name.endsWith("_[k]") ? "third" : "main", 0.2 + 0.3 * shade(frame.name)];
    }
    /** Boxes by row, in pixels, without those that are too narrow to see. */
    function layOut(width) {
      rows = [];
      const total = zoomed.weight[wide] || 1;
      const put = (frame, x, w) => {
        (rows[frame.depth] = rows[frame.depth] || []).push({ frame, x, w });
      };
      for (let up = zoomed.parent; up; up = up.parent) put(up, 0, width);
      const descend = (frame, x) => {
        const w = frame.weight[wide] / total * width;
        if (w < LEAST_PX) return;
        put(frame, x, w);
        let at = x;
        for (const call of frame.calls) { descend(call, at); at += call.weight[wide] / total * width; }
      };
      descend(zoomed, 0);
    }
    function cutText(ctx, text, width) {
      if (ctx.measureText(text).width <= width) return text;
      let low = 0, high = text.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (ctx.measureText(text.slice(0, middle) + "…").width <= width) low = middle; else high = middle - 1;
      }
      return low > 2 ? text.slice(0, low) + "…" : "";
    }
    function draw() {
      const width = page.widthOf(place), scale = Math.max(devicePixelRatio || 1, page.onPaper() ? 2 : 1);
      layOut(width);
      const height = rows.length * ROW + 1;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = width + "px";
      canvas.style.height = height + "px";
      const ctx = canvas.getContext("2d");
      ctx.setTransform(scale, 0, 0, scale, 0, 0);
      ctx.font = "12px " + getComputedStyle(document.body).fontFamily;
      ctx.textBaseline = "middle";
      const paint = Object.fromEntries(["text", "main", "tail", "third", "extreme", "open"].map((name) => [name, colour(name)]));
      rows.forEach((row, depth) => {
        const y = depth * ROW;
        for (const { frame, x, w } of row) {
          const [name, alpha] = fill(frame);
          const inner = w > 2 ? w - 1 : w;
          ctx.globalAlpha = frame.depth < zoomed.depth ? alpha * 0.5 : alpha;
          ctx.fillStyle = paint[name];
          ctx.fillRect(x, y, inner, ROW - 1);
          ctx.globalAlpha = 1;
          if (frame === current || frame === pointed) {
            ctx.strokeStyle = paint.text;
            ctx.lineWidth = frame === current ? 2 : 1;
            ctx.strokeRect(x + 1, y + 1, Math.max(1, inner - 2), ROW - 3);
          }
          if (w < LEAST_TEXT_PX) continue;
          ctx.fillStyle = paint.text;
          const label = cutText(ctx, frame.name, inner - 8);
          if (label) ctx.fillText(label, x + 4, y + ROW / 2);
        }
      });
      all.disabled = zoomed === frames[0];
      widths.forEach((made, side) => made.setAttribute("aria-pressed", String(side === wide)));
      said.textContent = current ? words(current).join(": ") : hint;
      said.classList.toggle("is-hint", !current);
      canvas.setAttribute("aria-hidden", "true");
    }
    const boxOf = (frame) => (rows[frame.depth] || []).find((one) => one.frame === frame);
    function zoom(frame) {
      if (!(frame.weight[wide] > 0)) return;
      zoomed = frame;
      draw();
    }
    function select(frame) {
      current = frame;
      draw();
      const top = frame.depth * ROW;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
    }
    function seek(text) {
      wanted = text.trim().toLowerCase();
      let share = 0, boxes = 0;
      const count = (frame, inside) => {
        const is = matches(frame);
        boxes += is ? 1 : 0;
        if (is && !inside) share += frame.share[wide];
        for (const call of frame.calls) count(call, inside || is);
      };
      if (wanted) count(frames[0], false);
      found.textContent = wanted ? (boxes ? show("count", boxes) + (boxes === 1 ? " box, " : " boxes, ") + percent(share) : "none") : "";
      draw();
    }

    // ---- mouse and keyboard

    function under(event) {
      const at = canvas.getBoundingClientRect();
      const row = rows[Math.floor((event.clientY - at.top) / ROW)] || [], x = event.clientX - at.left;
      const hit = row.find((one) => x >= one.x && x < one.x + Math.max(one.w, 2));
      return hit ? hit.frame : null;
    }
    canvas.addEventListener("mousemove", (event) => {
      const frame = under(event);
      if (frame !== pointed) { pointed = frame; draw(); }
      tip.hidden = !frame;
      if (!frame) return;
      tip.replaceChildren(...words(frame).map((line, i) => element(i ? "span" : "b", "", line)));
      const at = place.getBoundingClientRect();
      const left = Math.max(0, Math.min(event.clientX - at.left + 12, at.width - tip.offsetWidth));
      tip.style.left = left + "px";
      tip.style.top = event.clientY - at.top + 16 + "px";
    });
    canvas.addEventListener("mouseleave", () => { pointed = null; tip.hidden = true; draw(); });
    canvas.addEventListener("click", (event) => {
      const frame = under(event);
      if (!frame) return;
      current = frame;
      zoom(frame);
    });
    all.addEventListener("click", () => { zoom(frames[0]); box.focus(); });
    search.addEventListener("input", () => seek(search.value));
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      if (event.key === "Escape") { search.value = ""; seek(""); box.focus(); return; }
      const seen = rows.flat().map((one) => one.frame).filter(matches);
      if (!seen.length) return;
      select(seen[(seen.indexOf(current) + 1) % seen.length]);
    });
    box.addEventListener("keydown", (event) => {
      const widest = (list) => list.reduce((best, f) => boxOf(f) && (!best || f.weight[wide] > best.weight[wide]) ? f : best, null);
      let next = null;
      if (event.key.startsWith("Arrow") && (!current || !boxOf(current))) {
        next = zoomed;
      } else if (event.key === "ArrowUp") {
        next = current.parent;
      } else if (event.key === "ArrowDown") {
        next = widest(current.calls);
      } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
        const row = rows[current.depth], at = row.findIndex((one) => one.frame === current) + (event.key === "ArrowLeft" ? -1 : 1);
        next = row[at] ? row[at].frame : null;
      } else if (event.key === "Enter" || event.key === " ") {
        if (current) zoom(current);
      } else if (event.key === "Escape" || event.key === "0") {
        zoom(frames[0]);
      } else if (event.key === "/") {
        search.focus();
      } else {
        return;
      }
      event.preventDefault();
      if (next) select(next);
    });

    onLayout(draw);
    draw();
    page.flames[flame.id] = {
      frames, zoom, select, seek, draw, box: (frame) => boxOf(frame),
      state: () => ({ zoomed: zoomed.name, current: current && current.name, wide, found: found.textContent, said: said.textContent }),
    };
  }

  page.flames = {};
  for (const flame of data.flames) build(flame);
})();
