// When the session would start, asked a moment after the last change; nothing waits for it.

import { getJSON } from "./dom.js";

const PAUSE = 700; // ms after the last change: a slider is moved over many positions
const FRESH = 60000; // ms; the Hub's own answers are not newer
const ASKED = ["profile", "environment", "cpus", "memory", "gpus", "walltime"];

/** Answers a function to call whenever the form may have changed. */
export function startEstimate(data, form, place) {
  let shown = ""; // the question that is answered or under way; empty when it is time to ask
  let about = ""; // the question that the words are about
  let timer = 0;
  let running = null;

  const show = (words, bad = false) => {
    if (place.textContent !== words) place.textContent = words;
    place.classList.toggle("ph-estimate-bad", bad);
  };

  async function ask(query) {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    try {
      const answer = await getJSON(`${data.api}estimate?${query}`, mine.signal);
      if (running === mine) show(sentence(answer), !answer.usable);
    } catch (error) {
      // A guess that cannot be had is no news: what was typed is checked when Start is pressed.
      if (error.name !== "AbortError" && running === mine) show("");
    }
  }

  function sentence(answer) {
    if (!answer.words) return "";
    return answer.words.charAt(0).toUpperCase() + answer.words.slice(1).replace(/\.?$/, ".");
  }

  return () => {
    // Somebody else's limits are not one's own, so nothing is asked in another's name.
    if (!data.own) return;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if ((ASKED.includes(name) || name.startsWith("choice-")) && value) query.append(name, value);
    }
    // Those for a beam time are refused without the proposal whose time it is.
    const only = data.usable.some((u) => u.only && u.id === query.get("profile"));
    const proposal = only && new FormData(form).get("proposal");
    if (proposal) query.append("proposal", proposal);
    const wanted = query.has("profile") ? query.toString() : "";
    if (wanted === shown) return;
    shown = wanted;
    running?.abort();
    clearTimeout(timer);
    if (wanted !== about) show("");
    about = wanted;
    if (!wanted) return;
    timer = setTimeout(() => ask(wanted), PAUSE);
    setTimeout(() => { if (shown === wanted) shown = ""; }, FRESH);
  };
}
