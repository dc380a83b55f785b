"""What was made from what, and who can confirm it: ledger, materializations, descendants."""
