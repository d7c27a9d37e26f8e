"""HTML reports: a page with its parts as templates, and charts, shared by all reports."""
