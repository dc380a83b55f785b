// The adjudication page: a decision, the clause that decides and a reason, signed with the name of the key.
"use strict";

(() => {
  const form = document.getElementById("decision");
  if (form === null) return;

  function given() {
    const decision = checked(form, "decision");
    if (decision === null) throw missing("Choose what training should prefer, or exclude the item.", form.querySelector("input[name=decision]"));
    const clause = document.getElementById("clause");
    if (clause.value === "") throw missing("Choose the clause that decides.", clause);
    const reason = document.getElementById("reason");
    if (reason.value.trim() === "") throw missing("Give a reason: it is kept beside your name.", reason);
    return {item: form.dataset.item, clause: clause.value, decision, reason: reason.value.trim()};
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(form, async () => {
      await send("/v1/adjudications", given());
      location.assign(form.dataset.next);
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.ctrlKey) form.requestSubmit();
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const decision = {1: "first", 2: "second", 0: "tie", x: "exclude", X: "exclude"}[event.key];
    if (decision === undefined) return;
    choose(form, "decision", decision);
    event.preventDefault();
  });
})();
