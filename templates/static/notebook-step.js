// Step 2: the cards, those that suit the chosen data first.

import { byId, reveal } from "./dom.js";

const SUITS = 3; // ranks below this are shown without "show all"; core/templates.py: Fit.suits
const GOOD = 2; // technique or format matched: good enough to be proposed unasked

export function notebookStep(data, changed) {
  const cards = byId("ph-cards");
  const button = byId("ph-show-all");
  const words = byId("ph-fits");
  const empty = cards.querySelector('[data-template=""]');
  const manifests = new Map(data.templates.map((t) => [t.id, t]));
  let touched = data.touched;
  let propose = data.propose;
  let all = false;
  let fit = {};

  const chosen = () => cards.querySelector("input:checked")?.value || "";
  const rank = (card) => fit[card.dataset.template]?.rank ?? SUITS;

  function show() {
    const list = [...cards.querySelectorAll("[data-template]")].filter((card) => card !== empty);
    const title = (card) => manifests.get(card.dataset.template)?.title || "";
    list.sort((a, b) => rank(a) - rank(b) || title(a).localeCompare(title(b)));
    const suiting = list.filter((card) => rank(card) < SUITS).length;
    const everything = all || suiting === 0;
    const focused = cards.contains(document.activeElement) ? document.activeElement : null;
    for (const card of list) {
      const good = rank(card) < SUITS;
      card.hidden = !good && !everything && !card.querySelector("input").checked;
      card.classList.toggle("ph-card-best", rank(card) < GOOD);
      card.querySelector("[data-why]").textContent = fit[card.dataset.template]?.why || "";
    }
    // Moving nodes would drop the focus, so cards are moved only when their order is another.
    const wanted = [...list, empty];
    if (wanted.some((card, i) => cards.children[i] !== card)) {
      cards.append(...wanted);
      focused?.focus();
    }
    cards.classList.toggle("ph-cards-many", list.filter((card) => !card.hidden).length > 2);
    const more = list.length - suiting;
    button.hidden = suiting === 0 || more === 0;
    button.textContent = all ? "Show only what fits" : `Show all ${list.length}`;
    button.setAttribute("aria-expanded", String(all));
    words.textContent = suiting && more ? `${suiting} of ${list.length} fit your data` : "";
  }

  button.addEventListener("click", () => { all = !all; show(); });
  cards.addEventListener("change", () => { touched = true; show(); changed(); });

  return {
    /** Other data: order the cards anew; propose the best one until the person has chosen. */
    data(table) {
      fit = table || {};
      if (!touched && propose) {
        const best = [...cards.querySelectorAll("[data-template]")]
          .filter((card) => card !== empty && rank(card) < GOOD)
          .sort((a, b) => rank(a) - rank(b))[0];
        const now = cards.querySelector(`[data-template="${CSS.escape(chosen())}"]`);
        if (best && rank(best) < rank(now)) best.querySelector("input").checked = true;
        else if (now !== empty && rank(now) >= SUITS) empty.querySelector("input").checked = true;
      }
      propose = true;
      show();
      reveal(cards);
      changed();
    },
    chosen: () => manifests.get(chosen()) || null,
    words() {
      const manifest = manifests.get(chosen());
      return manifest ? `${manifest.title} ${manifest.version}` : "Empty workspace";
    },
  };
}
