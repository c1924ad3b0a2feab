// Time left in the status bar, and warnings before the session ends: JupyterLab 4, Notebook 7.
//
// A module container as JupyterLab loads them (window._JUPYTERLAB), written by hand, so that
// nothing has to be built or installed. "end.json" beside this file is written at each start:
// {"end": seconds since 1970, "warn": [seconds before the end]}.
(() => {
  const facts = new URL("end.json", document.currentScript.src);
  let shared = {};

  // One of JupyterLab's own modules, chosen as webpack chooses a singleton: what is in use
  // already, else the newest. Notebook 7 has no status bar.
  async function use(name) {
    const versions = shared[name] || {};
    const newer = (a, b) => b.localeCompare(a, undefined, { numeric: true });
    const [best] = Object.keys(versions).sort(
      (a, b) => !versions[a].loaded - !versions[b].loaded || newer(a, b)
    );
    return best === undefined ? {} : (await versions[best].get())();
  }

  function span(seconds) {
    const minutes = Math.floor(seconds / 60);
    const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
    if (days) return `${days} d ${hours} h`;
    if (hours) return `${hours} h ${minutes % 60} min`;
    return minutes ? `${minutes} min` : "less than 1 min";
  }

  function clock(end, now) {
    const at = new Date(end * 1000);
    const time = { hour: "2-digit", minute: "2-digit" };
    const today = at.toDateString() === new Date(now).toDateString();
    return at.toLocaleString([], today ? time : { weekday: "short", ...time });
  }

  function plugin({ IStatusBar, Notification, PageConfig, Widget }) {
    const home = `${PageConfig.getOption("hubHost")}${PageConfig.getOption("hubPrefix")}home`;
    const item = new Widget({ node: document.createElement("span") });
    item.id = "panosc-time-left";
    item.addClass("jp-StatusBar-TextItem");
    item.node.setAttribute("role", "timer"); // read when asked for, not each minute
    let session = null;
    let ahead = 0; // milliseconds by which the server's clock is ahead of this browser's
    let told = Infinity;
    let toast = "";
    let last = Date.now();

    async function look() {
      const began = Date.now();
      const answer = await fetch(facts, { cache: "no-store" });
      if (!answer.ok) throw new Error(`${facts} answers ${answer.status}`);
      const found = await answer.json();
      const date = Date.parse(answer.headers.get("Date"));
      ahead = date ? date + 500 - (began + Date.now()) / 2 : 0; // the header has whole seconds
      if (!session || found.end !== session.end) told = Infinity; // begun anew under this page
      session = found;
    }

    function show(commands) {
      if (!session) return;
      const now = Date.now() + ahead;
      const left = session.end - now / 1000;
      const at = clock(session.end, now);
      const soon = left <= Math.max(0, ...session.warn);
      const text = left > 0 ? `${span(left)} left` : "Time limit reached";
      if (item.node.textContent !== text) {
        item.node.textContent = text;
        item.node.style.fontWeight = soon ? "bold" : "";
        item.node.title = left > 0
          ? `This session ends at ${at}, its time limit. Save your work before.`
          : "This session may be closed at any moment. If it goes on, it was given more time: "
            + "the Hub's page \u201cMy sessions\u201d knows how much.";
      }
      const due = Math.min(...session.warn.filter((seconds) => left <= seconds));
      if (left > 0 && due < told) {
        told = due;
        warn(commands, `in ${span(left < 60 ? left : left + 30)}, at ${at}`);
      }
    }

    function warn(commands, when) {
      const save = "docmanager:save-all";
      const actions = [{
        label: "My sessions",
        caption: "Open the Hub's page in a new tab",
        callback: (event) => {
          event.preventDefault(); // the warning stays
          window.open(home, "_blank", "noopener");
        },
      }];
      if (commands.hasCommand(save)) {
        actions.unshift({
          label: "Save all",
          displayType: "accent",
          callback: () => { commands.execute(save).catch(console.error); },
        });
      }
      // JupyterLab shows 140 characters.
      const words = `Save your work: this session ends ${when}. `
        + "After that, start a new one on the Hub, page \u201cMy sessions\u201d.";
      if (toast) Notification.dismiss(toast);
      toast = Notification.emit(words, "warning", { autoClose: false, actions });
    }

    async function refresh(commands) {
      try {
        await look();
      } catch (error) {
        console.warn("The end of the session cannot be read.", error);
      }
      show(commands);
    }

    async function begin(app) {
      await app.restored; // no question of ours may hold up JupyterLab's start
      await refresh(app.commands);
      setInterval(() => {
        const now = Date.now();
        // The computer slept, or its clock was set. A page that nobody sees asks nothing: it
        // would look like somebody at work.
        const odd = Math.abs(now - last) > 90e3;
        last = now;
        if (odd && !document.hidden) refresh(app.commands);
        else show(app.commands);
      }, 5000);
      document.addEventListener("visibilitychange", () => {
        if (!document.hidden) refresh(app.commands);
      });
    }

    function activate(app, bar) {
      if (bar) bar.registerStatusItem("panosc-session-end:item", { item, align: "right", rank: 5 });
      begin(app);
    }

    return {
      id: "panosc-session-end:plugin",
      description: "Shows when the session ends, and warns before.",
      autoStart: true,
      optional: IStatusBar ? [IStatusBar] : [],
      activate,
    };
  }

  async function get() {
    const [{ IStatusBar }, { Notification }, { PageConfig }, { Widget }] = await Promise.all([
      use("@jupyterlab/statusbar"),
      use("@jupyterlab/apputils"),
      use("@jupyterlab/coreutils"),
      use("@lumino/widgets"),
    ]);
    return () => plugin({ IStatusBar, Notification, PageConfig, Widget });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["panosc-session-end"] = { init: (scope) => { shared = scope; }, get };
})();
