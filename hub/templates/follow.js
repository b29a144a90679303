"use strict";
// Follows the log that is being written; when it is complete, shows the page as it is then.
const log = document.getElementById("log");
if (log) {
  const events = new EventSource(log.dataset.events);
  events.onmessage = (event) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(event.data + "\n");
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  events.addEventListener("end", () => {
    events.close();
    setTimeout(() => location.reload(), 2000);
  });
}
