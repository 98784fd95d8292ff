// Build the page from the JSON in the element `facts`. Texts of the manifest become text nodes, never HTML.
"use strict";

(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const main = document.getElementById("main");
  const { humanSize } = charts;
  const byName = new Map(facts.distributions.map((item) => [item.name, item]));
  const provided = new Map(Object.entries(facts.base.provided));
  const incoming = d3.group(facts.edges, (edge) => edge.to);
  const outgoing = d3.group(facts.edges, (edge) => edge.from);
  let select = () => {}; // set by dependencies()

  // --- elements --------------------------------------------------------------------

  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== undefined && child !== null));
    return element;
  }

  // Return the nodes of a text in which backticks enclose code.
  function prose(text) {
    return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
  }

  function plural(count, noun) {
    return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  }

  function section(id, title, ...children) {
    main.append(h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...children));
    document.getElementById("nav").append(h("a", { href: `#${id}` }, title));
  }

  // Return a button that shows why a distribution is in the bundle; only a text for a foreign name.
  function toDistribution(name) {
    if (!byName.has(name) && !provided.has(name)) return name;
    const show = () => {
      select(name);
      document.getElementById("dependencies").scrollIntoView();
      document.getElementById("why").focus({ preventScroll: true });
    };
    return h("button", { type: "button", class: "link", "data-distribution": name, onclick: show }, name);
  }

  function listed(names) {
    return names.flatMap((name, index) => (index ? [", ", toDistribution(name)] : [toDistribution(name)]));
  }

  // Return a table that a click on a column's title sorts.
  //
  // A column has a title, `value(row)` to sort by, and optionally `show(row)` for the content of the cell.
  function table(label, columns, rows) {
    const body = h("tbody");
    const heads = columns.map((column) => {
      const head = h("th", { scope: "col", class: column.number && "number" });
      head.append(h("button", { type: "button", onclick: () => sort(column, head) }, column.title));
      return head;
    });
    const lines = rows.map((row) => [row, h("tr", { class: row.mark }, columns.map((column) => h(
      "td", { class: column.number ? "number" : column.wide && "wide", "data-title": column.title },
      h("span", {}, column.show ? column.show(row) : String(column.value(row))),
    )))]);
    body.append(...lines.map(([, line]) => line));
    return h("div", { class: "scroll" }, h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, heads)), body));

    function sort(column, head) {
      const descending = head.getAttribute("aria-sort") !== "descending" && (column.number || head.hasAttribute("aria-sort"));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
      lines.sort((a, b) => (descending ? -1 : 1) * compare(column.value(a[0]), column.value(b[0])));
      body.append(...lines.map(([, line]) => line));
    }
  }

  function tag(text) {
    return h("span", { class: `tag ${text}` }, text);
  }

  function statusTag(status) {
    const failed = status !== "ok" && !Object.hasOwn(STATUSES, status);
    return h("span", { class: failed ? "tag error" : `tag ${status}` }, status);
  }

  // --- sections --------------------------------------------------------------------

  function summary() {
    const count = (severity) => facts.findings.filter((finding) => finding.severity === severity).length;
    const imports = facts.modes.map((mode) => `${imported(mode)} ${mode.title}`);
    const tried = facts.modes.filter((mode) => mode.count);
    const built = facts.distributions.filter((item) => item.built_from).length;
    const tiles = [
      ["Size", humanSize(facts.size), plural(facts.files, "file")],
      ["Distributions", facts.distributions.length, built ? `${built} built from source` : "all from wheels"],
      ["Target", `CPython ${facts.target.python}`, facts.target.platform],
      ["glibc", facts.glibc ? `${facts.glibc} or newer` : "none needed", plural(facts.libraries.length, "shared object")],
      ["Imports", [...new Set(tried.map((mode) => `${mode.ok} of ${mode.count}`))].join(", ") || "not checked",
        tried.map((mode) => mode.mode).join(", ")],
      ["Findings", count("error") ? plural(count("error"), "error") : plural(count("warning"), "warning"),
        `${count("error") ? `${plural(count("warning"), "warning")}, ` : "no errors, "}${plural(count("note"), "note")}`],
    ];
    const base = [...provided].map(([name, version]) => `${name} ${version}`).concat(facts.base.conda.map((text) => `${text} (conda)`));
    main.append(h("section", { id: "summary" },
      h("h1", {}, facts.name, " ", h("small", {}, facts.version)),
      h("div", { class: `verdict ${facts.verdict.status}`, id: "verdict", role: "status" }, h("span", {}, facts.verdict.text)),
      h("dl", { class: "tiles" }, tiles.map(([title, value, more]) => h("div", {},
        h("dt", {}, title), h("dd", {}, String(value), h("small", {}, more))))),
      imports.length ? h("p", {}, `Imports: ${imports.join("; ")}.`) : null,
      h("p", {}, "Requirements: ", facts.requirements.length ? facts.requirements.flatMap((text, index) => [index ? ", " : "", h("code", {}, text)]) : "none"),
      base.length ? h("p", {}, "The base image must have: ", base.flatMap((text, index) => [index ? ", " : "", h("code", {}, text)])) : null));
    document.getElementById("nav").append(h("a", { href: "#summary" }, "Summary"));
  }

  function imported(mode) {
    return mode.count ? `${mode.ok} of ${plural(mode.count, "module")}` : "no modules";
  }

  function sizes() {
    const chart = h("div", { class: "chart", id: "treemap" });
    const crumbs = h("nav", { class: "crumbs", "aria-label": "Shown directory" });
    const detail = h("p", { class: "detail", id: "size-detail", "aria-live": "polite" });
    const root = { name: facts.name, size: d3.sum(facts.sizes, (item) => item.size), children: facts.sizes };
    const order = [...facts.sizes].sort((a, b) => b.size - a.size);
    const colors = new Map(order.map((item, index) => [item.name, index % 8]));
    const columns = [
      { title: "distribution", value: (item) => item.name, show: (item) => toDistribution(item.name) },
      { title: "version", value: (item) => item.version },
      { title: "size", number: true, value: (item) => item.size, show: (item) => humanSize(item.size) },
      { title: "part", number: true, value: (item) => item.size, show: (item) => percent(item.size) },
      { title: "files", number: true, value: (item) => item.files, show: (item) => item.files.toLocaleString("en") },
      { title: "origin", wide: true, value: (item) => item.wheel,
        show: (item) => (item.built_from ? `built from ${item.built_from}` : item.wheel) },
    ];
    const rows = [...facts.distributions].sort((a, b) => b.size - a.size);
    section("size", "Size", crumbs, chart, detail, h("details", {},
      h("summary", {}, "Sizes as a table"), table("Sizes", columns, rows)));
    let trail = [root];
    open(trail);
    onResize(chart, () => draw());

    function open(next) {
      const entered = next !== trail;
      trail = next;
      crumbs.replaceChildren(...trail.flatMap((node, index) => [
        index ? h("span", { "aria-hidden": "true" }, "›") : "",
        index === trail.length - 1 ? h("strong", {}, node.name)
          : h("button", { type: "button", onclick: () => open(trail.slice(0, index + 1)) }, node.name),
      ]));
      describe(trail.slice(1).map((node) => node.name), trail[trail.length - 1].size);
      draw();
      if (entered) chart.querySelector("[tabindex='0']")?.focus({ preventScroll: true });
    }

    function draw() {
      if (facts.sizes.length) charts.treemap(chart, trail, colors, { open, describe });
    }

    function describe(names, size) {
      detail.textContent = `${names.join(" / ") || facts.name}: ${humanSize(size)}, ${percent(size)} of the bundle`;
    }
  }

  function percent(size) {
    return `${facts.size ? ((100 * size) / facts.size).toFixed(1) : "0.0"} %`;
  }

  function dependencies() {
    const container = h("div", { class: "graph scroll", id: "graph" });
    const panel = h("aside", { class: "why", id: "why", tabindex: "-1", "aria-live": "polite" });
    const names = [...byName.keys()];
    const options = h("datalist", { id: "names" }, [...names, ...provided.keys()].map((name) => h("option", { value: name })));
    const input = h("input", { id: "find", list: "names", type: "search", autocomplete: "off", placeholder: "numpy" });
    input.addEventListener("input", () => {
      if (byName.has(input.value) || provided.has(input.value)) select(input.value);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      const match = names.find((name) => name.includes(input.value.trim().toLowerCase()));
      if (match) select(match);
    });
    section("dependencies", "Dependencies",
      h("div", { class: "find" }, h("label", { for: "find" }, "Why is it here?"), input, options,
        h("button", { type: "button", onclick: () => select("") }, "Show all")),
      h("div", { class: "split" }, container, panel));
    const highlight = charts.graph(container, names, provided, facts.edges, (name) => select(name));
    container.addEventListener("keydown", (event) => {
      if (event.key === "Escape") select("");
    });
    select = (name) => {
      highlight(name, name ? chainOf(name) : []);
      panel.replaceChildren(...(name ? explanation(name) : [
        h("h3", {}, "Why is it here?"),
        h("p", {}, "Select a distribution in the graph or by its name: the chain of requirements that leads to it is shown here."),
        h("p", { class: "soft" }, `${plural(names.length, "distribution")}, ${plural(facts.edges.length, "requirement")}.`),
      ]));
      if (input.value !== name && document.activeElement !== input) input.value = name;
    };
    select("");
  }

  // Return the names from a direct requirement of the user to a distribution: a shortest chain.
  function chainOf(name) {
    const before = new Map([["", undefined]]);
    for (const owner of before.keys()) {
      for (const edge of outgoing.get(owner) ?? []) if (!before.has(edge.to)) before.set(edge.to, owner);
    }
    const chain = [];
    for (let step = name; step && before.has(step); step = before.get(step)) chain.unshift(step);
    return chain;
  }

  function explanation(name) {
    const item = byName.get(name);
    const owners = incoming.get(name) ?? [];
    const requires = outgoing.get(name) ?? [];
    const findings = facts.findings.filter((finding) => finding.distribution === name);
    const because = item?.because ?? [];
    return [
      h("h3", {}, `${name} ${item?.version ?? provided.get(name) ?? ""}`),
      h("h4", {}, "Because"),
      because.length ? h("ol", { id: "because" }, because.map((step) => h("li", {}, prose(step))))
        : h("p", {}, item ? "No requirement leads to it: it is in the lock." : provided.has(name) ? "The base provides it." : "It is not in the bundle."),
      h("h4", {}, `Required by (${owners.length})`),
      h("ul", {}, owners.map((edge) => h("li", {}, edge.from ? toDistribution(edge.from) : "you", " (", h("code", {}, edge.requirement), ")"))),
      h("h4", {}, `Requires (${requires.length})`),
      h("ul", {}, requires.map((edge) => h("li", {}, toDistribution(edge.to), " (", h("code", {}, edge.requirement), ")"))),
      item ? h("dl", {}, [
        ["size", `${humanSize(item.size)} in ${plural(item.files, "file")}`],
        ["license", item.license],
        ["origin", item.built_from ? `built from ${item.built_from}` : item.wheel],
        ["native", item.libraries ? `${plural(item.libraries, "shared object")}${item.glibc ? `, glibc ${item.glibc}` : ""}` : "none"],
        ["findings", findings.length ? plural(findings.length, "finding") : "none"],
      ].flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])) : null,
    ].filter(Boolean);
  }

  function proof() {
    const modes = facts.modes.map((mode) => h("div", { class: "mode" },
      h("span", {}, mode.title),
      h("meter", { min: 0, max: Math.max(mode.count, 1), value: mode.ok, "aria-label": `imports ${mode.title}` }),
      h("span", {}, mode.count ? `${mode.ok} of ${mode.count}` : "none")));
    const columns = [
      { title: "module", value: (row) => row.module, show: (row) => h("code", {}, row.module) },
      { title: "distribution", value: (row) => row.distribution, show: (row) => toDistribution(row.distribution) },
      ...facts.modes.map((mode) => ({ title: mode.mode, value: (row) => row.modes[mode.mode]?.status ?? "",
        show: (row) => (row.modes[mode.mode] ? statusTag(row.modes[mode.mode].status) : "") })),
      { title: "detail", wide: true, value: detailOf, show: (row) => prose(detailOf(row)) },
    ];
    const open = facts.imports.filter((row) => Object.values(row.modes).some((outcome) => outcome.status !== "ok"));
    const shown = facts.findings.filter((finding) => finding.severity !== "note");
    const notes = d3.groups(facts.findings.filter((finding) => finding.severity === "note"), (finding) => finding.code);
    section("proof", "Proof by use",
      facts.modes.length ? h("p", {}, "The modules that import in each mode of use:") : h("p", {}, "No import was checked."),
      modes,
      facts.missing_promises.length ? h("p", {}, tag("warning"), ` The build host did not keep: ${facts.missing_promises.join("; ")}`) : null,
      open.length ? [h("h3", {}, `${plural(open.length, "module")} with another result than “ok”`), legend(open), table("Other results", columns, open)] : null,
      facts.imports.length ? h("details", { class: "bulk" }, h("summary", {}, `All ${plural(facts.imports.length, "module")}`), table("All imports", columns, facts.imports)) : null,
      h("h3", {}, "Errors and warnings"),
      shown.length ? shown.map(finding) : h("p", {}, "There are none."),
      h("h3", {}, "Notes"),
      notes.length ? notes.map(([code, list]) => h("details", { class: "notes", "data-code": code },
        h("summary", {}, h("code", {}, code), " ", ...prose(list[0].title), ` (${list.length})`),
        h("p", {}, h("strong", {}, "Fix: "), ...prose(list[0].fix)),
        h("ul", {}, list.map((item) => h("li", {}, ...prose(item.message), ...where(item)))))) : h("p", {}, "There are none."));
  }

  // The statuses that are not failures; docs/findings.md explains the codes of their notes.
  const STATUSES = {
    optional: "it needs an extra that is not requested (I208)",
    unused: "it does not import, and no requested module needs it (I209)",
    unproved: "it needs a library of the base, which the build host lacks (I210)",
    loaded: "it does not import alone, but other modules import with it (I211)",
  };

  function legend(rows) {
    const shown = new Set(rows.flatMap((row) => Object.values(row.modes).map((outcome) => outcome.status)));
    const known = Object.keys(STATUSES).filter((status) => shown.has(status));
    return h("ul", { class: "notes soft" }, known.map((status) => h("li", {}, statusTag(status), ` ${STATUSES[status]}`)));
  }

  function detailOf(row) {
    return [...new Set(Object.values(row.modes).map((outcome) => outcome.detail).filter(Boolean))].join("; ");
  }

  function where(item) {
    return item.where ? [" ", h("span", { class: "soft" }, `[${item.where}]`)] : [];
  }

  function finding(item) {
    return h("div", { class: `finding ${item.severity}`, "data-code": item.code },
      h("p", {}, tag(item.severity), " ", h("code", {}, item.code), " ", h("strong", {}, ...prose(item.title)),
        item.allowed ? " (accepted)" : ""),
      h("p", {}, ...prose(item.message), ...where(item)),
      h("p", {}, h("strong", {}, "Fix: "), ...prose(item.fix)),
      item.distribution ? h("p", { class: "soft" }, "About ", toDistribution(item.distribution)) : null);
  }

  function native() {
    const byGlibc = d3.rollups(facts.libraries.filter((item) => item.glibc), (list) => list.length, (item) => item.glibc)
      .sort((a, b) => a[0].localeCompare(b[0], "en", { numeric: true }));
    const chart = h("div", { class: "chart", id: "glibc-bars" });
    const groups = d3.groups(facts.libraries, (item) => item.distribution).map(([name, list]) => ({
      name, list, glibc: byName.get(name)?.glibc ?? "", external: [...new Set(list.flatMap((item) => item.external))].sort(),
      mark: facts.glibc && list.some((item) => item.glibc === facts.glibc) ? "floor" : undefined,
    }));
    const floor = facts.libraries.filter((item) => item.glibc && item.glibc === facts.glibc);
    const columns = [
      { title: "distribution", value: (row) => row.name, show: (row) => toDistribution(row.name) },
      { title: "shared objects", number: true, value: (row) => row.list.length },
      { title: "glibc", number: true, value: (row) => row.glibc || "none" },
      { title: "from the system", wide: true, value: (row) => row.external.join(" "), show: (row) => row.external.join(", ") },
    ];
    const each = [
      { title: "file", wide: true, value: (row) => row.path, show: (row) => h("code", {}, row.path) },
      { title: "distribution", value: (row) => row.distribution, show: (row) => toDistribution(row.distribution) },
      { title: "symbol versions", value: (row) => versions(row) },
      { title: "symbol", value: (row) => row.symbol, show: (row) => h("code", {}, row.symbol) },
      { title: "from the system", wide: true, value: (row) => row.external.join(", ") },
    ];
    section("native", "Native libraries",
      h("p", { id: "floor" }, facts.glibc
        ? `The bundle needs glibc ${facts.glibc} or newer, for ${plural(floor.length, "shared object")}, for example ${floor[0]?.path.split("/").pop() ?? ""} of ${floor[0]?.distribution ?? ""}${floor[0]?.symbol ? ` (${floor[0].symbol})` : ""}.`
        : facts.libraries.length ? "No shared object needs glibc." : "The bundle contains no shared objects."),
      byGlibc.length ? [h("h3", {}, "Shared objects by the glibc they need"), chart] : null,
      groups.length ? [h("h3", {}, "By distribution"), table("Native libraries", columns, groups),
        h("details", { class: "bulk" }, h("summary", {}, `All ${plural(facts.libraries.length, "shared object")}`), table("All shared objects", each, facts.libraries))] : null);
    if (byGlibc.length) {
      const items = byGlibc.map(([label, count]) => ({ label: `glibc ${label}`, count, floor: label === facts.glibc }));
      charts.bars(chart, items, "shared objects");
      onResize(chart, () => charts.bars(chart, items, "shared objects"));
    }
  }

  function versions(row) {
    return Object.entries(row.versions).map(([prefix, version]) => `${prefix} ${version}`).join(", ");
  }

  function licenses() {
    const rows = d3.groups(facts.distributions, (item) => item.license).map(([license, list]) => ({
      license, names: list.map((item) => item.name), size: d3.sum(list, (item) => item.size),
      mark: license === "not declared" ? "floor" : undefined,
    })).sort((a, b) => b.names.length - a.names.length || d3.ascending(a.license, b.license));
    section("licenses", "Licenses",
      h("p", { class: "soft" }, "As the metadata of each distribution declares them; their texts are in the bundle."),
      table("Licenses", [
        { title: "license", wide: true, value: (row) => row.license },
        { title: "count", number: true, value: (row) => row.names.length },
        { title: "size", number: true, value: (row) => row.size, show: (row) => humanSize(row.size) },
        { title: "distributions", wide: true, value: (row) => row.names.join(" "), show: (row) => listed(row.names) },
      ], rows));
  }

  function difference() {
    const change = facts.difference;
    if (!change) return;
    const { before, after } = change;
    const signed = (count) => (count > 0 ? `+${count}` : String(count));
    const signedSize = (size) => (size > 0 ? `+${humanSize(size)}` : humanSize(size));
    const total = (name, show, subtract) => [name, show(before), show(after), subtract];
    const totals = [
      total("bundle", (side) => `${side.name} ${side.version}`, ""),
      total("verdict", (side) => side.verdict, ""),
      total("Python", (side) => side.python, ""),
      total("platform", (side) => side.platform, ""),
      total("size", (side) => humanSize(side.size), signedSize(after.size - before.size)),
      total("distributions", (side) => side.distributions, signed(after.distributions - before.distributions)),
      total("files", (side) => side.files, signed(after.files - before.files)),
      total("shared objects", (side) => side.shared_objects, signed(after.shared_objects - before.shared_objects)),
      total("glibc", (side) => side.glibc || "none", ""),
    ];
    const heads = ["before", "after", "difference"];
    const value = ([old, current]) => (old === null || current === null ? old ?? current : pair(old, current)); // null: absent
    const pair = (old, current) => (old === current ? old ?? "" : `${old || "none"} → ${current || "none"}`);
    const short = (keys) => keys.map((key) => key.split("/").pop()).join(", ");
    section("difference", "Difference",
      h("p", {}, change.equal ? `Equal to ${before.name} ${before.version}: the same identity.` : `Compared with ${before.name} ${before.version}.`),
      change.equal ? null : [
        h("div", { class: "scroll" }, h("table", { "aria-label": "Totals" },
          h("thead", {}, h("tr", {}, ["", ...heads].map((title) => h("th", { scope: "col" }, title)))),
          h("tbody", {}, totals.map(([name, ...values]) => h("tr", {}, h("th", { scope: "row" }, name), values.map((value, index) => h("td", { "data-title": heads[index] }, h("span", {}, String(value))))))))),
        h("h3", {}, `Distributions (${change.distributions.length})`),
        table("Changed distributions", [
          { title: "distribution", value: (row) => row.name, show: (row) => toDistribution(row.name) },
          { title: "change", value: (row) => row.change, show: (row) => tag(row.change) },
          { title: "version", value: (row) => row.version.join(" "), show: (row) => value(row.version) },
          { title: "size", number: true, value: (row) => row.size[1] - row.size[0], show: (row) => signedSize(row.size[1] - row.size[0]) },
          { title: "license", wide: true, value: (row) => row.license.join(" "), show: (row) => value(row.license) },
        ], change.distributions),
        h("h3", {}, `Licenses (${change.licenses.length})`),
        table("Changed licenses", [
          { title: "license", value: (row) => row.license },
          { title: "before", wide: true, value: (row) => row.distributions[0].join(", ") },
          { title: "after", wide: true, value: (row) => row.distributions[1].join(", ") },
        ], change.licenses),
        h("h3", {}, `Native libraries (${change.libraries.length})`),
        table("Changed native libraries", [
          { title: "distribution", value: (row) => row.distribution, show: (row) => toDistribution(row.distribution) },
          { title: "added", wide: true, value: (row) => short(row.added) },
          { title: "removed", wide: true, value: (row) => short(row.removed) },
          { title: "changed", value: (row) => short(row.changed) },
          { title: "glibc", value: (row) => pair(...row.glibc) },
          { title: "from the system", wide: true, value: (row) => pair(row.external[0].join(", "), row.external[1].join(", ")) },
        ], change.libraries),
      ]);
  }

  // --- the page --------------------------------------------------------------------

  function onResize(element, redraw) {
    let width = element.clientWidth;
    new ResizeObserver(() => {
      if (element.clientWidth === width) return;
      width = element.clientWidth;
      redraw();
    }).observe(element);
  }

  function themeButton() {
    const button = document.getElementById("theme");
    const themes = ["auto", "light", "dark"];
    let current = 0;
    const show = () => {
      document.documentElement.dataset.theme = themes[current];
      button.textContent = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[themes[current]];
      button.setAttribute("aria-label", `Color theme: ${current ? themes[current] : "as the system"}`);
    };
    button.addEventListener("click", () => {
      current = (current + 1) % themes.length;
      show();
    });
    show();
  }

  // Details are open on paper, except the lists of all modules and shared objects: those take pages.
  function openForPrint() {
    let closed = [];
    window.addEventListener("beforeprint", () => {
      closed = [...document.querySelectorAll("main details:not([open], .bulk)")];
      for (const element of closed) element.open = true;
    });
    window.addEventListener("afterprint", () => closed.forEach((element) => element.removeAttribute("open")));
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input")) return;
    event.preventDefault();
    document.getElementById("find").focus();
  });
  document.getElementById("identity").append("Identity ", h("code", {}, `sha256:${facts.identity}`));
  summary();
  sizes();
  dependencies();
  proof();
  native();
  licenses();
  difference();
  themeButton();
  openForPrint();
})();
