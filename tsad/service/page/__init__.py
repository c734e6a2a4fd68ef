"""The page: what the service knows, drawn by the server for people; two vendored libraries, nothing from elsewhere.

``pages`` are the routes, ``forms`` the start form made of a verb's schema. ``assets/htmx.js`` is htmx 2.0.11 (0BSD),
``assets/uplot.js`` and ``.css`` uPlot 1.6.32 (MIT, Leon Sorokin), both as npm has them.
"""
