/* The demo page: its language, and chips that put their question to the chat. */
(() => {
  "use strict";
  const asked = new URLSearchParams(location.search).get("lang");
  const lang = /^ru\b/i.test(asked || navigator.language) ? "ru" : "en";
  document.documentElement.lang = lang;
  if (lang === "ru") document.title = "Лампа: демонстрация Ragline";

  function ask(question) {
    if (window.ragline) window.ragline.send(question);
    else addEventListener("ragline:ready", () => window.ragline.send(question), { once: true }); // still loading
  }

  addEventListener("DOMContentLoaded", () => {
    document.querySelector(`[data-lang="${lang}"]`).setAttribute("aria-current", "true");
    const tag = document.getElementById("snippet");
    tag.textContent = tag.textContent.replace("https://your-host", location.origin);
    for (const chip of document.querySelectorAll(".chips button")) {
      chip.addEventListener("click", () => ask(chip.textContent));
    }
  });
})();
