// The home page: stop, remove, and a name for another session.

import { byId, span, stopServer } from "./dom.js";

const trouble = byId("ph-trouble");

async function act(button, url, remove, doing) {
  const name = button.textContent;
  button.disabled = true;
  button.textContent = doing;
  try {
    await stopServer(url, remove);
    window.location.reload();
  } catch (error) {
    button.disabled = false;
    button.textContent = name;
    trouble.textContent = error.message;
    trouble.hidden = false;
  }
}

for (const button of document.querySelectorAll("[data-stop]")) {
  button.addEventListener("click", () => act(button, button.dataset.stop, false, "Stopping …"));
}
for (const button of document.querySelectorAll("[data-remove]")) {
  button.addEventListener("click", () => act(button, button.dataset.remove, true, "Removing …"));
}

// The Hub's rule for names of servers: 1 to 30 of a-z, 0-9 and "-", not at the ends.
const slug = (text) => text.normalize("NFKD").toLowerCase().replace(/[\u0300-\u036f]/g, "")
  .replace(/[^a-z0-9]+/g, "-").slice(0, 30).replace(/^-+|-+$/g, "");

const form = byId("ph-new");
if (form) {
  const field = byId("ph-new-name");
  const hint = byId("ph-new-hint");
  const rule = hint.textContent;
  field.addEventListener("input", () => {
    const name = slug(field.value);
    hint.textContent = name && name !== field.value ? `It will be called “${name}”.` : rule;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = slug(field.value);
    if (name) window.location.assign(form.dataset.spawn + encodeURIComponent(name));
    else hint.textContent = "Please use at least one letter or digit.";
  });
}

// The time left, without asking the Hub: an end only moves when an administrator moves it.
const WARN = 15 * 60; // s; web/sessions.py: SOON
function countDown() {
  for (const place of document.querySelectorAll("[data-ends]")) {
    const left = Number(place.dataset.ends) - Date.now() / 1000;
    const words = left >= 60 ? `ends in ${span(left)}` : "ends now";
    const shown = place.querySelector("[data-ends-words]");
    if (shown.textContent !== words) shown.textContent = words;
    place.classList.toggle("ph-ends-soon", left < WARN);
  }
}
countDown();
setInterval(countDown, 10000);

// A session that is being stopped is gone soon; look again until it is.
if (document.querySelector('[data-state="stopping"], [data-state="checking"]')) {
  setTimeout(() => window.location.reload(), 4000);
}
document.documentElement.dataset.phReady = "true";
