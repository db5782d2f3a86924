// Carries data between Streamlit and the flat map in its frame. Mounted once; later reruns only update the map.
const SELECT = "samewhere:select";

export default function ({ parentElement, data, setTriggerValue }) {
  const holder = parentElement.querySelector(".map-frame");
  let frame = holder.querySelector("iframe");
  if (!frame) {
    frame = document.createElement("iframe");
    frame.title = "World map";
    frame.src = data.page;
    holder.append(frame);
  }
  const whenReady = (act) => {
    const map = frame.contentWindow?.samewhereMap;
    if (map) act(map);
    else frame.addEventListener("load", () => act(frame.contentWindow.samewhereMap), { once: true });
  };
  whenReady((map) => {
    map.onPick = (point) => setTriggerValue("picked", point);
    map.onDraw = (ring) => setTriggerValue("drawn", ring);
    map.onSelect = (id) => {
      window.dispatchEvent(new CustomEvent(SELECT, { detail: { id, from: "map" } }));
      setTriggerValue("selected", id);
    };
    map.update(data);
  });
  // The gallery speaks to the map directly, so that a chosen card is flown to at once and not after a rerun.
  const listen = (event) => {
    if (event.detail.from !== "map") whenReady((map) => map.select(event.detail.id));
  };
  if (frame.samewhereListener) window.removeEventListener(SELECT, frame.samewhereListener);
  frame.samewhereListener = listen;
  window.addEventListener(SELECT, listen);
  return () => {
    if (!frame.isConnected) window.removeEventListener(SELECT, listen);
  };
}
