show();
showPublished();
// Another address in the same tab asks for other filters.
addEventListener("hashchange", () => location.reload());
