// Everything here is a convenience: with scripts off the page reads the same, its code in <details>.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // Contents: open beside the text where there is room, closed above it on a phone.
  const contents = document.querySelector(".contents");
  if (contents) {
    const wide = matchMedia("(min-width: 70rem)");
    const fit = () => { contents.open = wide.matches; };
    wide.addEventListener("change", fit);
    fit();
  }

  // Code: one button for the page.
  const toggle = document.querySelector(".toggle-code");
  const code = all("details.code");
  if (toggle && code.length) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      const on = toggle.getAttribute("aria-pressed") !== "true";
      toggle.setAttribute("aria-pressed", on);
      toggle.textContent = on ? "Hide code" : "Show code";
      document.documentElement.classList.toggle("with-code", on);
      for (const block of code) block.open = on;
    });
  }

  // Lines to copy: selected and copied without asking for a permission; where a browser refuses, they stay selected.
  for (const line of all("pre.copy, pre.command")) {
    const box = document.createElement("div");
    const button = document.createElement("button");
    box.className = "copyable";
    button.type = "button";
    button.textContent = "Copy";
    line.replaceWith(box);
    box.append(line, button);
    button.addEventListener("click", () => {
      getSelection().selectAllChildren(line);
      button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    });
  }

  // Tables: a click on a heading sorts; cells carry data-sort where their text would sort wrongly.
  const key = (row, column) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    if (a === "" || b === "") return 0;
    return isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  };
  for (const table of all("table.sortable")) {
    if (table.closest("details.rows")) continue; // the rest of the table above it
    const below = table.parentElement.nextElementSibling;
    const bodies = [table, ...(below?.matches("details.rows") ? all("table", below) : [])].map((one) => one.tBodies[0]);
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim() || "unsortable" in head.dataset) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
        const empty = (row) => key(row, column) === "";
        const counts = bodies.map((body) => body.rows.length);
        const rows = bodies.flatMap((body) => [...body.rows]);
        rows.sort((a, b) => empty(a) - empty(b) || sign * compare(key(a, column), key(b, column)));
        bodies.forEach((body, part) => body.append(...rows.splice(0, counts[part])));
      });
    });
  }

  // Downloads: unpacked when they are asked for, where the browser can; else they stay what they are, .gz files.
  const unpack = async (link) => {
    const packed = Uint8Array.from(atob(link.href.slice(link.href.indexOf(",") + 1)), (byte) => byte.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const plain = await new Response(stream, { headers: { "content-type": link.dataset.packed } }).blob();
    const file = document.createElement("a");
    file.href = URL.createObjectURL(plain);
    file.download = link.download.replace(/\.gz$/, "");
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
  };
  if (typeof DecompressionStream === "function") {
    for (const link of all("a[data-packed]")) {
      link.addEventListener("click", (event) => { event.preventDefault(); unpack(link); });
    }
  }

  // Index of runs: a row stays when it holds every word typed.
  const filter = document.querySelector(".filter");
  if (filter) {
    filter.hidden = false;
    const rows = all("#runs tbody tr");
    const shown = filter.querySelector(".n-shown");
    filter.querySelector("input").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/);
      for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
      shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
    });
  }

  // Figures: full screen, with ← p, → n, Esc q, buttons and swipe.
  const viewer = document.querySelector("dialog.viewer");
  const figures = all("main figure[id]");
  if (!viewer || !figures.length) return;
  const part = (name) => viewer.querySelector("." + name);
  const pictureOf = (figure) => figure.querySelector("picture") ?? figure.querySelector("img");
  let at = 0;
  const show = (index) => {
    at = (index + figures.length) % figures.length;
    part("stage").replaceChildren(pictureOf(figures[at]).cloneNode(true));
    part("caption").textContent = figures[at].querySelector(".caption").textContent;
    part("counter").textContent = `${at + 1} / ${figures.length}`;
  };
  const acts = {
    ArrowLeft: () => show(at - 1), p: () => show(at - 1),
    ArrowRight: () => show(at + 1), n: () => show(at + 1),
    q: () => viewer.close(),
  };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  });
  part("previous").addEventListener("click", acts.p);
  part("next").addEventListener("click", acts.n);
  part("close").addEventListener("click", acts.q);
  let startX = null;
  viewer.addEventListener("touchstart", (event) => {
    const isZoomed = visualViewport.scale > 1.01; // then one finger moves the picture
    startX = event.touches.length === 1 && !isZoomed ? event.touches[0].clientX : null;
  }, { passive: true });
  viewer.addEventListener("touchend", (event) => {
    const moved = startX === null ? 0 : event.changedTouches[0].clientX - startX;
    if (Math.abs(moved) > 40) show(at + (moved < 0 ? 1 : -1));
  });
  figures.forEach((figure, index) => {
    const picture = pictureOf(figure);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.title = "Open full screen";
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => { show(index); viewer.showModal(); });
  });
})();
