// The slider over the runs of a job. Without this script the list of runs and the links beside it do the same.
{
  const form = document.getElementById("travel"), select = form?.elements.run;
  if (select && select.options.length > 1) {
    const runs = [...select.options].reverse(), start = select.value, slider = document.createElement("input");
    Object.assign(slider, {type: "range", min: 0, max: runs.length - 1, step: 1, value: runs.findIndex(run => run.selected)});
    slider.setAttribute("aria-label", "Run");

    function show() {
      const run = runs[slider.value];
      run.selected = true;
      slider.setAttribute("aria-valuetext", `run ${run.textContent}`);
    }

    // Several steps by keys are one journey.
    let leaving;
    function leave() {
      clearTimeout(leaving);
      leaving = setTimeout(() => { if (select.value !== start) form.requestSubmit(); }, 350);
    }

    slider.addEventListener("input", () => { clearTimeout(leaving); show(); });
    slider.addEventListener("change", leave);
    select.addEventListener("change", () => form.requestSubmit());
    form.querySelector(".track").append(slider);
    show();
  }
}
