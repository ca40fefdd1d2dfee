"use strict";
const $ = (id) => document.getElementById(id);
let chosen = null, asking = null, recording = null;

function say(text) { $("status").textContent = text; }

function complain(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function choose(file) {
  chosen = file;
  complain("");
  URL.revokeObjectURL($("preview").src);
  $("preview").srcObject = null;
  $("preview").src = URL.createObjectURL(file);
  $("preview").hidden = false;
  $("file").required = false;
  say(`Chosen: ${file.name}, ${(file.size / 2 ** 20).toFixed(1)} MB`);
}

function fitViews() {  // only those that the network has
  const has = $("network").selectedOptions[0].dataset.views.split(" ");
  for (const option of $("views").options) option.disabled = !has.includes(option.value);
  if ($("views").selectedOptions[0]?.disabled) $("views").value = has[0];
}

function busy(is) {
  $("ask").disabled = is;
  $("stop").disabled = !is;
  $("form").setAttribute("aria-busy", String(is));
}

async function ask(event) {
  event.preventDefault();
  if (asking || !chosen) return;
  complain("");
  const most = Number($("form").dataset.megabytes);
  if (chosen.size > most * 2 ** 20) {
    complain(`${chosen.name} has ${(chosen.size / 2 ** 20).toFixed(1)} MB: videos of ${most} MB at most are taken`);
    return;
  }
  const asked = new URLSearchParams({
    network: $("network").value, views: $("views").value, window: $("window").value, why: $("why").checked ? "1" : "0",
  });
  asking = new AbortController();
  busy(true);
  say("Working …");
  const begin = performance.now();
  try {
    const answer = await fetch(`/answer?${asked}`, { method: "POST", body: chosen, signal: asking.signal });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    $("best").textContent = `${found.best.name}, ${(100 * found.best.probability).toFixed(1)} %`;
    $("parts").innerHTML = found.html;
    $("answer").hidden = false;
    say(`Done in ${((performance.now() - begin) / 1000).toFixed(1)} s: ${$("best").textContent}`);
    $("answer").focus();
  } catch (error) {
    say("");
    $("answer").hidden = true;
    complain(error.name === "AbortError" ? "Stopped." : error.name === "TypeError" ? "The page's server does not answer: is it still running?" : error.message);
  } finally {
    asking = null;
    busy(false);
  }
}

async function record() {
  if (recording) {
    recording.stop();
    return;
  }
  complain("");
  let camera;
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: true, audio: false });
  } catch (error) {
    complain(`No camera: ${error.message}`);
    return;
  }
  const parts = [];
  recording = new MediaRecorder(camera);
  recording.ondataavailable = (event) => parts.push(event.data);
  recording.onstop = () => {
    camera.getTracks().forEach((track) => track.stop());
    const kind = recording.mimeType;
    recording = null;
    $("record").textContent = "Record from the camera";
    $("record").setAttribute("aria-pressed", "false");
    $("file").value = "";
    choose(new File(parts, "recording", { type: kind }));
  };
  $("preview").srcObject = camera;
  $("preview").hidden = false;
  $("preview").play();
  $("record").textContent = "Stop recording";
  $("record").setAttribute("aria-pressed", "true");
  say("Recording …");
  recording.start();
}

$("file").addEventListener("change", () => { if ($("file").files.length) choose($("file").files[0]); });
$("network").addEventListener("change", fitViews);
$("form").addEventListener("submit", ask);
$("stop").addEventListener("click", () => asking?.abort());
$("record").addEventListener("click", record);
$("record").hidden = !navigator.mediaDevices;  // of pages from elsewhere without https
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  $("file").files = event.dataTransfer.files;
  choose(event.dataTransfer.files[0]);
});
fitViews();
