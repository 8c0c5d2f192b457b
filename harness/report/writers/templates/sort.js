"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  for (const button of table.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const cell = button.closest("th");
      const column = Number(button.dataset.column);
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("thead th[aria-sort]")) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(body.rows, (row) => {
        const value = row.cells[column].dataset.sort;
        const text = row.cells[column].textContent.trim();
        return { row, text, number: value === undefined ? NaN : Number(value) };
      });
      const numeric = rows.some((each) => !Number.isNaN(each.number));
      rows.sort((a, b) => {
        if (!numeric) return (down ? -1 : 1) * a.text.localeCompare(b.text, "en", { numeric: true });
        // A row without a number (failed, missing) stays last in both directions.
        if (Number.isNaN(a.number)) return Number.isNaN(b.number) ? 0 : 1;
        if (Number.isNaN(b.number)) return -1;
        return (down ? -1 : 1) * (a.number - b.number);
      });
      body.append(...rows.map((each) => each.row));
    });
  }
}
// What is folded is found by the table of contents, and printed.
const unfold = (place) => {
  for (let each = place; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  if (place) place.scrollIntoView();
};
const named = () => unfold(document.getElementById(decodeURIComponent(location.hash.slice(1))));
addEventListener("hashchange", named);
for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", () => setTimeout(named));
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
if (location.hash) named();
