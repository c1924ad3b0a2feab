// The spawn page: wires the four steps together. The form is the only state.

import { byId, pageData, tell } from "./dom.js";
import { computeStep } from "./compute-step.js";
import { dataStep } from "./data-step.js";
import { startEstimate } from "./estimate.js";
import { notebookStep } from "./notebook-step.js";

const data = pageData();
const form = byId("spawn_form");
const steps = {};
const estimate = startEstimate(data, form, byId("ph-estimate"));

function summarise() {
  if (!steps.data || !steps.notebook || !steps.compute) return;
  const words = [steps.data.words(), steps.notebook.words(), steps.compute.words()].join(" · ");
  const summary = byId("ph-summary");
  if (summary.textContent !== words) summary.textContent = words;
  estimate();
}

/** The form's fields as a link that pre-fills this page for somebody else; starts nothing. */
function link() {
  const url = new URL(`${data.hub}spawn`, window.location.origin);
  for (const [name, value] of new FormData(form)) {
    if (value) url.searchParams.append(`opt-${name}`, value);
  }
  return url.href;
}

async function copyLink() {
  const place = byId("ph-copied");
  const address = link();
  try {
    await navigator.clipboard.writeText(address);
    tell(place, "Link copied. It fills this form and starts nothing.");
  } catch {
    // Browsers give the clipboard to https pages only.
    window.prompt("Copy this link; it fills the form and starts nothing.", address);
  }
}

for (const node of document.querySelectorAll(".ph-js")) node.hidden = false;
steps.compute = computeStep(data, summarise);
steps.notebook = notebookStep(data, () => {
  steps.compute.template(steps.notebook.chosen());
  summarise();
});
steps.data = dataStep(data, (fit) => {
  steps.notebook.data(fit);
  steps.compute.show();
  summarise();
});
steps.compute.template(steps.notebook.chosen());
summarise();

form.addEventListener("change", (event) => {
  // The datasets of a proposal take a while; whose beam time it is, is known at once.
  if (event.target.name === "proposal") steps.compute.show();
  summarise();
});
byId("ph-copy").addEventListener("click", copyLink);
form.addEventListener("submit", () => {
  const button = byId("ph-go");
  button.textContent = "Starting …";
  button.setAttribute("aria-disabled", "true");
});
// Coming back with the browser's button shows this very page again.
window.addEventListener("pageshow", () => { byId("ph-go").textContent = "Start session"; });
document.documentElement.dataset.phReady = "true";
