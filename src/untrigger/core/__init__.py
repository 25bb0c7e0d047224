"""Records that every room shares: rows, statistics, reports, errors, files. Nothing here loads torch."""
