"""The HTML report, one file that opens offline; `html_page.render_page` makes it."""
