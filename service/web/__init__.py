"""The HTTP side: the only place that imports aiohttp.web."""
