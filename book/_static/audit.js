// Filters of the findings, figures that open at their full size, and labels of cells for narrow screens.
"use strict";

function labelCells() {
  for (const table of document.querySelectorAll("table.audit")) {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].forEach((cell, n) => {
        if (cell.tagName === "TD" && !cell.dataset.label && heads[n]) cell.dataset.label = heads[n];
      });
    }
  }
}

function openFigures() {
  for (const image of document.querySelectorAll(".bd-article figure img")) {
    if (image.closest("a")) continue;
    const link = document.createElement("a");
    link.className = "zoom";
    link.href = image.getAttribute("src");
    link.setAttribute("aria-label", `Enlarge: ${image.alt}`);
    image.replaceWith(link);
    link.append(image);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own is a browser's to open
      event.preventDefault();
      enlarge(image);
    });
  }
}

// A figure in a pane that scrolls, from the width of the screen up to 32 times that: vectors stay sharp.
function enlarge(image) {
  const dialog = document.createElement("dialog");
  dialog.className = "zoomed";
  dialog.setAttribute("aria-label", image.alt);
  const tools = document.createElement("div");
  tools.className = "tools";
  const told = document.createElement("output");
  const pane = document.createElement("div");
  pane.className = "pane";
  pane.tabIndex = 0;
  pane.setAttribute("role", "group");
  pane.setAttribute("aria-label", "The figure; it scrolls");
  const copy = image.cloneNode();
  copy.removeAttribute("width");
  copy.removeAttribute("height");
  pane.append(copy);
  let times = 1;
  const zoom = (to, at = 0.5) => {
    const kept = (pane.scrollLeft + at * pane.clientWidth) / Math.max(1, copy.clientWidth);
    times = Math.min(32, Math.max(1, to));
    copy.style.width = `${times * 100}%`;
    pane.scrollLeft = kept * copy.clientWidth - at * pane.clientWidth;
    told.textContent = `${Math.round(times * 100)} %`;
  };
  const steps = [["+", "Larger", () => zoom(times * 2)], ["\u2212", "Smaller", () => zoom(times / 2)], ["Fit", "", () => zoom(1)]];
  for (const [sign, name, act] of [...steps, ["Close", "", () => dialog.close()]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sign;
    if (name) button.setAttribute("aria-label", name);
    button.addEventListener("click", act);
    tools.append(button);
  }
  tools.append(told);
  pane.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(times * (event.deltaY < 0 ? 1.25 : 0.8), event.offsetX / Math.max(1, pane.clientWidth));
  }, { passive: false });
  dialog.append(tools, pane);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  zoom(1);
}

function filterFindings() {
  const form = document.getElementById("filters");
  if (!form) return;
  const cards = [...document.querySelectorAll("article.finding")];
  const told = document.getElementById("filtered");
  const apply = () => {
    const asked = new FormData(form);
    const words = String(asked.get("words")).toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const text = card.textContent.toLowerCase();
      const fits =
        ["severity", "boundary", "verdict", "authority"].every((k) => !asked.get(k) || card.dataset[k] === asked.get(k)) &&
        (!asked.get("config") || !card.dataset.config || card.dataset.config.split(" ").includes(asked.get("config"))) &&
        words.every((word) => text.includes(word));
      card.hidden = !fits;
      if (fits) shown += 1;
    }
    told.textContent = `${shown} of ${cards.length} findings`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

document.addEventListener("DOMContentLoaded", () => {
  labelCells();
  openFigures();
  filterFindings();
});

// The theme names its buttons otherwise than they read, and leaves the head of its sidebar outside of any region.
function nameButtons() {
  for (const button of document.querySelectorAll(".search-button__button")) {
    const words = button.textContent.trim().replace(/\s+/g, " ");
    if (words) button.setAttribute("aria-label", words);
  }
  // An icon's title would be read as the button's text, and only one of three is seen.
  for (const icon of document.querySelectorAll(".theme-switch-button .theme-switch")) {
    icon.querySelector("title")?.remove();
    icon.removeAttribute("title");
    icon.removeAttribute("aria-labelledby");
    icon.setAttribute("aria-hidden", "true");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  nameButtons();
  const sidebar = document.querySelector(".sidebar-primary-items__start");
  if (sidebar) {
    sidebar.setAttribute("role", "region");
    sidebar.setAttribute("aria-label", "Contents of the book");
  }
});
window.addEventListener("load", nameButtons); // by then the icons' own script has drawn them
