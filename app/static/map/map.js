// The flat map, alone in its frame. Owns deck.gl, the view and the pointer; knows nothing of Streamlit.
// window.samewhereMap = {update(data), select(id, fly), onPick, onSelect} is all that the page uses.
//
// It sits in a frame because two copies of luma.gl refuse to share one window, and st.pydeck_chart brings its own.
"use strict";
(() => {
  const WORLD = [-180, -85.0511, 180, 85.0511];
  const NEAR_PX = 15; // a pointer this near to a marker means the marker
  const CLOSE = 5.6; // a zoom at which a cell is larger than its marker
  const APART_PX = 17; // markers nearer than this cover each other
  const DRAG_PX = 5; // a pointer that moved further was dragging
  const GOLD = [255, 209, 102], WHITE = [255, 255, 255], INK = [11, 26, 43], ROSE = [255, 77, 109];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const box = document.getElementById("map");
  const api = { onPick: null, onSelect: null, update, select, where };
  let data = { hits: [] };
  let selected = null;
  let hovered = null;
  let view = null;
  let coloured = true;
  let outlines = null;
  let drawnZoom = null;
  let baseLayers = [];

  const worldView = () => {
    const width = box.clientWidth || 800, height = box.clientHeight || 500;
    // The world is 512 px wide at zoom 0. Fill the width, and leave out the emptiest part of the far south and north.
    const zoom = Math.max(Math.log2(width / 512), Math.log2(height / 430));
    return { longitude: 8, latitude: 22, zoom, minZoom: zoom - 0.4, maxZoom: 9, pitch: 0, bearing: 0 };
  };
  view = worldView();

  const deckgl = new deck.Deck({
    parent: box,
    views: new deck.MapView({ repeat: true }),
    viewState: view,
    controller: { dragRotate: false, touchRotate: false, doubleClickZoom: false, inertia: 200 },
    onViewStateChange: ({ viewState }) => setView(viewState),
    getCursor: ({ isDragging }) => (isDragging ? "grabbing" : hovered ? "pointer" : "crosshair"),
    onResize: () => { if (!data.moved) setView(worldView()); },
    layers: [],
    onAfterRender: () => {
      if (outlines !== null) return;
      outlines = undefined; // asked for
      setTimeout(loadOutlines, 300);
    },
  });

  // Outlines come after the first picture: drawn in software they take a second. As plain segments, each border once,
  // they take a third of what deck.gl's polygons take.
  async function loadOutlines() {
    const world = await (await fetch("../countries.geojson")).json();
    const from = [], to = [], seen = new Set();
    const rings = world.features.flatMap(({ geometry }) =>
      geometry.type === "Polygon" ? geometry.coordinates : geometry.coordinates.flat());
    for (const ring of rings) {
      for (let i = 1; i < ring.length; i++) {
        const [a, b] = [ring[i - 1], ring[i]];
        const [one, two] = [String(a), String(b)];
        const name = one < two ? `${one} ${two}` : `${two} ${one}`;
        const cut = Math.abs(a[0]) === 180 && a[0] === b[0]; // where the world is cut open, not a border
        if (cut || seen.has(name)) continue;
        seen.add(name);
        from.push(a[0], a[1]);
        to.push(b[0], b[1]);
      }
    }
    const column = (values) => ({ value: new Float32Array(values), size: 2 });
    outlines = { length: seen.size, attributes: { getSourcePosition: column(from), getTargetPosition: column(to) } };
    baseLayers = base();
    draw();
  }

  function setView(next) {
    const zoomed = Math.abs(next.zoom - (drawnZoom ?? next.zoom)) > 0.1;
    view = next;
    deckgl.setProps({ viewState: view });
    if (zoomed) draw();
  }

  function fly(target) {
    data.moved = true;
    const speed = still ? {} : { transitionDuration: 900, transitionInterpolator: new deck.FlyToInterpolator() };
    setView({ ...view, ...target, ...speed });
  }

  function base() {
    return [
      new deck.BitmapLayer({ id: "blue-marble", image: "../blue_marble.jpg", bounds: WORLD, tintColor: [205, 212, 222] }),
      data.field && new deck.BitmapLayer({
        id: "field", image: data.field, bounds: WORLD, visible: coloured,
        textureParameters: { minFilter: "linear", magFilter: "nearest" },
      }),
      outlines && new deck.LineLayer({
        id: "countries", data: outlines, getColor: [255, 255, 255, 90], widthUnits: "pixels", getWidth: 0.8,
      }),
    ];
  }

  function bounds() {
    if (!data.bbox) return null;
    const [west, south, east0, north] = data.bbox;
    const east = east0 < west ? east0 + 360 : east0;
    const top = Math.min(north, 85), bottom = Math.max(south, -85);
    // A long edge is cut into pieces so that it is never drawn the short way round.
    const xs = Array.from({ length: 9 }, (_, i) => west + ((east - west) * i) / 8);
    const ring = [...xs.map((x) => [x, top]), ...xs.reverse().map((x) => [x, bottom]), [west, top]];
    return new deck.PathLayer({
      id: "bbox", data: [ring], getPath: (path) => path, getColor: [92, 200, 255, 220],
      widthUnits: "pixels", getWidth: 1.5, wrapLongitude: false,
    });
  }

  // Hits whose marker would lie under a better one's: they become dots, until the map is zoomed in far enough.
  function crowded() {
    const port = deckgl.isInitialized && viewport();
    const kept = [], covered = new Set();
    if (!port) return covered;
    const first = (hit) => (hit.id === selected ? 0 : hit.rank);
    for (const hit of [...data.hits].sort((a, b) => first(a) - first(b))) {
      const [x, y] = port.project([hit.lon, hit.lat]);
      if (kept.some(([a, b]) => Math.hypot(a - x, b - y) < APART_PX)) covered.add(hit.id);
      else kept.push([x, y]);
    }
    return covered;
  }

  function marks() {
    const covered = crowded();
    const dot = (hit) => covered.has(hit.id) && hit.id !== hovered;
    const dots = [...covered].join();
    const accent = (hit) => hit.id === selected || hit.id === hovered;
    const trigger = { updateTriggers: { getFillColor: [selected, hovered], getRadius: [selected, hovered, dots], getLineColor: [selected, hovered], getColor: [selected, hovered] } };
    const ordered = [...data.hits].sort((a, b) => dot(b) - dot(a) || accent(a) - accent(b) || b.rank - a.rank);
    return [
      new deck.PolygonLayer({
        id: "hexes", data: data.hits, getPolygon: (hit) => hit.ring, filled: true, stroked: true,
        getFillColor: (hit) => [...(accent(hit) ? ROSE : WHITE), 30],
        getLineColor: (hit) => (accent(hit) ? ROSE : WHITE),
        lineWidthUnits: "pixels", getLineWidth: 1.5, ...trigger,
      }),
      data.query && new deck.ScatterplotLayer({
        id: "query", data: [{ r: 11, fill: [0, 0, 0, 0] }, { r: 4, fill: [92, 200, 255] }],
        getPosition: () => data.query, radiusUnits: "pixels", getRadius: (d) => d.r, getFillColor: (d) => d.fill,
        stroked: true, getLineColor: [92, 200, 255], lineWidthUnits: "pixels", getLineWidth: 2.5,
        updateTriggers: { getPosition: [data.query] },
      }),
      new deck.ScatterplotLayer({
        id: "markers", data: ordered, getPosition: (hit) => [hit.lon, hit.lat], radiusUnits: "pixels",
        getRadius: (hit) => (dot(hit) ? 4.5 : accent(hit) ? 13 : 10), getFillColor: (hit) => (accent(hit) ? ROSE : WHITE),
        stroked: true, getLineColor: INK, lineWidthUnits: "pixels", getLineWidth: 1.5, ...trigger,
      }),
      new deck.TextLayer({
        id: "ranks", data: ordered.filter((hit) => !dot(hit)), getPosition: (hit) => [hit.lon, hit.lat], getText: (hit) => String(hit.rank),
        getSize: 12, fontWeight: 700, fontFamily: "system-ui, sans-serif",
        getColor: (hit) => (accent(hit) ? WHITE : INK), ...trigger,
      }),
    ];
  }

  const colours = document.getElementById("colours");
  colours.onclick = () => {
    coloured = !coloured;
    colours.setAttribute("aria-pressed", String(!coloured));
    colours.title = coloured ? "Hide the colours" : "Show the colours";
    colours.setAttribute("aria-label", colours.title);
    baseLayers = base();
    draw();
  };

  function draw() {
    drawnZoom = view.zoom;
    deckgl.setProps({ layers: [...baseLayers, bounds(), ...marks()].filter(Boolean) });
  }

  function update(next) {
    const moved = data.moved;
    const fresh = next.token !== data.token;
    data = { ...next, moved };
    baseLayers = base();
    if (fresh) {
      selected = next.selected ?? null;
      const chosen = data.hits.find((hit) => hit.id === selected);
      if (chosen) fly({ longitude: chosen.lon, latitude: chosen.lat, zoom: Math.max(view.zoom, CLOSE) });
    }
    colours.hidden = !data.field;
    const hint = document.getElementById("hint");
    hint.textContent = data.hint ?? "";
    hint.hidden = !data.hint;
    draw();
    box.dataset.hits = data.hits.map((hit) => hit.id).join(" "); // what is drawn, for tests and assistive tools
    box.dataset.field = data.field ? "shown" : "";
    box.dataset.query = data.query ? data.query.join(",") : "";
  }

  function select(id, { move = true } = {}) {
    selected = id;
    box.dataset.selected = id ?? "";
    const hit = data.hits.find((one) => one.id === id);
    if (hit && move) fly({ longitude: hit.lon, latitude: hit.lat, zoom: Math.max(view.zoom, CLOSE) });
    draw();
  }

  // Clicks are listened to on the page, not through deck.gl: its own onClick loses clicks under software rendering.
  const viewport = () => deckgl.getViewports()[0];
  const inside = (ring, x, y) => {
    let odd = false;
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [xi, yi] = ring[i], [xj, yj] = ring[j];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
    }
    return odd;
  };
  function where(id) { // a hit's position in the frame, in pixels
    const hit = data.hits.find((one) => one.id === id);
    return hit ? viewport().project([hit.lon, hit.lat]) : null;
  }
  function hitAt(x, y) {
    const port = viewport();
    let best = null, least = NEAR_PX;
    for (const hit of data.hits) {
      for (const turn of [-360, 0, 360]) { // the world repeats
        const [hx, hy] = port.project([hit.lon + turn, hit.lat]);
        const apart = Math.hypot(hx - x, hy - y);
        if (apart < least) [best, least] = [hit, apart];
      }
    }
    if (best) return best;
    const [lon, lat] = port.unproject([x, y]);
    return data.hits.find((hit) => [-360, 0, 360].some((turn) => inside(hit.ring, lon + turn, lat))) ?? null;
  }
  const wrap = (lon) => ((((lon + 180) % 360) + 360) % 360) - 180;
  const at = (event) => {
    const rect = box.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  };
  let down = null;
  box.addEventListener("pointerdown", (event) => { down = at(event); }, true);
  box.addEventListener("wheel", () => { data.moved = true; }, { capture: true, passive: true });
  box.addEventListener("click", (event) => {
    const [x, y] = at(event);
    if (down && Math.hypot(x - down[0], y - down[1]) > DRAG_PX) { data.moved = true; return; }
    const hit = hitAt(x, y);
    if (hit) {
      select(hit.id, { move: false });
      api.onSelect?.(hit.id);
      return;
    }
    const [lon, lat] = viewport().unproject([x, y]);
    if (Math.abs(lat) < 85.06) api.onPick?.({ lon: wrap(lon), lat });
  }, true);
  box.addEventListener("pointermove", (event) => {
    const port = viewport();
    if (!port) return;
    const [x, y] = at(event), [lon, lat] = port.unproject([x, y]), here = wrap(lon);
    document.getElementById("where").textContent =
      `${Math.abs(lat).toFixed(2)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(here).toFixed(2)}° ${here < 0 ? "W" : "E"}`;
    const hit = hitAt(x, y)?.id ?? null;
    if (hit !== hovered) { hovered = hit; draw(); }
  });
  box.addEventListener("pointerleave", () => {
    document.getElementById("where").textContent = "";
    if (hovered) { hovered = null; draw(); }
  });
  const zoomBy = (step) => { data.moved = true; fly({ zoom: Math.min(view.maxZoom, Math.max(view.minZoom, view.zoom + step)) }); };
  document.getElementById("zoom-in").onclick = () => zoomBy(1);
  document.getElementById("zoom-out").onclick = () => zoomBy(-1);
  document.getElementById("world").onclick = () => { fly(worldView()); data.moved = false; };

  window.samewhereMap = api;
  update(data);
})();
