"""The HTML report: one file that opens offline. `page.render` makes it."""
