// Step 1: the proposals, and the datasets of the chosen one.

import { byId, el, getJSON, reveal, tell } from "./dom.js";
import { filterList } from "./filter.js";

const FEW = 6; // rows up to which a search field would only be in the way

function row(name, value, title, about, extra = {}) {
  const input = el("input", { type: "radio", name, value });
  const text = el("span", { class: "ph-row-text" },
    el("span", { class: "ph-row-title" }, ...title),
    el("span", { class: "ph-row-about" }, about));
  if (extra.note) text.append(el("span", { class: "ph-row-note" }, extra.note));
  return el("label", { class: "ph-row", ...extra.data }, input, text);
}

const proposalRow = (p) =>
  row("proposal", p.id, [el("b", {}, p.id), ` ${p.title}`], p.about, {
    data: { "data-find": p.find, "data-beam": p.beam?.join(" "), "data-beam-why": p.beam_why },
  });

function datasetRow(d) {
  const badge = d.status === "unknown" ? null
    : el("span", { class: `ph-badge ph-badge-${d.status}` }, d.status);
  return row("dataset", d.pid, [`${d.name} `, badge].filter(Boolean), d.about,
    { note: d.note, data: { "data-fit": d.fit, "data-name": d.name, "data-find": d.find } });
}

const chosen = (list) => list.querySelector("input:checked");

/** `changed(fit)` is called with the table of suiting notebooks whenever the data change. */
export function dataStep(data, changed) {
  const proposals = byId("ph-proposals");
  const datasets = byId("ph-datasets");
  const field = byId("ph-datasets-field");
  const note = byId("ph-catalogue");
  const again = byId("ph-catalogue-again");
  const findProposal = filterList(byId("ph-find-proposal"), proposals,
    byId("ph-proposals-count"), "proposal");
  const findDataset = filterList(byId("ph-find-dataset"), datasets,
    byId("ph-datasets-count"), "dataset");
  let fits = data.fits;
  let asking = null;

  const tools = (list, box) => { box.hidden = list.querySelectorAll("label").length <= FEW; };
  const report = () => changed(fits[Number(chosen(datasets)?.closest("label").dataset.fit || 0)]);

  function showDatasets(rows, kept) {
    const all = datasets.querySelector("[data-always]");
    datasets.replaceChildren(all, ...rows.map(datasetRow));
    const same = [...datasets.querySelectorAll("input")].find((i) => i.value === kept);
    (same || all.querySelector("input")).checked = true;
    byId("ph-find-dataset").value = "";
    findDataset();
    reveal(datasets);
    tools(datasets, byId("ph-dataset-tools"));
  }

  async function load(proposal) {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    const wanted = chosen(datasets)?.value || "";
    field.hidden = !proposal;
    byId("ph-datasets-of").textContent = proposal ? `of ${proposal}` : "";
    fits = [data.noProposal];
    showDatasets([], "");
    if (!proposal || !data.own) { report(); return; }
    field.setAttribute("aria-busy", "true");
    byId("ph-datasets-count").textContent = "looking …";
    try {
      const url = `${data.api}proposals/${encodeURIComponent(proposal)}/datasets`;
      const answer = await getJSON(url, signal);
      fits = answer.fits;
      showDatasets(answer.datasets, wanted);
      byId("ph-datasets-count").textContent = answer.datasets.length ? "" : "No datasets yet.";
    } catch (error) {
      if (signal.aborted) return;
      byId("ph-datasets-count").textContent = error.message;
    }
    field.removeAttribute("aria-busy");
    report();
  }

  async function loadProposals() {
    again.hidden = true;
    tell(note, "Looking for your proposals …");
    try {
      const answer = await getJSON(`${data.api}proposals`);
      const kept = chosen(proposals).value;
      const always = proposals.querySelector("[data-always]");
      proposals.replaceChildren(always, ...answer.proposals.map(proposalRow));
      const same = [...proposals.querySelectorAll("input")].find((i) => i.value === kept);
      (same || always.querySelector("input")).checked = true;
      tell(note, kept && !same ? `Proposal ${kept} is not among yours, so it is not chosen.` : "");
      tools(proposals, byId("ph-proposal-tools"));
      if (same && kept) await load(kept); else report();
    } catch (error) {
      tell(note, `${error.message} You can start without data.`);
      again.hidden = false;
    }
  }

  proposals.addEventListener("change", (event) => { load(event.target.value); });
  datasets.addEventListener("change", () => { reveal(datasets); report(); });
  again.addEventListener("click", loadProposals);
  tools(proposals, byId("ph-proposal-tools"));
  tools(datasets, byId("ph-dataset-tools"));
  if (!data.own) {
    tell(note, "These are the person's proposals. The datasets of another one only they can list.");
  } else if (data.state === "slow") loadProposals();
  else if (data.state === "down") again.hidden = false;
  findProposal();
  report();
  reveal(proposals);
  reveal(datasets);

  return {
    words() {
      const proposal = chosen(proposals)?.value;
      const dataset = chosen(datasets);
      if (!proposal) return "No data";
      if (!dataset?.value) return proposal;
      return `${proposal} / ${dataset.closest("label").dataset.name || dataset.value}`;
    },
  };
}
