// Keeps pages up to date, and saves a few clicks. Every page can be read and used without it.
"use strict";

(() => {
  // --- What is new, by server-sent events -----------------------------------------------------------------------
  let source = null;
  let retry = null;
  const last = new Map();

  const live = () => document.getElementById("live");

  const say = (state, word) => {
    const pulse = document.getElementById("pulse");
    if (pulse && pulse.dataset.live !== state) {
      pulse.dataset.live = state;
      pulse.textContent = word;
    }
  };

  // Whoever is on a button stays there when what is around it is written anew.
  const put = (element, html) => {
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    const typed = focused && "value" in focused && focused.type !== "submit" && focused.type !== "hidden";
    if (typed) return false;
    element.innerHTML = html;
    if (focused && focused !== element) {
      const buttons = [...element.querySelectorAll("a, button")];
      const same = buttons.find((one) => one.value === focused.value && one.name === focused.name) || buttons[0];
      same?.focus({ preventScroll: true });
    }
    return true;
  };

  // A cell of a line is called by the line and its place in it. The state of a service or server is the first.
  const find = (id) => {
    const [line, place] = id.split("/");
    const element = document.getElementById(line);
    return place === undefined ? element : element?.cells?.[place];
  };

  const parts = (event) => {
    for (const [id, html] of JSON.parse(event.data)) {
      if (last.get(id) === html) continue;
      const element = find(id);
      if (!element) continue;
      const known = last.has(id);
      if (!put(element, html)) continue;
      last.set(id, html);
      if (known && id.endsWith("/1")) {
        element.classList.remove("fresh");
        void element.offsetWidth;
        element.classList.add("fresh");
      }
    }
    say("on", "live, as of ");
  };

  // Other lines are there than before: the page is read again, and what lives is put in its place.
  const shape = async () => {
    stop();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
      if (!answer.ok) return over();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = page.getElementById("live");
      const here = live();
      if (now && here) {
        const typing = here.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
        if (!typing) {
          here.replaceWith(document.adoptNode(now));
          last.clear();
        }
      }
    } catch {
      // The server is away; the stream says so.
    }
    start();
  };

  const over = () => {
    stop();
    location.reload();
  };

  const stop = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
  };

  const start = () => {
    const path = live()?.dataset.follow;
    if (!path || source || document.hidden) return;
    source = new EventSource(path);
    source.addEventListener("parts", parts);
    source.addEventListener("shape", shape);
    source.addEventListener("over", over);
    source.addEventListener("error", () => {
      say("off", "not up to date, as of ");
      if (source && source.readyState === EventSource.CLOSED) {
        stop();
        retry = setTimeout(async () => {
          // Whoever is logged out is sent to the login by a reload.
          const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
          if (answer && answer.type === "opaqueredirect") return over();
          start();
        }, 5000);
      }
    });
  };

  // A page that nobody sees asks for nothing: browsers have few connections to one server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stop();
      say("idle", "as of ");
    } else {
      start();
    }
  });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => event.persisted && start());

  // --- A few clicks less ----------------------------------------------------------------------------------------
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-auto]");
    if (form && event.target.matches("select")) form.requestSubmit();
  });

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    const question = button?.dataset.confirm ?? event.target.dataset.confirm;
    if (question && !confirm(question)) {
      event.preventDefault();
      return;
    }
    // A form is sent once.
    if (event.target.method === "post") {
      if (event.target.dataset.sent) event.preventDefault();
      event.target.dataset.sent = "1";
      setTimeout(() => delete event.target.dataset.sent, 5000);
    }
  });

  // What was begun in a form is not lost by a click elsewhere.
  let changed = false;
  document.addEventListener("input", (event) => {
    if (event.target.closest("form[data-guard]")) changed = true;
  });
  document.addEventListener("submit", () => (changed = false));
  addEventListener("beforeunload", (event) => {
    if (changed) event.preventDefault();
  });

  // “/” goes to the search, as in many places.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    const search = document.querySelector('input[type="search"]');
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  start();
})();
