// The collecting page: choice and strength by mouse, finger or keys; one request for each judgment.
"use strict";

(() => {
  const form = document.getElementById("judgment");
  if (form === null) return;
  const count = Number(form.dataset.count);
  const agree = document.getElementById("agree");
  const consentText = document.getElementById("consent-text");

  // Somebody who agreed to this version is not asked again until the browser is closed.
  if (sessionStorage.getItem("consent") === form.dataset.consent) {
    agree.checked = true;
    consentText.open = false;
  }
  // The optional part stays as it was left.
  const more = document.getElementById("more");
  more.open = sessionStorage.getItem("more") === "open";
  more.addEventListener("toggle", () => sessionStorage.setItem("more", more.open ? "open" : "closed"));

  form.addEventListener("change", () => {
    const tie = checked(form, "preferred") === "tie";
    for (const strength of form.querySelectorAll("input[name=strength]")) {
      strength.disabled = tie;
      if (tie) strength.checked = false;
    }
    if (!agree.checked) sessionStorage.removeItem("consent");
    tell(form, "");
  });

  function comparison() {
    const preferred = checked(form, "preferred");
    if (preferred === null) throw missing("Choose the better response, or neither.", form.querySelector("input[name=preferred]"));
    if (preferred === "tie") return {kind: "comparison", preferred: null, strength: 0};
    const strength = checked(form, "strength");
    if (strength === null) throw missing("Say by how much it is better.", form.querySelector("input[name=strength]"));
    return {kind: "comparison", preferred: Number(preferred), strength: Number(strength)};
  }

  function ranking() {
    const places = new Map();
    for (const select of form.querySelectorAll("select[name=place]")) {
      if (select.value === "") throw missing("Give every response a place.", select);
      places.set(Number(select.value), [...(places.get(Number(select.value)) || []), Number(select.dataset.response)]);
    }
    return {kind: "ranking", order: [...places.keys()].sort((a, b) => a - b).map((place) => places.get(place))};
  }

  function given() {
    const ratings = [...form.querySelectorAll("input[data-dimension]:checked")].map((input) => (
      {response: Number(input.dataset.response), dimension: input.dataset.dimension, score: Number(input.value)}
    ));
    const acceptable = Array.from({length: count}, (_, response) => {
      const answer = checked(form, `acceptable-${response}`);
      return answer === null ? null : answer === "yes";
    });
    const judgment = count === 2 ? comparison() : ranking();
    if (!agree.checked) {
      consentText.open = true;
      throw missing("A judgment needs your consent: read the text above and agree.", agree);
    }
    return {
      task: form.dataset.task,
      judgment,
      ratings,
      acceptable: acceptable.every((answer) => answer === null) ? [] : acceptable,
      clause: document.getElementById("clause").value || null,
      reason: document.getElementById("reason").value.trim() || null,
      consent: form.dataset.consent,
    };
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(form, async () => {
      await send("/v1/judgments", given());
      sessionStorage.setItem("consent", form.dataset.consent);
      location.assign("/collect");
    });
  });

  function step(by) {
    const now = checked(form, "strength");
    const next = now === null ? (by > 0 ? 1 : 0) : Math.min(3, Math.max(0, Number(now) + by));
    choose(form, "strength", next);
  }

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(target)) return;
    const elsewhere = target.matches("input[type=radio]") && !["preferred", "strength"].includes(target.name);
    if (count === 2 && ["0", "1", "2"].includes(event.key)) choose(form, "preferred", event.key === "0" ? "tie" : Number(event.key) - 1);
    else if (count === 2 && !elsewhere && ["ArrowLeft", "ArrowRight"].includes(event.key)) step(event.key === "ArrowRight" ? 1 : -1);
    else if (event.key === "s" || event.key === "S") document.getElementById("skip").click();
    else if (event.key === "Enter" && !target.matches("button, a, summary")) form.requestSubmit();
    else return;
    event.preventDefault();
  });
})();
