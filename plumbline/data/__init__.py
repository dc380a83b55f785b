"""From feedback to certified data: records, the feedback store, importers, admission, pairs, audit
frames and suites."""
