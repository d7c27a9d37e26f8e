"""HTML reports: one page shell, its parts as templates, and the charts that all reports share."""
