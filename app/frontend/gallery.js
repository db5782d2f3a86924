// The list of hits as cards. Text is set as text, never as HTML.
const SELECT = "samewhere:select";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const VOTES = [["more", 1, "More like this", "M12 5v14M5 12h14"], ["less", -1, "Less like this", "M5 12h14"]];

function votes(hit) {
  const row = make("span", "votes");
  for (const [name, value, label, path] of VOTES) {
    const button = make("button", `vote ${name}`);
    button.type = "button";
    button.dataset.id = hit.id;
    button.dataset.vote = value;
    button.title = label;
    button.setAttribute("aria-label", `${label}: ${hit.rank}, ${hit.title}`);
    button.setAttribute("aria-pressed", "false");
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "0 0 24 24");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    picture.append(line);
    button.append(picture);
    row.append(button);
  }
  return row;
}

function item(hit, voting) {
  const row = make("div", "item");
  row.dataset.id = hit.id;
  row.append(card(hit));
  if (voting) row.append(votes(hit));
  return row;
}

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
  for (const fact of hit.facts ?? []) text.append(make("span", "fact", fact));
  text.append(score);
  button.append(picture, text);
  return button;
}

export default function ({ parentElement, data, setTriggerValue }) {
  const list = parentElement.querySelector(".cards");
  const mark = (id, scroll) => {
    for (const row of list.children) {
      const one = row.querySelector(".card");
      const on = one.dataset.id === id;
      one.classList.toggle("chosen", on);
      one.setAttribute("aria-pressed", String(on));
      if (on && scroll) {
        // Scroll the list alone; scrollIntoView would also move the page under the reader.
        const far = row.offsetTop - list.offsetTop;
        if (list.scrollHeight > list.clientHeight) list.scrollTo({ top: far - 60, behavior: "smooth" });
      }
    }
  };
  if (list.dataset.token !== data.token) {
    list.replaceChildren(...data.hits.map((hit) => item(hit, data.voting)));
    list.dataset.token = data.token;
    list.scrollTo({ top: 0 });
    mark(data.selected, true);
  } else if (data.selected && list.dataset.selected !== data.selected) {
    mark(data.selected, true); // chosen elsewhere: on the globe
  }
  for (const one of list.querySelectorAll("button.vote")) {
    one.setAttribute("aria-pressed", String((data.votes ?? {})[one.dataset.id] === Number(one.dataset.vote)));
  }
  list.dataset.selected = data.selected ?? "";
  list.onclick = (event) => {
    const vote = event.target.closest("button.vote");
    if (vote) {
      vote.setAttribute("aria-pressed", String(vote.getAttribute("aria-pressed") !== "true"));
      setTriggerValue("voted", { id: vote.dataset.id, vote: Number(vote.dataset.vote) });
      return;
    }
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
