// What every page needs: requests that only a page of this service can send, messages, and signing in and out.
"use strict";

async function send(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: {"Content-Type": "application/json", "X-Plumbline-Page": "1"},
      body: JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new Error("The service cannot be reached. Nothing was stored; try again.");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.status === 401 && location.pathname !== "/login") location.assign("/login");
  if (!answer.ok) throw new Error(content.error || `The service answered ${answer.status}.`);
  return content;
}

function tell(form, message) {
  const place = form.querySelector(".problem");
  place.textContent = message;
  place.hidden = message === "";
}

// Runs `task` unless the form is busy already; a problem is told and leaves the form as it is.
async function once(form, task) {
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  tell(form, "");
  try {
    await task();
  } catch (problem) {
    tell(form, problem.message);
    delete form.dataset.busy;
    problem.field?.focus();
  }
}

// A problem that the person can mend in `field`, which gets the focus.
function missing(message, field) {
  return Object.assign(new Error(message), {field});
}

function checked(form, name) {
  const found = form.querySelector(`input[name="${name}"]:checked`);
  return found === null ? null : found.value;
}

function choose(form, name, value) {
  const found = form.querySelector(`input[name="${name}"][value="${value}"]`);
  if (found === null || found.disabled) return;
  found.checked = true;
  found.dispatchEvent(new Event("change", {bubbles: true}));
}

// Keys that a person types into a field or uses on a button are theirs.
function typing(target) {
  return target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
}

const signIn = document.getElementById("sign-in");
if (signIn !== null) {
  signIn.addEventListener("submit", (event) => {
    event.preventDefault();
    once(signIn, async () => location.assign((await send("/login", {key: signIn.elements.key.value})).page));
  });
}

const signOut = document.getElementById("sign-out");
if (signOut !== null) signOut.addEventListener("click", async () => location.assign((await send("/logout", {})).page));
