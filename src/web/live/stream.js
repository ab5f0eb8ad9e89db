// The stream of snapshots: it comes back by itself, and says how it is.

/** Pauses before another attempt when there was no place, in ms. */
const PAUSES = [2_000, 4_000, 8_000, 15_000];

/** `onSnapshot` gets each snapshot, `onState` one of opening, live, lost, full and ended. */
export function openStream(address, onSnapshot, onState) {
  let attempt = 0;

  function open() {
    const source = new EventSource(address);
    let hasEnded = false;
    source.onmessage = (event) => {
      attempt = 0;
      hasEnded = false;
      onState("live");
      onSnapshot(JSON.parse(event.data));
    };
    source.addEventListener("end", () => {
      hasEnded = true;
      onState("ended");
    });
    source.onerror = () => {
      // Browsers come back by themselves from a broken connection, but not from a refusal.
      if (source.readyState === EventSource.CLOSED) {
        onState("full");
        setTimeout(open, PAUSES[Math.min(attempt, PAUSES.length - 1)]);
        attempt += 1;
      } else if (!hasEnded) {
        onState("lost");
      }
    };
  }

  onState("opening");
  open();
}
