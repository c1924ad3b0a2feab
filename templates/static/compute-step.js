// Step 3: the profiles with what is free now, and the amounts of the chosen one.
//
// What the person chose is kept by its value: while the page is open, the limits and lists may
// become others.

import { ago, byId, el, getJSON, tell } from "./dom.js";
import { choices, field, typedField } from "./choices.js";

const FIRST_LOOK = 3000; // ms; an answer of sinfo takes less
const LOOK_EVERY = 30000; // ms; the backends' own looks are not more frequent
const NAMES = { cpus: "CPUs", memory: "Memory", gpus: "GPUs", walltime: "Time" };

/** The position of the largest amount up to `amount`. */
function atMost(stops, amount) {
  const beyond = stops.findIndex(([other]) => other > amount);
  return beyond === -1 ? stops.length - 1 : Math.max(0, beyond - 1);
}

/** One resource: a slider over the offered amounts; only a changed amount is sent. */
function slider(name, scale, kept, least, moved) {
  const { stops } = scale;
  const last = stops.length - 1;
  const enough = stops.findIndex(([amount]) => amount >= least);
  const wanted = kept === undefined ? scale.default : atMost(stops, kept);
  const start = Math.max(wanted, enough === -1 ? last : enough);
  const hidden = el("input", { type: "hidden", name });
  const output = el("output", { class: "ph-amount", for: `ph-${name}` });
  const input = el("input", {
    type: "range", id: `ph-${name}`, class: "ph-range", min: 0, max: last, step: 1, value: start,
  });
  const label = el("label", { for: `ph-${name}` }, NAMES[name]);
  const ends = el("span", { class: "ph-ends", "aria-hidden": "true" },
    el("span", {}, stops[0][2]), el("span", {}, stops[last][2]));
  const show = () => {
    const [, value, words] = stops[Number(input.value)];
    output.textContent = words;
    input.setAttribute("aria-valuetext", words);
    hidden.value = value;
    // The default is not sent, so that it stays the facility's to change.
    hidden.disabled = Number(input.value) === scale.standard;
  };
  input.addEventListener("input", () => { show(); moved(name, stops[Number(input.value)][0]); });
  show();
  return {
    node: el("div", { class: "ph-choice" }, label, output, input, ends, hidden),
    words: () => (hidden.value === "0" ? "" : output.textContent),
  };
}

