// Keys, and what is nicer with a script. Every page works without it.
"use strict";

(() => {
  const follow = (id) => {
    const link = document.getElementById(id);
    if (link) link.click();
    return Boolean(link);
  };
  const typing = (element) =>
    element.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);

  let went = 0; // when g was pressed
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && document.activeElement) document.activeElement.blur();
    if (typing(event.target)) return;
    const since = Date.now() - went;
    went = 0;
    if (event.key === "/") {
      const field = document.getElementById("search");
      if (!field) return;
      field.focus();
      field.select();
    } else if (event.key === "g") {
      went = Date.now();
      return;
    } else if (event.key === "h" && since < 1500) {
      follow("home-link");
    } else if (event.key === "j" || event.key === "ArrowRight") {
      if (!follow("next")) return;
    } else if (event.key === "k" || event.key === "ArrowLeft") {
      if (!follow("previous")) return;
    } else {
      return;
    }
    event.preventDefault();
  });

  // Choices are shown as soon as they are made.
  for (const form of document.querySelectorAll("form.filters")) {
    form.addEventListener("change", () => form.requestSubmit());
  }

  // Empty fields say nothing in an address.
  document.addEventListener("submit", (event) => {
    for (const field of event.target.querySelectorAll("input, select")) {
      if (field.name && field.value === "" && field.type !== "search") field.disabled = true;
    }
  });

  // Parts that take a while come when they are near the window.
  const load = async (place) => {
    try {
      const answer = await fetch(place.dataset.src, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...parsed.body.childNodes);
    } catch {
      place.textContent = "This could not be loaded. Open the page again to try once more.";
    }
    place.removeAttribute("aria-busy");
  };
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        load(entry.target);
      }
    },
    { rootMargin: "600px" },
  );
  for (const place of document.querySelectorAll("[data-src]")) {
    place.setAttribute("aria-busy", "true");
    near.observe(place);
  }

  // What a point of a chart is, at once and beside it.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const show = (event) => {
    const link = event.target.closest && event.target.closest(".chart a");
    const point = link && link.querySelector("circle");
    tip.hidden = !point;
    if (!point) return;
    const title = point.querySelector("title"); // else the browser shows it too, later
    if (title) {
      point.dataset.tip = title.textContent;
      link.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    tip.textContent = point.dataset.tip;
    const box = point.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(box.left + window.scrollX + 14, window.scrollX + document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${box.top + window.scrollY - tip.offsetHeight - 6}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", () => { tip.hidden = true; });
})();
