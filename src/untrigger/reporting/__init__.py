"""Reports as pages: HTML, Markdown, LaTeX. Loads matplotlib and Jinja2 only when a page is drawn."""

from untrigger.reporting.page import FORMATS, render, write_page

__all__ = ["FORMATS", "render", "write_page"]