export function computeStep(data, changed) {
  const box = byId("ph-choices");
  const note = byId("ph-profile-note");
  const looked = byId("ph-looked");
  const profiles = new Map();
  const state = new Map(data.usable.map((u) => [u.id, u]));
  const kept = new Map(); // amounts that the person or their link chose, per profile
  const answers = { ...data.selection.choices }; // to menus, by name: profiles share many of them
  let template = null;
  let shown = null;
  let controls = [];
  let lookedAt = looked.dataset.age ? Date.now() - Number(looked.dataset.age) * 1000 : null;

  const rows = () => [...document.querySelectorAll("[data-profile]")];
  const chosen = () => document.querySelector('input[name="profile"]:checked')?.value || "";
  const misfit = (id) => (template && data.misfits[template.id]?.[id]) || outside(id);
  const open = (id) => Boolean(state.get(id)?.usable) && !misfit(id);

  /** Why a profile for beam times is not for the chosen proposal now. */
  function outside(id) {
    const only = state.get(id)?.only;
    if (!only) return "";
    const row = document.querySelector("#ph-proposals input:checked")?.closest("label");
    if (!row?.querySelector("input").value) return `${only}; choose one`;
    // Of a proposal that the catalogue has not told yet nothing is known.
    const { beam, beamWhy } = row.dataset;
    return beam === undefined || beam.split(" ").includes(id) ? "" : `${only}; ${beamWhy}`;
  }

  /** Take what is offered now; true if that is something else for the chosen profile. */
  function learn(offers, menus, menusOf) {
    const about = () => JSON.stringify([
      profiles.get(chosen()), (data.menusOf[chosen()] || []).map((i) => data.menus[i]),
    ]);
    const before = about();
    for (const profile of offers) {
      profiles.set(profile.id, profile);
      for (const [name, scale] of Object.entries(profile.scales)) {
        if (scale.default === scale.standard) continue;
        keep(profile.id, name, scale.stops[scale.default][0]);
        scale.default = scale.standard;
      }
    }
    Object.assign(data, { menus, menusOf });
    return about() !== before;
  }

  const keep = (id, name, amount) => kept.set(id, { ...kept.get(id), [name]: amount });

  function showChoices() {
    const profile = profiles.get(chosen());
    shown = `${profile?.id} ${template?.id}`;
    controls = [];
    box.replaceChildren();
    if (!profile) return;
    const amounts = kept.get(profile.id) || {};
    const moved = (name, amount) => {
      keep(profile.id, name, amount);
      changed();
    };
    const facts = [];
    for (const [name, scale] of Object.entries(profile.scales)) {
      if (scale.stops.length === 1) {
        const words = scale.stops[0][2];
        if (scale.stops[0][1] !== "0") facts.push(words);
        controls.push({ words: () => (scale.stops[0][1] === "0" ? "" : words) });
        continue;
      }
      const control = slider(name, scale, amounts[name], template?.requires[name] || 0, moved);
      box.append(control.node);
      controls.push(control);
    }
    if (facts.length) box.prepend(el("p", { class: "ph-hint" }, `Fixed: ${facts.join(", ")}`));
    box.prepend(el("h3", { class: "ph-adjust-title" }, profile.title));
    for (const index of data.menusOf[profile.id] || []) {
      const menu = data.menus[index];
      if (menu.lines.length > 1 || menu.typed) box.append(menuField(menu));
    }
    if (profile.environments.length) box.append(...environments(profile));
  }

  function menuField(menu) {
    const { name, title, lines, typed } = menu;
    const id = `ph-choice-${name}`;
    const answered = (value) => { answers[name] = value; };
    if (typed) {
      const control = typedField(id, menu, answers[name] || "", answered, changed);
      controls.push({ words: () => (control.words() ? `${title} ${control.words()}` : "") });
      return control.node;
    }
    const select = choices(id, `choice-${name}`, lines, answers[name]);
    select.addEventListener("change", () => answered(select.value));
    controls.push({
      words: () => (select.value ? `${title} ${select.selectedOptions[0].textContent}` : ""),
    });
    return field(id, title, select);
  }

  function environments(profile) {
    const lines = profile.environments.map(([id, title], i) => [i ? id : "", title]);
    const select = choices("ph-environment", "environment", lines, data.selection.environment);
    const own = el("div", {});
    const showOwn = () => {
      const id = select.value || profile.environments[0][0];
      own.replaceChildren(...(profile.paths[id] ? [ownPath(profile.paths[id])] : []));
    };
    select.addEventListener("change", () => {
      data.selection.environment = select.value;
      showOwn();
    });
    controls.push({ words: () => own.querySelector("input")?.value.trim() || "" });
    showOwn();
    return [field("ph-environment", "Environment", select), own];
  }

  /** The path of the person's own environment; empty, it is the facility's. */
  function ownPath(patterns) {
    const input = el("input", {
      type: "text", class: "form-control", id: "ph-path", name: "choice-path", maxlength: 256,
      autocomplete: "off", spellcheck: "false", "aria-describedby": "ph-path-hint",
      value: answers.path || "",
    });
    input.addEventListener("input", () => { answers.path = input.value.trim(); });
    input.addEventListener("change", () => { input.value = input.value.trim(); });
    const where = patterns.map((p) => p.replaceAll("{username}", data.account)).join(", ");
    return field("ph-path", "Path of your own environment", input,
      el("p", { class: "ph-hint", id: "ph-path-hint" },
        `A conda or venv folder, or a .sif image, in: ${where}`));
  }

  function show() {
    const before = chosen();
    for (const row of rows()) {
      const id = row.dataset.profile;
      const now = state.get(id);
      const why = now ? now.reason || misfit(id) : "not available now";
      row.querySelector("input").disabled = !open(id);
      row.querySelector("[data-words]").textContent = why || now.words;
      row.querySelector("[data-idle]").textContent = why ? "" : now.idle;
      const free = row.querySelector("[data-free]");
      const count = why ? null : now?.free;
      free.textContent = count === null || count === undefined ? "" : `${count} free`;
      free.classList.toggle("ph-free-none", count === 0);
    }
    const instead = before && !open(before) ? rows().find((r) => open(r.dataset.profile)) : null;
    if (instead) {
      const why = state.get(before)?.reason || misfit(before) || "not available now";
      const name = (id) => profiles.get(id)?.title || id;
      instead.querySelector("input").checked = true;
      tell(note, `${name(before)}: ${why}. ${name(instead.dataset.profile)} is chosen instead.`);
    } else if (before && !open(before)) {
      document.querySelector('input[name="profile"]:checked').checked = false;
      tell(note, "No profile fits this notebook. Choose another notebook, or the empty workspace.");
    } else if (!before && rows().some((r) => open(r.dataset.profile))) {
      rows().find((r) => open(r.dataset.profile)).querySelector("input").checked = true;
      tell(note, "");
    }
    byId("ph-go").disabled = !chosen();
    if (`${chosen()} ${template?.id}` !== shown) showChoices();
    changed();
  }

  function tick() {
    if (lookedAt === null) return;
    looked.textContent = `looked ${ago((Date.now() - lookedAt) / 1000)}`;
    byId("ph-look").hidden = false;
  }

  /** The amounts and lists of now, with what was chosen and the cursor where it was. */
  function renew() {
    const active = box.contains(document.activeElement) ? document.activeElement : null;
    const place = active?.selectionStart ?? null;
    const before = { ...answers };
    showChoices();
    const lost = (data.menusOf[chosen()] || []).map((i) => data.menus[i]).filter((menu) =>
      before[menu.name] && !menu.typed && !menu.lines.some(([v]) => v === before[menu.name]));
    for (const { name } of lost) answers[name] = "";
    if (lost.length) {
      tell(note, lost.map(({ name, title }) =>
        `${title} ${before[name]} is not offered any more; the usual one is taken.`).join(" "));
    }
    const again = active?.id ? byId(active.id) : null;
    again?.focus({ preventScroll: true });
    if (place !== null && again?.type === "text") again.setSelectionRange(place, place);
  }

  async function look() {
    const button = byId("ph-look");
    button.disabled = true;
    try {
      const answer = await getJSON(`${data.api}profiles?page=1`);
      state.clear();
      for (const profile of answer.profiles) state.set(profile.id, profile);
      const { offers, menus, menusOf } = answer.page;
      if (learn(offers, menus, menusOf)) renew();
      if (answer.age !== null) lookedAt = Date.now() - answer.age * 1000;
      show();
      tick();
    } catch (error) {
      // What was seen before stays: an unanswered question is not news about a profile.
      looked.textContent = error.message;
    }
    button.disabled = false;
  }

  document.querySelector(".ph-profiles").addEventListener("change", () => {
    tell(note, "");
    show();
  });
  byId("ph-look").addEventListener("click", look);
  learn(JSON.parse(byId("ph-profiles").textContent), data.menus, data.menusOf);
  tick();
  // The first page after the Hub's start: its backends have only begun to look.
  if (lookedAt === null) setTimeout(look, FIRST_LOOK);
  setInterval(tick, 1000);
  setInterval(() => { if (!document.hidden) look(); }, LOOK_EVERY);

  return {
    show,
    template(manifest) {
      if (manifest?.id !== template?.id) tell(note, "");
      template = manifest;
      show();
    },
    words() {
      const profile = profiles.get(chosen());
      if (!profile) return "no profile chosen";
      const amounts = controls.map((control) => control.words()).filter(Boolean);
      return `${profile.title} on ${profile.place}, ${amounts.join(", ")}`;
    },
  };
}
