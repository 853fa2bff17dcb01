// Conveniences. Every page works without them.
"use strict";

// Local time, for whoever does not think in UTC.
for (const t of document.querySelectorAll("time[datetime]")) {
	const at = new Date(t.dateTime);
	if (!isNaN(at)) t.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" }) + " · " + t.dateTime;
}

// Buttons that copy a command.
for (const pre of document.querySelectorAll("[data-copy]")) {
	if (!navigator.clipboard) break;
	const button = document.createElement("button");
	button.type = "button";
	button.className = "copy";
	button.textContent = "Copy";
	button.setAttribute("aria-label", "Copy: " + pre.textContent);
	button.addEventListener("click", async () => {
		await navigator.clipboard.writeText(pre.textContent);
		button.textContent = "Copied";
		setTimeout(() => (button.textContent = "Copy"), 1500);
	});
	pre.after(button);
}

// Keys: "/" goes to the first field, j and k to the next and previous line, and the keys
// that links name with data-key follow them.
document.addEventListener("keydown", (e) => {
	if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea")) {
		if (e.key === "Escape") e.target.blur();
		return;
	}
	if (e.key === "/") {
		const field = document.querySelector("main input:not([type=hidden])");
		if (field) {
			e.preventDefault();
			field.focus();
			field.select();
		}
		return;
	}
	if (e.key === "j" || e.key === "k") {
		const lines = [...document.querySelectorAll("[data-line]")];
		const at = lines.indexOf(document.activeElement.closest("[data-line]"));
		const next = lines[e.key === "j" ? Math.min(at + 1, lines.length - 1) : Math.max(at - 1, 0)];
		if (next) next.focus();
		return;
	}
	const link = document.querySelector('[data-key="' + CSS.escape(e.key) + '"]');
	if (link) link.click();
});

// The timeline: what lies in it leads somewhere, and a stretch that is dragged over is
// zoomed to.
for (const svg of document.querySelectorAll("svg[data-from]")) {
	const from = Number(svg.dataset.from), to = Number(svg.dataset.to), base = svg.dataset.base;
	const place = (e) => {
		const box = svg.getBoundingClientRect();
		return Math.max(0, Math.min(1, (e.clientX - box.left) / box.width));
	};
	const sequence = (p) => Math.round(from + p * (to - from));
	let start = null, band = null;
	svg.addEventListener("pointerdown", (e) => {
		if (e.button !== 0 || e.pointerType === "touch") return;
		start = place(e);
		e.preventDefault();
	});
	window.addEventListener("pointermove", (e) => {
		if (start === null) return;
		const now = place(e);
		if (!band && Math.abs(now - start) < 0.01) return;
		if (!band) {
			band = document.createElementNS("http://www.w3.org/2000/svg", "rect");
			band.setAttribute("class", "band");
			band.setAttribute("y", "0");
			band.setAttribute("height", "100%");
			svg.append(band);
		}
		band.setAttribute("x", 100 * Math.min(start, now) + "%");
		band.setAttribute("width", 100 * Math.abs(now - start) + "%");
	});
	window.addEventListener("pointerup", (e) => {
		if (start === null) return;
		const a = start, b = place(e), dragged = band !== null;
		if (band) band.remove();
		start = band = null;
		if (dragged) {
			const query = new URLSearchParams({ from: String(sequence(Math.min(a, b))), to: String(sequence(Math.max(a, b))) });
			location.assign(base + "?" + query);
			return;
		}
		const target = e.target.closest("[data-href]");
		if (target && svg.contains(target)) location.assign(target.dataset.href);
	});
}
