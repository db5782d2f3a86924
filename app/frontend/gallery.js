// The list of hits as cards. Text is set as text, never as HTML.
const SELECT = "samewhere:select";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

function card(hit) {
  const button = make("button", "card");
  button.type = "button";
  button.dataset.id = hit.id;
  button.setAttribute("aria-label", `${hit.rank}: ${hit.title}, ${hit.place}. Show it on the map.`);
  const picture = make("span", "picture");
  if (hit.thumbnail) {
    const image = make("img");
    image.src = hit.thumbnail;
    image.alt = "";
    image.loading = "lazy";
    picture.append(image);
  }
  picture.append(make("span", "rank", String(hit.rank)));
  const text = make("span", "text");
  const score = make("span", "score");
  const bar = make("span", "bar");
  const filled = make("span", "filled");
  filled.style.width = `${100 * Math.max(0, Math.min(1, hit.score))}%`;
  bar.append(filled);
  score.append(bar, make("span", "number", hit.score_text));
  text.append(make("span", "title", hit.title), make("span", "place", hit.place));
  if (hit.distance) text.append(make("span", "place", hit.distance));
  text.append(score);
  button.append(picture, text);
  return button;
}

export default function ({ parentElement, data, setTriggerValue }) {
  const list = parentElement.querySelector(".cards");
  const mark = (id, scroll) => {
    for (const one of list.children) {
      const on = one.dataset.id === id;
      one.classList.toggle("chosen", on);
      one.setAttribute("aria-pressed", String(on));
      if (on && scroll) {
        // Scroll the list alone; scrollIntoView would also move the page under the reader.
        const far = one.offsetTop - list.offsetTop;
        if (list.scrollHeight > list.clientHeight) list.scrollTo({ top: far - 60, behavior: "smooth" });
      }
    }
  };
  if (list.dataset.token !== data.token) {
    list.replaceChildren(...data.hits.map(card));
    list.dataset.token = data.token;
    list.scrollTo({ top: 0 });
    mark(data.selected, true);
  } else if (data.selected && list.dataset.selected !== data.selected) {
    mark(data.selected, true); // chosen elsewhere: on the globe
  }
  list.dataset.selected = data.selected ?? "";
  list.onclick = (event) => {
    const button = event.target.closest("button.card");
    if (!button) return;
    const { id } = button.dataset;
    mark(id, false);
    window.dispatchEvent(new CustomEvent(SELECT, { detail: { id, from: "gallery" } }));
    setTriggerValue("selected", id);
  };
  const listen = (event) => {
    if (event.detail.from !== "gallery") mark(event.detail.id, true);
  };
  if (list.samewhereListener) window.removeEventListener(SELECT, list.samewhereListener);
  list.samewhereListener = listen;
  window.addEventListener(SELECT, listen);
  return () => {
    if (!list.isConnected) window.removeEventListener(SELECT, listen);
  };
}
