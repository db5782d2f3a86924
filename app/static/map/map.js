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
  const api = { onPick: null, onSelect: null, onDraw: null, update, select, where, project, lonlat };
  let data = { hits: [] };
  let selected = null;
  let hovered = null;
  let view = null;
  let coloured = true;
  let outlines = null;
  let drawnZoom = null;
  let baseLayers = [];
  let satellite = true;
  let drawing = null; // corners so far, while an area is drawn

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
      // data-drawn is the token of what is on the screen: its pictures are decoded, its layers drawn.
      if (box.dataset.drawn !== data.token && deckgl.props.layers.every((layer) => layer.isLoaded)) {
        box.dataset.drawn = data.token ?? "";
      }
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
      new deck.BitmapLayer({
        id: "blue-marble", image: "../blue_marble.jpg", bounds: WORLD, tintColor: [205, 212, 222], visible: satellite,
      }),
      data.picture && new deck.BitmapLayer({
        id: "field", image: data.picture, bounds: WORLD, visible: coloured,
        textureParameters: { minFilter: "linear", magFilter: "nearest" },
      }),
      outlines && new deck.LineLayer({
        id: "countries", data: outlines, widthUnits: "pixels", getWidth: 0.8,
        getColor: satellite ? [255, 255, 255, 90] : [150, 180, 210, 200], updateTriggers: { getColor: satellite },
      }),
      data.dots?.length && new deck.ScatterplotLayer({
        id: "dots", data: data.dots, getPosition: (dot) => dot, radiusUnits: "pixels", getRadius: 1.6,
        getFillColor: [255, 209, 102, 220],
      }),
      data.lines?.length && new deck.ArcLayer({
        id: "lines", data: data.lines, greatCircle: true, getHeight: 0, widthUnits: "pixels", numSegments: 40,
        getSourcePosition: (line) => [line[0], line[1]], getTargetPosition: (line) => [line[2], line[3]],
        getWidth: (line) => 0.6 + 2.4 * line[4], getSourceColor: [...GOLD, 210], getTargetColor: [...GOLD, 210],
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

  // The polygon that filters, and the one that is being drawn.
  function areas() {
    const layers = [];
    const line = (id, ring, color) => new deck.PathLayer({
      id, data: [ring], getPath: (path) => path, getColor: color, widthUnits: "pixels", getWidth: 2, wrapLongitude: false,
    });
    if (data.area?.length) layers.push(line("area", [...data.area, data.area[0]], [92, 200, 255, 235]));
    if (drawing?.length) {
      if (drawing.length > 1) layers.push(line("drawing", drawing, [...GOLD, 255]));
      layers.push(new deck.ScatterplotLayer({
        id: "corners", data: drawing, getPosition: (point) => point, radiusUnits: "pixels",
        getRadius: (_, { index }) => (index === 0 ? 6 : 4), getFillColor: GOLD, stroked: true, getLineColor: INK,
        lineWidthUnits: "pixels", getLineWidth: 1.5,
      }));
    }
    return layers;
  }

  // Where the ingredients of the query lie: rings with a dot for what is liked, crossed out for what is not.
  function pins() {
    const BLUE = [92, 200, 255], ORANGE = [255, 159, 67];
    const all = data.pins ?? [];
    const color = (pin) => (pin.like ? BLUE : ORANGE);
    if (!all.length) return [];
    return [
      new deck.ScatterplotLayer({
        id: "pins", data: all, getPosition: (pin) => [pin.lon, pin.lat], radiusUnits: "pixels", getRadius: 11,
        filled: false, stroked: true, getLineColor: color, lineWidthUnits: "pixels", getLineWidth: 2.5,
      }),
      new deck.TextLayer({
        id: "pin-signs", data: all, getPosition: (pin) => [pin.lon, pin.lat], getText: (pin) => (pin.like ? "•" : "×"),
        getSize: (pin) => (pin.like ? 30 : 20), fontWeight: 700, fontFamily: "system-ui, sans-serif", getColor: color,
        characterSet: ["•", "×"],
      }),
    ];
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
        id: "hexes", data: data.hits.filter((hit) => hit.ring), getPolygon: (hit) => hit.ring, filled: true, stroked: true,
        getFillColor: (hit) => [...(accent(hit) ? ROSE : WHITE), 30],
        getLineColor: (hit) => (accent(hit) ? ROSE : WHITE),
        lineWidthUnits: "pixels", getLineWidth: 1.5, ...trigger,
      }),
      ...pins(),
      new deck.ScatterplotLayer({
        id: "markers", data: ordered, getPosition: (hit) => [hit.lon, hit.lat], radiusUnits: "pixels",
        getRadius: (hit) => (dot(hit) ? 4.5 : accent(hit) ? 13 : 10), getFillColor: (hit) => (accent(hit) ? ROSE : WHITE),
        stroked: true, getLineColor: INK, lineWidthUnits: "pixels", getLineWidth: 1.5, ...trigger,
      }),
      new deck.TextLayer({
        id: "ranks", data: ordered.filter((hit) => !dot(hit)), getPosition: (hit) => [hit.lon, hit.lat], getText: (hit) => String(hit.label ?? hit.rank),
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

  const base_ = document.getElementById("base");
  base_.onclick = () => {
    satellite = !satellite;
    base_.title = satellite ? "Show outlines only" : "Show the satellite picture";
    base_.setAttribute("aria-label", base_.title);
    base_.setAttribute("aria-pressed", String(!satellite));
    box.dataset.base = satellite ? "satellite" : "outline";
    baseLayers = base();
    draw();
  };

  const pencil = document.getElementById("draw");
  const hintBox = document.getElementById("hint");
  function hint(text) {
    hintBox.textContent = text ?? "";
    hintBox.hidden = !text;
  }
  let waiting = 0;
  // A place is chosen: say at once that it is looked for, until the answer comes or does not.
  function pick(point) {
    if (data.draws) {
      hint("Searching…");
      clearTimeout(waiting);
      waiting = setTimeout(() => { if (!drawing) hint(data.hint); }, 10000);
    }
    api.onPick?.(point);
  }
  function setDrawing(next) {
    drawing = next;
    pencil.setAttribute("aria-pressed", String(Boolean(drawing)));
    box.dataset.drawing = drawing ? String(drawing.length) : "";
    hint(!drawing ? data.hint : drawing.length < 3 ? "Click the corners of an area" : "Click the first corner to close it");
    draw();
  }
  function finish() {
    const ring = drawing;
    setDrawing(null);
    if (ring.length < 3) return;
    data.area = ring;
    draw();
    const west = Math.min(...ring.map(([lon]) => lon));
    api.onDraw?.(ring.map(([lon, lat]) => [lon - west + wrap(west), lat])); // in one piece across the antimeridian
  }
  pencil.onclick = () => { setDrawing(drawing ? null : []); box.focus(); };

  function draw() {
    drawnZoom = view.zoom;
    deckgl.setProps({ layers: [...baseLayers, bounds(), ...marks(), ...areas()].filter(Boolean) });
  }

  // A new picture is decoded before anything of its answer is drawn: else a frame would show new hits on old colours, and
  // where there is no graphics card that frame alone takes a second.
  let latest = 0;
  async function update(next) {
    const mine = ++latest;
    const picture = next.field && next.field !== data.url ? await decoded(next.field) : data.picture;
    if (mine === latest) take({ ...next, url: next.field, picture: next.field && picture });
  }
  async function decoded(url) {
    try {
      return await createImageBitmap(await (await fetch(url)).blob(), { premultiplyAlpha: "none" });
    } catch { // the page is being left
      return null;
    }
  }

  function take(next) {
    const { moved, picture: before } = data;
    const fresh = next.token !== data.token;
    data = { ...next, moved };
    baseLayers = base();
    if (fresh) {
      selected = next.selected ?? null;
      const chosen = data.hits.find((hit) => hit.id === selected);
      if (chosen) fly({ longitude: chosen.lon, latitude: chosen.lat, zoom: Math.max(view.zoom, CLOSE) });
    }
    colours.hidden = !data.field;
    pencil.hidden = !data.draws;
    clearTimeout(waiting);
    if (!drawing) hint(data.hint);
    draw();
    if (before !== data.picture) before?.close(); // 16 MB each
    box.dataset.hits = data.hits.map((hit) => hit.id).join(" "); // what is drawn, for tests and assistive tools
    box.dataset.field = data.field ? "shown" : "";
    box.dataset.pins = (data.pins ?? []).map((pin) => `${pin.like ? "+" : "-"}${pin.lon},${pin.lat}`).join(" ");
    box.dataset.area = (data.area ?? []).join(" ");
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
  function lonlat(id) {
    const hit = data.hits.find((one) => one.id === id);
    return hit ? [hit.lon, hit.lat] : null;
  }
  function project(lon, lat) {
    return viewport().project([lon, lat]);
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
    return data.hits.find((hit) => hit.ring && [-360, 0, 360].some((turn) => inside(hit.ring, lon + turn, lat))) ?? null;
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
    if (drawing) {
      const first = drawing.length > 2 && viewport().project(drawing[0]);
      if (first && Math.hypot(first[0] - x, first[1] - y) < NEAR_PX) { finish(); return; }
      const [lon, lat] = viewport().unproject([x, y]);
      if (Math.abs(lat) < 85.06) setDrawing([...drawing, [lon, lat]]);
      return;
    }
    const hit = hitAt(x, y);
    if (hit) {
      select(hit.id, { move: false });
      api.onSelect?.(hit.id);
      return;
    }
    const [lon, lat] = viewport().unproject([x, y]);
    if (Math.abs(lat) < 85.06) pick({ lon: wrap(lon), lat });
  }, true);
  // By keyboard: arrows move, + and - zoom, Enter chooses the place in the middle or closes an area, Escape drops it.
  box.addEventListener("keydown", (event) => {
    const step = 60 / 2 ** view.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const move = moves[event.key];
    if (move) {
      data.moved = true;
      setView({
        ...view, longitude: wrap(view.longitude + move[0]), latitude: Math.max(-84, Math.min(84, view.latitude + move[1])),
      });
    } else if (event.key === "+" || event.key === "=") zoomBy(1);
    else if (event.key === "-") zoomBy(-1);
    else if (event.key === "Escape" && drawing) setDrawing(null);
    else if (event.key === "Enter" && drawing?.length > 2) finish();
    else if (event.key === "Enter") pick({ lon: wrap(view.longitude), lat: view.latitude });
    else return;
    event.preventDefault();
  });
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
