"use strict";
// Charts of iterations, curves of a job while it trains, and its log. Everything else is drawn by the server.
(() => {
  const PANELS = [["loss", /loss/], ["quality", /f1|precision|recall|auc|vus|accuracy/], ["learning rate", /learning_rate/],
    ["gradient norm", /grad/], ["speed", /per_second|seconds/], ["load, %", /percentage/], ["memory, MB", /megabytes/], ["others", /./]];
  const STROKES = ["#2f81f7", "#d29922", "#3fb950", "#f778ba", "#a371f7", "#ff7b72", "#56d4dd", "#9da7b3"];
  const WHOLE = [1, 2, 5].flatMap(n => [0, 1, 2, 3, 4, 5, 6].map(e => n * 10 ** e)).sort((a, b) => a - b); // no half steps
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = label => ({ label, stroke: css("--fg"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } });

  const short = v => v && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e5) ? v.toExponential(1) : String(+v.toPrecision(4));

  function draw(host, x, series, label, height) {
    const names = Object.keys(series);
    const options = {
      width: Math.max(260, host.clientWidth), height, cursor: { drag: { setScale: false } },
      scales: { x: { time: false } }, axes: [{ ...axis(label), incrs: WHOLE }, { ...axis(""), size: 62, values: (_, ticks) => ticks.map(short) }],
      series: [{ label }, ...names.map((name, k) => ({
        label: name, stroke: STROKES[k % STROKES.length], width: 2, spanGaps: true, points: { show: x.length < 40, size: 6 },
        value: (_, v) => v == null ? "–" : Number(v).toPrecision(4) }))],
    };
    const chart = new uPlot(options, [x, ...names.map(name => series[name])], host);
    new ResizeObserver(() => chart.setSize({ width: Math.max(260, host.clientWidth), height })).observe(host);
    return chart;
  }

  for (const host of document.querySelectorAll(".chart[data-chart]")) {
    const { x, series } = JSON.parse(host.dataset.chart);
    draw(host, x, series, host.dataset.axis, 240);
  }

  // A job's figures: name -> step -> value; redrawn at most four times a second.
  function curves(host) {
    const job = host.dataset.job, figures = new Map(), charts = new Map(), state = document.getElementById("curves-state");
    let waiting = false, newest = 0;
    const panel = name => PANELS.find(([, of]) => of.test(name))[0];
    function add(values) {
      const step = values.step ?? 0;
      // Another training of the same job begins at the first step again; one that goes on from a checkpoint does not.
      if ("step_loss" in values && step < newest / 2) for (const name of [...figures.keys()]) if (!name.startsWith("system/")) figures.delete(name);
      if ("step_loss" in values) newest = step;
      for (const [name, value] of Object.entries(values.figures ?? values)) {
        if (name === "step" || typeof value !== "number") continue;
        if (!figures.has(name)) figures.set(name, new Map());
        figures.get(name).set(step, value);
      }
      if (!waiting) { waiting = true; setTimeout(() => { waiting = false; redraw(); }, 250); }
    }
    function redraw() {
      if (!figures.size) return;
      state.hidden = true;
      for (const [title] of PANELS) {
        const names = [...figures.keys()].filter(name => panel(name) === title).sort();
        if (!names.length) continue;
        const x = [...new Set(names.flatMap(name => [...figures.get(name).keys()]))].sort((a, b) => a - b);
        const columns = names.map(name => x.map(step => figures.get(name).get(step) ?? null));
        const known = charts.get(title);
        if (known && known.names.join() === names.join()) { known.chart.setData([x, ...columns]); continue; }
        if (known) known.box.remove();
        const box = document.createElement("figure"), caption = document.createElement("figcaption"), place = document.createElement("div");
        caption.textContent = title; box.append(caption, place); host.append(box);
        charts.set(title, { box, names, chart: draw(place, x, Object.fromEntries(names.map((n, k) => [n, columns[k]])), "step", 200) });
      }
    }
    const source = new EventSource(`/api/v1/stream/metrics?job=${job}`);
    source.addEventListener("metrics", event => { const told = JSON.parse(event.data); add(told.values ?? told); });
    source.addEventListener("end", () => source.close());
  }

  // The log: what came since the last look, every two seconds until the job has ended.
  async function follow(pre) {
    let offset = 0;
    for (;;) {
      try {
        const answer = await fetch(`/api/v1/jobs/${pre.dataset.job}/log?offset=${offset}`);
        if (answer.ok) {
          const told = await answer.json();
          if (told.text) {
            const atEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
            pre.append(told.text);
            if (atEnd) pre.scrollTop = pre.scrollHeight;
          }
          offset = told.next ?? offset + told.text.length;
          if (told.ended && !told.text) return;
        } else if (answer.status === 404) return;
      } catch { /* the service is away; the next look tells */ }
      await new Promise(done => setTimeout(done, 2000));
    }
  }

  const live = document.querySelector("#live[data-job]"), log = document.querySelector("#log-text[data-job]");
  if (live) curves(live);
  if (log) follow(log);
})();
