"""Word statistics that learned triggers choose their words by."""
