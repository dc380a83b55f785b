"""The auditor's side: productions, the lineage walk and what it finds."""
