"""The feedback service: events over HTTP, a page to judge on and a page to adjudicate on."""
