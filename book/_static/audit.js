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
    link.setAttribute("aria-label", `Full size: ${image.alt}`);
    image.replaceWith(link);
    link.append(image);
  }
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
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".search-button__button, .theme-switch-button")) {
    const words = button.textContent.trim().replace(/\s+/g, " ");
    if (words) button.setAttribute("aria-label", words);
  }
  const sidebar = document.querySelector(".sidebar-primary-items__start");
  if (sidebar) {
    sidebar.setAttribute("role", "region");
    sidebar.setAttribute("aria-label", "Contents of the book");
  }
});
