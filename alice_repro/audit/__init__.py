"""The audit on paper: rules over the published record, one file per kind of evidence. No torch here."""
