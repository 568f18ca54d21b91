"use strict";
// Addresses to pass on: buttons that copy, a link on every task, and a word where an address leads to nothing.
(function () {
  // Where a page may not reach the clipboard (from disk, in older browsers), the text is selected and copied as by hand.
  async function copy(text) {
    try { await navigator.clipboard.writeText(text); return true; } catch (error) { /* as above */ }
    const box = document.createElement("textarea"), back = document.activeElement;
    box.value = text;
    box.className = "sr";
    document.body.append(box);
    box.select();
    let done = false;
    try { done = document.execCommand("copy"); } catch (error) { /* then it cannot be done */ }
    box.remove();
    back?.focus({ preventScroll: true });
    return done;
  }

  // A button with data-copy copies the element of that id, or with "address" the address of the page as it stands.
  function prepare(button) {
    const before = button.textContent;
    let timer = 0;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      const text = button.dataset.copy === "address" ? location.href : document.getElementById(button.dataset.copy).textContent;
      button.textContent = await copy(text) ? "Copied" : "Could not be copied";
      clearTimeout(timer);
      timer = setTimeout(() => { button.textContent = before; }, 2500);
    });
  }

  const named = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch (error) { return location.hash.slice(1); } };

  function lookUp(note) {
    const name = named(), row = document.getElementById(name);
    note.hidden = !name.startsWith("task:") || row !== null;
    if (!note.hidden) note.textContent = "The task that this address names is none of this configuration's.";
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("button[data-copy]").forEach(prepare);
    const note = document.getElementById("gone");
    if (!note) return;
    document.querySelectorAll("tr[id^='task:']").forEach((row) => {
      const cell = row.cells[0], link = document.createElement("a");
      link.href = `#${encodeURIComponent(row.id)}`;
      link.textContent = cell.textContent;
      cell.replaceChildren(link);
    });
    lookUp(note);
    window.addEventListener("hashchange", () => lookUp(note));
  });
})();
