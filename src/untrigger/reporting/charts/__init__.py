"""The charts of a report, drawn as inline SVG."""
