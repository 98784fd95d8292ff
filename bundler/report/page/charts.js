// The charts of the page, drawn with d3. Names from the manifest become text nodes and attributes only.
"use strict";

const charts = (() => {
  // The units of bundler.text.human_size.
  function humanSize(bytes) {
    for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
      if (Math.abs(bytes) >= factor - Math.floor(factor / 20000)) return `${(bytes / factor).toFixed(1)} ${unit}`;
    }
    return `${bytes} ${bytes === 1 ? "byte" : "bytes"}`;
  }

  const CHARACTER = { normal: 6.9, bold: 7.9 }; // pixels, of a wide font at 12 pixels

  // Return the start of a text that fits into a width.
  function fitted(text, width, weight = "normal") {
    const room = Math.floor(width / CHARACTER[weight]);
    if (text.length <= room) return text;
    return room < 3 ? "" : `${text.slice(0, room - 1)}…`;
  }

  // Make the arrow keys move between elements, of which one is in the order of the Tab key.
  function moveByArrows(elements, start = 0) {
    elements.forEach((element, index) => {
      element.setAttribute("tabindex", index === start ? "0" : "-1");
      element.addEventListener("keydown", (event) => {
        const last = elements.length - 1;
        const target = {
          ArrowRight: Math.min(index + 1, last), ArrowDown: Math.min(index + 1, last),
          ArrowLeft: Math.max(index - 1, 0), ArrowUp: Math.max(index - 1, 0), Home: 0, End: last,
        }[event.key];
        if (target === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        elements.forEach((other, position) => other.setAttribute("tabindex", position === target ? "0" : "-1"));
        elements[target].focus();
      });
    });
  }

  function onActivate(selection, action) {
    selection.on("click", (event, datum) => {
      event.stopPropagation();
      action(datum);
    });
    selection.on("keydown.activate", (event, datum) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      action(datum);
    });
  }

  // --- the treemap ---------------------------------------------------------------

  // Draw a node of the size tree with two levels below it.
  //
  // `trail` lists the nodes from the root to the one to draw; `open(trail)` is called to enter or leave one,
  // `describe(names, size)` when a cell is pointed at or focused.
  function treemap(container, trail, colors, { open, describe }) {
    const current = trail[trail.length - 1];
    const width = Math.max(container.clientWidth, 300);
    const height = Math.round(Math.min(Math.max(width * 0.55, 320), 560));
    const root = d3.hierarchy(shallow(current, 2)).sum((node) => (node.children ? 0 : node.size));
    root.sort((a, b) => b.value - a.value || d3.ascending(a.data.name, b.data.name));
    d3.treemap().size([width, height]).round(true).paddingInner(1)
      .paddingTop((node) => (node.depth === 1 && node.children ? 18 : 0))(root);

    const svg = d3.create("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("role", "group")
      .attr("aria-label", `Sizes in ${current.name}; arrow keys move, Enter opens, Escape goes back`);
    const path = (node) => [...trail.slice(1).map((part) => part.name),
      ...node.ancestors().reverse().slice(1).map((part) => part.data.name)];
    // In the whole bundle each distribution has its color, below each directory.
    const shades = trail.length === 1 ? colors : new Map((root.children ?? []).map((child, index) => [child.data.name, index % 8]));
    const color = (node) => `c${shades.get((node.depth === 2 ? node.parent : node).data.name) ?? 0}`;
    const groups = svg.selectAll("g").data(root.children ?? [root]).join("g")
      .attr("class", (node) => `cell ${node.children ? "group" : ""}`)
      .attr("role", "button")
      .attr("data-name", (node) => node.data.name)
      .attr("data-size", (node) => node.value)
      .attr("aria-label", (node) => `${node.data.name}, ${humanSize(node.value)}`);
    drawCells(groups, color);
    const inner = groups.selectAll("g.inner").data((node) => node.children ?? []).join("g").attr("class", "cell inner");
    drawCells(inner, color);
    for (const cells of [groups, inner]) {
      cells.on("pointerenter focus", (event, node) => describe(path(node), node.value));
    }
    onActivate(groups, (node) => enter(node));
    onActivate(inner, (node) => enter(node.parent));
    svg.on("keydown", (event) => {
      if ((event.key === "Escape" || event.key === "Backspace") && trail.length > 1) open(trail.slice(0, -1));
    });
    container.replaceChildren(svg.node());
    moveByArrows(groups.nodes());

    function enter(node) {
      const source = (current.children ?? []).find((child) => child.name === node.data.name);
      if (source?.children) open([...trail, source]);
    }
  }

  function drawCells(cells, color) {
    cells.append("rect")
      .attr("x", (node) => node.x0).attr("y", (node) => node.y0)
      .attr("width", (node) => node.x1 - node.x0).attr("height", (node) => node.y1 - node.y0)
      .attr("class", color);
    cells.append("text")
      .attr("x", (node) => node.x0 + 4).attr("y", (node) => node.y0 + 13)
      .text((node) => (node.y1 - node.y0 < 15 ? "" : label(node)));
  }

  function label(node) {
    const width = node.x1 - node.x0 - 6;
    const weight = node.children ? "bold" : "normal";
    const long = `${node.data.name} ${humanSize(node.value)}`;
    return fitted(long, width, weight) === long ? long : fitted(node.data.name, width, weight);
  }

  // Copy a tree without the levels below `depth`; files that are in none of the children become a node.
  function shallow(node, depth) {
    if (!node.children || depth === 0) return { name: node.name, size: node.size };
    const children = node.children.map((child) => shallow(child, depth - 1));
    const rest = node.size - d3.sum(node.children, (child) => child.size);
    if (rest > 0) children.push({ name: "other files", size: rest });
    return { name: node.name, size: node.size, children };
  }

  // --- the graph of requirements -------------------------------------------------

  const NODE = { width: 150, height: 24, across: 198, down: 30 };

  // Draw the distributions in columns by their distance from the user's requirements.
  //
  // Returns a function that highlights a distribution, with the chain of names that leads to it.
  function graph(container, names, provided, edges, select) {
    const nodes = layered(names, edges);
    const width = d3.max(nodes, (node) => node.x) + NODE.width + 20;
    const height = d3.max(nodes, (node) => node.y) + NODE.height + 20;
    const at = new Map(nodes.map((node) => [node.name, node]));
    const svg = d3.create("svg").attr("viewBox", `0 0 ${width} ${height}`)
      .attr("width", width).attr("height", height).attr("role", "group")
      .attr("aria-label", "Requirements between distributions; arrow keys move, Enter selects");
    const link = d3.linkHorizontal();
    const lines = svg.append("g").selectAll("path").data(edges).join("path").attr("class", "edge")
      .attr("data-from", (edge) => edge.from).attr("data-to", (edge) => edge.to)
      .attr("d", (edge) => line(link, at.get(edge.from), at.get(edge.to)));
    lines.append("title").text((edge) => `${edge.from || "your requirements"} requires ${edge.requirement}`);
    const boxes = svg.append("g").selectAll("g").data(nodes).join("g")
      .attr("class", (node) => `node ${node.name === "" ? "user" : ""} ${provided.has(node.name) ? "base" : ""}`)
      .attr("role", "button")
      .attr("data-name", (node) => node.name)
      .attr("transform", (node) => `translate(${node.x},${node.y})`)
      .attr("aria-label", (node) => node.name || "your requirements");
    boxes.append("rect").attr("width", NODE.width).attr("height", NODE.height).attr("rx", 4);
    boxes.append("text").attr("x", 8).attr("y", 16)
      .text((node) => fitted(node.name || "your requirements", NODE.width - 14));
    boxes.append("title").text((node) => node.name || "your requirements");
    onActivate(boxes, (node) => select(node.name));
    container.replaceChildren(svg.node());
    moveByArrows(boxes.nodes());

    return (name, chain) => {
      const steps = new Set(chain.map((step, index) => `${chain[index - 1] ?? ""}\n${step}`));
      const near = new Set([name, "", ...chain]);
      for (const edge of edges) {
        if (edge.from === name) near.add(edge.to);
        if (edge.to === name) near.add(edge.from);
      }
      d3.select(container).classed("chosen", Boolean(name));
      boxes.classed("near", (node) => near.has(node.name)).classed("self", (node) => Boolean(name) && node.name === name)
        .classed("chain", (node) => chain.includes(node.name) || node.name === "");
      lines.classed("near", (edge) => edge.from === name || edge.to === name)
        .classed("chain", (edge) => steps.has(`${edge.from}\n${edge.to}`));
      const box = at.get(name);
      if (box) container.scrollTo(box.x - container.clientWidth / 2, box.y - container.clientHeight / 2);
    };
  }

  function line(link, from, to) {
    if (to.x > from.x) {
      return link({ source: [from.x + NODE.width, from.y + NODE.height / 2], target: [to.x, to.y + NODE.height / 2] });
    }
    // Back, or within a column: an arc on the left side of both.
    const bend = Math.min(from.x, to.x) - 30;
    const [y0, y1] = [from.y + NODE.height / 2, to.y + NODE.height / 2];
    return `M${from.x},${y0}C${bend},${y0} ${bend},${y1} ${to.x},${y1}`;
  }

  // Return the nodes with their places: columns by distance, rows so that neighbors are close to each other.
  function layered(names, edges) {
    const next = d3.group(edges, (edge) => edge.from);
    const depth = new Map([["", 0]]);
    for (const name of depth.keys()) { // a Map yields the entries that are added meanwhile: breadth first
      for (const edge of next.get(name) ?? []) if (!depth.has(edge.to)) depth.set(edge.to, depth.get(name) + 1);
    }
    for (const name of names) if (!depth.has(name)) depth.set(name, 1); // that no requirement leads to
    for (const edge of edges) for (const name of [edge.from, edge.to]) if (!depth.has(name)) depth.set(name, 1);
    const nodes = [...depth].map(([name, column]) => ({ name, column, row: 0 }));
    const columns = [...d3.group(nodes, (node) => node.column)].sort((a, b) => a[0] - b[0]).map(([, list]) => list);
    const tallest = d3.max(columns, (list) => list.length);
    const at = new Map(nodes.map((node) => [node.name, node]));
    const neighbors = d3.rollup([...edges, ...edges.map((edge) => ({ from: edge.to, to: edge.from }))],
      (list) => list.map((edge) => at.get(edge.to)), (edge) => edge.from);
    columns.forEach((list) => list.sort((a, b) => d3.ascending(a.name, b.name)).forEach(place));
    for (let round = 0; round < 8; round += 1) {
      for (const list of columns) {
        const mean = new Map(list.map((node) => [node, d3.mean(neighbors.get(node.name) ?? [], (other) => other.row) ?? node.row]));
        list.sort((a, b) => mean.get(a) - mean.get(b) || d3.ascending(a.name, b.name)).forEach(place);
      }
    }
    for (const node of nodes) {
      node.x = 10 + node.column * NODE.across;
      node.y = 10 + node.row * NODE.down;
    }
    return nodes;

    // Short columns are centered.
    function place(node, index, list) {
      node.row = index + (tallest - list.length) / 2;
    }
  }

  // --- bars -------------------------------------------------------------------------

  // Draw one horizontal bar for each `{label, count, floor}`.
  function bars(container, items, unit) {
    const width = Math.max(Math.min(container.clientWidth, 720), 300);
    const scale = d3.scaleLinear([0, d3.max(items, (item) => item.count)], [0, width - 180]);
    const svg = d3.create("svg").attr("viewBox", `0 0 ${width} ${items.length * 24}`).attr("role", "img")
      .attr("aria-label", items.map((item) => `${item.label}: ${item.count} ${unit}`).join("; "));
    const rows = svg.selectAll("g").data(items).join("g")
      .attr("class", (item) => `bar ${item.floor ? "floor-bar" : ""}`)
      .attr("transform", (item, index) => `translate(0,${index * 24})`);
    rows.append("text").attr("x", 0).attr("y", 16).text((item) => item.label);
    rows.append("rect").attr("x", 90).attr("y", 4).attr("height", 16).attr("rx", 2)
      .attr("width", (item) => Math.max(scale(item.count), 2));
    rows.append("text").attr("x", (item) => 98 + scale(item.count)).attr("y", 16)
      .text((item) => (item.floor ? `${item.count}, the floor` : item.count));
    container.replaceChildren(svg.node());
    svg.node().style.maxWidth = `${width}px`;
  }

  return { bars, graph, humanSize, treemap };
})();
