"""The feedback store: events, batches, deliveries, tasks and keys on SQLite or PostgreSQL."""
