/// The page at `/`: one file without external resources, which asks `/status` every two seconds.
enum StatusPage {
  static let html = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Millrace</title>
    <style>
    :root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --text: #1c2733; --dim: #66737f; --line: #e1e6eb;
      --good: #16794a; --bad: #c0362c; --accent: #2463b0; }
    @media (prefers-color-scheme: dark) { :root { --back: #12171c; --card: #1a2128; --text: #dde5ec; --dim: #8c9aa7;
      --line: #2a343d; --good: #47c287; --bad: #f2766c; --accent: #6fa8ee; } }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--back); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
    header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; padding: 18px 24px 6px; }
    h1 { font-size: 20px; margin: 0; }
    h2 { font-size: 13px; font-weight: 600; color: var(--dim); margin: 0 0 8px; }
    main { display: grid; gap: 14px; padding: 12px 24px 28px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
    section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; overflow-x: auto; }
    .wide { grid-column: 1 / -1; }
    table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
    th { text-align: left; font-weight: 500; color: var(--dim); font-size: 12px; }
    th, td { padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
    th:last-child, td:last-child { padding-right: 0; }
    tr:last-child td { border-bottom: 0; }
    td.n, th.n { text-align: right; }
    td.wrap { white-space: normal; color: var(--dim); width: 70%; }
    .dim { color: var(--dim); }
    .good { color: var(--good); } .bad { color: var(--bad); }
    .state::before { content: "\25CF\00A0"; }
    svg { display: block; width: 120px; height: 22px; }
    svg path { fill: none; stroke: var(--accent); stroke-width: 1.5; }
    .empty { color: var(--dim); }
    #stale { color: var(--bad); font-weight: 600; }
    footer { padding: 0 24px 24px; color: var(--dim); } a { color: var(--accent); }
    </style>
    </head>
    <body>
    <header><h1>Millrace</h1><span id="ready" class="state">…</span><span id="about" class="dim"></span><span id="stale" role="status"></span></header>
    <main>
    <section class="wide"><h2>Models</h2><div id="models"></div></section>
    <section class="wide"><h2>Components</h2><div id="components"></div></section>
    <section><h2>Throughput</h2><div id="throughput"></div></section>
    <section><h2>Latency</h2><div id="latencies"></div></section>
    <section><h2>Lag</h2><div id="lags"></div></section>
    <section><h2>Errors and dead letters</h2><div id="errors"></div></section>
    </main>
    <footer><a href="metrics">metrics</a> · <a href="readyz">readiness</a> · <a href="status">status as JSON</a></footer>
    <script>
    "use strict";
    const PERIOD = 2000, HISTORY = 60;
    const history = new Map();
    let last = null;
    const element = (tag, text, name) => {
      const made = document.createElement(tag);
      if (text !== undefined) made.textContent = text;
      if (name) made.className = name;
      return made;
    };
    const known = value => typeof value === "number" && isFinite(value);
    const whole = value => known(value) ? value.toLocaleString("en-US", { maximumFractionDigits: 0 }) : "–";
    const fixed = digits => value => known(value) ? value.toFixed(digits) : "–";
    const milliseconds = value => !known(value) ? "–" : value >= 10000 ? (value / 1000).toFixed(1) + " s"
      : value >= 100 ? value.toFixed(0) + " ms" : value >= 1 ? value.toFixed(1) + " ms" : (value * 1000).toFixed(0) + " µs";
    const time = value => known(value) ? new Date(value).toISOString().replace(/\.000Z$/, "Z") : "–";
    const span = seconds => seconds < 120 ? seconds.toFixed(0) + " s" : seconds < 7200 ? (seconds / 60).toFixed(0) + " min"
      : seconds < 172800 ? (seconds / 3600).toFixed(1) + " h" : (seconds / 86400).toFixed(1) + " d";
    // Columns are [title, key or function, formatter, class]; everything goes in as text, never as markup.
    const table = (place, rows, columns, nothing) => {
      const target = document.getElementById(place);
      if (!rows.length) return target.replaceChildren(element("div", nothing, "empty"));
      const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
      for (const [title, , , name] of columns) head.append(element("th", title, name === "n" ? "n" : ""));
      for (const row of rows) {
        const line = body.insertRow();
        for (const [, value, format, name] of columns) {
          const content = typeof value === "function" ? value(row) : row[value];
          const cell = element("td", undefined, name);
          if (content instanceof Element) cell.append(content); else cell.textContent = format ? format(content) : content ?? "–";
          line.append(cell);
        }
      }
      target.replaceChildren(made);
    };
    const spark = values => {
      const space = "http://www.w3.org/2000/svg", picture = document.createElementNS(space, "svg");
      picture.setAttribute("viewBox", "0 0 120 22");
      picture.setAttribute("aria-hidden", "true");
      if (values.length > 1) {
        const top = Math.max(...values, 1e-9), path = document.createElementNS(space, "path");
        path.setAttribute("d", values.map((v, i) =>
          (i ? "L" : "M") + (i * 118 / (HISTORY - 1) + 1).toFixed(1) + " " + (20.5 - 19 * v / top).toFixed(1)).join(""));
        picture.append(path);
      }
      return picture;
    };
    const show = status => {
      const now = performance.now();
      const ready = status.components.every(c => c.ready), word = document.getElementById("ready");
      word.textContent = ready ? "ready" : "not ready";
      word.className = "state " + (ready ? "good" : "bad");
      document.title = (ready ? "" : "! ") + "Millrace";
      document.getElementById("about").textContent = [status.version, status.roles.join(", "),
        status.kafka && "Kafka " + status.kafka, "up " + span(status.uptimeSeconds)].filter(Boolean).join(" · ");
      table("models", status.models, [
        ["model", m => m.name + " v" + m.version], ["arm", "arm"], ["log loss", "logLoss", fixed(4), "n"], ["AUC", "auc", fixed(4), "n"],
        ["calibration", "calibration", fixed(3), "n"], ["learned", "examples", whole, "n"], ["rows", "rows", whole, "n"],
        ["freshness p99", "freshnessMilliseconds", milliseconds, "n"], ["labels through", "labelsThroughMilliseconds", time],
        ["position", m => m.position.join(" "), null, "dim"]], "no models");
      table("components", status.components, [
        ["component", "name"], ["state", c => element("span", c.ready ? "ready" : "not ready", "state " + (c.ready ? "good" : "bad"))],
        ["", "detail", null, "wrap"]], "no components");
      const rates = status.throughput.map(t => {
        const before = last && last.status.throughput.find(o => o.name === t.name);
        const rate = before && t.total >= before.total ? (t.total - before.total) * 1000 / (now - last.now) : NaN;
        const values = history.get(t.name) ?? [];
        if (known(rate)) values.push(rate);
        history.set(t.name, values.slice(-HISTORY));
        return { name: t.name, total: t.total, rate, values: history.get(t.name) };
      });
      table("throughput", rates, [["", "name"], ["per second", "rate", whole, "n"], ["total", "total", whole, "n"],
        ["", t => spark(t.values)]], "nothing counted yet");
      table("latencies", status.latencies, [["stage", "name"], ["p50", "p50", milliseconds, "n"], ["p99", "p99", milliseconds, "n"],
        ["max", "max", milliseconds, "n"], ["count", "count", whole, "n"]], "nothing measured yet");
      table("lags", status.lags, [["topic", "topic"], ["partition", "partition", whole, "n"], ["records behind", "records", whole, "n"]], "no partitions");
      table("errors", status.errors, [["reason", "reason"], ["count", "count", whole, "n"]], "none");
      last = { now, status };
    };
    const look = async () => {
      const stale = document.getElementById("stale");
      try {
        const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (!answer.ok) throw new Error("status " + answer.status);
        show(await answer.json());
        stale.textContent = "";
      } catch (error) {
        stale.textContent = "no answer (" + error.message + "): what follows is old";
      }
      setTimeout(look, PERIOD);
    };
    look();
    </script>
    </body>
    </html>
    """#
}
