"use strict";
// Light or dark: the reader's choice if there was one, else the system's. Runs before anything is painted.
(function () {
  const root = document.documentElement;
  let stored = null;
  try { stored = localStorage.getItem("passkwh-theme"); } catch (error) { /* storage may be forbidden: no memory then */ }
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      try { localStorage.setItem("passkwh-theme", root.dataset.theme); } catch (error) { /* as above */ }
      show();
    });
  });
})();
