// A click on a day of a calendar lists its runs.
document.addEventListener("click", event => {
  const day = event.target.closest?.(".calendar .day");
  if (!day) return;
  const next = new Date(`${day.dataset.day}T00:00:00Z`);
  next.setUTCDate(next.getUTCDate() + 1);
  const until = next.toISOString().slice(0, 10);
  location.assign(`${day.closest("svg").dataset.runs}&since=${day.dataset.day}&until=${until}`);
});
