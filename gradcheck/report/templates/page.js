"use strict";
(() => {
  const $ = (id) => document.getElementById(id), all = (q, of = document) => [...of.querySelectorAll(q)];
  const table = $("layers"), form = document.querySelector("form.controls");

  // copy buttons
  for (const box of all(".code")) {
    const text = box.querySelector("code"), button = document.createElement("button");
    button.type = "button"; button.className = "copy"; button.textContent = "Copy";
    button.onclick = async () => {
      try { await navigator.clipboard.writeText(text.textContent); }
      catch { getSelection().selectAllChildren(text); document.execCommand("copy"); }
      button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
    box.append(button);
  }

  // a link into a closed or filtered layer opens it; case/check/primal falls back to case/check, then to case
  const reveal = () => {
    all(".here").forEach((e) => e.classList.remove("here"));
    let id = location.hash.slice(1), target = null;
    const find = (name) => { try { return $(name) || $(decodeURIComponent(name)); } catch { return null; } };
    while (id && !(target = find(id)) && id.includes("/")) id = id.slice(0, id.lastIndexOf("/"));
    if (!target) return;
    if (target.closest("[hidden]")) { form.reset(); filter(); }
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    const block = target.closest(".rows tbody");
    if (block) block.classList.add("here");
    const focus = target.querySelector("summary, a") || target;
    if (focus === target) target.tabIndex = -1;
    target.scrollIntoView(); focus.focus({preventScroll: true});
  };

  let filter = () => {};
  if (table) {
    const body = table.tBodies[0], heads = all(".heads th", table);
    const rows = [...body.rows].map((tr) => {
      const detail = $(tr.id.slice(4));
      return {tr, detail, text: `${tr.cells[0].textContent} ${detail ? detail.querySelector("summary").textContent : ""} ${tr.textContent}`.toLowerCase()};
    });
    form.hidden = false; all("p.controls").forEach((p) => { p.hidden = false; });

    filter = () => {
      const words = $("search").value.toLowerCase().split(/\s+/), verdict = form.elements.show.value;
      let n = 0;
      for (const r of rows) {
        const keep = (!verdict || r.tr.className === verdict) && words.every((w) => r.text.includes(w));
        r.tr.hidden = !keep; if (r.detail) r.detail.hidden = !keep; n += keep;
      }
      $("shown").textContent = n === rows.length ? "" : `${n} of ${rows.length} shown`;
    };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (e) => { e.preventDefault(); const r = rows.find((r) => !r.tr.hidden); if (r) r.tr.querySelector("a").focus(); });

    // sorting: verdicts by gravity then coarsest first, numbers from the largest, names from A
    const gravity = ["fail", "error", "xpass", "undecided", "xfail", "pass", "skipped"];
    const key = (td) => {
      const mark = [td, ...td.children].find((e) => gravity.includes(e.className)), small = td.querySelector("small");
      if (mark) return [gravity.indexOf(mark.className), small ? -parseFloat(small.textContent) : 0];
      return td.tagName === "TH" ? td.textContent : [isNaN(td.textContent) ? 9 : -td.textContent, 0];
    };
    const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a[0] - b[0] || a[1] - b[1];
    heads.forEach((th, i) => {
      const button = document.createElement("button");
      button.type = "button"; button.append(...th.childNodes); th.append(button);
      button.onclick = () => {
        const down = th.getAttribute("aria-sort") === "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort")); th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = rows.map((r) => [key(r.tr.cells[i]), r.tr]).sort((a, b) => compare(a[0], b[0]) * (down ? -1 : 1));
        body.append(...keyed.map((k) => k[1]));
      };
    });

    // arrows move between the links of the table
    body.addEventListener("keydown", (e) => {
      const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[e.key], cell = e.target.closest("td, th");
      if (!step || !cell) return;
      let tr = cell.parentElement, i = cell.cellIndex;
      do { if (step[0]) tr = step[0] < 0 ? tr.previousElementSibling : tr.nextElementSibling; i += step[1]; }
      while (tr && tr.cells[i] && (tr.hidden || !tr.cells[i].querySelector("a")));
      const link = tr && tr.cells[i] && tr.cells[i].querySelector("a");
      if (link) { link.focus(); e.preventDefault(); }
    });

    const expand = $("expand");
    expand.onclick = () => {
      const open = expand.getAttribute("aria-pressed") !== "true";
      expand.setAttribute("aria-pressed", open); all("details.layer").forEach((d) => { d.open = open; });
    };
  }

  addEventListener("hashchange", reveal);
  document.addEventListener("click", (e) => { const a = e.target.closest("a"); if (a && a.hash && a.hash === location.hash) setTimeout(reveal); });
  if (location.hash) reveal();
})();
